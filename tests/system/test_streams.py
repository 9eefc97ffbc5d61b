"""Streams and the thread pool: one thread, one context, never refused, and visibly cut when they fail."""

import logging
import queue
import socket
import sqlite3
import struct
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

import pytest

from mreactor import App, Config, HTTPError, Limits, Pause, Server
from mreactor.http.request import Request
from tests.support.drivers import PATIENCE_SECONDS, SOCKET_KINDS, missing

user: ContextVar[str] = ContextVar("user", default="nobody")
RESET = struct.pack("ii", 1, 0)


class Served:
    """A server in this process, and what its handlers leave behind."""

    def __init__(self, kind: str, database: Path) -> None:
        self.kind = kind
        self.database = database
        self.app = App()
        self.closed_in: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.began: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.gate = threading.Event()
        self._servers: list[Server] = []

    def start(self, **limits: int) -> tuple[str, int]:
        config = Config(port=0, threads=1, backend=self.kind, limits=Limits(**limits))
        server = Server(config, self.app)
        server.start()
        self._servers.append(server)
        return server.address

    def errors(self) -> int:
        """Failures of handlers and streams that the server has counted."""
        errors = self._servers[0].reactors[0].context.counters.errors
        return errors.get("handler", 0) + errors.get("stream", 0)

    def stop(self) -> None:
        self.gate.set()
        for server in self._servers:
            server.abort()


@pytest.fixture(params=SOCKET_KINDS)
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    if reason := missing(request.param):
        pytest.skip(reason)
    served = Served(request.param, tmp_path / "rows.sqlite")
    yield served
    served.stop()


def send(address: tuple[str, int], target: str, version: str = "1.0", method: str = "GET") -> socket.socket:
    client = socket.create_connection(address, PATIENCE_SECONDS)
    client.sendall(f"{method} {target} HTTP/{version}\r\nHost: a\r\n\r\n".encode())
    return client


def read_all(client: socket.socket) -> bytes:
    """Read to the end. Raises ConnectionResetError."""
    data = b""
    with client:
        while piece := client.recv(65536):
            data += piece
    return data


def get(address: tuple[str, int], target: str) -> str:
    return read_all(send(address, target)).partition(b"\r\n\r\n")[2].decode()


def test_a_stream_has_one_thread_and_one_context(served: Served) -> None:
    """Rows of a database, locks and context variables work across the parts."""
    with sqlite3.connect(served.database) as database:
        database.executescript("create table t(a); insert into t values (1), (2), (3), (4), (5)")

    @served.app.get("/rows/{name}", blocking=True)
    def rows(request: Request, name: str) -> Iterator[str]:
        user.set(name)
        database = sqlite3.connect(served.database)
        lock = threading.RLock()

        def parts() -> Iterator[str]:
            try:
                with lock:
                    for (number,) in database.execute("select a from t"):
                        yield f"{name} {user.get()} {number} {threading.current_thread().name}\n"
            finally:
                database.close()

        return parts()

    @served.app.get("/who", blocking=True)
    def who(request: Request) -> str:
        return user.get()

    address = served.start(blocking_threads=2)
    clients = {name: send(address, f"/rows/{name}") for name in map(str, range(12))}
    for name, client in clients.items():
        lines = read_all(client).partition(b"\r\n\r\n")[2].decode().splitlines()
        assert len(lines) == 5
        assert {tuple(line.split()[:2]) for line in lines} == {(name, name)}
        assert len({line.split()[3] for line in lines}) == 1
    assert {get(address, "/who") for _ in range(4)} == {"nobody"}


def test_streams_on_a_reactor_have_a_context_each(served: Served) -> None:
    @served.app.get("/feed/{name}")
    def feed(request: Request, name: str) -> Iterator[str]:
        user.set(name)
        for _ in range(500):
            yield user.get()

    address = served.start()
    first, second = send(address, "/feed/a"), send(address, "/feed/b")
    assert read_all(first).endswith(b"\r\n\r\n" + b"a" * 500)
    assert read_all(second).endswith(b"\r\n\r\n" + b"b" * 500)


