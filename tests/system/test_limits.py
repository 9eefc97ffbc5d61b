"""What one client may cost: deadlines, rates, caps; and that whatever it does, the others are served."""

import contextlib
import os
import select
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from mreactor.app.application import App
from mreactor.config import Limits
from mreactor.http.request import Request
from mreactor.http1.connection import Connection
from mreactor.http1.context import ReactorContext
from mreactor.net.acceptor import base as acceptor_base
from tests.support.applications import HUGE_BYTES, Gate, make_costly_app
from tests.support.drivers import (
    KINDS,
    PATIENCE_SECONDS,
    SOCKET_KINDS,
    Client,
    Driver,
    SocketClient,
    SocketDriver,
    fail_at_poison,
    open_driver,
)
from tests.support.responses import ReceivedResponse
from tests.support.vectors import get, post, post_chunked

# Long enough for a client to meet the deadlines on a busy machine. The server lingers for a minute: what
# a client sends after a refusal must not meet a closed socket.
HASTY = Limits(
    head_seconds=1.0,
    body_grace_seconds=1.4,
    body_rate_min=2000,
    keepalive_seconds=1.8,
    write_stall_seconds=2.0,
    linger_seconds=PATIENCE_SECONDS,
    body_bytes_max=2_000_000,
)
LINGER_SECONDS = 0.6
LATE_SECONDS = 15.0  # so much later than its deadline may something be noticed, on a machine that is busy


@pytest.fixture(scope="module", params=KINDS)
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    with open_driver(request.param, make_costly_app(Gate()), HASTY) as driver:
        yield driver


