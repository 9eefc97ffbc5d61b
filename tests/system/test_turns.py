"""Turns: of clients on one reactor, and of reactors at the acceptor."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mreactor import App, Config, Server, StaticFiles
from mreactor.net.reactor import base
from mreactor.net.reactor.base import Reactor
from mreactor.net.reactor.epoll import EpollReactor
from mreactor.net.reactor.io_uring import UringReactor
from tests.support.drivers import SOCKET_KINDS, missing
from tests.support.responses import read_responses

GET = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"
FILE = b"/files/large.bin"


def make_app(release: threading.Event) -> App:
    app = App()

    @app.get("/work")
    def work(request: object) -> str:
        time.sleep(0.0005)
        return "done"

    @app.get("/stuck")
    def stuck(request: object) -> str:
        release.wait(60)
        return "late"

    app.get("/")(lambda request: "ok")
    return app


@pytest.fixture(params=SOCKET_KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    if reason := missing(request.param):
        pytest.skip(reason)
    return str(request.param)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def serve(kind: str, release: threading.Event, threads: int) -> Server:
    server = Server(Config(port=0, threads=threads, backend=kind), make_app(release))
    server.start()
    return server


def test_a_client_that_pipelines_without_end_has_one_turn_a_round(kind: str, release: threading.Event) -> None:
    server = serve(kind, release, 1)
    greedy = socket.create_connection(server.address, 30)
    over = threading.Event()

    def flood() -> None:
        try:
            while not over.is_set():
                greedy.sendall(GET % b"/work" * 500)
        except OSError:
            pass

    def read() -> None:
        try:
            while greedy.recv(1 << 20):
                pass
        except OSError:
            pass

    threads = [threading.Thread(target=flood), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(6)
        (reactor,) = server.reactors
        assert len(reactor._deferred_clients) <= 2
        began = time.monotonic()
        with socket.create_connection(server.address, 30) as other:
            other.sendall(GET % b"/")
            assert other.recv(999)
        assert time.monotonic() - began < 2
    finally:
        over.set()
        greedy.close()
        server.abort()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("target", [FILE, b"/memory"])
def test_a_round_sends_no_more_than_its_share(
    kind: str, target: bytes, release: threading.Event, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytes(range(256)) * (6 << 12)
    (tmp_path / "large.bin").write_bytes(content)
    share = 64 * 1024
    # What one send can take: tcp(7).
    step = int(Path("/proc/sys/net/ipv4/tcp_wmem").read_text().split()[2])
    monkeypatch.setattr(base, "SENT_A_ROUND_MAX", share)
    app = make_app(release)
    app.mount("/files", StaticFiles(tmp_path))
    app.get("/memory")(lambda request: content)
    sums = watch_rounds(monkeypatch)
    server = Server(Config(port=0, threads=1, backend=kind), app)
    server.start()
    clients = [socket.create_connection(server.address, 30) for _ in range(16)]
    # All have asked before any reads, and the reactor fills their buffers first.
    for client in clients:
        client.sendall(GET % target + GET % b"/")
    with ThreadPoolExecutor(len(clients)) as pool:
        received = list(pool.map(lambda client: read_to(client, b"\r\n\r\nok"), clients))
    for data in received:
        first, second = read_responses(data)
        assert first.body == content
        assert second.body == b"ok"
    for client in clients:
        client.close()
    server.abort()
    # Clients with an event have a share, and those that were deferred another; the last one of each may go past it.
    # Responses in memory are begun whatever the share is.
    if target == FILE:
        assert max(after - before for before, after in pairwise(sums)) <= 2 * (share + step)


def watch_rounds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the bytes sent so far at the end of each round."""
    sums = [0]

    def watched[R: Reactor[Any]](wait: Callable[[R], Any]) -> Callable[[R], Any]:
        def note_and_wait(reactor: R) -> Any:
            sums.append(reactor.context.counters.bytes_out)
            return wait(reactor)

        return note_and_wait

    for cls in (EpollReactor, UringReactor):
        monkeypatch.setattr(cls, "_wait", watched(cls._wait))
    return sums


def read_to(client: socket.socket, end: bytes) -> bytes:
    """Read until the bytes end so. Return all."""
    data = bytearray()
    while not data.endswith(end) and (piece := client.recv(1 << 20)):
        data += piece
    return bytes(data)


def test_reactors_stay_even_where_every_second_client_leaves(kind: str, release: threading.Event) -> None:
    server = serve(kind, release, 2)
    stay = []
    for _ in range(60):
        stay.append(socket.create_connection(server.address, 10))
        with socket.create_connection(server.address, 10) as leaves:
            leaves.sendall(GET % b"/")
            assert leaves.recv(999)
        time.sleep(0.002)
    counts = [reactor.context.counters.open for reactor in server.reactors]
    assert min(counts) >= 20, counts
    for client in stay:
        client.close()
    server.abort()


def test_new_clients_go_to_the_reactors_that_others_have_left(kind: str, release: threading.Event) -> None:
    server = serve(kind, release, 4)
    clients = []
    for _ in range(40):
        clients.append(socket.create_connection(server.address, 10))
        clients[-1].sendall(GET % b"/")
        assert clients[-1].recv(999)
    # Turns have given each reactor ten. Those of two neighbours leave.
    wait_for_counts(server, [10, 10, 10, 10])
    leaving = {client for index, client in enumerate(clients) if index % 4 >= 2}
    for client in leaving:
        client.close()
    wait_for_counts(server, [10, 10, 0, 0])
    for _ in range(20):
        clients.append(socket.create_connection(server.address, 10))
        clients[-1].sendall(GET % b"/")
        assert clients[-1].recv(999)
    counts = [reactor.context.counters.open for reactor in server.reactors]
    # The reactor in turn may have one more than the emptiest.
    assert sum(counts) == 40
    assert max(counts) <= 11, counts
    for client in clients:
        client.close()
    server.abort()


def wait_for_counts(server: Server, counts: list[int]) -> None:
    """Wait until the reactors have so many open connections."""
    end = time.monotonic() + 10
    while [reactor.context.counters.open for reactor in server.reactors] != counts:
        assert time.monotonic() < end, [reactor.context.counters.open for reactor in server.reactors]
        time.sleep(0.01)


def test_a_stuck_reactor_gets_no_new_clients(kind: str, release: threading.Event) -> None:
    server = serve(kind, release, 2)
    with socket.create_connection(server.address, 30) as stuck:
        stuck.sendall(GET % b"/stuck")
        time.sleep(6)
        for _ in range(6):
            with socket.create_connection(server.address, 3) as client:
                client.sendall(GET % b"/")
                assert client.recv(999).endswith(b"ok")
    release.set()
    server.abort()
