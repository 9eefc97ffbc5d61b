"""TLS from the client's side, over any client of the drivers: in memory or with a socket.

    client = TlsClient(driver.connect_plain())

A clean end is one with a close_notify. Without it the connection was cut off, and `receive_rest` fails.
"""

import ssl
from functools import cache
from typing import Any

from tests.support.certificates import HOST, client_context

READ_BYTES = 64 * 1024


@cache
def default_context() -> ssl.SSLContext:
    """Return the context of clients that are given none."""
    return client_context()


class TlsSession:
    """One TLS session of a client: bytes to send in and out, without any I/O.

    Attributes:
        outgoing: what is to be sent to the server.
        is_open: the handshake is complete.
        has_ended: the server has sent its close_notify.
    """

    def __init__(self, context: ssl.SSLContext | None = None, name: str = HOST, **settings: Any) -> None:
        self._in, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = (context or default_context()).wrap_bio(
            self._in, self.outgoing, server_hostname=name, **settings
        )
        self.is_open = self.has_ended = False
        self._waiting: list[bytes] = []
        self._says_goodbye = False
        self._shake()

    def send(self, plaintext: bytes) -> None:
        """Encrypt bytes, or keep them until the handshake is complete."""
        if self.is_open:
            self.session.write(plaintext)
        else:
            self._waiting.append(plaintext)

    def end(self) -> None:
        """Say that nothing follows."""
        if not self.is_open:
            self._says_goodbye = True
            return
        try:
            self.session.unwrap()
        except ssl.SSLError:
            pass  # it is written; the server's own has not come

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the server; return the plaintext of all whole records."""
        self._in.write(data)
        if not self.is_open:
            self._shake()
        plaintext = b""
        while self.is_open and not self.has_ended:
            try:
                part = self.session.read(READ_BYTES)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                part = b""
            plaintext += part
            self.has_ended = not part
        return plaintext

    def _shake(self) -> None:
        try:
            self.session.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.is_open = True
        for plaintext in self._waiting:
            if plaintext:
                self.session.write(plaintext)
        self._waiting.clear()
        if self._says_goodbye:
            self.end()
