"""A handler that forks: the child holds copies of every socket, and the parent's clients notice nothing."""

import contextlib
import os
import re
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import ServerProcess, start

APP = '''
import os, subprocess, time
from mreactor import App
from mreactor.net.reactor.client import Forks

app = App()

@app.get("/")
def ok(request):
    return "ok"

@app.get("/fork")
def fork(request):
    """As multiprocessing and ProcessPoolExecutor do by default on 3.13."""
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    return str(child)

@app.get("/spawn")
def spawn(request):
    """As `subprocess` does: the new program gets no sockets, so it is no reason to shut them."""
    child = subprocess.Popen(["sleep", "60"])
    return str(child.pid)

@app.get("/has-forked")
def has_forked(request):
    return str(Forks.happened)

def leave(how):
    child = os.fork()
    if child == 0:
        if how == "exit":
            raise SystemExit(0)
        if how == "error":
            raise RuntimeError("the child's")
        return "the child's"
    return f"the parent's {child}"

@app.get("/leaves/{how}")
def leaves(request, how):
    return leave(how)

@app.get("/leaves/blocking/{how}", blocking=True)
def leaves_blocking(request, how):
    return leave(how)

@app.get("/leaves/part/{how}")
def leaves_part(request, how):
    yield leave(how)

@app.get("/ended/{child:int}")
def ended(request, child):
    return str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

@app.get("/account", blocking=True)
def account(request):
    time.sleep(1)
    return "a secret"
'''
BACKENDS = ("epoll", "io_uring")
GET = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"


class Forked:
    """A server whose handler can fork, and the children that live meanwhile."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.children: list[int] = []

    def connect(self) -> socket.socket:
        """Connect, and wait until the reactor has met the client."""
        client = socket.create_connection(self.server.address, 10)
        self.ask(client, b"/")
        return client

    def ask(self, client: socket.socket, path: bytes) -> bytes:
        client.sendall(GET % path)
        response = client.recv(9999)
        assert response.startswith(b"HTTP/1.1 200"), response
        return response.rpartition(b"\r\n\r\n")[2]

    def fork(self) -> None:
        with self.connect() as client:
            self.children.append(int(self.ask(client, b"/fork")))

    def spawn(self) -> None:
        with self.connect() as client:
            self.children.append(int(self.ask(client, b"/spawn")))

    def end_children(self) -> None:
        for child in self.children:
            os.kill(child, signal.SIGKILL)


@pytest.fixture(params=BACKENDS)
def forked(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Forked]:
    (tmp_path / "forking.py").write_text(APP)
    with start(tmp_path, "--backend", request.param, "--threads", "2", "forking:app", cwd=tmp_path) as server:
        kit = Forked(server)
        try:
            yield kit
        finally:
            kit.end_children()


def seconds_to_end(client: socket.socket) -> float:
    began = time.monotonic()
    while client.recv(9999):
        pass
    return time.monotonic() - began


def test_a_response_ends_although_a_child_holds_the_socket(forked: Forked) -> None:
    with forked.connect() as old, forked.connect() as half_closed:
        forked.fork()
        old.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert seconds_to_end(old) < 5
        half_closed.sendall(GET % b"/")
        half_closed.shutdown(socket.SHUT_WR)
        assert seconds_to_end(half_closed) < 5


def test_no_client_gets_the_response_of_another(forked: Forked) -> None:
    """The child's copy keeps a closed socket in the epoll; its number belongs to another client then."""
    first = forked.connect()
    forked.fork()
    with forked.connect():
        first.shutdown(socket.SHUT_WR)
        assert first.recv(99) == b""
        second = forked.connect()
        second.sendall(GET % b"/account")
        first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        first.close()
        time.sleep(0.3)
        with socket.create_connection(forked.server.address, 2) as third:
            third.settimeout(2)
            assert second.recv(9999).endswith(b"a secret")
            with pytest.raises(TimeoutError):
                third.recv(9999)
        second.close()


def test_the_address_is_free_after_the_end(forked: Forked) -> None:
    forked.fork()
    assert forked.server.stop() == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(forked.server.address, 5)
    listener = socket.create_server(forked.server.address)
    listener.close()


def test_a_process_that_only_starts_programs_need_not_shut_its_sockets(forked: Forked) -> None:
    with forked.connect() as old, forked.connect() as other:
        forked.spawn()
        assert forked.ask(other, b"/has-forked") == b"False"
        old.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert seconds_to_end(old) < 5
        forked.fork()
        assert forked.ask(other, b"/has-forked") == b"True"


@pytest.mark.parametrize("how", ["exit", "error", "return"])
@pytest.mark.parametrize("where", ["", "blocking/", "part/"])
def test_a_child_that_comes_back_from_a_handler_ends(forked: Forked, where: str, how: str) -> None:
    """It would give a second response, and take the next requests of the parent's clients."""
    others = [forked.connect() for _ in range(4)]
    with forked.connect() as client:
        client.sendall(GET % f"/leaves/{where}{how}".encode())
        received = b""
        while b"the parent's " not in received:
            data = client.recv(9999)
            assert data, received
            received += data
        client.settimeout(0.1)
        with contextlib.suppress(TimeoutError):
            received += client.recv(9999)
        client.settimeout(10)
        assert received.count(b"HTTP/1.1 ") == 1, received
        assert b"the child's" not in received
        child = re.search(rb"the parent's (\d+)", received)
        assert child is not None
        assert forked.ask(client, b"/ended/" + child[1]) == b"0"
    for other in others:
        for _ in range(3):
            assert forked.ask(other, b"/") == b"ok"
        other.close()
    assert "ERROR" not in forked.server.stderr
