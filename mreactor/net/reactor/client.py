"""What reactors keep for each client: its connection, its socket, and what is in flight."""

import os
import socket
import struct
from collections import deque
from collections.abc import Callable

from ...protocol import Connection, memory_of
from ...runtime import hot
from ..overload import Refusals
from .delivery import Delivery, delivered_segments, unacknowledged

# What a request from the cache takes: the socket's `recv` and `send`, and the connection.
type FastPathClient = tuple[Callable[[int], bytes], Callable[..., int], Connection]


# SO_LINGER on, for no time: closing drops what is unsent and sends a reset (socket(7)).
_RESET = struct.pack("ii", 1, 0)


class Forks:
    """Whether this process has forked: then a child may hold copies of the sockets. See docs/decisions/061."""

    happened = False

    @classmethod
    def note(cls) -> None:
        """Note that a fork follows."""
        cls.happened = True


# Before the fork, since `before` runs while no other thread is stopped yet. It stays set: a child may live for long.
# A new program (subprocess, posix_spawn) does not count: the kernel closes its copies, which are not inheritable.
os.register_at_fork(before=Forks.note)


def end(sock: socket.SocketType, *, resets: bool) -> None:
    """Prepare a socket to be closed, so that the peer sees the end at once or is reset. Raises OSError."""
    if resets:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    elif Forks.happened:
        sock.shutdown(socket.SHUT_RDWR)


