"""One way to bring a message through a connection, from the first byte to the end of the stream.

A driver as the reactors are, but for the sockets,
and with all the freedom that reactors have: bytes come in pieces of
any size, sends take as many bytes as they like, jobs are done at once or later.
"""

import os
import re
from itertools import pairwise
from typing import NamedTuple

from mreactor.concurrency.job import Job
from mreactor.http1.connection import Connection
from mreactor.http1.context import ReactorContext
from mreactor.http1.encoder import CONTINUE
from mreactor.http1.states import CLOSED, LINGERING, READY, State
from mreactor.protocol import FileBody

from .target import make_peer

STEPS_MAX = 20_000
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
        ends_early: the peer shuts its write side before it has taken any answer.
    """

    cuts: tuple[int, ...] = ()
    send_bytes_max: int = 0
    hasty: bool = False
    ends_early: bool = False


WHOLE = Manner()


class Outcome(NamedTuple):
    """What a message has led to.

    Attributes:
        output: all bytes that went out, but for interim answers: whether `100 Continue` is due depends on the split.
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


class Hang(AssertionError):
    """A play did not come to rest."""


def pieces(message: bytes, cuts: tuple[int, ...]) -> list[bytes]:
    """The message, cut at some offsets."""
    edges = [0, *sorted(set(cuts)), len(message)]
    return [message[start:end] for start, end in pairwise(edges) if start < end]


def play(context: ReactorContext, message: bytes, manner: Manner = WHOLE) -> Outcome:
    """Bring a message through a new connection."""
    player = Player(context, manner)
    for piece in pieces(message, manner.cuts):
        player.give(piece)
    if not manner.ends_early:
        player.rest()
    before, state = len(player.sent), player.connection.state
    player.end()
    if player.connection.state not in (CLOSED, LINGERING):
        raise Hang(f"after the end of the stream the connection is {State(player.connection.state).name}")
    player.connection.abort()
    state = CLOSED if state == LINGERING else state
    output = b"".join(player.sent[:before]).replace(CONTINUE, b"")
    return Outcome(output, State(state).name, b"".join(player.sent[before:]))


def essence(outcome: Outcome) -> Outcome:
    """The same, of no particular second, and without the sentences of refusals.

    Of a line with two faults the one is told that is seen first, which depends on how much of the line has come.
    """
    return Outcome(essence_of(outcome.output), outcome.state, essence_of(outcome.at_end))


def everything(outcome: Outcome) -> bytes:
    """All that has gone out, whenever it did; likewise."""
    return essence_of(outcome.output + outcome.at_end)


def essence_of(output: bytes) -> bytes:
    """Bytes that went out, likewise, and without interim answers."""
    output = output.replace(CONTINUE, b"")
    return _REFUSAL.sub(rb"\1", _DATE.sub(b"", output))


class Player:
    """A connection, and what happens to it."""

    def __init__(self, context: ReactorContext, manner: Manner) -> None:
        self.connection = Connection(context, make_peer())
        self.sent: list[bytes] = []
        self._manner = manner
        self._job: Job | None = None  # taken, and not done yet

    def give(self, piece: bytes) -> None:
        """Let a piece arrive."""
        if not self._manner.hasty or self.connection.wants_read:
            self.rest()
        if self.connection.state == CLOSED:
            return
        answer = self.connection.receive_data(piece)
        if answer is not None:
            count = self._manner.send_bytes_max or len(answer)
            self.sent.append(answer[:count])
            if count < len(answer):
                self.connection.queue_remainder(answer, count)
        elif self._manner.hasty:
            self._step()

    def end(self) -> None:
        """Let the peer shut its write side."""
        if self.connection.state != CLOSED:
            self.connection.receive_data(b"")
        self.rest()

    def rest(self) -> None:
        """Go on until nothing is left to do."""
        for _ in range(STEPS_MAX):
            if not self._step():
                return
        raise Hang(f"no rest after {STEPS_MAX} steps, in state {State(self.connection.state).name}")

    def _step(self) -> bool:
        """Do one thing; False where there is nothing to do."""
        connection = self.connection
        if self._job is not None:
            job, self._job = self._job, None
            job.run()
            connection.job_done(job)
            return True
        self._job = connection.next_job()
        if self._job is not None:
            return True
        if output := connection.data_to_send():
            connection.data_sent(self._send(output))
            return True
        if connection.state == READY:
            connection.resume()
            return True
        return False

    def _send(self, output: bytes | memoryview | FileBody) -> int:
        count = self._manner.send_bytes_max or len(output)
        if isinstance(output, FileBody):
            part = os.pread(output.fd, min(count, output.remaining), output.offset)
        else:
            part = bytes(output[:count])
        self.sent.append(part)
        return len(part)
