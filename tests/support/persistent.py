"""Clients that ask without pause for as long as a test lasts, and count what they lose."""

import select
import socket
import time
from collections import defaultdict
from collections.abc import Sequence
from math import inf
from random import Random

from tests.support.drivers import PATIENCE_SECONDS
from tests.support.responses import read_response
from tests.support.vectors import get

# Between two requests: some clients ask at once.
PAUSES = (0.0, 0.0, 0.01, 0.3)


class PersistentClient:
    """A client that asks again and again, on a connection that it keeps as long as the server does.

    A connection that ends while a request is outstanding has lost it.

    Args:
        paths: to choose from.
        requests: after so many on a connection the client opens the next one.
        source: the address to connect from; empty for any.
        pauses: seconds between two requests, to choose from.

    Attributes:
        answered: requests that have their response, with status 200.
        outstanding: one is sent and has no response.
        lost: what became of the others.
        texts: the contents received, by path.
    """

    def __init__(
        self,
        address: tuple[str, int],
        paths: Sequence[str],
        random: Random,
        *,
        requests: float = inf,
        source: str = "",
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self._address = address
        self._paths = paths
        self._random = random
        self._requests = requests
        self._source = (source, 0) if source else None
        self._pauses = pauses
        self._is_paused = False
        self.answered = 0
        self.lost: list[str] = []
        self.texts: dict[str, set[str]] = defaultdict(set)
        self._connect()

    def close(self) -> None:
        self.sock.close()

    def pause(self) -> None:
        """Ask for nothing more."""
        self._is_paused = True

    def step(self) -> None:
        """Ask if it is time to, and take in what has come."""
        if not self.outstanding and not self._is_paused and time.monotonic() >= self._asks_at:
            self._path = self._random.choice(self._paths)
            self.outstanding = True
            try:
                self.sock.sendall(get(self._path))
            except OSError as error:
                self._lose(str(error))
                return
        if select.select([self.sock], [], [], 0)[0]:
            self._receive()

    def _connect(self) -> None:
        self.sock = socket.create_connection(self._address, PATIENCE_SECONDS, self._source)
        self._received = b""
        self._left = self._requests
        self.outstanding = False
        self._asks_at = 0.0

    def _lose(self, how: str) -> None:
        if self.outstanding:
            self.lost.append(f"{self._path}: {how}, so far {self._received!r}")
        self.sock.close()
        self._connect()

    def _receive(self) -> None:
        try:
            data = self.sock.recv(1 << 16)
        except OSError as error:
            self._lose(str(error))
            return
        if not data:
            self._lose("the connection ended")
            return
        self._received += data
        if (read := read_response(self._received)) is None:
            return
        response, end = read
        self._received = self._received[end:]
        if response.status == 200:
            self.answered += 1
            self.texts[self._path].add(response.text)
        else:
            self.lost.append(f"{self._path}: {response.status} {response.text}")
        self.outstanding = False
        self._left -= 1
        self._asks_at = time.monotonic() + self._random.choice(self._pauses)
        if response.says_close or not self._left:
            self.sock.close()
            self._connect()
