"""What a reactor asks of a connection, and of the context that all connections of one reactor share.

A reactor owns sockets and knows no protocol. A connection knows its protocol and does no I/O. The reactor feeds events
in, then acts on what the connection asks for:

    events   receive_data, data_sent, queue_remainder, job_done, reject_job, resume, handle_timeout, drain, abort
    requests data_to_send, more_follows, next_job, wants_read, awaits_rest, unsent_bytes, state, deadline

A connection never calls its reactor. So the same connection runs on epoll, on io_uring and in the tests' memory, and a
protocol that wraps another one (TLS) or replaces it (WebSocket) implements these classes and nothing else.

The classes are structural: they cost nothing when the server runs, and implementations need not inherit from them.
"""

import os
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from .concurrency import Job
from .metrics import Counters
from .runtime import allocated_bytes

# A client's address, as `getpeername` gives it: (host, port), with two more numbers for IPv6.
type Peer = tuple[Any, ...]


class SecurePeer(tuple[Any, ...]):
    """The address of a client whose connection is encrypted: a `Peer` that knows more.

    Attributes:
        certificate: the client's verified certificate as `ssl.SSLSocket.getpeercert` gives it; None if it gave none.
    """

    certificate: dict[str, Any] | None = None

    def __new__(cls, address: Peer, certificate: dict[str, Any] | None = None) -> "SecurePeer":
        """Make a secure peer of an address."""
        self = tuple.__new__(cls, address)
        if certificate is not None:
            # Without one the object needs no dict of its own.
            self.certificate = certificate
        return self


# The address of a client that has none: of a unix socket, or of a balancer's connection to the server itself.
NO_ADDRESS: Final[Peer] = ("", 0)

# The states that a reactor acts on. Every other int is a protocol's own state, in which the reactor only reads, if
# `wants_read`, and sends. They are ints, not members of an Enum: see docs/decisions/002.
IDLE: Final = 0  # between messages; nothing is buffered and nothing is to be sent
READY: Final = 5  # there is more to do, and the other clients' turn comes first: call `resume` next round
LINGERING: Final = 6  # the last byte is sent: shut the write side and go on reading until the peer closes
CLOSED: Final = 7  # close the socket
QUIET: Final = 8  # as IDLE, for a connection whose bytes must not be looked up on the fast path
REPLACED: Final = 9  # another connection takes this one's place: see `Replaced`


class Connection(Protocol):
    """One client's conversation. Reactor thread only; does no I/O; never calls the reactor.

    Attributes:
        state: one of the constants above, or a state of the protocol's own.
        deadline: monotonic seconds at which `handle_timeout` is due; infinite for none. The fast path sets it.
        peer: the client's address.
    """

    state: int
    deadline: float
    peer: Peer

    @property
    def wants_read(self) -> bool:
        """False: leave further bytes in the kernel. That is backpressure."""

    @property
    def awaits_rest(self) -> bool:
        """A message has begun and its rest has not come, so the reactor checks now and then for a dead socket."""

    @property
    def in_flight(self) -> bool:
        """A request's head has been read, and its response is not complete. Any thread may ask."""

    @property
    def resets(self) -> bool:
        """CLOSED: end the connection by a reset (RST). Otherwise it ends in order (FIN)."""

    @property
    def unsent_bytes(self) -> int:
        """The memory that unsent responses keep; `memory_of` counts it."""

    @property
    def more_follows(self) -> bool:
        """A file comes right behind `data_to_send`: the kernel may hold these bytes back for it (MSG_MORE)."""

    def receive_data(self, data: bytes) -> bytes | None:
        """Take bytes from the peer; `b""` means that it has shut its write side.

        Returns:
            a whole response that leaves the connection IDLE once it is sent: nothing else needs looking at.
            None otherwise: look at `data_to_send`, `next_job`, `state` and `deadline`.
        """

    def receive_uncached(self, data: bytes) -> bytes | None:
        """Do the same for bytes that the reactor has not found on the fast path."""

    def call_cached_route(self, route: Any, body: bytes) -> bytes | None:
        """Call the handler of a route that the fast path has found. IDLE only. Returns as `receive_data`."""

    def data_to_send(self) -> "bytes | memoryview | FileBody":
        """Return what to send now; empty for nothing. Report with `data_sent` what the kernel has taken."""

    def data_sent(self, count: int) -> None:
        """Note that the kernel has taken `count` bytes of `data_to_send`."""

    def queue_remainder(self, response: bytes, sent: int) -> None:
        """Queue what the kernel has not taken of a response that `receive_data` returned."""

    def next_job(self) -> Job | None:
        """Return the job to run in the thread pool, once; None if there is none."""

    def reject_job(self, job: Job) -> None:
        """Set the error of a job that the pool has refused. The reactor then returns it by `job_done`."""

    def job_done(self, job: Job) -> bytes | None:
        """Take a finished job back. One that the connection no longer waits for is disposed of.

        Returns as `receive_data`.
        """

    def resume(self) -> None:
        """Take the next turn (READY)."""

    def handle_timeout(self, now: float) -> None:
        """Act on a deadline that has passed. Does nothing before it."""

    def drain(self) -> None:
        """Close soon if idle. A connection at work ends with its next response: see `Context.drain`."""

    def abort(self) -> None:
        """End the connection, whatever it is doing. Idempotent."""


