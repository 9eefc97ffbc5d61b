"""Scripts: what clients do, step by step, and what came of it.

A script has one client or several, by number. A step names its client. All steps are played in order; a step that
waits holds back the ones after it. What is received while a step waits belongs to that step, up to the end of the
responses it waits for.
"""

from typing import NamedTuple

from .responses import blot_sentences

PROBER = 15  # the client that asks whether the server has read what the others sent
PROBE = b"GET /probe HTTP/1.1\r\nHost: probe\r\n\r\n"
CLIENTS_MAX = 16  # connections in one script


class Open(NamedTuple):
    """Connect, unless the client's connection is open. A script of many messages goes on after the server closes."""

    client: int = 0


class Send(NamedTuple):
    """Send bytes. They are dropped where the connection takes none any more."""

    data: bytes
    client: int = 0


class Await(NamedTuple):
    """Wait for whole responses to requests of these methods, or for the end of the connection.

    After a response with `Connection: close` the wait is for the end.
    """

    methods: tuple[bytes, ...] = (b"GET",)
    client: int = 0


class AwaitInterim(NamedTuple):
    """Wait for one head, such as that of 100 Continue."""

    client: int = 0


class AwaitEnd(NamedTuple):
    """Wait until the server ends the connection."""

    client: int = 0


class Take(NamedTuple):
    """Take what has been received. Deterministic only after `SETTLE`."""

    client: int = 0


class ShutWrite(NamedTuple):
    """Shut the write side."""

    client: int = 0


class Reset(NamedTuple):
    """Close the connection by RST."""

    client: int = 0


class Terminate(NamedTuple):
    """Send SIGTERM to the server."""

    client: int = 0


type Step = Open | Send | Await | AwaitInterim | AwaitEnd | Take | ShutWrite | Reset | Terminate

# One reactor serves all connections in the order of their events. So when the prober has its response, the server has
# read all that was sent before the probe. Its connection must be younger than the others: then they are known, too.
SETTLE: tuple[Step, ...] = (Open(PROBER), Send(PROBE, PROBER), Await((b"GET",), PROBER))
END: tuple[Step, ...] = (ShutWrite(), AwaitEnd())


class Script(NamedTuple):
    """What clients do.

    Attributes:
        name: says what the script is about.
        messages: how many messages it plays.
    """

    name: str
    steps: tuple[Step, ...]
    messages: int = 1


class Outcome(NamedTuple):
    """What came of a script.

    Attributes:
        received: the number of each step that received something, and the bytes, dates left out.
        ends: how each connection ended, in order: CLOSED by the server, OPEN when the script was over, LATE where a
            step waited in vain.
        resets: how many of the closed ones were reset. Whether a reset or an end of file comes may depend on time.
    """

    received: tuple[tuple[int, bytes], ...]
    ends: tuple[str, ...]
    resets: int = 0

    def essence(self, reworded: bool) -> tuple[object, ...]:
        """What must be equal on both sides; `reworded`: but for the sentences of error pages."""
        if not reworded:
            return self.received, self.ends
        return tuple((at, blot_sentences(data)) for at, data in self.received), self.ends


CLOSED, OPEN, LATE = "closed", "open", "late"
