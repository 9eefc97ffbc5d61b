"""Connections whose requests are redirected to HTTPS, in memory."""

from collections.abc import Iterator
from typing import Any

import pytest

from mreactor.addresses import TrustedProxies
from mreactor.app.application import App
from mreactor.http import Request
from mreactor.http1 import ReactorContext, Redirector
from mreactor.protocol import IDLE, Peer, SecurePeer
from mreactor.proxy import Forwarding
from tests.support.memory import PEER, Session, split
from tests.support.responses import ReceivedResponse, read_responses
from tests.support.vectors import LIMITS, get, post

TOKEN = "/.well-known/acme-challenge/token"


def make_app() -> App:
    app = App()
    app.get("/", constant=True)(lambda request: "the application")
    app.post("/", blocking=True)(lambda request: request.body)
    app.get("/.well-known/acme-challenge/{name}", constant=True)(lambda request, name: f"proof of {name}")
    app.after(_mark)
    return app


def _mark(request: Request, response: Any) -> None:
    response.headers["Strict-Transport-Security"] = "max-age=1"


class Redirecting:
    """A context whose connections are those of a redirector."""

    def __init__(self, port: int = 8443, *, trusted: tuple[str, ...] = ()) -> None:
        app, proxies = make_app(), TrustedProxies(trusted)
        forwarding = Forwarding(proxies, "x-forwarded") if trusted else None
        self.context = ReactorContext(LIMITS, app.freeze(), forwarding=forwarding, errors=app.errors)
        self.connect = Redirector(self.context, port, proxies).connect

    def __getattr__(self, name: str) -> Any:
        return getattr(self.context, name)


def exchange(context: Any, *requests: bytes, peer: Peer = PEER) -> list[ReceivedResponse]:
    """Send requests on one connection, in one piece each; return the responses."""
    session = Session(context, peer)
    for request in requests:
        session.arrive(request)
        session.drive()
    methods = [request.partition(b" ")[0].decode() for request in requests]
    return read_responses(session.take_sent(), *methods)


@pytest.fixture
def context() -> Iterator[Redirecting]:
    context = Redirecting()
    yield context
    assert context.counters.buffered == 0


@pytest.mark.parametrize(
    ("request_", "status", "location"),
    [
        (get("/"), 301, "https://a:8443/"),
        (get("/a%20b/c?d=e&f=%C3%A4"), 301, "https://a:8443/a%20b/c?d=e&f=%C3%A4"),
        (get("//other.example/"), 301, "https://a:8443//other.example/"),
        (get("/nowhere", method="HEAD"), 301, "https://a:8443/nowhere"),
        (post("/", b"some content"), 308, "https://a:8443/"),
        (post("/nowhere", b"some content"), 308, "https://a:8443/nowhere"),
        (get("/", method="DELETE"), 308, "https://a:8443/"),
        (get("/", method="OPTIONS"), 308, "https://a:8443/"),
        (get("http://b.example:80/x?y"), 301, "https://b.example:8443/x?y"),
        (get("http://b.example"), 301, "https://b.example:8443/"),
        (get("/x", "Host: c:8080", version="1.0"), 301, "https://c:8443/x"),
        (get("/x", "Host: [2001:db8::1]:80", version="1.0"), 301, "https://[2001:db8::1]:8443/x"),
        (get("/x", "Host: [2001:db8::1]", version="1.0"), 301, "https://[2001:db8::1]:8443/x"),
    ],
)
def test_every_request_is_redirected(context: Redirecting, request_: bytes, status: int, location: str) -> None:
    (response,) = exchange(context, request_)
    assert (response.status, response.headers["location"], response.body) == (status, location, b"")
    # No hook of the application sees a redirection.
    assert "strict-transport-security" not in response.headers


def test_the_usual_port_is_left_out() -> None:
    (response,) = exchange(Redirecting(443), get("/a?b"))
    assert response.headers["location"] == "https://a/a?b"


def test_a_request_without_a_host_is_refused(context: Redirecting) -> None:
    for request in (get("/", version="1.0"), b"GET / HTTP/1.1\r\n\r\n"):
        (response,) = exchange(context, request)
        assert response.status == 400
        assert "location" not in response.headers


def test_the_connection_persists_and_takes_requests_in_pieces(context: Redirecting) -> None:
    requests = [get("/"), post("/", b"content"), get(TOKEN), get("/"), get("/")]
    for cut in range(1, len(b"".join(requests))):
        session = Session(context)
        for piece in split(b"".join(requests), (cut,)):
            session.arrive(piece)
            session.drive()
        statuses = [response.status for response in read_responses(session.take_sent())]
        assert statuses == [301, 308, 200, 301, 301]
        assert session.connection.state == IDLE


def test_challenges_are_left_to_the_application(context: Redirecting) -> None:
    for response in exchange(context, *[get(TOKEN)] * 4):
        assert (response.status, response.text) == (200, "proof of token")
    assert exchange(context, get(TOKEN + "/nothing"))[0].status == 404
    # Another spelling is another address.
    assert exchange(context, get("/.well-known/acme%2Dchallenge/token"))[0].status == 301
    assert exchange(context, get("/.well-known/acme-challenge"))[0].status == 301


def test_other_clients_of_the_reactor_share_no_response(context: Redirecting) -> None:
    """The same bytes mean one thing here and another one there, whoever sent them first and however often."""
    for _ in range(2):
        for asked, status in ((context.context, 200), (context, 301)) * 2:
            for close in ((), ("Connection: close",)):
                found = [exchange(asked, get("/", *close))[0] for _ in range(4)]
                assert {response.status for response in found} == {status}


def test_options_of_the_server_are_not_redirected(context: Redirecting) -> None:
    (response,) = exchange(context, get("*", method="OPTIONS"))
    assert response.status == 204


def test_who_waits_for_100_continue_is_redirected(context: Redirecting) -> None:
    session = Session(context)
    session.arrive(get("/nowhere", "Expect: 100-continue", "Content-Length: 3", method="POST"))
    session.drive()
    assert session.take_sent().startswith(b"HTTP/1.1 100 ")
    session.arrive(b"abc")
    session.drive()
    assert session.take_sent().startswith(b"HTTP/1.1 308 ")


def test_what_came_encrypted_to_a_balancer_is_not_redirected(context: Redirecting) -> None:
    assert exchange(context, get("/"), peer=SecurePeer(PEER))[0].text == "the application"


def test_a_trusted_proxy_decides_itself() -> None:
    context = Redirecting(trusted=("10.0.0.0/8",))
    fields = "X-Forwarded-For: 192.0.2.9", "X-Forwarded-Proto: https"
    assert exchange(context, get("/", *fields), peer=("10.0.0.1", 1))[0].status == 200
    assert exchange(context, get("/", *fields))[0].status == 301


def test_redirections_are_counted(context: Redirecting) -> None:
    exchange(context, get("/"), post("/", b"x"))
    assert {
        (method, status): count[0] for (method, status), count in context.counters.requests.items() if count[0]
    } == {("GET", 301): 1, ("POST", 308): 1}