@pytest.fixture(scope="module", params=SOCKET_KINDS)
def sturdy(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """A server with one reactor, which all clients share."""
    gate = Gate()
    gate.event.set()
    with open_driver(request.param, make_costly_app(gate), replace(Limits(), linger_seconds=0.5), threads=1) as driver:
        yield driver


@pytest.fixture(params=SOCKET_KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def serve(kind: str, limits: Limits, gate: Gate | None = None, **settings: Any) -> Any:
    return open_driver(kind, make_costly_app(gate or Gate()), limits, drains=False, **settings)


def is_served(driver: Driver, target: str = "/") -> bool:
    with driver.connect() as client:
        return client.ask(get(target)).status == 200


# Deadlines. All of them run at once, so that the suite takes as long as the longest.

SEND_INCOMPLETE = (
    ("nothing at all", b"", HASTY.head_seconds, []),
    ("half a head", get("/")[:-2], HASTY.head_seconds, [408]),
    ("one byte", b"G", HASTY.head_seconds, [408]),
    ("half a body", post("/echo", b"hello")[:-1], HASTY.body_grace_seconds, [408]),
    ("half a chunked body", post_chunked("/echo", b"5\r\nhel"), HASTY.body_grace_seconds, [408]),
    (
        "a body that was asked for",
        post("/echo", b"hello", "Expect: 100-continue")[:-5],
        HASTY.body_grace_seconds,
        [100, 408],
    ),
    ("idle", get("/"), HASTY.keepalive_seconds, [200]),
    ("idle after memory", get("/constant"), HASTY.keepalive_seconds, [200]),
    ("idle after many", get("/") * 9, HASTY.keepalive_seconds, [200] * 9),
    ("half a head after a response", get("/") + get("/")[:-2], HASTY.head_seconds, [200, 408]),
    ("half a body after a response", get("/") + post("/echo", b"hello")[:-2], HASTY.body_grace_seconds, [200, 408]),
)


def test_deadlines(driver: Driver) -> None:
    begun = driver.now()
    before = driver.timeouts()
    clients = []
    for _, data, _, _ in SEND_INCOMPLETE:
        clients.append(driver.connect())
        clients[-1].send(data)
    for client, (name, _, seconds, statuses) in sorted(
        zip(clients, SEND_INCOMPLETE, strict=True), key=lambda pair: pair[1][2]
    ):
        assert [response.status for response in client.receive_all()] == statuses, name
        assert seconds - 0.1 < driver.now() - begun < seconds + LATE_SECONDS, name
        client.close()
    assert dict(driver.timeouts() - before) == {"keepalive": 3, "head": 4, "body": 4}
    assert is_served(driver)


@pytest.mark.parametrize("kind", SOCKET_KINDS)
def test_an_idle_deadline_may_come_before_that_of_the_first_head(kind: str) -> None:
    limits = replace(HASTY, head_seconds=60.0)
    with (
        open_driver(kind, make_costly_app(Gate()), limits, drains=False, threads=1) as driver,
        driver.connect() as client,
        driver.connect() as other,
    ):
        assert other.ask(get("/")).status == 200  # so the reactor knows the client before its request comes
        begun = driver.now()
        assert client.ask(get("/constant")).status == 200
        assert client.receive_rest() == b""
        assert driver.now() - begun < limits.keepalive_seconds + LATE_SECONDS


@pytest.mark.parametrize("kind", SOCKET_KINDS)
def test_what_comes_behind_urgent_data_keeps_no_connection_open_forever(kind: str) -> None:
    """A read ends before the urgent byte, and no event tells of what is behind it."""
    app, entered, is_open = App(), threading.Event(), threading.Event()
    app.get("/")(lambda request: "root")

    @app.get("/hold")
    def hold(request: Request) -> str:
        entered.set()
        is_open.wait(PATIENCE_SECONDS)
        return "held"

    with (
        open_driver(kind, app, HASTY, drains=False, threads=1) as driver,
        driver.connect() as client,
        driver.connect() as other,
    ):
        assert client.ask(get("/")).status == 200
        other.send(get("/hold"))
        assert entered.wait(PATIENCE_SECONDS)
        assert isinstance(client, SocketClient)
        client.send(get("/"))
        client.sock.send(b"!", socket.MSG_OOB)
        client.send(get("/"))
        is_open.set()  # now the reactor finds all of it at once
        assert [response.status for response in client.receive_all()] == [200, 200]


@pytest.mark.parametrize("kind", SOCKET_KINDS)
def test_what_comes_behind_urgent_data_is_read_at_once(kind: str) -> None:
    """Where the first read stops before the urgent byte in the middle of a message, the next goes on behind it."""
    body = bytes(3000)
    message = post("/echo", body)
    with open_driver(kind, make_costly_app(Gate()), Limits(), threads=1) as driver, driver.connect() as client:
        assert isinstance(client, SocketClient)
        client.send(message[:1000])
        client.sock.send(b"!", socket.MSG_OOB)
        client.send(message[1000:])
        assert client.receive().body == body  # and not 408, once the body's deadline has passed


def drip(client: Client, data: Iterator[bytes], pause: float) -> list[ReceivedResponse]:
    """Send piece after piece, a moment between them, until the server has something to say."""
    for piece in data:
        client.send(piece)
        if client.pass_time(pause):
            break
    return client.receive_all()


@pytest.mark.parametrize(
    ("start", "seconds"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", HASTY.head_seconds),
        (post("/echo", bytes(100_000))[:-100_000], HASTY.body_grace_seconds),
    ],
    ids=["head", "body"],
)
def test_a_drop_now_and_then_does_not_put_off_the_deadline(driver: Driver, start: bytes, seconds: float) -> None:
    begun = driver.now()
    with driver.connect() as client:
        client.send(start)
        (response,) = drip(client, iter([b"x"] * 400), 0.05)
    assert response.status == 408
    assert seconds - 0.1 < driver.now() - begun < seconds + LATE_SECONDS


def test_a_body_that_keeps_up_its_rate_may_take_long(driver: Driver) -> None:
    body = bytes(16_000)
    with driver.connect() as client:
        client.send(post("/echo", body)[: -len(body)])
        for at in range(0, len(body), 1000):  # 16 times 0.15 s; each gives half a second's credit
            assert not client.pass_time(0.15)
            client.send(body[at : at + 1000])
        assert client.receive().body == body


def test_a_reader_that_has_stopped_is_cut_off(driver: Driver) -> None:
    before = driver.timeouts()
    with driver.connect(window=8 * 1024) as client:
        begun = driver.now()
        client.send(get("/big"))
        driver.wait_until(lambda: driver.timeouts()["write"] > before["write"])
        assert driver.now() - begun > HASTY.write_stall_seconds - 0.1
        assert is_served(driver)


def test_a_slow_reader_is_not_cut_off(driver: Driver) -> None:
    """It takes a good while longer than a stall may last. What the kernel's buffers hold is much of it, though."""
    rate = HUGE_BYTES / 2 / (HASTY.write_stall_seconds + 0.5)
    begun = driver.now()
    with driver.connect(window=256 * 1024) as client:
        client.send(get("/huge", "Connection: close"))
        received = 0
        while received < HUGE_BYTES // 2:
            received += len(client.receive_bytes(64 * 1024))
            due = begun + received / rate
            driver.wait_until(lambda due=due: driver.now() >= due)
        assert received + len(client.receive_rest()) > HUGE_BYTES


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_ended_does_not_linger_forever(kind: str) -> None:
    with serve(kind, Limits(linger_seconds=LINGER_SECONDS)) as driver, driver.connect() as client:
        driver.wait_until(lambda: driver.open_connections() == 1)
        begun = driver.now()
        client.send(b"bad\r\n\r\n")
        assert [response.status for response in client.receive_all()] == [400]
        driver.wait_until(lambda: driver.open_connections() == 0)
        assert LINGER_SECONDS - 0.1 < driver.now() - begun < LINGER_SECONDS + LATE_SECONDS


def test_late_bytes_do_not_destroy_the_response(driver: Driver) -> None:
    """A refused body is on its way already: of a server that just closes, RST would overtake the response."""
    with driver.connect() as client:
        client.send(post("/echo", bytes(2_000_001))[:900_000])
        assert [response.status for response in client.receive_all()] == [413]


def test_late_bytes_are_bounded() -> None:
    with serve("epoll", replace(HASTY, linger_bytes_max=100_000)) as driver:
        client = driver.connect()
        client.send(b"bad\r\n\r\n")
        assert [response.status for response in client.receive_all()] == [400]
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            client.send(bytes(64 * 1024 * 1024))


# Caps.


def refused(client: Client) -> bool:
    """Whether a connection is refused politely, without having asked for anything."""
    (response,) = client.receive_all()
    assert (response.status, response.headers["retry-after"], response.says_close) == (503, "1", True)
    return True


def test_connections_are_capped(kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor_base, "BURST_SECONDS", PATIENCE_SECONDS)  # however long this takes, it is one burst
    with serve(kind, Limits(connections_max=4)) as driver:
        clients = [driver.connect() for _ in range(4)]
        assert all(client.ask(get("/")).status == 200 for client in clients)
        assert all(refused(driver.connect()) for _ in range(5))
        assert all(client.ask(get("/")).status == 200 for client in clients)
        assert caplog.text.count("refusing connections") == 1, "one line a burst"
        clients[2].close()
        driver.wait_until(lambda: driver.open_connections() == 3)
        assert is_served(driver)


def test_clients_that_are_gone_at_once_take_no_place(kind: str) -> None:
    with serve(kind, Limits(connections_max=4)) as driver:
        acceptor = driver.server.acceptor
        for _ in range(50):
            driver.connect().reset()
        driver.wait_until(lambda: acceptor.accepted + acceptor.refused == 50)
        driver.wait_until(lambda: driver.open_connections() == 0)
        clients = [driver.connect() for _ in range(4)]
        assert all(client.ask(get("/")).status == 200 for client in clients)


def from_address(driver: Driver, host: str) -> SocketClient:
    """A client that connects from an address of its own choice."""
    assert isinstance(driver, SocketDriver)
    client = SocketClient(driver.server.address, source=host)
    driver.clients.append(client)
    return client


def test_connections_of_one_address_are_capped(kind: str) -> None:
    with serve(kind, Limits(connections_per_address_max=3)) as driver:
        clients = [from_address(driver, "127.0.0.2") for _ in range(3)]
        assert all(client.ask(get("/")).status == 200 for client in clients)
        assert refused(from_address(driver, "127.0.0.2"))
        assert from_address(driver, "127.0.0.3").ask(get("/")).status == 200
        clients[0].close()
        counts = driver.server.reactors[0]._options.connection_limit._counts
        driver.wait_until(lambda: counts["127.0.0.2"] == 2)
        assert from_address(driver, "127.0.0.2").ask(get("/")).status == 200


def test_a_connection_that_could_not_be_made_does_not_count(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: ReactorContext, peer: object) -> None:
        raise MemoryError

    with serve(kind, Limits(connections_per_address_max=1)) as driver:
        with monkeypatch.context() as patch:
            patch.setattr(ReactorContext, "connect", fail)
            for _ in range(3):
                from_address(driver, "127.0.0.2").receive_rest()
        assert from_address(driver, "127.0.0.2").ask(get("/")).status == 200


@pytest.mark.parametrize("kind", KINDS)
def test_unfinished_bodies_are_capped(kind: str) -> None:
    """The bound is never less than two bodies of the largest size: else one client could shut out all others."""
    with serve(kind, Limits(buffered_bytes_max=2000, body_bytes_max=90_000), threads=1) as driver:
        request = post("/echo", bytes(90_000))
        clients = [driver.connect() for _ in range(2)]
        for client in clients:
            client.send(request[:-10_000])
        driver.wait_until(lambda: driver.contexts()[0].counters.buffered >= 160_000)
        with driver.connect() as late:
            late.send(request[:-10_000])
            assert [response.status for response in late.receive_all()] == [503]
        assert all(len(client.ask(request[-10_000:]).body) == 90_000 for client in clients)
        with driver.connect() as later:
            assert len(later.ask(request).body) == 90_000
        assert driver.contexts()[0].counters.buffered == 0


def test_waiting_for_a_thread_is_capped(kind: str) -> None:
    gate = Gate()
    with serve(kind, Limits(blocking_threads=2, blocking_queue_max=3), gate) as driver:
        clients = [driver.connect() for _ in range(2)]
        for client in clients:
            client.send(get("/wait"))
            assert gate.entered.acquire(timeout=PATIENCE_SECONDS)
        clients += [driver.connect() for _ in range(8)]
        for client in clients[2:]:
            client.send(get("/wait"))
        driver.wait_until(lambda: sum(each.counters.counter("GET", 503)[0] for each in driver.contexts()) == 5)
        assert is_served(driver)
        gate.event.set()
        responses = [client.receive() for client in clients]
        assert sorted(response.status for response in responses) == [200] * 5 + [503] * 5
        assert all(client.ask(get("/wait")).text == "waited" for client in clients)


# Clients that leave in every state, and failures that no client should see.


# What clients have sent when they reset the connection.
LEFT_BEHIND = (
    b"",
    get("/")[:9],
    post("/echo", bytes(1000))[:-100],
    post("/echo", b"hello", "Expect: 100-continue")[:-5],
    get("/"),
    get("/") * 100,
    get("/big"),
    get("/big") * 5,
    get("/endless"),
    get("/slow/stream"),
    b"bad\r\n\r\n",
)


@pytest.mark.parametrize("reads", [False, True])
def test_resets(driver: Driver, reads: bool, caplog: pytest.LogCaptureFixture) -> None:
    driver.wait_until(lambda: driver.open_connections() == 0)
    for _ in range(3):
        for data in LEFT_BEHIND:
            client = driver.connect(window=8 * 1024)
            client.send(data)
            if reads:
                client.pass_time(0.02)
            client.reset()
    driver.wait_until(lambda: driver.open_connections() == 0)
    assert is_served(driver)
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


def test_no_descriptor_is_left_behind(driver: Driver) -> None:
    driver.wait_until(lambda: driver.open_connections() == 0)
    before = count_descriptors()
    for _ in range(10):
        clients = [driver.connect() for _ in range(20)]
        for client in clients:
            client.send(get("/") + get("/stream/3"))
        for client in clients[:10]:
            client.receive()
            client.close()
        for client in clients[10:]:
            client.reset()
    driver.wait_until(lambda: driver.open_connections() == 0)
    driver.wait_until(lambda: count_descriptors() <= before)


@pytest.mark.parametrize("target", ["/wait/file", "/wait/stream"])
def test_what_a_client_has_not_waited_for_is_closed(kind: str, target: str) -> None:
    gate = Gate()
    with serve(kind, Limits(), gate) as driver:
        assert is_served(driver)
        driver.wait_until(lambda: driver.open_connections() == 0)
        before = count_descriptors()
        for _ in range(3):
            with driver.connect() as client:
                client.send(get(target))
                assert gate.entered.acquire(timeout=PATIENCE_SECONDS)
                client.reset()
        gate.event.set()
        driver.wait_until(lambda: len(gate.left) == 3 and driver.open_connections() == 0)
        driver.wait_until(lambda: count_descriptors() <= before)


def count_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_connection_that_fails_affects_no_other(
    sturdy: Driver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    others = [sturdy.connect() for _ in range(4)]
    assert all(client.ask(get("/")).status == 200 for client in others)
    fail_at_poison(monkeypatch)
    for _ in range(4):
        with sturdy.connect() as client:
            client.send(get("/poison"))
            await_end(client)
    assert all(client.ask(get("/", "X: 1")).status == 200 for client in others)
    assert caplog.text.count("RuntimeError: a bug of ours") == 4
    for client in others:
        client.close()
    sturdy.wait_until(lambda: sturdy.open_connections() == 0)


def await_end(client: Client) -> None:
    """The server ends the connection, whatever it said before; a reset will do."""
    with contextlib.suppress(ConnectionResetError):
        client.receive_rest()


@pytest.mark.parametrize(
    ("method", "request_bytes"),
    [
        # epoll sends a whole response without it.
        ("data_sent", get("/stream/3")),
        ("data_to_send", get("/wait")),
        ("handle_timeout", b"bad\r\n\r\n"),
        ("next_job", get("/wait")),
        ("job_done", get("/wait")),
        ("__init__", get("/wait")),
    ],
)
def test_a_failure_anywhere_in_a_connection(
    sturdy: Driver, method: str, request_bytes: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug in any part of a connection ends that client only, and loses no other client's events."""
    original = getattr(Connection, method)
    failed = threading.Event()

    def fail(self: Connection, *args: Any) -> Any:
        if not failed.is_set():
            failed.set()
            raise RuntimeError("a bug of ours")
        return original(self, *args)

    sturdy.wait_until(lambda: sturdy.open_connections() == 0)
    monkeypatch.setattr(Connection, method, fail)
    with sturdy.connect() as victim:
        victim.send(request_bytes)
        await_end(victim)
        sturdy.wait_until(failed.is_set)
    monkeypatch.undo()
    assert is_served(sturdy)
    assert is_served(sturdy, "/wait")
    assert "RuntimeError: a bug of ours" in caplog.text
    sturdy.wait_until(lambda: sturdy.open_connections() == 0)


def test_a_handler_that_exits_ends_nothing(driver: Driver) -> None:
    for _ in range(4):
        with driver.connect() as client:
            assert client.ask(get("/exit")).status == 500
            assert client.ask(get("/")).status == 200


# Fairness.


@pytest.mark.parametrize("target", ["/endless", "/big", "/"])
def test_a_greedy_client_starves_no_other(sturdy: Driver, target: str) -> None:
    """One reactor, and a client that asks and takes as fast as it can; the others are served meanwhile."""
    stopping = threading.Event()
    greedy = sturdy.connect()
    assert isinstance(greedy, SocketClient)
    thread = threading.Thread(target=devour, args=(greedy.sock, get(target) * 500, stopping))
    thread.start()
    try:
        for _ in range(20):
            begun = sturdy.now()
            assert is_served(sturdy)
            assert sturdy.now() - begun < PATIENCE_SECONDS / 3
    finally:
        stopping.set()
        thread.join(PATIENCE_SECONDS)
        greedy.close()


def devour(sock: socket.socket, requests: bytes, stopping: threading.Event) -> None:
    """Send what the socket takes of requests, throw away what comes; never mind where a request ends."""
    position = 0
    while not stopping.is_set():
        readable, writable, _ = select.select([sock], [sock], [], 1.0)
        if writable:
            position = (position + sock.send(requests[position:])) % len(requests)
        if readable and not sock.recv(1 << 20):
            return
