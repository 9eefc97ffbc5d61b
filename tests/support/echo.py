"""A second protocol, as small as one can be: it sends back what it receives, and says when it has waited too long.

It implements `mreactor.protocol` and imports nothing of HTTP. What runs it is a reactor for any protocol.
"""

from math import inf

from mreactor.metrics import Counters
from mreactor.protocol import CLOSED, IDLE, LINGERING, FileBody, Peer, no_fast_path

SENDING = 1  # a state of this protocol's own: the peer has not taken all of its bytes
BUFFERED_BYTES_MAX = 64 * 1024  # then the rest waits in the kernel


class EchoContext:
    """What the echo connections of one reactor share.

    Args:
        idle_seconds: a silent connection is closed after this long.
        now: monotonic seconds.
    """

    def __init__(self, idle_seconds: float = 60.0, now: float = 1000.0) -> None:
        self.counters = Counters()
        self.fast_path = no_fast_path()
        self.slow_path_responses = 0
        self.draining = False
        self.is_closed = False
        self._idle_seconds = idle_seconds
        self.begin_round(now)
        self.begin_second(now)

    def connect(self, peer: Peer) -> "EchoConnection":
        """Make the connection of a new client."""
        return EchoConnection(self, peer)

    def begin_round(self, now: float) -> float:
        """Begin a round."""
        self.now = now
        self.idle_deadline = now + self._idle_seconds
        return self.idle_deadline

    def begin_second(self, now: float) -> float:
        """Begin a second."""
        self.next_second = now + 1.0
        return self.next_second

    def tick(self, now: float) -> None:
        """Nothing is due."""

    def count_write_timeout(self) -> None:
        """Count a peer that took no bytes."""
        self.counters.timeout("write")

    def drain(self) -> None:
        """Begin to drain."""
        self.draining = True

    def close(self) -> None:
        """Note the end."""
        self.is_closed = True


class EchoConnection:
    """One client's echo. A peer that has shut its write side still gets all of its bytes back."""

    awaits_rest = False
    in_flight = False
    resets = False
    more_follows = False

    def __init__(self, context: EchoContext, peer: Peer) -> None:
        self.state = IDLE
        self.deadline = context.idle_deadline
        self.peer = peer
        self._context = context
        self._output = bytearray()
        self._eof = False

    @property
    def unsent_bytes(self) -> int:
        """The memory of the bytes that wait."""
        return len(self._output)

    @property
    def wants_read(self) -> bool:
        """Whether the buffer has room, and the peer may still send."""
        return self.state != CLOSED and not self._eof and len(self._output) < BUFFERED_BYTES_MAX

    def receive_data(self, data: bytes) -> bytes | None:
        """Echo bytes: return them at once when nothing waits before them."""
        self.deadline = self._context.idle_deadline
        if not data:
            self._eof = True
            if self.state != SENDING:
                self.abort()
            return None
        if self.state == IDLE and not self._context.draining:
            return data
        if self.state in (IDLE, SENDING):
            self._output += data
            self.state = SENDING
        return None

    def receive_uncached(self, data: bytes) -> bytes | None:
        """Do the same: nothing is cached."""
        return self.receive_data(data)

    def call_cached_route(self, route: object, body: bytes) -> bytes | None:
        """Fail: nothing is cached."""
        raise NotImplementedError

    def data_to_send(self) -> bytes | memoryview | FileBody:
        """Return the bytes that wait."""
        return bytes(self._output)

    def data_sent(self, count: int) -> None:
        """Drop what is sent; after the last byte go to the next state."""
        del self._output[:count]
        self.deadline = self._context.idle_deadline
        if not self._output:
            self.state = CLOSED if self._eof else LINGERING if self._context.draining else IDLE

    def queue_remainder(self, response: bytes, sent: int) -> None:
        """Keep the rest of what `receive_data` returned."""
        self._output += response[sent:]
        self.state = SENDING

    def next_job(self) -> None:
        """There is none."""

    def reject_job(self, job: object) -> None:
        """Fail: no job was given out."""
        raise NotImplementedError

    def job_done(self, job: object) -> None:
        """Fail: no job was given out."""
        raise NotImplementedError

    def resume(self) -> None:
        """Fail: this connection has no turns."""
        raise NotImplementedError

    def handle_timeout(self, now: float) -> None:
        """Close a connection that was silent for too long."""
        if now >= self.deadline and self.state != CLOSED:
            self._context.counters.timeout("write" if self.state == SENDING else "keepalive")
            self.abort()

    def drain(self) -> None:
        """Say goodbye to an idle peer; the others get their bytes first."""
        if self.state == IDLE:
            self.state = LINGERING

    def abort(self) -> None:
        """Close, whatever waits."""
        self.state, self.deadline = CLOSED, inf
        self._output.clear()
