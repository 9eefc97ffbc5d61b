"""The acceptor that blocks in `accept4`, and deals by `Reactor.hand`."""

import socket
import struct

from .base import WAKE_SECONDS, Acceptor


class Accept4Acceptor(Acceptor):
    """An acceptor on the plain system call."""

    def _serve(self) -> None:
        # The socket stays blocking; a receive timeout is what ends accept4 with EAGAIN when nobody comes.
        wake = struct.pack("ll", int(WAKE_SECONDS), int(WAKE_SECONDS % 1 * 1e6))
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, wake)
        while not self.is_stopping:
            self.accept_one()
