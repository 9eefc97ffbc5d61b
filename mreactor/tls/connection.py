"""The life of one client's TLS connection, without I/O: handshake, records both ways, the end.

It implements `protocol.Connection` and wraps another one, which sees the plaintext. The inner connection is made when
the handshake is complete. From then on it decides everything: when to read, what to send, deadlines, the end. Two rules
keep it honest:

- It hears that bytes are sent when the kernel has taken their records, and of the last byte only with the last record.
  So it neither ends nor takes the next request before its bytes have left.
- What it does not want to read stays encrypted. Further bytes stay in the kernel.
"""

import logging
from math import inf
from ssl import SSLError, SSLWantReadError, SSLZeroReturnError
from typing import TYPE_CHECKING, Any, Final

from ..concurrency import Job
from ..protocol import CLOSED, IDLE, LINGERING, READY, Connection, FileBody, Peer, SecurePeer, memory_of
from ..runtime import hot
from .channel import RECORD_BYTES_MAX, Channel

if TYPE_CHECKING:
    from .context import TlsContext

log = logging.getLogger("mreactor")

# States of this protocol's own.
HANDSHAKE: Final = 1
OPEN: Final = 2

# Plaintext that is encrypted at once. The kernel gets it in one send.
PIECE_BYTES_MAX = 64 * 1024
# For the peer to take the close_notify or an alert. A refused peer that is silent for this long has nothing on its way.
CLOSE_SECONDS = 2.0
# A handshake that is going on when the server drains: the request is on its way.
DRAIN_SECONDS = 1.0


def is_plain(data: bytes) -> bool:
    """Return whether the first bytes of a client are a method and not TLS, whose records begin with 20 to 24."""
    return b"A" <= data[:1] <= b"Z"


