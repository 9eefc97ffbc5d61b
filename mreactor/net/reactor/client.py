"""What reactors hold of each client: the connection, its socket, and how far it has come."""

import socket
from collections import deque

from ...http1 import Connection
from ...protocol import FileBody
from ...runtime import hot


@hot("__init__", "shut")
class Client:
    """A connection and its socket.

    Attributes:
        fd: the socket's descriptor.
        write_closed: the write side is shut.
        closing: the connection is closed, and the socket is about to be.
    """

    __slots__ = ("connection", "fd", "closing", "write_closed")

    def __init__(self, fd: int, connection: Connection) -> None:
        self.fd = fd
        self.connection = connection
        self.write_closed = False
        self.closing = False

    def has_unread(self) -> bool:
        """Whether bytes wait in the kernel, of which the connection does not know.

        Raises:
            OSError: the socket has failed. That is told once: no event and no other look would find it any more.
        """
        sock = self._borrow_socket()
        try:
            return bool(sock.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False
        finally:
            sock.detach()

    def take_error(self) -> int:
        """The number of the error that the socket has failed with, of which nobody was told; else 0."""
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

    def _borrow_socket(self) -> socket.SocketType:
        """A socket object for a moment, to be detached: its end would close the descriptor. Any family will do."""
        return socket.SocketType(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, 0, self.fd)


@hot("__init__")
class EpollClient(Client):
    """A client of an epoll reactor.

    Attributes:
        sock: its socket.
        fast_path: the socket's `recv` and `send`, and the connection: what a request from memory takes.
        drain_reads: a read that came back short need not have emptied the socket.
    """

    __slots__ = ("drain_reads", "sock", "fast_path")

    def __init__(self, sock: socket.SocketType, connection: Connection) -> None:
        Client.__init__(self, sock.fileno(), connection)  # super() takes a lock that all threads share
        self.sock = sock
        self.fast_path = (sock.recv, sock.send, connection)
        self.drain_reads = False


@hot("__init__")
class UringClient(Client):
    """A client with what is in flight for it. It takes the descriptor out of the socket that it is made with.

    Attributes:
        in_flight: what the kernel is sending, kept alive until it is done; None if there is nothing.
        is_idle: the connection is, so that it takes bytes at once.
        is_armed: the multishot receive is armed.
        received: received while the connection was not ready; None before there was any, since a deque takes 0.7 KiB.
        received_bytes: their size.
        answer, attempt: the last answer that was attempted, and its send, to be used again for the same one.
        attempted: the round that queued it. Until the next one it counts as in flight.
    """

    __slots__ = (
        "answer", "attempt", "attempted", "received", "received_bytes", "in_flight", "is_armed", "is_idle",
    )  # fmt: skip

    def __init__(self, sock: socket.SocketType, connection: Connection) -> None:
        Client.__init__(self, sock.fileno(), connection)  # super() takes a lock that all threads share
        self.in_flight: bytes | FileBody | None = None
        self.is_idle = False
        self.is_armed = False
        self.received: deque[bytes] | None = None
        self.received_bytes = 0
        self.answer = b""
        self.attempt = b""
        self.attempted = 0
        sock.detach()  # an object for each of thousands of sockets, of which the ring needs only the numbers

    @property
    def has_pending_operations(self) -> bool:
        """Whether the kernel still works for it, and will say when that is over."""
        return self.is_armed or self.in_flight is not None

    def hold(self, data: bytes) -> None:
        """Keep bytes, or the end of the stream, behind what is received."""
        if self.received is None:
            self.received = deque()
        self.received.append(data)
        self.received_bytes += len(data)
