"""A balancer's connection until its PROXY header is complete, without I/O."""

import pytest

from mreactor.addresses import TrustedProxies
from mreactor.protocol import CLOSED, REPLACED
from mreactor.proxy import ProxyPreface
from mreactor.proxy.preface import EXPECTING, PrefaceConnection
from tests.proxy.test_header import BAD, GOOD, TCP4, version_2
from tests.support.vectors import get, make_context

PROXY = ("10.0.0.1", 4000)
CLIENT = ("192.0.2.1", 5678)
HEADER = b"PROXY TCP4 192.0.2.1 198.51.100.7 5678 80\r\n"
SECONDS = 3.0


def connect() -> PrefaceConnection:
    preface = ProxyPreface(make_context(), TrustedProxies(["10.0.0.0/8"]), SECONDS)
    connection = preface.connect(PROXY)
    assert isinstance(connection, PrefaceConnection)
    return connection


@pytest.mark.parametrize("peer", [("192.0.2.9", 1), ("", 0), ("::1", 1, 0, 0)])
def test_others_begin_without_a_header(peer: tuple[object, ...]) -> None:
    preface = ProxyPreface(make_context(), TrustedProxies(["10.0.0.0/8"]), SECONDS)
    connection = preface.connect(peer)
    assert not isinstance(connection, PrefaceConnection)
    assert connection.peer == peer
    # A forged header is a malformed request.
    connection.receive_data(HEADER + get("/"))
    assert bytes(connection.data_to_send()).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("header", [HEADER, version_2(0x21, 0x11, TCP4)])
@pytest.mark.parametrize("rest", [b"", get("/"), get("/")[:7]])
def test_the_client_s_connection_takes_its_place(header: bytes, rest: bytes) -> None:
    for at in range(len(header)):
        connection = connect()
        assert connection.peer == PROXY
        for piece in (header[:at], header[at:] + rest):
            if piece:
                assert connection.state == EXPECTING
                assert connection.wants_read
                assert connection.receive_data(piece) is None
                assert connection.data_to_send() == b""
        assert connection.state == REPLACED
        assert not connection.wants_read
        assert connection.successor is not None
        assert connection.successor.peer == CLIENT
        assert (connection.take_rest(), connection.take_rest()) == (rest, b"")


def test_a_context_with_two_kinds_of_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    context = make_context()
    preface = ProxyPreface(context, TrustedProxies(["10.0.0.0/8"]), SECONDS)
    # It has one kind.
    assert preface.connect_plain(("192.0.2.9", 1)).peer == ("192.0.2.9", 1)
    monkeypatch.setattr(type(context), "connect_plain", lambda context, peer: ("plain", peer), raising=False)
    assert preface.connect_plain(("192.0.2.9", 1)) == ("plain", ("192.0.2.9", 1))
    connection = preface.connect_plain(PROXY)
    assert isinstance(connection, PrefaceConnection)
    connection.receive_data(HEADER)
    assert connection.successor == ("plain", CLIENT)


def test_clients_that_are_redirected(monkeypatch: pytest.MonkeyPatch) -> None:
    context = make_context()
    preface = ProxyPreface(context, TrustedProxies(["10.0.0.0/8"]), SECONDS)
    assert preface.connect_redirected(("192.0.2.9", 1)).peer == ("192.0.2.9", 1)
    monkeypatch.setattr(type(context), "connect_redirected", lambda context, peer: ("there", peer), raising=False)
    assert preface.connect_redirected(("192.0.2.9", 1)) == ("there", ("192.0.2.9", 1))
    connection = preface.connect_redirected(PROXY)
    assert isinstance(connection, PrefaceConnection)
    connection.receive_data(HEADER)
    assert connection.successor == ("there", CLIENT)


def test_byte_by_byte() -> None:
    connection = connect()
    for at in range(len(HEADER)):
        assert connection.state == EXPECTING
        connection.receive_data(HEADER[at : at + 1])
    assert connection.state == REPLACED


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in BAD])
def test_a_wrong_header_ends_it_without_an_answer(data: bytes) -> None:
    connection = connect()
    for at in range(len(data)):
        if connection.state == EXPECTING:
            connection.receive_data(data[at : at + 1])
    assert connection.state == CLOSED
    assert connection.data_to_send() == b""
    assert connection._context.counters.errors == {"proxy": 1}


@pytest.mark.parametrize(("data", "header"), [pytest.param(*rest, id=name) for name, *rest in GOOD])
def test_a_header_without_an_address_keeps_that_of_the_connection(data: bytes, header: object) -> None:
    connection = connect()
    connection.receive_data(data)
    assert connection.successor is not None
    assert connection.successor.peer == (header.peer or PROXY)  # type: ignore[attr-defined]


def test_a_header_that_takes_too_long() -> None:
    connection = connect()
    context = connection._context
    connection.receive_data(HEADER[:10])
    connection.handle_timeout(context.now + SECONDS - 0.1)
    assert connection.state == EXPECTING
    connection.handle_timeout(context.now + SECONDS)
    assert connection.state == CLOSED
    assert context.counters.timeouts == {"proxy": 1}
    connection.handle_timeout(context.now + 2 * SECONDS)
    assert context.counters.timeouts == {"proxy": 1}


@pytest.mark.parametrize(("sent", "errors"), [(b"", {}), (HEADER[:10], {"proxy": 1})])
def test_a_balancer_that_leaves(sent: bytes, errors: dict[str, int]) -> None:
    """A check whether the port is open sends nothing."""
    connection = connect()
    if sent:
        connection.receive_data(sent)
    connection.receive_data(b"")
    assert connection.state == CLOSED
    assert connection._context.counters.errors == errors


def test_a_drain_waits_for_the_header() -> None:
    connection = connect()
    connection.drain()
    assert connection.state == EXPECTING