@hot("__init__", "shut")
class Client:
    """A connection and its socket. Reactor thread only.

    Attributes:
        fd: the socket's descriptor.
        deferred: it stands on the reactor's list of deferred clients, once at most: one turn a round.
        held_back: its output waits for a round that has bytes left; see `SENT_A_ROUND_MAX`.
        write_closed: the write side is shut.
        closing: the connection is closed, and the socket is about to be.
        delivery: the watch over a slow peer; None for the others.
        is_given_up: the socket is reset when it is closed, and the kernel keeps nothing for the peer.
    """

    __slots__ = ("closing", "connection", "deferred", "delivery", "fd", "held_back", "is_given_up", "write_closed")

    def __init__(self, fd: int, connection: Connection) -> None:
        self.fd = fd
        self.connection = connection
        self.deferred = False
        self.held_back = False
        self.write_closed = False
        self.closing = False
        self.delivery: Delivery | None = None
        self.is_given_up = False

    @property
    def resets(self) -> bool:
        """The closing resets the connection."""
        return self.is_given_up or self.connection.resets

    @property
    def is_sending(self) -> bool:
        """A send waits in the kernel for the peer."""
        return False

    def unacknowledged(self) -> int:
        """Return the bytes that the kernel holds for the peer."""
        return unacknowledged(self.fd)

    def unsent_memory(self) -> int:
        """Return the bytes of memory that the unsent output keeps."""
        return self.connection.unsent_bytes

    def begin_delivery(self, now: float) -> None:
        """Begin the watch over a slow peer."""
        self.delivery = Delivery(now, self.unacknowledged(), self._delivered_segments())

    def note_delivery(self, delivery: Delivery, now: float, queued: int) -> None:
        """Compare what the kernel holds now with what it has taken."""
        delivery.note(now, queued, self._delivered_segments())

    def _delivered_segments(self) -> int:
        sock = self._borrow_socket()
        try:
            return delivered_segments(sock)
        finally:
            sock.detach()

    def replace_connection(self, connection: Connection) -> None:
        """Go on with another connection."""
        self.connection = connection

    def refuse(self, refusals: Refusals) -> None:
        """Send a refusal. The caller discards the client."""
        sock = self._borrow_socket()
        try:
            refusals.refuse(sock)
        finally:
            sock.detach()

    def has_unread(self) -> bool:
        """Return whether bytes wait in the kernel.

        Raises:
            OSError: the socket has failed. The kernel reports an error once, so no later event or call shows it again.
        """
        sock = self._borrow_socket()
        try:
            return bool(sock.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False
        finally:
            sock.detach()

    def take_error(self) -> int:
        """Return and clear the socket's pending errno; 0 if there is none."""
        sock = self._borrow_socket()
        try:
            return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        finally:
            sock.detach()

    def shut(self, how: int) -> None:
        """Shut the write side, or both, by socket's constants; raises OSError."""
        sock = self._borrow_socket()
        try:
            sock.shutdown(how)
        finally:
            sock.detach()

    def end_quietly(self) -> None:
        """Prepare to close. The peer sees the end even if a forked process holds a copy of the descriptor."""
        sock = self._borrow_socket()
        try:
            end(sock, resets=self.resets)
        except OSError:
            pass  # the peer was faster
        finally:
            sock.detach()

    def _borrow_socket(self) -> socket.SocketType:
        """Wrap the descriptor for one call. The caller detaches it: otherwise its end closes the descriptor."""
        # A refusal asks for the address: see `plain_matcher`. No other call depends on the family.
        return socket.SocketType(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, 0, self.fd)


@hot("__init__")
class EpollClient(Client):
    """A client of an epoll reactor.

    Attributes:
        sock: its socket.
        fast_path: the bound `recv` and `send`, and the connection, in one tuple; both paths use them.
        drain_reads: a short read need not have emptied the socket, so reading continues.
        is_empty: the last read has emptied the socket, and it has had no event since.
    """

    __slots__ = ("drain_reads", "fast_path", "is_empty", "sock")

    def __init__(self, sock: socket.SocketType, connection: Connection) -> None:
        # Not super(), which takes a lock: docs/decisions/001.
        Client.__init__(self, sock.fileno(), connection)
        self.sock = sock
        self.fast_path: FastPathClient = (sock.recv, sock.send, connection)
        self.drain_reads = False
        self.is_empty = False

    def replace_connection(self, connection: Connection) -> None:
        self.connection = connection
        self.fast_path = (self.sock.recv, self.sock.send, connection)


@hot("__init__")
class UringClient(Client):
    """A client of an io_uring reactor, and what is in flight for it.

    Attributes:
        in_flight: what the kernel is sending, kept alive until its completion; empty while it only waits for the peer,
            and None for nothing.
        is_idle: the connection is idle, so it takes bytes at once.
        is_armed: the multishot receive is armed.
        received: bytes that came while the connection took none; None until there are any.
        received_bytes: their size.
        response, nonblocking_send: the last response that went out by a nonblocking send, and that operation, which is
            used again for the same response.
        sent_in_round: the round that queued it. The send counts as in flight until the next round.
    """

    __slots__ = (
        "in_flight", "is_armed", "is_idle", "nonblocking_send", "received", "received_bytes", "response",
        "sent_in_round",
    )  # fmt: skip

    def __init__(self, sock: socket.SocketType, connection: Connection) -> None:
        # Not super(), which takes a lock: docs/decisions/001.
        Client.__init__(self, sock.fileno(), connection)
        self.in_flight: bytes | None = None
        self.is_idle = False
        self.is_armed = False
        # Made when needed: an empty deque takes 0.7 KiB.
        self.received: deque[bytes] | None = None
        self.received_bytes = 0
        self.response = b""
        self.nonblocking_send = b""
        self.sent_in_round = 0
        # The ring needs the number only; thousands of socket objects would be memory for nothing.
        sock.detach()

    @property
    def is_sending(self) -> bool:
        """A send waits in the kernel for the peer."""
        return self.in_flight is not None

    def unsent_memory(self) -> int:
        """Return the bytes of memory that the unsent output keeps, and the copy of a piece that is in flight."""
        piece, unsent = self.in_flight, self.connection.unsent_bytes
        is_copy = piece is not None and piece is not self.connection.data_to_send()
        return unsent + memory_of(piece) if piece is not None and is_copy else unsent

    def send(self, output: bytes | memoryview, flags: int) -> int:
        """Send what the kernel takes now; returns how many bytes. Raises OSError: the socket has failed."""
        sock = self._borrow_socket()
        try:
            return sock.send(output, flags)
        except BlockingIOError:
            return 0
        finally:
            sock.detach()

    @property
    def has_pending_operations(self) -> bool:
        """The kernel works for this client and will report the end."""
        return self.is_armed or self.in_flight is not None

    def hold(self, data: bytes) -> None:
        """Keep bytes, or the end of the stream (`b""`), until the connection takes them."""
        if self.received is None:
            self.received = deque()
        self.received.append(data)
        self.received_bytes += len(data)

    def take_received(self) -> bytes:
        """Return all bytes that are held, in one piece, or the end of the stream (`b""`) if only that is left."""
        received = self.received
        assert received, "bytes are held, or the end"
        data = received.popleft()
        if data and received:
            pieces = [data, *received]
            received.clear()
            if not pieces[-1]:
                received.append(b"")
            data = b"".join(pieces)
        self.received_bytes -= len(data)
        return data
