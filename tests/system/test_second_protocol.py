"""Reactors serve any protocol that implements `mreactor.protocol`: here the echo, in memory and over sockets.

The echo has no jobs, no cache and no file. It has what every protocol has: bytes both ways, backpressure, an end from
either side, a deadline, a drain.
"""

import contextlib
import inspect
import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from mreactor import protocol
from mreactor.concurrency import ThreadPool
from mreactor.http1.context import ReactorContext
from mreactor.net import (
    Accept4Acceptor,
    Acceptor,
    Command,
    EpollReactor,
    Listener,
    Reactor,
    ReactorOptions,
    Refusals,
    UringReactor,
)
from mreactor.net.acceptor.io_uring import UringAcceptor
from mreactor.protocol import CLOSED, IDLE, LINGERING, Connection, Context
from tests.support import memory
from tests.support.drivers import PATIENCE_SECONDS, SOCKET_KINDS, SocketClient, missing
from tests.support.echo import BUFFERED_BYTES_MAX, SENDING, EchoConnection, EchoContext
from tests.support.invariants import check
from tests.support.memory import MemoryReactor, Session
from tests.support.responses import read_responses
from tests.support.vectors import LIMITS, get, make_app

BACKENDS: dict[str, tuple[type[Reactor[Any]], type[Acceptor]]] = {
    "epoll": (EpollReactor, Accept4Acceptor),
    "io_uring": (UringReactor, UringAcceptor),
}
FDS_MAX = 4096
LARGE = Random(5).randbytes(5_000_000)


# --- The declaration. ---


@pytest.mark.parametrize(("declared", "implemented"), [(Connection, EchoConnection), (Context, EchoContext)])
def test_the_echo_implements_what_is_declared(declared: type, implemented: type) -> None:
    """The tests below show a name that a reactor uses undeclared; this one shows a name that is declared in vain."""
    context = EchoContext()
    instance = context if implemented is EchoContext else context.connect(("192.0.2.1", 1))
    names = {name for name in dir(declared) if not name.startswith("_")} | set(declared.__annotations__)
    assert {name for name in names if not hasattr(instance, name)} == set()
    for name in names:
        if inspect.isfunction(method := getattr(declared, name, None)):
            expected = list(inspect.signature(method).parameters)
            assert list(inspect.signature(getattr(implemented, name)).parameters) == expected, name


def test_the_fast_path_of_a_protocol_without_one_finds_nothing() -> None:
    fast_path = protocol.no_fast_path()
    for data in (b"", b"x", b"GET / HTTP/1.1\r\n\r\n"):
        assert fast_path.find_response(data) is None
        assert fast_path.find_route(data) is None
        assert fast_path.find_body_route(data) is None


def test_reactors_share_no_empty_fast_path() -> None:
    first, second = protocol.no_fast_path(), protocol.no_fast_path()
    assert first.find_response.__self__ is not second.find_response.__self__  # type: ignore[attr-defined]


# --- In memory. ---


@pytest.fixture
def reactor() -> Iterator[MemoryReactor]:
    reactor = MemoryReactor(lambda: EchoContext(idle_seconds=10.0))
    yield reactor
    reactor.close()


