"""What the admin listener responds, with which counts, and that it responds while the reactors do not."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from mreactor import App, Limits, Request, Server
from mreactor.admin.endpoints import FIELDS
from mreactor.admin.reactor import CONNECTIONS_MAX
from mreactor.net import Command
from tests.admin.serving import BACKENDS, LOOPBACK, SECONDS_MAX, ask, connect, serving, stats, wait_for
from tests.support.drivers import SocketDriver, open_driver

pytestmark = pytest.mark.slow


@pytest.fixture(params=BACKENDS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serving(backend=request.param) as running:
        yield running


# --- The responses. ---


@pytest.mark.parametrize(
    ("path", "content_type", "begins"),
    [
        ("/healthz", "text/plain; charset=utf-8", "ok\n"),
        ("/readyz", "text/plain; charset=utf-8", "ready\n"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8", "# HELP mreactor_info "),
        ("/stats.json", "application/json", '{"time":'),
        ("/", "text/html; charset=utf-8", "<!doctype html>"),
    ],
)
def test_responses(path: str, content_type: str, begins: str) -> None:
    with serving() as server:
        response, text = ask(server, path)
        assert (response.status, response.headers["content-type"]) == (200, content_type)
        assert text.startswith(begins)
        assert ask(server, path, "HEAD")[0].headers["content-length"] == str(len(text.encode()))


@pytest.mark.parametrize(
    ("path", "method", "host", "status"),
    [
        ("/metrics", "GET", "localhost", 200),
        ("/", "GET", "localhost", 200),
        ("/readyz?pool=x", "GET", "localhost", 400),
        ("/nothing", "GET", "localhost", 404),
        ("/metrics", "POST", "localhost", 405),
        ("/metrics", "GET", "evil.example", 421),
    ],
)
def test_no_response_is_kept_or_used_by_another_site(
    server: Server, path: str, method: str, host: str, status: int
) -> None:
    response, _ = ask(server, path, method, host=host)
    assert response.status == status
    for field, value in FIELDS:
        assert response.headers.get_all(field) == [value]


def test_openmetrics_for_clients_that_prefer_it() -> None:
    with serving() as server:
        accept = "application/openmetrics-text;version=1.0.0,*/*;q=0.1"
        response, text = ask(server, "/metrics", accept=accept)
        assert response.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        assert text.endswith("# EOF\n")


def test_stats_describe_the_server(server: Server) -> None:
    info = stats(server)["info"]
    assert info["backend"] == server.config.backend
    assert info["address"] == "{}:{}".format(*server.address)
    assert info["reactors"] == "2"
    report = stats(server)["report"]
    assert "metrics and live page on http://{}:{}".format(*(server.admin_address or ())) in report


# --- Who may read. ---


@pytest.mark.parametrize("path", ["/", "/metrics", "/stats.json", "/healthz", "/readyz"])
def test_a_name_that_another_site_points_here_is_refused(path: str) -> None:
    """DNS rebinding: a browser takes the listener for that site, and its scripts read the answer."""
    with serving() as server:
        for host in ("evil.example:9305", "evil.example", "127.0.0.1.nip.io:9305", "localhost.evil.example"):
            assert ask(server, path, host=host)[0].status == 421
        for host in ("127.0.0.1", "LOCALHOST:9305", "localhost.", "[::1]:9305", "10.0.0.1:80"):
            assert ask(server, path, host=host)[0].status == 200


def test_the_name_of_the_option_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **named: real("127.0.0.1", *rest, **named))
    with serving(admin="Box.example:0") as server:
        assert ask(server, "/healthz", host="box.example:9305")[0].status == 200
        assert ask(server, "/healthz", host="example:9305")[0].status == 421


def test_a_public_listener_accepts_any_name() -> None:
    with serving(admin="127.0.0.1:0", admin_public=True) as server:
        assert ask(server, "/healthz", host="metrics.example")[0].status == 200


def test_a_client_without_a_host_is_accepted() -> None:
    with serving() as server:
        assert server.admin_address is not None
        with socket.create_connection(server.admin_address, SECONDS_MAX) as client:
            client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_idle_connections_do_not_keep_health_checks_out() -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with serving(threads=1) as server, ExitStack() as stack:
        assert server.admin_address is not None
        idle = []
        for _ in range(CONNECTIONS_MAX + 10):
            idle.append(stack.enter_context(socket.create_connection(server.admin_address, SECONDS_MAX)))
            idle[-1].sendall(request)
            assert idle[-1].recv(1000).startswith(b"HTTP/1.1 200 ")
        assert ask(server, "/healthz")[0].status == 200
        assert idle[0].recv(1) == b"", "the one that is idle for longest is closed"
        idle[-1].sendall(request)
        assert idle[-1].recv(1000).startswith(b"HTTP/1.1 200 "), "the latest one lives"


# --- The counts. ---


def test_every_request_is_counted_once(server: Server) -> None:
    """The sums equal what the clients have counted, on the fast path and off it."""
    expected = {("GET", "200"): 0, ("GET", "404"): 0, ("POST", "418"): 0}
    requests = (
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ("GET", "200")),
        (b"GET /hello/you HTTP/1.1\r\nHost: x\r\n\r\n", ("GET", "200")),
        (b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", ("GET", "404")),
        (b"POST /teapot HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", ("POST", "418")),
    )
    received = sent = 0
    for _ in range(5):
        with connect(server) as client:
            for number in range(120):
                request, kind = requests[number % len(requests)]
                times = 1 + number % 3  # some are pipelined
                client.sendall(request * times)
                sent += len(request) * times
                received += receive(client, times)
                expected[kind] += times
    wait_for(lambda: stats(server)["total"]["answered"] >= sum(expected.values()))
    total = stats(server)["total"]
    counted = {
        (method, status): count
        for method, by_status in total["requests"].items()
        for status, count in by_status.items()
        if count
    }
    assert counted == expected
    wait_for(lambda: stats(server)["total"]["bytes_out"] == received)
    wait_for(lambda: stats(server)["total"]["bytes_in"] == sent)
    wait_for(lambda: stats(server)["total"]["open"] == 0)
    assert [reactor["accepted"] for reactor in stats(server)["reactors"]] in ([2, 3], [3, 2])


def receive(client: socket.socket, responses: int) -> int:
    """Receive a number of responses with a Content-Length; return their size in bytes."""
    data = b""
    while True:
        ends = [found.end() for found in re.finditer(rb"\r\n\r\n", data)]
        lengths = [int(one) for one in re.findall(rb"Content-Length: (\d+)\r\n", data)]
        if len(ends) >= responses and len(data) >= ends[responses - 1] + lengths[responses - 1]:
            return len(data)
        more = client.recv(1 << 16)
        assert more, "the connection ended"
        data += more


def test_refused_connections_are_counted() -> None:
    with serving(limits=Limits(connections_max=1)) as server:
        with connect(server) as first:
            first.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            receive(first, 1)
            with connect(server) as second:
                assert second.recv(1000).startswith(b"HTTP/1.1 503 ")
            wait_for(lambda: stats(server)["refused"] == 1)
        assert stats(server)["connections_max"] == 1


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
def test_requests_in_flight(backend: str, tls: bool) -> None:
    app, released = App(), threading.Event()

    @app.get("/quick")
    def quick(request: Request) -> str:
        return "quick"

    @app.get("/blocking", blocking=True)
    def blocking(request: Request) -> str:
        released.wait(SECONDS_MAX)
        return "done"

    @app.get("/large")
    def large(request: Request) -> bytes:
        return bytes(50_000_000)

    @app.post("/body")
    def body(request: Request) -> str:
        return "taken"

    def in_flight() -> int:
        found = stats(driver.server)
        assert sum(one["in_flight"] for one in found["reactors"]) == found["total"]["in_flight"]
        return int(found["total"]["in_flight"])

    with open_driver(f"{backend}-tls" if tls else backend, app, Limits(), admin=LOOPBACK) as driver:
        assert isinstance(driver, SocketDriver)
        with ExitStack() as clients:
            connected = [clients.enter_context(driver.connect()) for _ in range(5)]
            for client in connected:
                assert client.ask(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n").text == "quick"
            _, busy, sending, slow, partial = connected
            # A head that is not complete begins no request.
            partial.send(b"GET /quick HTTP/1.1\r\nHost:")
            wait_for(lambda: stats(driver.server)["total"]["open"] == 5)
            # A client may have its response before the reactor has noted that it is sent.
            wait_for(lambda: in_flight() == 0)
            busy.send(b"GET /blocking HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for(lambda: in_flight() == 1)
            sending.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for(lambda: in_flight() == 2)
            slow.send(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n")
            wait_for(lambda: in_flight() == 3)
            released.set()
            assert busy.receive().text == "done"
            slow.send(b"abc")
            assert slow.receive().text == "taken"
            wait_for(lambda: in_flight() == 1)
            assert len(sending.receive().body) == 50_000_000
            wait_for(lambda: in_flight() == 0)


# --- Health and readiness. ---


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_draining_server_is_healthy_and_not_ready(backend: str) -> None:
    limits = Limits(body_grace_seconds=SECONDS_MAX, drain_seconds=SECONDS_MAX)
    with serving(backend=backend, limits=limits) as server, connect(server) as client:
        client.sendall(b"POST /teapot HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n")
        wait_for(lambda: stats(server)["total"]["open"] == 1)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        wait_for(lambda: ask(server, "/readyz")[0].status == 503)
        assert ask(server, "/readyz")[1] == "the server is draining\n"
        assert ask(server, "/healthz")[0].status == 200
        wait_for(lambda: (stats(server)["draining"], stats(server)["ready"]) == (True, False))
        client.sendall(b"abc")
        assert client.recv(1000).startswith(b"HTTP/1.1 418 ")
        client.close()
        stopping.join(SECONDS_MAX)
        assert not stopping.is_alive()


def test_it_responds_while_every_reactor_is_stuck() -> None:
    app, entered, released = App(), threading.Barrier(3), threading.Event()

    @app.get("/wait")
    def wait_where_waiting_is_forbidden(request: Request) -> str:
        entered.wait(SECONDS_MAX)
        released.wait(SECONDS_MAX * 2)
        return "done"

    with serving(app) as server:
        clients = [connect(server) for _ in range(2)]
        for client in clients:
            client.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        entered.wait(SECONDS_MAX)
        assert ask(server, "/healthz")[0].status == 200
        # This takes STUCK_SECONDS.
        wait_for(lambda: ask(server, "/readyz")[1] == "reactor-0 is stuck\nreactor-1 is stuck\n")
        assert ask(server, "/readyz")[0].status == 503
        assert [each["state"] for each in stats(server)["reactors"]] == ["stuck", "stuck"]
        assert ask(server, "/healthz")[0].status == 200
        released.set()
        wait_for(lambda: ask(server, "/readyz")[0].status == 200)
        for client in clients:
            assert client.recv(1000).endswith(b"done")
            client.close()


def test_a_server_with_a_dead_reactor_is_not_ready() -> None:
    with serving() as server:
        reactor = server.reactors[1]
        reactor.post(Command.STOP)
        reactor.join(SECONDS_MAX)
        response, text = ask(server, "/readyz")
        assert (response.status, text) == (503, "reactor-1 has ended\n")
        assert [each["state"] for each in stats(server)["reactors"]] == ["running", "dead"]
        assert 'mreactor_reactor_up{reactor="1"} 0\n' in ask(server, "/metrics")[1]


def test_readiness_takes_the_pool_into_account_where_asked() -> None:
    app = App("shop")
    gate, entered = threading.Event(), threading.Semaphore(0)

    @app.get("/wait", blocking=True)
    def wait(request: Request) -> str:
        entered.release()
        gate.wait(SECONDS_MAX)
        return "waited"

    with serving(app, limits=Limits(blocking_threads=1)) as server, ExitStack() as stack:
        try:
            clients = [stack.enter_context(connect(server)) for _ in range(2)]
            for client in clients:
                client.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert entered.acquire(timeout=SECONDS_MAX)
            wait_for(lambda: ask(server, "/readyz?pool=0.1")[0].status == 503)
            assert ask(server, "/readyz?pool=0")[1].startswith("a request has waited for a blocking thread for ")
            assert ask(server, "/readyz")[0].status == 200
            assert ask(server, f"/readyz?pool={2 * SECONDS_MAX}")[0].status == 200
            assert ask(server, "/readyz?pool=x")[0].status == 400
            shown = stats(server)
            assert (shown["pool"]["busy"], shown["pool"]["queued"]) == (1, 1)
            assert shown["application"] == "shop"
            assert 0 < shown["process"]["open_fds"] < shown["process"]["max_fds"]
        finally:
            gate.set()
        wait_for(lambda: ask(server, "/readyz?pool=0")[0].status == 200)
        wait_for(lambda: "mreactor_pool_wait_seconds_count 2\n" in ask(server, "/metrics")[1])


def test_times_of_routes_where_asked() -> None:
    app = App()
    app.get("/hello/{name}")(lambda request, name: name)
    with serving(app, route_metrics=True) as server:
        for number in range(4):
            with connect(server) as client:
                client.sendall(b"GET /hello/%d HTTP/1.1\r\nHost: x\r\n\r\n" % number)
                assert client.recv(1000).endswith(b"\r\n\r\n%d" % number)
        line = 'mreactor_route_calls_total{method="GET",route="/hello/{name}"} 4\n'
        wait_for(lambda: line in ask(server, "/metrics")[1])
        assert 'mreactor_route_seconds_total{method="GET",route="/hello/{name}"} ' in ask(server, "/metrics")[1]
        (route,) = stats(server)["routes"]
        assert (route["pattern"], route["calls"]) == ("/hello/{name}", 4)
        assert 0 < route["seconds"] < SECONDS_MAX
    with serving(app) as server:
        assert "mreactor_route" not in ask(server, "/metrics")[1]
