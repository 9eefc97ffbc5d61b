"""What a reactor holds of each client: the connection and its socket."""

import socket

from ..connection import Connection


class Client:
    """A connection and its socket.

    Attributes:
        is_shut: the write side is shut.
        is_gone: the connection is closed, and the socket is about to be.
        reads_on: a read that came back short need not have emptied the socket.
    """

    __slots__ = (
        "connection", "fd", "is_gone", "is_shut", "peer", "reads_on", "recv", "send", "sock", "verbs",
    )  # fmt: skip

    def __init__(self, sock: socket.SocketType, connection: Connection, peer: object) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.connection = connection
        self.peer = peer
        self.is_shut = False
        self.is_gone = False
        self.reads_on = False
        # Bound once, and in one tuple: what a request from memory takes.
        self.recv = sock.recv
        self.send = sock.send
        self.verbs = (self.recv, self.send, connection)

    def has_unread(self) -> bool:
        """Whether bytes wait in the kernel, of which the connection does not know."""
        try:
            return bool(self.sock.recv(1, socket.MSG_PEEK))
        except OSError:
            return False  # there are none; or the socket has failed, of which an event tells