def test_a_variable_does_not_outlive_its_request(served: Served) -> None:
    @served.app.get("/login/{name}")
    def login(request: Request, name: str) -> str:
        user.set(name)
        return user.get()

    @served.app.get("/who")
    def who(request: Request) -> str:
        return user.get()

    address = served.start()
    assert [ask(address, path) for path in ("/who", "/login/alice", "/who")] == ["nobody", "alice", "nobody"]


def ask(address: tuple[str, int], path: str) -> str:
    with urllib.request.urlopen(f"http://{address[0]}:{address[1]}{path}", timeout=PATIENCE_SECONDS) as response:
        return str(response.read().decode())


def test_a_full_queue_does_not_cut_streams(served: Served) -> None:
    """What was admitted continues; only new requests are refused."""

    @served.app.get("/report", blocking=True)
    def report(request: Request) -> Iterator[str]:
        for number in range(10):
            yield f"line {number}\n"
            served.began.put("part")
            served.gate.wait(PATIENCE_SECONDS)

    @served.app.get("/slow", blocking=True)
    def slow(request: Request) -> str:
        return "slow"

    address = served.start(blocking_threads=1, blocking_queue_max=2)
    streamed = send(address, "/report")
    served.began.get(timeout=PATIENCE_SECONDS)
    waiting = [send(address, "/slow") for _ in range(2)]
    statuses = []
    while b"503" not in statuses:
        # The two above may not have been read yet.
        client = send(address, "/slow")
        client.settimeout(0.2)
        try:
            statuses.append(client.recv(65536)[9:12])
            client.close()
        except TimeoutError:
            waiting.append(client)
    served.gate.set()
    assert read_all(streamed).count(b"line") == 10
    assert all(read_all(client).endswith(b"slow") for client in waiting)


class Cursor:
    """An iterator that records the thread that closes it."""

    def __init__(self, closed_in: queue.SimpleQueue[str], count: int) -> None:
        self.closed_in = closed_in
        self.count = count

    def __iter__(self) -> "Cursor":
        return self

    def __next__(self) -> str:
        self.count -= 1
        if self.count < 0:
            raise StopIteration
        return "row\n" * 1000

    def close(self) -> None:
        self.closed_in.put(threading.current_thread().name)


