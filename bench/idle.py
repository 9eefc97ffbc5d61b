"""Idle clients by the thousand: connected, served once, then silent. Owned by the harness's only thread.

Each is a socket of this process, so that the limit on open files bounds their number.
"""

import select
import socket
from types import TracebackType
from typing import Self

from bench.process import HOST

ANSWER_SECONDS = 5.0
RECEIVE_BYTES = 4096
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
BODY_MARK = b"\r\n\r\n"


class IdleClients:
    """A context that holds `count` keep-alive connections, each with one request behind it."""

    def __init__(self, port: int, count: int) -> None:
        self.port = port
        self.count = count
        self.clients: list[socket.socket] = []

    def __enter__(self) -> Self:
        """Connect them all; OSError where the server does not take one in, or does not answer it."""
        try:
            for _ in range(self.count):
                client = socket.create_connection((HOST, self.port), timeout=ANSWER_SECONDS)
                self.clients.append(client)
                ask(client)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.clients.clear()

    def lost(self) -> int:
        """How many the server has closed meanwhile, or sent something that nobody asked for."""
        poller = select.poll()
        for client in self.clients:
            poller.register(client, select.POLLIN)
        return len(poller.poll(0))


def ask(client: socket.socket) -> bytes:
    """One request and its whole answer; ConnectionError where the server hangs up on it."""
    client.sendall(REQUEST)
    answer = b""
    while not whole(answer):
        part = client.recv(RECEIVE_BYTES)
        if not part:
            raise ConnectionError("the server closed a keep-alive connection")
        answer += part
    return answer


def whole(answer: bytes) -> bool:
    """Is the answer complete by its Content-Length (RFC 9112 section 6.2)? An answer without one never is."""
    head, mark, body = answer.partition(BODY_MARK)
    if not mark:
        return False
    for field in head.split(b"\r\n")[1:]:
        name, _, value = field.partition(b":")
        if name.lower() == b"content-length":
            return len(body) >= int(value)
    return False
