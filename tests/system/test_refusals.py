"""Refusals arrive: at clients that write their whole request before they read, too."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from mreactor import App, Config, Limits, Server
from mreactor.http.request import Request
from tests.support.drivers import PATIENCE_SECONDS, SOCKET_KINDS, missing

MIB = 1 << 20


@pytest.fixture(params=SOCKET_KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    if reason := missing(request.param):
        pytest.skip(reason)
    return str(request.param)


def start(kind: str, limits: Limits) -> Server:
    app = App()

    @app.post("/echo")
    def echo(request: Request) -> bytes:
        return request.body

    server = Server(Config(port=0, threads=1, backend=kind, limits=limits), app)
    server.start()
    return server


@pytest.fixture
def server(kind: str) -> Iterator[Server]:
    server = start(kind, Limits())
    yield server
    server.abort()


@pytest.fixture
def full_server(kind: str) -> Iterator[Server]:
    with ExitStack() as stack:
        server = start(kind, Limits(connections_max=3))
        stack.callback(server.abort)
        for _ in range(3):
            client = stack.enter_context(socket.create_connection(server.address, PATIENCE_SECONDS))
            client.sendall(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(4096)
        yield server


def post(server: Server, size: int) -> int:
    connection = http.client.HTTPConnection(*server.address, timeout=PATIENCE_SECONDS)
    try:
        connection.connect()
        connection.sock.settimeout(PATIENCE_SECONDS)
        connection.request("POST", "/echo", bytes(size))
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


@pytest.mark.parametrize("size", [17, 20, 64])
def test_a_body_that_is_too_large_gets_413(server: Server, size: int) -> None:
    assert [post(server, size * MIB) for _ in range(3)] == [413] * 3


@pytest.mark.parametrize("size", [0, 1000, MIB, 8 * MIB])
def test_a_full_server_says_so(full_server: Server, size: int) -> None:
    assert [post(full_server, size) for _ in range(5)] == [503] * 5


def test_an_address_with_too_many_connections_is_told_so(kind: str) -> None:
    with ExitStack() as stack:
        server = start(kind, Limits(connections_per_address_max=1))
        stack.callback(server.abort)
        client = stack.enter_context(socket.create_connection(server.address, PATIENCE_SECONDS))
        client.sendall(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(4096)
        assert [post(server, MIB) for _ in range(5)] == [503] * 5


def test_a_peer_that_sends_on_and_on_is_reset(kind: str) -> None:
    """A connection that is only closed leaves the peer waiting for its window to open."""
    with ExitStack() as stack:
        server = start(kind, Limits(body_bytes_max=1000, linger_bytes_max=1 * MIB))
        stack.callback(server.abort)
        client = stack.enter_context(socket.create_connection(server.address, PATIENCE_SECONDS))
        client.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            client.sendall(bytes(256 * MIB))