@hot(
    "__init__", "receive_uncached", "data_to_send", "data_sent", "next_job", "abort", "_receive_early",
    "_continue_handshake", "_advance", "_deliver", "_apply_inner_state", "_begin_session", "_shake_hands", "_decrypt",
    "_encrypt", "_encrypt_end", "_client_certificate",
)  # fmt: skip
class TlsConnection(Channel):
    """One client; implements `protocol.Connection`. Reactor thread only.

    A refused client (no TLS, or TLS that has failed) gets some last bytes. Then the connection lingers, so that no
    reset destroys them.
    """

    __slots__ = (
        "_context", "_eof", "_eof_delivered", "_has_said_goodbye", "_has_session", "_inner", "_linger_ends",
        "_output", "_plain_bytes_left", "_refused", "deadline", "more_follows", "peer", "state",
    )  # fmt: skip

    def __init__(self, context: "TlsContext", peer: Peer) -> None:
        self._context = context
        self.peer = peer
        self.state = HANDSHAKE
        self.deadline = context.now + context.limits.tls_handshake_seconds
        self.more_follows = False
        self._inner: Connection | None = None
        # Records that the kernel has not taken, and how much of the inner connection's bytes they stand for.
        self._output: bytes | memoryview = b""
        self._plain_bytes_left = 0
        self._has_session = False
        # The peer sends nothing more: it has shut its write side, or sent close_notify.
        self._eof = self._eof_delivered = False
        self._has_said_goodbye = False
        self._refused = False
        self._linger_ends = inf

    # Events.

    def receive_data(self, data: bytes) -> bytes | None:
        """Take bytes from the peer; `b""` means that it has shut its write side. Returns as `protocol.Connection`."""
        return self.receive_uncached(data)

    def receive_uncached(self, data: bytes) -> bytes | None:
        """Do the same. Nothing is known by its encrypted bytes."""
        inner = self._inner
        if self.state == IDLE and data and inner is not None:
            # The commonest case: a request in one record.
            put_in, decrypt, encrypt, take_out = self._calls
            put_in(data)
            try:
                plaintext = decrypt(RECORD_BYTES_MAX)
            except SSLError as error:
                self._receive_no_content(error)
                return None
            if not plaintext:
                self._eof = True
            elif (response := inner.receive_data(plaintext)) is not None:
                if len(response) <= PIECE_BYTES_MAX and not self._incoming.pending:
                    self.deadline = inner.deadline
                    encrypt(response)
                    return take_out()
                self._queue_response(inner, response)
            self._advance()
        elif inner is None or self._refused:
            self._receive_early(data)
        else:
            if not data:
                self._eof = True
            elif not self._eof:
                self._incoming.write(data)
            self._advance()
        return None

    def call_cached_route(self, route: Any, body: bytes) -> bytes | None:
        """Fail: there is no fast path."""
        raise NotImplementedError

    def data_to_send(self) -> bytes | memoryview | FileBody:
        """Return the records to send now; empty for none. Report with `data_sent` what the kernel has taken."""
        if self._output or self._inner is None or self._refused:
            return self._output
        plaintext = self._inner.data_to_send()
        if not plaintext:
            return b""
        if isinstance(plaintext, FileBody):
            piece: bytes | memoryview = plaintext.read(PIECE_BYTES_MAX)
            if not piece:
                # The file is in doubt. The inner connection now has a job that finds out.
                self._inner.data_sent(0)
                self.deadline = self._inner.deadline
                return b""
        else:
            piece = plaintext if len(plaintext) <= PIECE_BYTES_MAX else memoryview(plaintext)[:PIECE_BYTES_MAX]
            self.more_follows = self._inner.more_follows
        self._plain_bytes_left = len(piece)
        self._output = output = self._encrypt(piece)
        return output

    def data_sent(self, count: int) -> None:
        """Note that the kernel has taken `count` bytes of `data_to_send`."""
        is_all = count >= len(self._output)
        self._output = b"" if is_all else memoryview(self._output)[count:]
        self.more_follows = self.more_follows and not is_all
        if self._inner is None or self._refused:
            if is_all and self._refused:
                self.state = LINGERING
            return
        # The last byte counts as sent when all of them are.
        progress = self._plain_bytes_left if is_all else min(count, self._plain_bytes_left - 1)
        if progress > 0:
            self._plain_bytes_left -= progress
            self._inner.data_sent(progress)
        if is_all:
            self._advance()
        else:
            self.deadline = self._inner.deadline

    def queue_remainder(self, response: bytes, sent: int) -> None:
        """Queue what the kernel has not taken of a response that `receive_data` returned."""
        assert self._inner is not None, "it has responded"
        self._output = memoryview(response)[sent:] if sent else response
        # The inner connection must wait for these bytes, and has dropped them. It only counts what stands for them.
        self._plain_bytes_left = len(response) - sent
        self._inner.queue_remainder(bytes(self._plain_bytes_left), 0)
        self._apply_inner_state(self._inner)

    def next_job(self) -> Job | None:
        """Return the inner connection's job, once; None if there is none."""
        return None if self._inner is None else self._inner.next_job()

    def reject_job(self, job: Job) -> None:
        """Set the error of a job that the pool has refused."""
        assert self._inner is not None, "it has made the job"
        self._inner.reject_job(job)

    def job_done(self, job: Job) -> None:
        """Take a finished job back. One that the connection no longer waits for is disposed of."""
        assert self._inner is not None, "it has made the job"
        response = self._inner.job_done(job)
        if response is not None:
            self._inner.queue_remainder(response, 0)
        if self.state != CLOSED and not self._refused:
            self._advance()

    def resume(self) -> None:
        """Take the next turn (READY)."""
        assert self._inner is not None, "it is READY"
        self._inner.resume()
        self._advance()

    def handle_timeout(self, now: float) -> None:
        """Act on a deadline that has passed. Does nothing before it."""
        if now < self.deadline or self.state == CLOSED:
            return
        inner = self._inner
        if inner is None and not self._refused:
            self._context.counters.timeout("handshake")
        if inner is None or self._refused or inner.state == CLOSED:
            self.abort()
        else:
            inner.handle_timeout(now)
            self._advance()

    def drain(self) -> None:
        """Close soon if idle. A handshake gets a moment for the request behind it."""
        if self._inner is None or self._refused:
            self.deadline = min(self.deadline, self._context.now + DRAIN_SECONDS)
        else:
            self._inner.drain()
            self._advance()

    def abort(self) -> None:
        """End the connection, whatever it is doing, without a close_notify. Idempotent."""
        self.state, self.deadline = CLOSED, inf
        self._output, self.more_follows = b"", False
        if self._inner is not None:
            self._inner.abort()

    # What the driver acts on, besides `state`, `deadline` and `more_follows`.

    @property
    def wants_read(self) -> bool:
        """False: leave further bytes in the kernel. That is backpressure."""
        if self._inner is None or self._refused:
            return self.state != CLOSED
        return self._inner.wants_read and not self._incoming.pending

    @property
    def unsent_bytes(self) -> int:
        """The memory that unsent responses keep: records, and what is not encrypted yet."""
        return memory_of(self._output) + (0 if self._inner is None else self._inner.unsent_bytes)

    @property
    def awaits_rest(self) -> bool:
        """A handshake or a message has begun and its rest has not come."""
        if self._inner is None or self._refused:
            return self.state == HANDSHAKE and self._has_session
        return self._inner.awaits_rest and self.wants_read

    @property
    def in_flight(self) -> bool:
        """A request's head has been read, and its response is not encrypted to the end."""
        return self._inner is not None and self._inner.in_flight

    @property
    def resets(self) -> bool:
        """CLOSED: end by a reset, so that the peer cannot take what it has for the whole."""
        return self.state == CLOSED and self._inner is not None and self._inner.resets

    # The handshake, and what comes instead of one.

    def _receive_early(self, data: bytes) -> None:
        if not data:
            self.abort()
        elif self._refused:
            self.deadline = min(self._context.now + CLOSE_SECONDS, self._linger_ends)
        elif not self._has_session and is_plain(data):
            self._context.counters.error("tls")
            self._refuse(self._context.render_plain_refusal())
        else:
            if not self._has_session:
                self._begin_session(self._context.certificates.current)
                self._has_session = True
            self._incoming.write(data)
            self._continue_handshake()

    def _continue_handshake(self) -> None:
        try:
            is_complete = self._shake_hands()
        except SSLError as error:
            self._fail(error)
            return
        if not is_complete:
            self._output = bytes(self._output) + self._outgoing.read()
            return
        self._inner = inner = self._context.inner.connect(SecurePeer(self.peer, self._client_certificate()))
        if self._context.draining:
            inner.drain()
        # The tickets go with the response to the first request, if that is there.
        self._advance()

    def _fail(self, error: SSLError) -> None:
        """Send the alert that explains the failure, if there is one, and end."""
        self._context.counters.error("tls")
        log.debug("TLS with %s failed: %s", self.peer, error)
        alert = self._outgoing.read()
        if self._inner is not None:
            self._inner.abort()
        if self._has_said_goodbye:
            self.abort()
        else:
            self._refuse(alert)

    def _refuse(self, last_words: bytes) -> None:
        """Send some last bytes, then linger."""
        self._refused = True
        self._output = bytes(self._output) + last_words
        self.state = OPEN if self._output else LINGERING
        now, limits = self._context.now, self._context.limits
        self._linger_ends = now + limits.linger_seconds
        self.deadline = min(now + CLOSE_SECONDS, self._linger_ends)

    # The session.

    def _receive_no_content(self, error: SSLError) -> None:
        """Act on a read that brought no content: no whole record is there, or the peer's end, or a fault."""
        if isinstance(error, SSLZeroReturnError):
            self._eof = True
        elif not isinstance(error, SSLWantReadError):
            self._fail(error)
            return
        self._advance()

    def _queue_response(self, inner: Connection, response: bytes) -> None:
        self._context.slow_path_responses += 1
        inner.queue_remainder(response, 0)

    def _advance(self) -> None:
        """Hand over what has come as far as the inner connection takes it, then take on its state."""
        inner = self._inner
        assert inner is not None, "the handshake is complete"
        try:
            while not self._output and inner.wants_read and self._deliver(inner):
                pass
        except SSLError as error:
            self._fail(error)
            return
        self._apply_inner_state(inner)

    def _deliver(self, inner: Connection) -> bool:
        """Decrypt one record for the inner connection. Return False if there is none, or the end has come."""
        if self._eof_delivered:
            return False
        data = self._decrypt() if self._incoming.pending else None
        if data is None:
            if not self._eof or self._incoming.pending:
                return False
            data = b""
        if not data:
            self._eof = self._eof_delivered = True
        response = inner.receive_data(data)
        if response is not None:
            self._queue_response(inner, response)
        return bool(data)

    def _apply_inner_state(self, inner: Connection) -> None:
        """Derive this connection's state from the inner one's. Before the end it says so to the peer."""
        state = inner.state
        self.deadline = inner.deadline
        if state in (LINGERING, CLOSED) and not (self._output or self._has_said_goodbye or inner.resets):
            self._has_said_goodbye = True
            self._output = self._encrypt_end()
            self.state = OPEN
            if state == CLOSED:
                self.deadline = self._context.now + CLOSE_SECONDS
            return
        if state == CLOSED:
            self.abort()
            return
        if not self._output and not self._has_said_goodbye and self._outgoing.pending:
            # The session's own records, such as tickets and key updates.
            self._output = self._outgoing.read()
        if self._output:
            self.state = OPEN
        elif state == IDLE:
            self.state = self._context.idle_state
        else:
            self.state = state if state in (READY, LINGERING) else OPEN
