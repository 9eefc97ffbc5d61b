"""A form with large files, streamed from a client that holds none of them: the server's memory must not grow."""

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.support.responses import read_response

from .clients import Address, open_connection
from .server import Server

FILES = 10
PIECE_BYTES = 1 << 20
LOOK_SECONDS = 0.01
END_SECONDS = 60.0
GROWTH_MAX = 8 << 20
# Small files, and the server has imported and allocated what a form takes.
WARM_UP_BYTES = 1_000_000
BOUNDARY = b"a-form-of-many-files"
TAIL = b"\r\n--%b--\r\n" % BOUNDARY


@dataclass(slots=True)
class Sent:
    """What came of a form.

    Attributes:
        size: the bytes of each file.
        wrong: the files whose length or hash the server has not found as it was sent.
        before, peak: the server's resident bytes.
        disk: the most bytes of temporary files that it held.
        descriptors: those that it has more afterwards than before.
    """

    size: int
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)
    before: int = 0
    peak: int = 0
    disk: int = 0
    descriptors: int = 0

    def __str__(self) -> str:
        return (
            f"{FILES} files of {self.size / 1e6:.0f} MB in {self.seconds:.1f} s; resident"
            f" {self.before / 2**20:.1f} MiB before, {self.peak / 2**20:.1f} at the peak;"
            f" {self.disk / 1e6:.0f} MB of temporary files at the peak"
        )

    def faults(self) -> list[str]:
        """What is not as it must be, for people."""
        found = [f"the files {', '.join(self.wrong)} have not arrived as they were sent"] * bool(self.wrong)
        if self.peak - self.before > GROWTH_MAX:
            found.append(f"memory has grown by {(self.peak - self.before) / 2**20:.1f} MiB")
        if self.descriptors > 0:
            found.append(f"{self.descriptors} descriptors are left open")
        return found


def send_forms(server: Server, size: int) -> Sent:
    """Send a form with files of `size` bytes to `/form` of the soak's application, which hashes them."""
    _send(server.address, WARM_UP_BYTES)
    result = Sent(size)
    start = server.look()
    result.before = result.peak = start.resident
    is_over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(server, result, is_over), name="watcher")
    watcher.start()
    begun = time.monotonic()
    try:
        result.wrong = _send(server.address, size)
    finally:
        result.seconds = time.monotonic() - begun
        is_over.set()
        watcher.join()
    limit = time.monotonic() + END_SECONDS
    while (left := server.look().descriptors - start.descriptors) > 0 and time.monotonic() < limit:
        time.sleep(0.05)
    result.descriptors = left
    return result


def _send(address: Address, size: int) -> list[str]:
    """Stream a form; return the names of the files that have not arrived as they were sent."""
    heads = {f"file{number}": _head(number) for number in range(FILES)}
    length = sum(len(head) + size for head in heads.values()) + len(TAIL)
    sent = {}
    with open_connection(address) as sock:
        sock.sendall(
            b"POST /form HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n"
            b"Content-Type: multipart/form-data; boundary=%b\r\n\r\n" % (length, BOUNDARY)
        )
        for number, (name, head) in enumerate(heads.items()):
            sock.sendall(head)
            digest = hashlib.sha256()
            for piece in _content(number, size):
                sock.sendall(piece)
                digest.update(piece)
            sent[name] = [size, digest.hexdigest()]
        sock.sendall(TAIL)
        received = b""
        while data := sock.recv(65536):
            received += data
    read = read_response(received)
    assert read is not None, received[:500]
    assert read[0].status == 200, received[:500]
    found = json.loads(read[0].body)
    return [name for name in sent if found.get(name) != sent[name]]


def _head(number: int) -> bytes:
    fields = b'Content-Disposition: form-data; name="file%d"; filename="%d.bin"' % (number, number)
    return b"%b--%b\r\n%b\r\n\r\n" % (b"\r\n" if number else b"", BOUNDARY, fields)


def _content(number: int, size: int) -> Iterator[bytes]:
    """Yield the content of a file in pieces, none like another."""
    block = os.urandom(PIECE_BYTES - 16)
    for start in range(0, size, PIECE_BYTES):
        yield (b"%08d%08d" % (number, start // PIECE_BYTES) + block)[: size - start]


def _watch(server: Server, result: Sent, is_over: threading.Event) -> None:
    while not is_over.wait(LOOK_SECONDS):
        result.peak = max(result.peak, server.look().resident)
        result.disk = max(result.disk, server.temporary_bytes())