@pytest.mark.parametrize("end", ["whole", "HEAD", "the client leaves"])
def test_a_blocking_stream_is_closed_in_the_pool(served: Served, end: str) -> None:
    """Never on the reactor, whose other clients would wait. Once."""

    @served.app.get("/rows", blocking=True)
    def rows(request: Request) -> Cursor:
        return Cursor(served.closed_in, 3 if end == "whole" else 10**9)

    address = served.start(blocking_threads=1)
    client = send(address, "/rows", method="HEAD" if end == "HEAD" else "GET")
    if end == "the client leaves":
        client.recv(1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()
    else:
        read_all(client)
    assert served.closed_in.get(timeout=PATIENCE_SECONDS) == "blocking-1"
    # The thread is free again.
    assert get(address, "/nothing")
    assert served.closed_in.empty()


def test_requests_of_clients_that_have_left_are_not_begun(served: Served) -> None:
    @served.app.get("/slow/{name}", blocking=True)
    def slow(request: Request, name: str) -> str:
        served.began.put(name)
        served.gate.wait(PATIENCE_SECONDS)
        return name

    address = served.start(blocking_threads=1)
    first = send(address, "/slow/first")
    assert served.began.get(timeout=PATIENCE_SECONDS) == "first"
    gone = [send(address, "/slow/gone") for _ in range(20)]
    # Read after those before it: one reactor serves them all.
    assert get(address, "/nothing")
    for client in gone:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()
    last = send(address, "/slow/last")
    assert get(address, "/nothing")
    served.gate.set()
    assert read_all(first).endswith(b"first")
    assert read_all(last).endswith(b"last")
    assert served.began.get(timeout=PATIENCE_SECONDS) == "last"


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize("error", [RuntimeError("gone"), HTTPError(503, "gone")], ids=["error", "HTTPError"])
def test_a_failed_stream_is_logged_counted_and_visible(
    served: Served, blocking: bool, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """HTTP/1.0 has nothing but the connection's end to delimit it: a reset says that it is not the whole."""

    @served.app.get("/report", blocking=blocking)
    def report(request: Request) -> Iterator[str]:
        yield "the first half\n"
        raise error

    address = served.start()
    with caplog.at_level(logging.ERROR, "mreactor"):
        with pytest.raises(ConnectionResetError):
            read_all(send(address, "/report"))
        cut = send(address, "/report", version="1.1")
        assert read_all(cut).endswith(b"f\r\nthe first half\n\r\n")
    assert [record.getMessage() for record in caplog.records] == ["the handler of GET /report failed"] * 2
    assert served.errors() == 2


def test_an_aborted_response_without_length_is_reset(served: Served) -> None:
    """The end of the server cuts it, too."""

    @served.app.get("/report", blocking=True)
    def report(request: Request) -> Iterator[str]:
        yield "the first half\n"
        served.gate.wait(PATIENCE_SECONDS)

    client = send(served.start(), "/report")
    while b"half" not in client.recv(65536):
        pass
    served._servers[0].abort()
    with pytest.raises(ConnectionResetError):
        read_all(client)


def test_empty_parts_do_not_starve_others(served: Served) -> None:
    ended = threading.Event()

    @served.app.get("/empty")
    def empty(request: Request) -> Iterator[bytes]:
        try:
            while not served.gate.is_set():
                yield b""
        finally:
            ended.set()

    @served.app.get("/")
    def ok(request: Request) -> str:
        return "ok"

    address = served.start()
    endless = send(address, "/empty")
    assert endless.recv(65536).startswith(b"HTTP/1.1 200")
    assert get(address, "/") == "ok"
    assert not ended.is_set()
    # The leaving of its client is noticed.
    endless.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    endless.close()
    assert ended.wait(PATIENCE_SECONDS)


# Pauses.


def read_until(client: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        piece = client.recv(65536)
        assert piece, data
        data += piece
    return data


@pytest.mark.parametrize("blocking", [False, True])
def test_a_stream_that_pauses_goes_on_later(served: Served, blocking: bool) -> None:
    @served.app.get("/ticks", blocking=blocking)
    def ticks(request: Request) -> Iterator[str | Pause]:
        for number in range(3):
            yield f"{number} "
            yield Pause(0.3)
        yield Pause(0.001)
        yield "over"

    begun = time.monotonic()
    assert get(served.start(), "/ticks") == "0 1 2 over"
    assert 0.9 < time.monotonic() - begun < PATIENCE_SECONDS / 2


def test_quiet_streams_hold_no_thread(served: Served) -> None:
    """Sixteen of them stopped all blocking routes."""

    @served.app.get("/events", blocking=True)
    def events(request: Request) -> Iterator[str | Pause]:
        try:
            yield "data: hello\n\n"
            yield Pause(1000.0)
        finally:
            served.closed_in.put(threading.current_thread().name)

    @served.app.get("/work", blocking=True)
    def work(request: Request) -> str:
        return "worked"

    address = served.start(blocking_threads=2)
    streams = [send(address, "/events", version="1.1") for _ in range(16)]
    for stream in streams:
        read_until(stream, b"hello\n\n\r\n")
    time.sleep(0.2)
    begun = time.monotonic()
    assert get(address, "/work") == "worked"
    assert time.monotonic() - begun < 5
    for stream in streams:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        stream.close()
    closed = [served.closed_in.get(timeout=PATIENCE_SECONDS) for _ in streams]
    assert all(name.startswith("blocking-") for name in closed)


def test_a_pause_is_no_part_of_the_content_and_its_length_is_checked() -> None:
    for seconds in (0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="positive number of seconds"):
            Pause(seconds)
    assert repr(Pause(2.5)) == "Pause(2.5)"