class Replaced(Protocol):
    """What a connection in the state REPLACED has beside the rest.

    Attributes:
        successor: the connection of the same client from now on.
    """

    @property
    def successor(self) -> Connection | None: ...

    def take_rest(self) -> bytes:
        """Return the bytes that were received for the successor."""


class FastPath(NamedTuple):
    """How a reactor finds the response to known bytes without calling the connection.

    `http1` offers it. A protocol without one offers `no_fast_path()`. The three functions are bound methods of dicts
    that the reactor's thread owns. Each returns None for unknown bytes.

    Attributes:
        find_response: bytes received to (response, its length, hits, log entry or None).
        find_route: bytes received to a route for `call_cached_route`.
        find_body_route: a message's head to (route, length of the whole message).
        head_end: the bytes that end a message's head.
        body_methods_after: messages that may have a body compare greater than this.
        log_request: called with the peer and the log entry's parts.
    """

    find_response: Callable[[bytes], tuple[bytes, int, list[int], tuple[Any, ...] | None] | None]
    find_route: Callable[[bytes], Any]
    find_body_route: Callable[[bytes], tuple[Any, int] | None]
    head_end: bytes
    body_methods_after: bytes
    log_request: Callable[..., None]


def no_fast_path() -> FastPath:
    """Return a fast path that finds nothing, for one reactor: its dict is shared with no other thread."""
    nothing: dict[bytes, Any] = {}
    return FastPath(nothing.get, nothing.get, nothing.get, b"\r\n\r\n", b"\xff", lambda *_: None)


class Context(Protocol):
    """What all connections of one reactor share. Created in the reactor's thread and used by no other.

    Attributes:
        now: monotonic seconds of the present round.
        idle_deadline: the deadline of connections that fall idle in this round.
        next_second: monotonic seconds at which `begin_second` is due.
        counters: what the reactor and its connections count.
        fast_path: see `FastPath`.
        slow_path_responses: responses of this round that the reactor has not counted. The reactor resets it.
    """

    now: float
    idle_deadline: float
    next_second: float
    counters: Counters
    fast_path: FastPath
    slow_path_responses: int

    def connect(self, peer: Peer) -> Connection:
        """Make the connection of a new client."""

    def begin_round(self, now: float) -> float:
        """Begin a round of the event loop; returns `idle_deadline`."""

    def begin_second(self, now: float) -> float:
        """Begin a second: render what changes with it. Returns `next_second`."""

    def tick(self, now: float) -> None:
        """Do what is due a few times a second, such as handing over log lines."""

    def count_write_timeout(self) -> None:
        """Count a peer that the reactor gives up, because it has acknowledged too little for too long."""

    def drain(self) -> None:
        """From now on each connection's next response is its last."""

    def close(self) -> None:
        """Hand over everything that is left, such as log lines. Called once, when the reactor ends."""


# What a file's sender says when the file ends too early.
SHORTER = "a file became shorter while it was sent"

# A file goes out in pieces of this size, at multiples of it. The reactor looks whether a piece is in the page cache.
LOAD_BYTES = 1024 * 1024
READ_BYTES = 128 * 1024

# How long a file that seems to be overwritten gets to show that it grows, and how often it is looked at. The kernel
# gives a file that is appended to its new time first, copies up to 2 MiB, and then gives it its new size.
APPEND_SECONDS_MAX = 0.05
APPEND_LOOK_SECONDS = 0.001


