"""The admin listener: what it answers, to whom, and that it answers while the reactors do not."""

import base64
import hashlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mreactor import App, Config, ConfigError, Limits, Request, Response, Server, StartError
from mreactor.admin.listener import SNAPSHOT_SECONDS, ServerStatus, SnapshotCache, load_page, resolve
from mreactor.net import Command, Reactor
from tests.support.drivers import missing

BACKENDS = ("epoll", "io_uring")
LOOPBACK = "127.0.0.1:0"
SECONDS_MAX = 60.0
ROOT = Path(__file__).resolve().parents[2]


def make_app() -> App:
    app = App()

    @app.get("/", constant=True)
    def constant(request: Request) -> str:
        return "always the same"

    @app.get("/hello/{name}")
    def hello(request: Request, name: str) -> str:
        return f"Hello, {name}!"

    @app.post("/teapot")
    def teapot(request: Request) -> Response:
        return Response("short and stout", 418)

    return app


@contextmanager
def serving(app: App | None = None, **settings: Any) -> Iterator[Server]:
    if reason := missing(settings.get("backend", "epoll")):
        pytest.skip(reason)
    config = Config(**{"port": 0, "threads": 2, "admin": LOOPBACK, **settings})
    server = Server(config, app or make_app())
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(params=BACKENDS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serving(backend=request.param) as running:
        yield running


def ask(
    server: Server, path: str, method: str = "GET", **fields: str
) -> tuple[http.client.HTTPResponse, str]:
    """Ask the admin listener on a new connection."""
    assert server.admin_address is not None
    connection = http.client.HTTPConnection(*server.admin_address, timeout=SECONDS_MAX)
    connection.request(method, path, headers=fields)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer, text


def stats(server: Server) -> Any:
    return json.loads(ask(server, "/stats.json")[1])


def wait_for(holds: Callable[[], bool]) -> None:
    """Wait for something that only shows when asked for."""
    deadline = time.monotonic() + SECONDS_MAX
    while not holds():
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.05)


# --- The answers. ---


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
def test_what_is_answered(path: str, content_type: str, begins: str) -> None:
    with serving() as server:
        answer, text = ask(server, path)
        assert (answer.status, answer.headers["content-type"]) == (200, content_type)
        assert text.startswith(begins)
        for field, value in (("cache-control", "no-store"), ("x-content-type-options", "nosniff")):
            assert answer.headers[field] == value
        assert ask(server, path, "HEAD")[0].headers["content-length"] == str(len(text.encode()))
        assert ask(server, path, "POST")[0].status == 405
        assert ask(server, "/nothing")[0].status == 404


def test_openmetrics_for_who_prefers_it() -> None:
    with serving() as server:
        answer, text = ask(server, "/metrics", accept="application/openmetrics-text;version=1.0.0,*/*;q=0.1")
        assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        assert text.endswith("# EOF\n")


def test_it_says_what_the_server_is(server: Server) -> None:
    info = stats(server)["info"]
    assert info["backend"] == server.config.backend
    assert info["address"] == "{}:{}".format(*server.address)
    assert info["reactors"] == "2"
    report = stats(server)["report"]
    assert "metrics and live page on http://{}:{}".format(*(server.admin_address or ())) in report


def test_no_admin_no_listener() -> None:
    with serving(admin="") as server:
        assert server.admin_address is None
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("admin")]


def test_its_threads_end_with_the_server() -> None:
    with serving():
        assert {"admin", "admin-acceptor"} <= {thread.name for thread in threading.enumerate()}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("admin")]


# --- The numbers. ---


def test_every_request_is_counted_once(server: Server) -> None:
    """Sums are equal to what clients have counted, to the last one, whatever way the requests took."""
    expected = {("GET", "200"): 0, ("GET", "404"): 0, ("POST", "418"): 0}
    requests = (
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ("GET", "200")),
        (b"GET /hello/you HTTP/1.1\r\nHost: x\r\n\r\n", ("GET", "200")),
        (b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", ("GET", "404")),
        (b"POST /teapot HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", ("POST", "418")),
    )
    received = sent = 0
    for _ in range(5):
        with socket.create_connection(server.address, SECONDS_MAX) as client:
            for number in range(120):
                request, kind = requests[number % len(requests)]
                times = 1 + number % 3  # pipelined, some of them
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