@pytest.mark.parametrize("uses_fast_path", [False, True])
@pytest.mark.parametrize("send_max", [1, 7, 1 << 20])
def test_bytes_come_back(uses_fast_path: bool, send_max: int) -> None:
    reactor = MemoryReactor(EchoContext, uses_fast_path=uses_fast_path)
    session = reactor.connect(send_max=send_max)
    for data in (b"hello", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", bytes(range(256))):
        assert exchange(session, data) == data
        assert session.connection.state == IDLE
    reactor.close()


def test_a_large_payload_waits_for_a_peer_that_does_not_read(reactor: MemoryReactor) -> None:
    session = reactor.connect(window=10_000)
    session.arrive(LARGE)
    session.drive()
    assert not session.connection.wants_read
    assert len(session.connection.data_to_send()) < 2 * BUFFERED_BYTES_MAX
    received = bytearray()
    while taken := session.take_sent():
        received += taken
        session.drive()
    assert received == LARGE


def test_a_half_close_has_everything_sent_first(reactor: MemoryReactor) -> None:
    session = reactor.connect(window=10)
    session.arrive(b"x" * 25)
    session.arrive_eof()
    session.drive()
    assert session.connection.state == SENDING
    received = b""
    while taken := session.take_sent():
        received += taken
        session.drive()
    assert (received, session.connection.state) == (b"x" * 25, CLOSED)


def test_a_half_close_of_an_idle_peer_ends_it(reactor: MemoryReactor) -> None:
    session = reactor.connect()
    session.arrive_eof()
    session.drive()
    assert session.connection.state == CLOSED
    assert reactor.remove_closed() == 0


def test_a_reset_ends_it_whatever_waits(reactor: MemoryReactor) -> None:
    session = reactor.connect(window=1)
    session.arrive(b"hello")
    session.drive()
    session.reset()
    assert session.connection.state == CLOSED
    assert reactor.remove_closed() == 0


def test_silence_ends_it(reactor: MemoryReactor) -> None:
    silent, busy = reactor.connect(), reactor.connect()
    for _ in range(9):
        reactor.pass_time(1.2)
        assert exchange(busy, b"x") == b"x"
    assert (silent.connection.state, busy.connection.state) == (CLOSED, IDLE)
    assert reactor.context.counters.timeouts == {"keepalive": 1}


def test_a_peer_that_takes_nothing_is_given_up(reactor: MemoryReactor) -> None:
    session = reactor.connect(window=1)
    session.arrive(b"hello")
    session.drive()
    reactor.pass_time(10.0)
    assert session.connection.state == CLOSED
    assert reactor.context.counters.timeouts == {"write": 1}


def test_a_drain_lets_each_connection_finish(reactor: MemoryReactor) -> None:
    idle, sending = reactor.connect(), reactor.connect(window=2)
    sending.arrive(b"hello")
    sending.drive()
    reactor.drain()
    assert (idle.connection.state, sending.connection.state) == (LINGERING, SENDING)
    received = b""
    while taken := sending.take_sent():
        received += taken
        sending.drive()
    assert (received, sending.connection.state) == (b"hello", LINGERING)
    for session in (idle, sending):
        session.arrive_eof()
        session.drive()
    assert reactor.remove_closed() == 0


def test_a_connection_that_comes_while_draining_is_told_to_leave(reactor: MemoryReactor) -> None:
    reactor.drain()
    assert reactor.connect().connection.state == LINGERING


def test_a_rejected_job_comes_back_at_once() -> None:
    """The pool is full: HTTP gives its client 503, by the same two calls that a reactor makes."""
    reactor = MemoryReactor(lambda: ReactorContext(LIMITS, make_app().routes))
    session = reactor.connect(runs_jobs=False)
    session.arrive(get("/slow"))
    session.drive()
    assert len(session.jobs) == 1
    session.reject_job()
    session.drive()
    (response,) = read_responses(session.take_sent())
    assert response.status == 503
    reactor.close()


# --- The invariants, which every step in memory checks. ---


def break_idle(connection: EchoConnection) -> None:
    connection._output += b"x"


def break_wants_read(connection: EchoConnection) -> None:
    connection._eof = True


def break_deadline(connection: EchoConnection) -> None:
    connection.deadline = float("nan")


def break_awaits_rest(connection: EchoConnection) -> None:
    connection.awaits_rest = True


def break_more_follows(connection: EchoConnection) -> None:
    connection.more_follows = True


@pytest.mark.parametrize("plant", [break_idle, break_wants_read, break_deadline, break_awaits_rest, break_more_follows])
def test_a_broken_invariant_is_found(plant: Callable[[EchoConnection], None]) -> None:
    connection = EchoContext().connect(("192.0.2.1", 1))
    check(connection, IDLE)
    plant(connection)
    with pytest.raises(AssertionError):
        check(connection, IDLE)


def test_a_connection_that_comes_back_to_life_is_found() -> None:
    connection = EchoContext().connect(("192.0.2.1", 1))
    for before in (CLOSED, LINGERING):
        with pytest.raises(AssertionError):
            check(connection, before)


def test_a_connection_that_never_rests_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EchoConnection, "data_sent", lambda connection, count: None)
    monkeypatch.setattr(memory, "STEPS_MAX", 50)
    session = MemoryReactor(EchoContext).connect(send_max=1)
    session.arrive(b"hello")
    with pytest.raises(memory.Hang):
        session.drive()


def exchange(session: Session, data: bytes) -> bytes:
    session.arrive(data)
    session.drive()
    return session.take_sent()


# --- Over sockets. ---


