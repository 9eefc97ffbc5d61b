"""Refusals arrive: at clients that write their whole request before they read, too."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mreactor import App, Config, Limits, Server
from mreactor.http.request import Request
from mreactor.server.server import OVERLOAD_ALERT
from tests.support.certificates import server_pair
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


@pytest.mark.parametrize("limit", ["connections_max", "connections_per_address_max"])
def test_what_a_client_is_told_depends_on_its_listener(kind: str, limit: str, tmp_path: Path) -> None:
    """In a server with TLS too, a client of a plain listener reads HTTP, and not an alert."""
    path = str(tmp_path / "a.sock")
    pair = server_pair()
    config = Config(
        bind=("127.0.0.1:0", "plain:127.0.0.1:0", f"unix:{path}"),
        threads=1,
        backend=kind,
        tls_cert=(str(pair.certificate),),
        tls_key=(str(pair.key),),
        limits=Limits(**{limit: 1}),
    )
    with ExitStack() as stack:
        server = Server(config, App())
        server.start()
        stack.callback(server.abort)
        secure, plain, _ = server.addresses
        client = stack.enter_context(socket.create_connection(plain, PATIENCE_SECONDS))
        client.sendall(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(4096)
        for _ in range(3):
            assert refusal(socket.AF_INET, secure) == OVERLOAD_ALERT
            assert refusal(socket.AF_INET, plain).startswith(b"HTTP/1.1 503 ")
            if limit == "connections_max":
                # The clients of a unix socket have no address.
                assert refusal(socket.AF_UNIX, path).startswith(b"HTTP/1.1 503 ")


def test_what_a_client_behind_a_balancer_is_told_depends_on_its_listener(kind: str) -> None:
    pair = server_pair()
    config = Config(
        bind=("127.0.0.1:0", "plain:127.0.0.1:0"),
        threads=1,
        backend=kind,
        tls_cert=(str(pair.certificate),),
        tls_key=(str(pair.key),),
        trusted_proxies=("127.0.0.0/8",),
        proxy_protocol=True,
        limits=Limits(connections_per_address_max=1),
    )
    header = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
    with ExitStack() as stack:
        server = Server(config, App())
        server.start()
        stack.callback(server.abort)
        secure, plain = server.addresses
        client = stack.enter_context(socket.create_connection(plain, PATIENCE_SECONDS))
        client.sendall(header + b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(4096)
        assert refusal(socket.AF_INET, secure, header) == OVERLOAD_ALERT
        assert refusal(socket.AF_INET, plain, header).startswith(b"HTTP/1.1 503 ")


def refusal(family: int, address: Any, sent: bytes = b"") -> bytes:
    """Return all that a server says to a client."""
    with socket.socket(family) as client:
        client.settimeout(PATIENCE_SECONDS)
        client.connect(address)
        client.sendall(sent)
        received = b""
        while data := client.recv(4096):
            received += data
        return received


def test_a_peer_that_sends_on_and_on_is_reset(kind: str) -> None:
    """A connection that is only closed leaves the peer waiting for its window to open."""
    with ExitStack() as stack:
        server = start(kind, Limits(body_bytes_max=1000, linger_bytes_max=1 * MIB))
        stack.callback(server.abort)
        client = stack.enter_context(socket.create_connection(server.address, PATIENCE_SECONDS))
        client.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            client.sendall(bytes(256 * MIB))
