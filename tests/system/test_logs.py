"""The logs of a server process: streams that take nothing or are gone, and applications that touch logging."""

import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.support.drivers import PATIENCE_SECONDS, SOCKET_KINDS, SocketClient, missing
from tests.support.processes import LISTENING, ServerProcess, ask, environment, run, start
from tests.support.vectors import get, post

pytestmark = pytest.mark.slow

FAILING = """
import logging.config
from mreactor import App

app = App()

@app.get("/")
def ok(request):
    return "ok"

@app.get("/oops")
def oops(request):
    1 // 0

@app.post("/command")
def command(request):
    raise ValueError(f"unknown command {request.body.decode()}")
"""


@pytest.fixture(params=SOCKET_KINDS)
def backend(request: pytest.FixtureRequest) -> str:
    if reason := missing(request.param):
        pytest.skip(reason)
    return str(request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "failing.py").write_text(FAILING)
    return tmp_path


class Stalled:
    """A server whose standard error goes to a file descriptor that takes little or nothing.

    Attributes:
        address: where it listens.
    """

    def __init__(self, folder: Path, error: int, *arguments: str) -> None:
        command = [sys.executable, "-m", "mreactor", "--port", "0", "--threads", "2", *arguments, "failing:app"]
        self._process = subprocess.Popen(
            command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=error, text=True
        )
        assert self._process.stdout is not None
        found = LISTENING.search(self._process.stdout.readline())
        assert found is not None, "it is printed before anything is logged"
        self.address = (found[1], int(found[2]))

    def ask(self, target: str) -> int:
        """Return the status of the response."""
        with SocketClient(self.address) as client:
            return client.ask(get(target)).status

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """The exit code, once it has ended."""
        return self._process.wait(PATIENCE_SECONDS)

    def stop(self) -> int:
        """Send SIGTERM; return the exit code."""
        self.terminate()
        return self.wait()

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(PATIENCE_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def full_pipe() -> Iterator[int]:
    """The writing end of a pipe that is full, and stays so."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writer, b"x" * 4096)
    yield writer
    os.close(reader)
    os.close(writer)


def test_a_full_standard_error_stops_no_reactor_and_no_signal(folder: Path, backend: str, full_pipe: int) -> None:
    server = Stalled(folder, full_pipe, "--backend", backend)
    try:
        assert [server.ask("/oops") for _ in range(50)] == [500] * 50
        assert [server.ask("/") for _ in range(8)] == [200] * 8
        assert server.stop() == 0
    finally:
        server.end()


def test_the_access_log_in_the_same_pipe(folder: Path, backend: str, full_pipe: int) -> None:
    """The shell's `2>&1`, as in containers: the access log alone fills the pipe."""
    arguments = ["--backend", backend, "--access-log", "combined:/dev/stderr"]
    server = Stalled(folder, full_pipe, *arguments)
    try:
        assert [server.ask("/") for _ in range(100)] == [200] * 100
        assert server.stop() == 0
    finally:
        server.end()


def test_a_stopped_terminal_stops_no_reactor_and_no_signal(folder: Path, backend: str) -> None:
    """What Ctrl-S does."""
    controller, terminal = pty.openpty()
    termios.tcflow(terminal, termios.TCOOFF)
    server = Stalled(folder, terminal, "--backend", backend)
    try:
        assert [server.ask("/oops") for _ in range(5)] == [500] * 5
        assert server.stop() == 0
    finally:
        server.end()
        os.close(controller)
        os.close(terminal)


def test_lines_that_wait_are_written_when_the_pipe_is_read_again(folder: Path) -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    server = Stalled(folder, writer)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as log:
        try:
            assert [server.ask("/oops") for _ in range(30)] == [500] * 30
            server.terminate()
            lines = log.read().splitlines()
            assert server.wait() == 0
        finally:
            server.end()
    assert sum(line.endswith("the handler of GET /oops failed") for line in lines) >= 20
    # The count of the lines that were held back may follow.
    assert any(line.endswith(" stopped") for line in lines[-2:])


def test_a_body_in_an_exception_neither_fills_the_log_nor_stops_the_reactor(folder: Path, backend: str) -> None:
    with start(folder, "--backend", backend, "--threads", "1", "failing:app", cwd=folder) as server:
        began = time.monotonic()
        assert ask(server, post("/command", b"\x01" * 8_000_000))[0] == 500
        assert time.monotonic() - began < PATIENCE_SECONDS / 4
        server.wait_until_said("characters left out")
        assert server.stop() == 0
        assert len(server.stderr) < 50_000
        assert server.stderr.endswith("stopped\n")


@pytest.mark.parametrize(
    "configure", ["dictConfig({'version': 1, 'root': {'level': 'INFO'}})", "fileConfig('logging.ini')"]
)
def test_an_application_that_configures_logging_does_not_silence_the_server(folder: Path, configure: str) -> None:
    (folder / "logging.ini").write_text(
        "[loggers]\nkeys=root\n[handlers]\nkeys=\n[formatters]\nkeys=\n[logger_root]\nlevel=INFO\nhandlers=\n"
    )
    (folder / "failing.py").write_text(FAILING + f"\nlogging.config.{configure}\n")
    with start(folder, "--threads", "1", "failing:app", cwd=folder) as server:
        assert ask(server, get("/oops"))[0] == 500
        server.wait_until_said("ZeroDivisionError")
        assert server.stop() == 0
        assert re.search(r"listening on http", server.stderr)
        assert server.stderr.endswith("stopped\n")


MOVING = """
import os
from mreactor import App

os.makedirs("first"), os.makedirs("second")
os.chdir("first")
app = App()

@app.get("/")
def ok(request):
    os.chdir("../second")
    return "ok"
"""


def test_the_access_log_stays_in_the_directory_of_the_start(tmp_path: Path) -> None:
    (tmp_path / "moving.py").write_text(MOVING)
    arguments = ("--threads", "1", "--access-log", "common:a.log", "moving:app")
    with start(tmp_path, *arguments, cwd=tmp_path) as server:
        assert ask(server, get("/"))[0] == 200
        server.wait_until_said("GET / HTTP/1.1", tmp_path / "a.log")
        (tmp_path / "a.log").rename(tmp_path / "a.log.1")
        server.send_signal(signal.SIGHUP)
        wait_for_file(server, tmp_path / "a.log")
        assert server.stop() == 0
    assert not list(tmp_path.glob("*/a.log"))
    assert (tmp_path / "a.log.1").read_text().count('"GET / HTTP/1.1" 200') == 1


FAILING_HALFWAY = """
from mreactor import App

app = App()

@app.get("/half")
def half(request):
    yield "12345"
    raise RuntimeError("gone")

@app.get("/long")
def long(request):
    return b"x" * 50_000_000
"""


def test_the_access_log_tells_what_was_cut_off(tmp_path: Path, backend: str) -> None:
    (tmp_path / "halfway.py").write_text(FAILING_HALFWAY)
    arguments = ("--backend", backend, "--threads", "1", "--access-log", "combined:a.log", "halfway:app")
    with start(tmp_path, *arguments, cwd=tmp_path) as server:
        with server.connect() as client:
            client.send(get("/half"))
            client.receive_rest()
        server.wait_until_said('"GET /half HTTP/1.1" 200 10 "-" "-" incomplete\n', tmp_path / "a.log")
        with SocketClient(server.address, window=4096) as client:
            client.send(get("/long"))
            client.receive_bytes(100_000)
            client.reset()
        server.wait_until_said("/long", tmp_path / "a.log")
        assert server.stop() == 0
    line = (tmp_path / "a.log").read_text().splitlines()[-1]
    sent = re.search(r'"GET /long HTTP/1.1" 200 (\d+) "-" "-" incomplete$', line)
    assert sent is not None, line
    assert 90_000 < int(sent[1]) < 50_000_000


def wait_for_file(server: ServerProcess, path: Path) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not path.exists():
        assert time.monotonic() < end, server.stderr
        time.sleep(0.01)


# Standard streams that are gone.


@pytest.mark.parametrize("output", ["/dev/full", "a pipe"])
def test_a_port_that_cannot_be_printed_is_in_the_log(folder: Path, output: str) -> None:
    if output == "a pipe":
        reader, out = os.pipe()
        os.close(reader)
    else:
        out = os.open(output, os.O_WRONLY)
    command = [sys.executable, "-m", "mreactor", "--port", "0", "--threads", "1", "failing:app"]
    with subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=out, stderr=subprocess.PIPE, text=True
    ) as process:
        os.close(out)
        assert process.stderr is not None
        try:
            found = LISTENING.search("".join(iter_until_listening(process.stderr)))
            assert found is not None
            with SocketClient((found[1], int(found[2]))) as client:
                assert client.ask(get("/")).status == 200
            process.send_signal(signal.SIGTERM)
            rest = process.stderr.read()
            assert process.wait(PATIENCE_SECONDS) == 0
        finally:
            process.kill()
    assert "Traceback" not in rest
    assert rest.endswith("stopped\n")


def iter_until_listening(log: IO[str]) -> Iterator[str]:
    """The lines of a log up to that with the address."""
    for line in log:
        yield line
        if LISTENING.search(line):
            return


def test_a_usage_error_to_a_full_standard_error_keeps_its_code() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "mreactor", "--port", "x"]
        ended = subprocess.run(command, env=environment(), stderr=full, timeout=PATIENCE_SECONDS, check=False)
    assert ended.returncode == 2
    assert run("--port", "x").returncode == 2