class EchoServer:
    """One reactor of either kind and an acceptor, wired as a server wires them, and no HTTP between."""

    def __init__(self, kind: str, idle_seconds: float) -> None:
        self._pool = ThreadPool(1, 1)
        self._contexts: list[EchoContext] = []
        options = ReactorOptions(FDS_MAX)
        reactor_class, acceptor_class = BACKENDS[kind]
        self.reactor = reactor_class(0, lambda: self._make_context(idle_seconds), self._pool, options)
        self.reactor.start()
        assert self.reactor.ready.wait(PATIENCE_SECONDS)
        assert self.reactor.failure is None
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._address = listener.getsockname()
        self._acceptor = acceptor_class(
            [Listener(listener, "")], [self.reactor], connections_max=FDS_MAX, fds_max=FDS_MAX, refusals=Refusals(b"")
        )
        self._acceptor.start()

    def _make_context(self, idle_seconds: float) -> EchoContext:
        context = EchoContext(idle_seconds, time.monotonic())
        self._contexts.append(context)
        return context

    @property
    def context(self) -> EchoContext:
        return self._contexts[0]

    def connect(self) -> SocketClient:
        return SocketClient(self._address)

    def drain(self) -> None:
        """Accept no more and let the connections finish."""
        self._acceptor.stop()
        self._acceptor.join(PATIENCE_SECONDS)
        self.reactor.post(Command.DRAIN)

    def close(self) -> None:
        """End all threads; fails if one is left."""
        self._acceptor.stop()
        self.reactor.post(Command.STOP)
        for thread in (self._acceptor, self.reactor):
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive(), thread.name
        self._pool.close()
        assert self.context.is_closed, "the context was closed by its reactor"
        assert self.context.counters.open == 0


@contextlib.contextmanager
def serve(kind: str, idle_seconds: float = 60.0) -> Iterator[EchoServer]:
    if reason := missing(kind):
        pytest.skip(reason)
    server = EchoServer(kind, idle_seconds)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(params=SOCKET_KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[EchoServer]:
    with serve(request.param) as server:
        yield server


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < end, "it does not come to be so"
        time.sleep(0.01)


def test_small_payloads_over_sockets(server: EchoServer) -> None:
    with server.connect() as client:
        for data in (b"hello", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"POST", bytes(range(256)) * 20):
            client.send(data)
            assert client.receive_bytes(len(data)) == data


def test_a_large_payload_over_sockets(server: EchoServer) -> None:
    with server.connect() as client:
        client.send(LARGE)
        assert client.receive_bytes(len(LARGE)) == LARGE
        client.send(b"and on it goes")
        assert client.receive_bytes(14) == b"and on it goes"


def test_many_clients(server: EchoServer) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(200)]
        for round_, (number, client) in itertools.product(range(3), enumerate(clients)):
            client.send(b"%d from %d" % (round_, number))
        for number, client in enumerate(clients):
            expected = b"".join(b"%d from %d" % (round_, number) for round_ in range(3))
            assert client.receive_bytes(len(expected)) == expected
        assert server.context.counters.open == 200
    wait_until(lambda: server.context.counters.open == 0)


def test_clients_in_parallel(server: EchoServer) -> None:
    """Several threads send large payloads at once: turns and backpressure mix."""
    failures: list[int] = []

    def talk(number: int) -> None:
        data = LARGE[number * 1000 : number * 1000 + 500_000]
        with server.connect() as client:
            client.send(data)
            if client.receive_bytes(len(data)) != data:
                failures.append(number)

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()
    assert failures == []


def test_a_half_close_over_sockets(server: EchoServer) -> None:
    with server.connect() as client:
        client.send(LARGE[:300_000])
        client.shutdown_write()
        assert client.receive_rest() == LARGE[:300_000]
    wait_until(lambda: server.context.counters.open == 0)


def test_a_reset_over_sockets(server: EchoServer) -> None:
    with server.connect() as other:
        sock = socket.create_connection(other.sock.getpeername(), timeout=PATIENCE_SECONDS)
        sock.sendall(LARGE[:100_000])
        wait_until(lambda: server.context.counters.accepted == 2)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        wait_until(lambda: server.context.counters.open == 1)
        other.send(b"still here")
        assert other.receive_bytes(10) == b"still here"


@pytest.mark.parametrize("kind", SOCKET_KINDS)
def test_silence_ends_it_over_sockets(kind: str) -> None:
    with serve(kind, idle_seconds=0.3) as server, server.connect() as client:
        client.send(b"hello")
        assert client.receive_rest() == b"hello"
        assert server.context.counters.timeouts == {"keepalive": 1}


def test_a_drain_over_sockets(server: EchoServer) -> None:
    """An idle client is told to leave, one that still has bytes to receive gets them; then the reactor ends."""
    with server.connect() as idle, server.connect() as busy:
        for client in (idle, busy):
            client.send(b"hello")
            assert client.receive_bytes(5) == b"hello"
        server.drain()
        assert idle.receive_rest() == b""
        assert busy.receive_rest() == b""
    server.reactor.join(PATIENCE_SECONDS)
    assert not server.reactor.is_alive()
