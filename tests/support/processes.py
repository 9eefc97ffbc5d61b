"""The server as its users run it: a process of its own, started by the command line."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.drivers import PATIENCE_SECONDS, SocketClient

ROOT = Path(__file__).resolve().parents[2]
LISTENING = re.compile(r"listening on https?://(\[[^]]+\]|[^:]+):([0-9]+)")
# Run by the interpreter before the command line that follows: a bound on open files, with which the process begins.
LIMITED = (
    "-c",
    "import os, resource as r, sys; n = int(os.environ['TEST_DESCRIPTORS']); r.setrlimit(r.RLIMIT_NOFILE, (n, n));"
    " os.execv(sys.executable, [sys.executable, *sys.argv[1:]])",
)
OURS = ("WORKER_BACKEND", "HTTP_SERVER_LOG", "HTTP_SERVER_LOGS", "PYTHON_GIL")


def environment(**more: str) -> dict[str, str]:
    """This process's environment, without what changes the server, but for `more`."""
    kept = {name: value for name, value in os.environ.items() if name not in OURS}
    return {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "100", **more}


def run(*arguments: str, cwd: Path = ROOT, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command line that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "mreactor", *arguments],
        cwd=cwd,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


class ServerProcess:
    """A running server, on a port of the kernel's choice unless the arguments say where.

    Attributes:
        pid: its process.
        address: host and port.
    """

    def __init__(self, folder: Path, arguments: Sequence[str], cwd: Path, more: dict[str, str]) -> None:
        self._out, self._err = folder / "stdout", folder / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    *(LIMITED if "TEST_DESCRIPTORS" in more else ()),
                    "-m",
                    "mreactor",
                    *(() if {"--bind", "--config"} & set(arguments) else ("--port", "0")),
                    *arguments,
                ],
                cwd=cwd,
                env=environment(**more),
                stdout=out,
                stderr=err,
            )
        self.pid = self._process.pid
        self.wait_until_said(LISTENING, self._out)
        found = LISTENING.search(self.stdout)
        assert found is not None, "it was waited for"
        self.address = (found[1].strip("[]"), int(found[2]))

    @property
    def stdout(self) -> str:
        return self._out.read_text()

    @property
    def stderr(self) -> str:
        return self._err.read_text()

    def connect(self) -> SocketClient:
        return SocketClient(self.address)

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """The exit code, once it has ended."""
        return self._process.wait(PATIENCE_SECONDS)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it; the exit code."""
        self.send_signal(number)
        return self.wait()

    def wait_until_said(self, pattern: re.Pattern[str] | str, where: Path | None = None) -> re.Match[str]:
        """Wait for a line in its log. Return what has matched."""
        end = time.monotonic() + PATIENCE_SECONDS
        where = where or self._err
        while (found := re.search(pattern, where.read_text())) is None:
            assert self._process.poll() is None, f"it has ended: {self.stderr}"
            assert time.monotonic() < end, f"it does not say {pattern!r}: {self.stderr}"
            time.sleep(0.01)
        return found

    def count_descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def kill(self) -> None:
        """End it, if it has not ended."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(PATIENCE_SECONDS)


@contextlib.contextmanager
def start(folder: Path, *arguments: str, cwd: Path = ROOT, **more: str) -> Iterator[ServerProcess]:
    """Start a server; its output goes into a folder. It is killed in the end, unless it has ended."""
    server = ServerProcess(folder, arguments, cwd, more)
    try:
        yield server
    finally:
        server.kill()


def ask(server: ServerProcess, data: bytes) -> tuple[int, str, str]:
    """Send a request on a new connection; return status, content type and content of the response."""
    with server.connect() as client:
        response = client.ask(data)
    return response.status, response.headers.get("content-type", ""), response.text
