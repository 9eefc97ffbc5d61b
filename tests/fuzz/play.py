"""One way to bring a message through a connection, from the first byte to the end of the stream.

A `Session` with all the freedom that reactors have: bytes come in pieces of any size, sends take as many bytes as they
like, jobs are done at once or later.
"""

import re
from typing import NamedTuple

from mreactor.http1.context import ReactorContext
from mreactor.http1.encoder import CONTINUE
from mreactor.http1.states import CLOSED, LINGERING, State
from tests.support.memory import UNLIMITED, Session, split

from .target import make_peer

_DATE = re.compile(rb"\r\nDate: [^\r]++")
_REFUSAL = re.compile(
    rb"Content-Length: [0-9]++(\r\nConnection: close\r\n\r\n<!doctype html>.*?)<p>[^<]*+</p>\n", re.DOTALL
)


class Manner(NamedTuple):
    """How a message is played.

    Attributes:
        cuts: the offsets at which it is cut.
        send_bytes_max: how many bytes a send takes at most; 0: all.
        hasty: the next piece comes although the connection does not want it yet.
        ends_early: the peer shuts its write side before it has taken any response.
        uses_fast_path: known bytes are looked up first, as the reactors do.
    """

    cuts: tuple[int, ...] = ()
    send_bytes_max: int = 0
    hasty: bool = False
    ends_early: bool = False
    uses_fast_path: bool = False


WHOLE = Manner()


class Outcome(NamedTuple):
    """The outcome of a message.

    Attributes:
        output: all bytes that went out, but for interim responses: whether `100 Continue` is due depends on the split.
        state: at the end of the message; a connection that is over is CLOSED, whether or not it lingers.
        at_end: the bytes that went out after the end of the stream.
    """

    output: bytes
    state: str
    at_end: bytes

    @property
    def is_over(self) -> bool:
        """Whether the message has ended the connection."""
        return self.state == State(CLOSED).name


def play(context: ReactorContext, message: bytes, manner: Manner = WHOLE) -> Outcome:
    """Bring a message through a new connection."""
    player = Player(context, manner)
    for piece in split(message, manner.cuts):
        player.give(piece)
    if not manner.ends_early:
        player.settle()
    before, state = len(player.sent), player.connection.state
    player.end()
    assert player.has_ended, f"it ends with the stream, but is {State(player.connection.state).name}"
    player.reset()
    state = CLOSED if state == LINGERING else state
    output = bytes(player.sent[:before]).replace(CONTINUE, b"")
    return Outcome(output, State(state).name, bytes(player.sent[before:]))


def essence(outcome: Outcome) -> Outcome:
    """The same, of no particular second, and without the sentences of refusals.

    Of a line with two faults the one is told that is seen first, which depends on how much of the line has come.
    """
    return Outcome(normalise(outcome.output), outcome.state, normalise(outcome.at_end))


def all_output(outcome: Outcome) -> bytes:
    """Return all that was sent, at any time, normalised."""
    return normalise(outcome.output + outcome.at_end)


def normalise(output: bytes) -> bytes:
    """Return output without dates, the sentences of refusals and interim responses."""
    output = output.replace(CONTINUE, b"")
    return _REFUSAL.sub(rb"\1", _DATE.sub(b"", output))


class Player(Session):
    """A connection, and what happens to it."""

    def __init__(self, context: ReactorContext, manner: Manner) -> None:
        super().__init__(
            context, make_peer(), uses_fast_path=manner.uses_fast_path, send_max=manner.send_bytes_max or UNLIMITED
        )
        self._is_hasty = manner.hasty

    def give(self, piece: bytes) -> None:
        """Let a piece arrive."""
        if not self._is_hasty or self.connection.wants_read:
            self.settle()
        if self.connection.state == CLOSED:
            return
        self.receive(piece)
        if self._is_hasty:
            self.step()

    def end(self) -> None:
        """Let the peer shut its write side."""
        if self.connection.state != CLOSED:
            self.receive(b"")
        self.settle()
