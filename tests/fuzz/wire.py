"""Messages over real sockets: what comes back has to be what the connection by itself makes of them.

The server runs in this process, with one reactor of either kind. Each message has a connection of its own, goes out in
pieces, and is followed by the end of the stream.
"""

import dataclasses
import socket
from pathlib import Path
from random import Random

from mreactor.config import Config
from mreactor.http1.context import ReactorContext
from mreactor.server.server import Server
from tests.support.memory import split

from .check import Wrong
from .play import Manner, all_output, normalise, play
from .target import LIMITS, forget, make_app

PATIENCE_SECONDS = 60.0
READ_BYTES = 64 * 1024
# Whatever comes behind a refusal is read, so that no reset destroys a response that is to be compared.
WIRE_LIMITS = dataclasses.replace(LIMITS, linger_bytes_max=1 << 20)


class WireChecker:
    """Checks messages over sockets.

    Args:
        files: the directory that the application serves.
        backend: of the server.
    """

    def __init__(self, files: Path, backend: str) -> None:
        app = make_app(files)
        self._server = Server(Config(port=0, threads=1, backend=backend, limits=WIRE_LIMITS), app)
        self._server.start()
        self._routes = app.routes

    def check(self, message: bytes, random: Random) -> None:
        """Check one message, cut at random.

        Raises:
            Wrong: what came back is something else.
        """
        cuts = tuple(random.randint(0, len(message)) for _ in range(random.choice((0, 1, 3))))
        expected = all_output(play(ReactorContext(WIRE_LIMITS, self._routes), message, Manner(ends_early=True)))
        try:
            received, was_reset = self._exchange(split(message, cuts))
        except TimeoutError as error:
            raise Wrong(f"cut at {cuts}: the connection does not end") from error
        output = normalise(received)
        # A client that goes on after its last request risks a reset, and with it the end of the response.
        if output != expected and not (was_reset and expected.startswith(output)):
            raise Wrong(f"cut at {cuts}: {output[-300:]!r} came back instead of {expected[-300:]!r}")

    def close(self) -> None:
        """End the server."""
        self._server.stop()

    def _exchange(self, parts: list[bytes]) -> tuple[bytes, bool]:
        """Everything that comes back, and whether a reset was the end of it."""
        received, was_reset = bytearray(), False
        with socket.create_connection(self._server.address, timeout=PATIENCE_SECONDS) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            forget(sock.getsockname())
            try:
                for part in parts:
                    sock.sendall(part)
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                was_reset = True  # it was refused before it was all there; the response may have come
            try:
                while data := sock.recv(READ_BYTES):
                    received += data
            except ConnectionResetError:
                return bytes(received), True
        return bytes(received), was_reset