def receive(client: socket.socket, answers: int) -> int:
    """Take a number of answers with a Content-Length; returns their bytes."""
    data = b""
    while True:
        ends = [found.end() for found in re.finditer(rb"\r\n\r\n", data)]
        lengths = [int(one) for one in re.findall(rb"Content-Length: (\d+)\r\n", data)]
        if len(ends) >= answers and len(data) >= ends[answers - 1] + lengths[answers - 1]:
            return len(data)
        more = client.recv(1 << 16)
        assert more, "the connection ended"
        data += more


def test_refused_connections_are_counted() -> None:
    with serving(limits=Limits(connections_max=1)) as server:
        with socket.create_connection(server.address, SECONDS_MAX) as first:
            first.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            receive(first, 1)
            with socket.create_connection(server.address, SECONDS_MAX) as second:
                assert second.recv(1000).startswith(b"HTTP/1.1 503 ")
            wait_for(lambda: stats(server)["refused"] == 1)
        assert stats(server)["connections_max"] == 1


def test_one_snapshot_serves_all_who_ask_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(
        "mreactor.admin.listener.time", SimpleNamespace(monotonic=lambda: now, time=lambda: now)
    )
    observer = SnapshotCache(ServerStatus(Config(), [], lambda: False))
    first = observer.check()
    now += SNAPSHOT_SECONDS / 2
    assert observer.check() is first
    assert first.reasons == ("the server is starting",)
    now += SNAPSHOT_SECONDS
    assert observer.check().time > first.time


# --- Health and readiness. ---


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_draining_server_is_healthy_and_not_ready(backend: str) -> None:
    limits = Limits(body_grace_seconds=SECONDS_MAX, drain_seconds=SECONDS_MAX)
    with (
        serving(backend=backend, limits=limits) as server,
        socket.create_connection(server.address, SECONDS_MAX) as client,
    ):
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


def test_it_answers_while_every_reactor_is_stuck() -> None:
    app, entered, released = App(), threading.Barrier(3), threading.Event()

    @app.get("/wait")
    def wait_where_one_must_not(request: Request) -> str:
        entered.wait(SECONDS_MAX)
        released.wait(SECONDS_MAX * 2)
        return "done"

    with serving(app) as server:
        clients = [socket.create_connection(server.address, SECONDS_MAX) for _ in range(2)]
        for client in clients:
            client.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        entered.wait(SECONDS_MAX)
        assert ask(server, "/healthz")[0].status == 200
        # Which takes as long as STUCK_SECONDS.
        wait_for(lambda: ask(server, "/readyz")[1] == "reactor-0 is stuck\nreactor-1 is stuck\n")
        assert ask(server, "/readyz")[0].status == 503
        assert [each["state"] for each in stats(server)["reactors"]] == ["stuck", "stuck"]
        assert ask(server, "/healthz")[0].status == 200
        released.set()
        wait_for(lambda: ask(server, "/readyz")[0].status == 200)
        for client in clients:
            assert client.recv(1000).endswith(b"done")
            client.close()


def test_a_dead_reactor_is_a_reason() -> None:
    threads = set(threading.enumerate())
    with serving() as server:
        started = {thread.name: thread for thread in set(threading.enumerate()) - threads}
        reactor = started["reactor-1"]
        assert isinstance(reactor, Reactor)
        reactor.post(Command.STOP)
        reactor.join(SECONDS_MAX)
        answer, text = ask(server, "/readyz")
        assert (answer.status, text) == (503, "reactor-1 has ended\n")
        assert [each["state"] for each in stats(server)["reactors"]] == ["running", "dead"]
        assert 'mreactor_reactor_up{reactor="1"} 0\n' in ask(server, "/metrics")[1]


# --- The address. ---


