"""Behind a balancer, over sockets: the client's address holds for handlers, logs and limits."""

import re
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mreactor import App, Limits, Request
from mreactor.config import Config
from tests.proxy.test_header import addresses, version_2
from tests.support.drivers import PATIENCE_SECONDS, SOCKET_KINDS, Driver, missing, open_driver
from tests.support.vectors import get, post

pytestmark = pytest.mark.slow

LOOPBACK = ("127.0.0.0/8",)


def header(client: str, port: int = 5678) -> bytes:
    return version_2(0x21, 0x11, addresses(client, "198.51.100.7", (port, 80)))


def make_app() -> App:
    app = App()

    @app.get("/peer")
    def peer(request: Request) -> str:
        return f"{request.scheme} {request.peer[0]} {request.peer[1]}"

    @app.get("/constant", constant=True)
    def constant(request: Request) -> str:
        return "constant"

    @app.get("/slow", blocking=True)
    def slow(request: Request) -> str:
        time.sleep(0.05)
        return str(request.peer[0])

    @app.post("/body")
    def body(request: Request) -> str:
        return f"{request.peer[0]} {len(request.body)}"

    return app


@pytest.fixture(params=SOCKET_KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    if reason := missing(request.param):
        pytest.skip(reason)
    return str(request.param)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "access"


@pytest.fixture
def proxied(kind: str, log: Path) -> Iterator[Driver]:
    """A server under the PROXY protocol."""
    settings = {"trusted_proxies": LOOPBACK, "proxy_protocol": True, "access_log": f"common:{log}"}
    limits = Limits(connections_per_address_max=2, head_seconds=2.0)
    with open_driver(kind, make_app(), limits, **settings) as driver:
        yield driver


@pytest.fixture
def forwarded(kind: str, log: Path) -> Iterator[Driver]:
    """A server that believes X-Forwarded-For of the loopback."""
    settings = {"trusted_proxies": LOOPBACK, "access_log": f"common:{log}"}
    with open_driver(kind, make_app(), Limits(connections_per_address_max=1), **settings) as driver:
        yield driver


def logged(log: Path, count: int) -> list[tuple[str, str]]:
    """Address and target of so many requests."""
    end = time.monotonic() + PATIENCE_SECONDS
    while (text := log.read_text()).count("\n") < count:
        assert time.monotonic() < end, text
        time.sleep(0.02)
    return [(line.split()[0], line.split()[6] if '"-"' not in line else "-") for line in text.splitlines()]


@pytest.mark.parametrize("cut", [None, 0, 1, 12, 16, 20, 28])
def test_the_address_of_the_header_is_the_client_s(proxied: Driver, log: Path, cut: int | None) -> None:
    sent = header("192.0.2.1") + get("/peer")
    with proxied.connect() as client:
        if cut is not None:
            client.send(sent[:cut])
            client.pass_time(0.05)
            client.send(sent[cut:])
        else:
            client.send(sent)
        assert client.receive().text == "http 192.0.2.1 5678"
        # The fast path serves it like any other client.
        for _ in range(5):
            assert client.ask(get("/peer")).text == "http 192.0.2.1 5678"
            assert client.ask(get("/constant")).text == "constant"
            assert client.ask(get("/slow")).text == "192.0.2.1"
            assert client.ask(post("/body", b"x" * 40_000)).text == "192.0.2.1 40000"
    assert {host for host, _ in logged(log, 21)} == {"192.0.2.1"}


def test_a_pipelined_burst_behind_the_header(proxied: Driver) -> None:
    with proxied.connect() as client:
        client.send(header("192.0.2.1") + get("/peer") * 200)
        for _ in range(200):
            assert client.receive().text == "http 192.0.2.1 5678"


def test_a_client_of_tls_at_the_balancer(proxied: Driver) -> None:
    tls = struct.pack("!BHBI", 0x20, 5, 1, 0)
    with proxied.connect() as client:
        client.send(version_2(0x21, 0x11, addresses("192.0.2.1", "198.51.100.7") + tls) + get("/peer"))
        assert client.receive().text == "https 192.0.2.1 5678"


def test_a_health_check_has_the_address_of_the_balancer(proxied: Driver) -> None:
    with proxied.connect() as client:
        client.send(version_2(0x20, 0, b"") + get("/peer"))
        assert re.fullmatch(r"http 127\.0\.0\.1 [0-9]+", client.receive().text)


@pytest.mark.parametrize("sent", [get("/peer"), b"PROXY TCP4 x y 1 2\r\n" + get("/peer"), b"\r\n"])
def test_without_a_header_it_ends_without_an_answer(proxied: Driver, sent: bytes) -> None:
    with proxied.connect() as client:
        client.send(sent + b"\n" * 20)
        try:
            assert client.receive_rest() == b""
        except ConnectionResetError:
            pass  # it had sent more than was read


def test_a_header_that_takes_too_long_ends_it(proxied: Driver) -> None:
    with proxied.connect() as client:
        begun = time.monotonic()
        client.send(header("192.0.2.1")[:20])
        assert client.receive_rest() == b""
        assert 1.5 < time.monotonic() - begun < 30.0
    assert sum(context.counters.timeouts.get("proxy", 0) for context in proxied.contexts()) == 1


def test_the_limit_holds_for_clients_and_not_for_the_balancer(proxied: Driver) -> None:
    clients = [proxied.connect() for _ in range(6)]
    for number, client in enumerate(clients):
        assert client.ask(header(f"192.0.2.{number // 2}") + get("/peer")).status == 200
    with proxied.connect() as further:
        assert further.ask(header("192.0.2.1") + get("/peer")).status == 503
        assert further.receive_rest() == b""
    clients[2].close()
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        with proxied.connect() as again:
            if again.ask(header("192.0.2.1") + get("/peer")).status == 200:
                break
        assert time.monotonic() < end


def test_each_request_of_a_proxy_has_its_client(forwarded: Driver, log: Path) -> None:
    with forwarded.connect() as one, forwarded.connect() as two:
        for number in range(1, 6):
            for client in (one, two):
                field = f"X-Forwarded-For: 192.0.2.{number}"
                assert client.ask(get("/peer", field)).text == f"http 192.0.2.{number} 0"
                assert client.ask(get("/constant", field)).text == "constant"
                assert client.ask(get("/slow", field)).text == f"192.0.2.{number}"
                assert client.ask(post("/body", b"12345", field)).text == f"192.0.2.{number} 5"
                # The proxy's own requests.
                assert client.ask(get("/constant")).text == "constant"
                assert client.ask(get("/peer")).text.startswith("http 127.0.0.1 ")
    found = logged(log, 60)
    assert sum(host == "127.0.0.1" for host, _ in found) == 20
    for number in range(1, 6):
        assert sum(host == f"192.0.2.{number}" for host, _ in found) == 8


def test_pipelined_requests_of_several_clients(forwarded: Driver, log: Path) -> None:
    with forwarded.connect() as client:
        client.send(b"".join(get("/peer", f"X-Forwarded-For: 192.0.2.{number}") for number in range(50)) + get("/peer"))
        for number in range(50):
            assert client.receive().text == f"http 192.0.2.{number} 0"
        assert client.receive().text.startswith("http 127.0.0.1 ")
        # The last one is refused, and its address is known.
        client.send(get("/nowhere", "X-Forwarded-For: 192.0.2.99"))
        assert client.receive().status == 404
        client.send(b"not HTTP\r\n\r\n")
        assert client.receive().status == 400
    found = logged(log, 53)
    assert ("192.0.2.99", "/nowhere") in found
    assert found[-1] == ("127.0.0.1", "-")


def test_the_scheme_of_the_client(forwarded: Driver) -> None:
    with forwarded.connect() as client:
        fields = ("X-Forwarded-For: 192.0.2.1:77", "X-Forwarded-Proto: https")
        for _ in range(3):
            assert client.ask(get("/peer", *fields)).text == "https 192.0.2.1 77"
            assert client.ask(get("/peer", fields[0])).text == "http 192.0.2.1 77"


def test_fields_of_strangers_are_not_believed(kind: str) -> None:
    with (
        open_driver(kind, make_app(), Limits(), trusted_proxies=("192.0.2.0/24",)) as driver,
        driver.connect() as client,
    ):
        for _ in range(3):
            fields = ("X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https", "Forwarded: for=192.0.2.1")
            assert client.ask(get("/peer", *fields)).text.startswith("http 127.0.0.1 ")


def test_without_networks_no_field_counts(kind: str) -> None:
    with open_driver(kind, make_app(), Limits()) as driver, driver.connect() as client:
        assert client.ask(get("/peer", "X-Forwarded-For: 192.0.2.1")).text.startswith("http 127.0.0.1 ")
        assert Config().trusted_proxies == ()


def test_the_header_and_the_fields_together(kind: str) -> None:
    """The balancer names a proxy, and that proxy names the client."""
    settings = {"trusted_proxies": ("127.0.0.1", "10.0.0.0/8"), "proxy_protocol": True}
    with open_driver(kind, make_app(), Limits(), **settings) as driver:
        with driver.connect() as client:
            client.send(header("10.0.0.1") + get("/peer", "X-Forwarded-For: 192.0.2.1"))
            assert client.receive().text == "http 192.0.2.1 0"
        with driver.connect() as client:
            client.send(header("192.0.2.7") + get("/peer", "X-Forwarded-For: 192.0.2.1"))
            assert client.receive().text == "http 192.0.2.7 5678"
