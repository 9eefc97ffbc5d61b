"""The server as a child process, and what can be seen of it from outside."""

import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.certificates import server_pair

from .clients import Address, TlsAddress, open_connection

ROOT = Path(__file__).resolve().parents[2]
LISTENING = re.compile(rb"listening on http(s?)://([0-9.]+):([0-9]+)")
START_SECONDS = 60.0
STOP_SECONDS = 60.0
# Handlers of the unruly application that fail on purpose.
EXPECTED = ("GET /fails/", "GET /cut/")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Sight:
    """What a process holds at a moment: resident bytes, open descriptors, threads."""

    resident: int
    descriptors: int
    threads: int

    def __str__(self) -> str:
        return f"{self.resident / 1e6:.1f} MB resident, {self.descriptors} descriptors, {self.threads} threads"


class Server:
    """A running server. Its log goes into a file without a name."""

    def __init__(self, process: subprocess.Popen[bytes], log: "tempfile._TemporaryFileWrapper[bytes]") -> None:
        self._process = process
        self._log = log
        self.pid = process.pid
        self.address = self._await_address()
        self._await_threads()

    def look(self) -> Sight:
        """See what it holds now."""
        folder = Path("/proc", str(self.pid))
        resident = int((folder / "statm").read_text().split()[1]) * PAGE_BYTES
        return Sight(resident, len(os.listdir(folder / "fd")), len(os.listdir(folder / "task")))

    def temporary_bytes(self) -> int:
        """How many bytes lie in its files without a name; its log, which is small, is one of them."""
        total = 0
        for path in Path("/proc", str(self.pid), "fd").iterdir():
            try:
                status = path.stat()
            except OSError:
                continue  # it has just been closed
            if stat.S_ISREG(status.st_mode) and not status.st_nlink:
                total += status.st_size
        return total

    def children(self) -> int:
        """How many processes it has started that have not ended."""
        return sum(len(path.read_text().split()) for path in Path("/proc", str(self.pid), "task").glob("*/children"))

    def terminate(self) -> None:
        """SIGTERM: it drains."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Wait for its end; returns the exit code."""
        return self._process.wait(STOP_SECONDS)

    def complaints(self) -> list[str]:
        """The lines of its log that tell of failures; what is meant to be there left out."""
        lines = self._read().decode(errors="replace").splitlines()
        serious = [line for line in lines if " ERROR " in line or " WARN " in line]
        expected = ("/broken", "more like it", "the GIL is on", *EXPECTED)
        return [line for line in serious if not any(part in line for part in expected)]

    def kill(self) -> None:
        """End the server. Idempotent."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(STOP_SECONDS)

    def _read(self) -> bytes:
        return os.pread(self._log.fileno(), os.fstat(self._log.fileno()).st_size, 0)

    def _await_address(self) -> Address:
        limit = time.monotonic() + START_SECONDS
        while (found := LISTENING.search(self._read())) is None:
            if self._process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"the server does not start: {self._read().decode()}")
            time.sleep(0.02)
        address = found[2].decode(), int(found[3])
        return TlsAddress(address) if found[1] else address

    def _await_threads(self) -> None:
        """Wait until the acceptor has all that it opens, as it has once it has accepted; and has but that."""
        with open_connection(self.address) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            sock.recv(4096)
            with_client = self.look().descriptors
        limit = time.monotonic() + START_SECONDS
        while self.look().descriptors >= with_client:
            if time.monotonic() > limit:
                raise RuntimeError("the server does not close a connection")
            time.sleep(0.001)


@contextmanager
def serving(
    backend: str,
    threads: int,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    app: str = "tests.soak.app:app",
) -> Iterator[Server]:
    """Start a server on a free port; it is killed in the end.

    Args:
        backend: one of the drivers' kinds, with TLS or without.
    """
    backend, _, tls = backend.partition("-")
    if tls:
        options = [*server_pair().options, *options]
    command = [sys.executable, "-m", "mreactor", app, "--port", "0", "--backend", backend]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*command, "--threads", str(threads), *options],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            yield Server(process, log)
        finally:
            process.kill()
            process.wait(STOP_SECONDS)
