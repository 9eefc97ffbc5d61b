"""One checkout as a server process: started, asked for its metrics, ended, and its access log read."""

import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

APP = Path(__file__).with_name("app.py")
START_SECONDS = 60.0
STOP_SECONDS = 60.0
QUIET_SECONDS = 20.0  # for the last connections to be closed
COUNTING_SECONDS = 1.5  # the reply cache adds its counts once a second; the admin listener has a short memory, too
FILES_TIME = 1_600_000_000  # in the past, so that a file may be cached at once
FILES = {"small.txt": b"small\n" * 20, "large.bin": bytes(range(256)) * 900, "index.html": b"<p>index\n"}

_LISTENING = re.compile(rb"http://([0-9.]+):([0-9]+)")
_SAMPLE = re.compile(r"^(mreactor_\w+)(?:\{(.*)\})? ([0-9.e+]+)$", re.MULTILINE)
_TIME = re.compile(r"\[[^]]*\]")
_OPEN = "mreactor_connections_open"
# Counters that follow from what clients send, whatever the time. These names are published. Cache hits depend on time:
# a cached response is good for the rest of its second. So do errors of kind "peer": the server notices a reset only
# where it reads or writes after it.
SENT = "mreactor_sent_bytes_total"
COUNTED = (
    "mreactor_requests_total",
    "mreactor_errors_total",
    "mreactor_timeouts_total",
    "mreactor_connections_accepted_total",
    "mreactor_connections_refused_total",
    "mreactor_received_bytes_total",
    SENT,
)

type Address = tuple[str, int]
type Metrics = dict[str, float]


class NotStarted(Exception):
    """A server that has ended, or says nothing; the text is what it wrote to its standard error."""


class Server:
    """A running server.

    Attributes:
        address: host and port of the server's listener.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", admin: Address, folder: Path) -> None:
        self._process = process
        self._admin = admin
        self._folder = folder
        self._terminated = False
        self.address = self._await_address()

    def metrics(self) -> Metrics:
        """Return the counters named in `COUNTED`, summed over reactors, once no connection is open."""
        limit = time.monotonic() + QUIET_SECONDS
        before: Metrics = {}
        while (metrics := self._read_metrics()) != before or metrics[_OPEN]:
            if time.monotonic() > limit:
                break
            before = metrics
            time.sleep(COUNTING_SECONDS)
        del metrics[_OPEN]
        return metrics

    def terminate(self) -> None:
        """Send SIGTERM: the server drains. A second call does nothing, since a second signal would cut it off."""
        if not self._terminated:
            self._terminated = True
            self._process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """End the server and return its exit code. Idempotent."""
        if self._process.poll() is None:
            self.terminate()
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def access_lines(self) -> Counter[str]:
        """Return the lines of the access log without their times. The server has stopped."""
        lines = (self._folder / "access.log").read_text("latin-1").splitlines()
        return Counter(_TIME.sub("[]", line, count=1) for line in lines)

    def _read_metrics(self) -> Metrics:
        with socket.create_connection(self._admin, START_SECONDS) as sock:
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")
            text = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
        return read_metrics(text)

    def _await_address(self) -> Address:
        limit = time.monotonic() + START_SECONDS
        while (found := _LISTENING.search((self._folder / "stdout").read_bytes())) is None:
            if self._process.poll() is not None or time.monotonic() > limit:
                raise NotStarted((self._folder / "stderr").read_text())
            time.sleep(0.02)
        return found[1].decode(), int(found[2])


def read_metrics(text: str) -> Metrics:
    """Read `COUNTED` and the number of open connections from `/metrics`, summed over reactors."""
    sums: Metrics = {_OPEN: 0.0}
    for name, labels, value in _SAMPLE.findall(text):
        if (name in COUNTED or name == _OPEN) and 'kind="peer"' not in labels:
            kept = ",".join(label for label in labels.split(",") if label and not label.startswith("reactor="))
            key = f"{name}{{{kept}}}" if kept else name
            sums[key] = sums.get(key, 0.0) + float(value)
    return sums


def make_files(folder: Path) -> Path:
    """Make the files that both servers serve: a large file's ETag holds its time."""
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
        os.utime(folder / name, (FILES_TIME, FILES_TIME))
    return folder


def read_etags(folder: Path) -> tuple[bytes, ...]:
    """Return the ETags that the served files are known to have: a small one's digest, a large one's size and time."""
    digest = hashlib.blake2b(FILES["small.txt"], digest_size=12).hexdigest().encode()
    status = (folder / "large.bin").stat()
    return b'"%b"' % digest, b'"%x-%x"' % (status.st_size, status.st_mtime_ns)


@contextmanager
def serve(
    checkout: Path, folder: Path, files: Path, backend: str, options: Sequence[str], app: Path = APP
) -> Iterator[Server]:
    """Start a checkout with the application under play, on ports that the kernel chooses. It is ended in the end.

    Args:
        checkout: a tree of mreactor.
        folder: a fresh folder for the process to run in.
        files: what `make_files` has made.
        options: of the command line; the last names the application, such as `served:app`.
        app: the file of the application.
    """
    folder.mkdir(parents=True)
    shutil.copy(app, folder / "served.py")
    (folder / "files").symlink_to(files)
    admin = ("127.0.0.1", choose_port())
    command = [sys.executable, "-m", "mreactor", "--port", "0", "--threads", "1", "--backend", backend]
    command += ["--log-level", "off", "--access-log", "common:access.log"]
    command += ["--admin", "{}:{}".format(*admin), *options]
    with open(folder / "stdout", "wb") as stdout, open(folder / "stderr", "wb") as stderr:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=clean_environment() | {"PYTHONPATH": str(checkout)},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
    try:
        server = Server(process, admin, folder)
        check_origin(folder, checkout)
        yield server
        server.stop()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def clean_environment() -> dict[str, str]:
    """Return the environment without what would change the servers."""
    return {
        name: value
        for name, value in os.environ.items()
        if name != "WORKER_BACKEND" and not name.startswith(("HTTP_SERVER_", "PYTHON"))
    }


def check_origin(folder: Path, checkout: Path) -> None:
    """Make sure that the server runs the checkout's package, and not one that is installed."""
    origin = Path((folder / "origin").read_text())
    if not origin.resolve().is_relative_to(checkout.resolve()):
        raise RuntimeError(f"the server runs {origin}, which is not in {checkout}")


def choose_port() -> int:
    """Return a port of loopback that is free at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port