def is_cached(fd: int, offset: int) -> bool:
    """Whether a byte of an open file is in the page cache. True if the file system cannot tell, as those in memory."""
    try:
        os.preadv(fd, [bytearray(1)], offset, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


class FileBody:
    """A region of an open regular file, sent by the kernel. Its owner closes it when the response is over.

    Attributes:
        fd: the open file; -1 once it is closed.
        offset, remaining: the region that is still to be sent.
        stamp: the file's size and time of change when the response began; None if it may change. See `FileStamp`.
        loaded_until: bytes before this offset need not be waited for; see `must_load`.
        was_doubted: it has seemed to be overwritten once. The next time it is.
    """

    __slots__ = ("_is_doubted", "fd", "loaded_until", "offset", "remaining", "stamp", "was_doubted")

    def __init__(self, fd: int, offset: int, length: int, stamp: "FileStamp | None" = None) -> None:
        self.fd = fd
        self.offset = offset
        self.remaining = length
        self.stamp = stamp
        self.loaded_until = 0
        self._is_doubted = self.was_doubted = False

    def __len__(self) -> int:
        return self.remaining

    def read(self, count: int) -> bytes:
        """Return up to `count` of the bytes that are left; `advance` notes that they are sent.

        Returns:
            bytes; none while the file is in doubt, see `is_same`.

        Raises:
            EOFError: the file was changed, or became shorter.
            OSError: it cannot be read.
        """
        if not self.is_same():
            return b""
        data = os.pread(self.fd, self.piece(count), self.offset)
        if not data:
            raise EOFError(SHORTER)
        return data

    def piece(self, count: int) -> int:
        """Return how many bytes to send: `count` at most, and none beyond what is loaded."""
        loaded = self.loaded_until - self.offset
        return min(self.remaining, loaded if loaded > 0 else count, count)

    def advance(self, count: int) -> None:
        """Note that `count` bytes are sent."""
        self.offset += count
        self.remaining -= count

    def next_region(self) -> bytes:
        """Move on to the next region of the same file; return the bytes that go before it. Empty: there is none."""
        return b""

    def must_load(self) -> bool:
        """Return whether `load` comes first: the next piece lies on the disk only, or the file is in doubt.

        It moves `loaded_until` to the end of the piece, so each piece is looked at once.
        """
        if self._is_doubted:
            self._is_doubted = False
            return True
        if self.offset < self.loaded_until:
            return False
        end = min(self.offset + self.remaining, (self.offset // LOAD_BYTES + 1) * LOAD_BYTES)
        self.loaded_until = end
        # The kernel reads a short piece from the disk as a whole, so its last byte stands for all.
        is_short = end - self.offset <= READ_BYTES
        return not ((is_short or is_cached(self.fd, self.offset)) and is_cached(self.fd, end - 1))

    def load(self) -> None:
        """Read the piece into the page cache, and wait while the file is in doubt. Called in the thread pool.

        The connection may end meanwhile and close the file. What this then reads is of no consequence.
        """
        buffer = [bytearray(READ_BYTES)]
        offset = self.offset
        try:
            if self.was_doubted and self.stamp is not None:
                self._wait_for_growth(self.stamp)
            while offset < self.loaded_until and (count := os.preadv(self.fd, buffer, offset)):
                offset += count
        except OSError:
            # Sending meets the same error.
            return

    def is_same(self) -> bool:
        """Return whether the file is as it was when the response began, so that no response mixes two versions.

        Returns:
            False: it is in doubt. Send nothing; `must_load` is true then, and `load` waits for the truth.

        Raises:
            EOFError: it was overwritten.
        """
        if self.stamp is None or not self.stamp.is_overwritten(os.fstat(self.fd)):
            return True
        if self.was_doubted:
            raise EOFError("a file was changed while it was sent")
        self._is_doubted = self.was_doubted = True
        return False

    def _wait_for_growth(self, stamp: "FileStamp") -> None:
        ends = time.monotonic() + APPEND_SECONDS_MAX
        while stamp.is_overwritten(os.fstat(self.fd)) and time.monotonic() < ends:
            time.sleep(APPEND_LOOK_SECONDS)

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class FileStamp(NamedTuple):
    """A file's size in bytes and its time of modification, as one version of it has them."""

    size: int
    modified_ns: int

    def is_overwritten(self, status: os.stat_result) -> bool:
        """Whether the file may hold other bytes now. One that has only grown may be a log: its beginning is the same.

        Args:
            status: the file's status now.
        """
        return status.st_size < self.size or (status.st_size == self.size and status.st_mtime_ns != self.modified_ns)


def memory_of(output: bytes | memoryview | FileBody) -> int:
    """Return the memory that unsent output keeps, in bytes: a view keeps all of its object, a file none."""
    if isinstance(output, FileBody):
        return 0
    return allocated_bytes(memoryview(output.obj).nbytes if isinstance(output, memoryview) else len(output))
