"""Pauses: whoever was in time is served, however long the process or a reactor stood still."""

import signal
import socket
import time
from pathlib import Path

import pytest

from mreactor import App, Config, Limits, Server
from tests.support.drivers import SOCKET_KINDS, missing
from tests.support.processes import start

PAUSE_SECONDS = 3.0
LIMITS = Limits(head_seconds=2.0, body_grace_seconds=2.0, write_stall_seconds=2.0)
UPLOAD = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n0123456789"
CLIENTS = 40


def make_app() -> App:
    app = App()

    @app.get("/long")
    def long(request: object) -> str:
        time.sleep(PAUSE_SECONDS)
        return "done"

    app.post("/echo")(lambda request: request.body)
    app.get("/big")(lambda request: b"x" * 30_000_000)
    return app


@pytest.fixture(params=SOCKET_KINDS)
def address(request: pytest.FixtureRequest) -> object:
    if reason := missing(request.param):
        pytest.skip(reason)
    server = Server(Config(port=0, threads=1, backend=request.param, limits=LIMITS), make_app())
    server.start()
    yield server.address
    server.abort()


def begin(address: tuple[str, int], first: bytes) -> socket.socket:
    client = socket.create_connection(address, 20)
    client.sendall(first)
    return client


def block(address: tuple[str, int]) -> socket.socket:
    """Have the only reactor run a handler that takes longer than the limits."""
    client = begin(address, b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
    time.sleep(0.2)
    return client


def test_a_body_and_a_head_that_were_in_time(address: tuple[str, int]) -> None:
    uploads = [begin(address, UPLOAD) for _ in range(CLIENTS)]
    heads = [begin(address, UPLOAD[:30]) for _ in range(CLIENTS)]
    time.sleep(0.3)
    with block(address):
        for upload in uploads:
            upload.sendall(b"0123456789")
        for head in heads:
            head.sendall(UPLOAD[30:] + b"0123456789")
        for client in uploads + heads:
            assert client.recv(99).startswith(b"HTTP/1.1 200"), "it was in time"
            client.close()


def test_a_steady_reader(address: tuple[str, int]) -> None:
    with begin(address, b"GET /big HTTP/1.0\r\n\r\n") as reader:
        received = len(reader.recv(1000))
        time.sleep(0.3)
        with block(address):
            while data := reader.recv(1 << 20):
                received += len(data)
        assert received > 30_000_000


def test_one_that_was_late_is_cut_off_after_a_pause(address: tuple[str, int]) -> None:
    with begin(address, UPLOAD) as late:
        time.sleep(0.3)
        with block(address) as blocked:
            blocked.recv(99)
            assert late.recv(99).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("kind", SOCKET_KINDS)
def test_a_process_that_is_stopped_and_continued(kind: str, tmp_path: Path) -> None:
    if reason := missing(kind):
        pytest.skip(reason)
    options = ("--backend", kind, "--threads", "1", "--body-grace-seconds", "2")
    with start(tmp_path, *options) as server, begin(server.address, UPLOAD) as client:
        time.sleep(0.3)
        server.send_signal(signal.SIGSTOP)
        client.sendall(b"0123456789")
        time.sleep(PAUSE_SECONDS)
        server.send_signal(signal.SIGCONT)
        assert client.recv(99).startswith(b"HTTP/1.1 200")
