"""Steady readers behind slow links: each gets its whole response, however long that takes."""

import hashlib
import selectors
import socket
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from mreactor import App, Config, Limits, Server
from mreactor.app.static_files import StaticFiles
from tests.support.links import QUEUE_BYTES, SERVER, Links

READ_BYTES = 64 * 1024
# Beyond the time that the link's rate needs for the content: heads, acknowledgements, lost packets.
SHARE_MAX = 1.5
EXTRA_SECONDS = 30.0
# Every other client asks for a file, the others for a response in memory.
TARGETS = ("/memory/", "/files/")


@dataclass(slots=True)
class Reader:
    """One client: what it has received, and what came of it."""

    sock: socket.socket
    rate: str
    wanted: bytes
    received: int = 0
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    head: bytes = b""
    ended: str = ""
    seconds: float = 0.0

    @property
    def is_whole(self) -> bool:
        """It has received exactly what it asked for."""
        return self.digest.digest() == self.wanted

    def take(self) -> bool:
        """Take what has come; returns False at the end."""
        try:
            data = self.sock.recv(READ_BYTES)
        except OSError as error:
            self.ended = str(error)
            return False
        if not data:
            return False
        if b"\r\n\r\n" not in self.head:
            self.head += data
            if b"\r\n\r\n" not in self.head:
                return True
            data = self.head.split(b"\r\n\r\n", 1)[1]
        self.received += len(data)
        self.digest.update(data)
        return True


@dataclass(slots=True)
class Outcome:
    """What came of all readers."""

    readers: list[Reader]
    timeouts: dict[str, int]

    def faults(self) -> list[str]:
        """What is not as it must be, for people."""
        return [
            f"{reader.rate}: {reader.received} bytes after {reader.seconds:.1f} s, not all: {reader.ended}"
            for reader in self.readers
            if not reader.is_whole
        ] + [f"timeouts: {self.timeouts}" for _ in range(bool(self.timeouts.get("write")))]

    def __str__(self) -> str:
        lines = []
        for rate in dict.fromkeys(reader.rate for reader in self.readers):
            mine = [reader for reader in self.readers if reader.rate == rate]
            whole = sum(reader.is_whole for reader in mine)
            times = [reader.seconds for reader in mine]
            lines.append(f"{rate}: {whole} of {len(mine)} whole, {min(times):.1f} to {max(times):.1f} s")
        return "\n".join(lines)


def read_slowly(
    backend: str, contents: dict[str, int], count: int, limits: Limits | None = None, queue_bytes: int = QUEUE_BYTES
) -> Outcome:
    """Have steady readers behind slow links, all at once.

    Args:
        contents: how many bytes the clients of each rate ask for, such as `{"64kbit": 8_000_000}`.
        count: how many clients of each rate.
        queue_bytes: how much waits before each link.
    """
    rates = [rate for rate in contents for _ in range(count)]
    content = hashlib.shake_128(b"content").digest(max(contents.values()))
    app = App()
    app.get("/memory/{size:int}")(lambda request, size: content[:size])
    with TemporaryDirectory() as folder, Links(rates, queue_bytes) as links:
        for size in contents.values():
            Path(folder, str(size)).write_bytes(content[:size])
        app.mount("/files/", partial(StaticFiles, folder, prefix="/files/", sendfile_bytes_min=65536))
        config = Config(host="0.0.0.0", port=0, threads=2, backend=backend, limits=limits or Limits())
        server = Server(config, app)
        links.inside(SERVER, server.start)
        try:
            readers = [
                _begin(links, server.address[1], number, rate, content[: contents[rate]])
                for number, rate in enumerate(rates)
            ]
            _read_all(readers, max(_seconds(rate, size) for rate, size in contents.items()))
            timeouts = dict(server.reactors[0].context.counters.timeouts)
            for reactor in server.reactors[1:]:
                timeouts.update(reactor.context.counters.timeouts)
        finally:
            server.abort()
    return Outcome(readers, timeouts)


def _begin(links: Links, port: int, number: int, rate: str, content: bytes) -> Reader:
    sock = links.connect(number, port)
    target = TARGETS[number % 2] + str(len(content))
    sock.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    sock.setblocking(False)
    return Reader(sock, rate, hashlib.sha256(content).digest())


def _seconds(rate: str, count: int) -> float:
    return count * 8 / (int(rate.removesuffix("kbit")) * 1000) * SHARE_MAX + EXTRA_SECONDS


def _read_all(readers: list[Reader], seconds: float) -> None:
    begun = time.monotonic()
    with selectors.DefaultSelector() as selector:
        for reader in readers:
            selector.register(reader.sock, selectors.EVENT_READ, reader)
        while selector.get_map() and time.monotonic() < begun + seconds:
            for key, _ in selector.select(1.0):
                if not key.data.take():
                    key.data.seconds = time.monotonic() - begun
                    selector.unregister(key.fileobj)
        for key in selector.get_map().values():
            key.data.ended = "it was still coming"
            key.data.seconds = time.monotonic() - begun
    for reader in readers:
        reader.sock.close()