@pytest.mark.parametrize("admin", ["127.0.0.1:0", "127.9.9.9:9100", "localhost:0", "[::1]:0", "::1:0"])
def test_loopback_addresses_are_taken(admin: str) -> None:
    _, (host, _) = resolve(Config(admin=admin))
    assert host in ("127.0.0.1", "127.9.9.9", "::1")


@pytest.mark.parametrize("admin", ["0.0.0.0:0", "[::]:0", "192.0.2.1:9100", "[2001:db8::1]:0"])
def test_other_addresses_have_to_be_asked_for(admin: str) -> None:
    with pytest.raises(ConfigError, match="add --admin-public"):
        resolve(Config(admin=admin))
    assert resolve(Config(admin=admin, admin_public=True))


@pytest.mark.parametrize(
    "admin",
    [
        "9100",
        ":9100",
        "localhost",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:65536",
        "127.0.0.1:+1",
        "127.0.0.1:٣",
    ],
)
def test_what_is_no_address_is_refused(admin: str) -> None:
    with pytest.raises(ConfigError, match="is not HOST:PORT"):
        resolve(Config(admin=admin))


@pytest.mark.parametrize("host", ["a..b", "a" * 64])
def test_an_unknown_name_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="is no address of this machine"):
        resolve(Config(admin="no such host:1"))
    with pytest.raises(ConfigError, match="is not the name of a host"):
        resolve(Config(admin=f"{host}:1"))


def test_ipv6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("IPv6: this machine has no ::1")
    with serving(admin="[::1]:0", host="::1") as server:
        assert ask(server, "/healthz")[0].status == 200
        assert stats(server)["info"]["address"] == f"[::1]:{server.address[1]}"


def test_a_taken_port_is_told_and_nothing_is_left_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = Server(Config(port=0, admin=f"127.0.0.1:{taken.getsockname()[1]}"), make_app())
        with pytest.raises(
            StartError, match=r"--admin: cannot listen on 127.0.0.1:\d+: Address already in use$"
        ):
            server.start()


@pytest.mark.parametrize("admin", ["0.0.0.0:0", "nonsense"])
def test_a_wrong_address_ends_the_process_with_one_line(admin: str) -> None:
    command = [sys.executable, "-m", "mreactor", "--port", "0", "--admin", admin]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert re.fullmatch(r"mreactor: --admin: .+\n", ended.stderr)


def test_a_process_with_everything_on() -> None:
    """The command line as people use it: the report names the address, and readiness turns with the signal."""
    command = [sys.executable, "-m", "mreactor", "--port", "0", "--threads", "1", "--admin", LOOPBACK]
    process = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "live page on" in line)
        host, port = line.strip().rpartition("//")[2].split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=SECONDS_MAX)
        connection.request("GET", "/readyz")
        assert connection.getresponse().read() == b"ready\n"
        connection.close()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


# --- The page, as it is sent. ---


def test_the_policy_lets_only_the_pages_own_parts_run() -> None:
    page, policy = load_page()
    directives = dict(one.split(" ", 1) for one in policy.split("; "))
    for tag in ("style", "script"):
        (content,) = re.findall(rb"<%b>(.*?)</%b>" % (tag.encode(), tag.encode()), page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        assert directives[f"{tag}-src"] == f"'sha256-{digest}'"
    assert directives["default-src"] == "'none'"
    assert "unsafe" not in policy


def test_the_page_needs_nothing_from_elsewhere() -> None:
    text = load_page()[0].decode()
    assert not re.findall(r"(?:src|href)=[\"'](?!data:|metrics|stats\.json)", text)
    assert re.findall(r"https?://[^\s\"']+", text.replace("http://www.w3.org/2000/svg", "")) == []
    assert not re.findall(r"<[a-z][^<>]*\s(?:style|on[a-z]+)=", text), "the policy forbids inline attributes"


def test_the_page_is_sent_with_its_policy() -> None:
    with serving() as server:
        answer, text = ask(server, "/")
        assert answer.headers["content-security-policy"] == load_page()[1]
        assert text.encode() == load_page()[0]
