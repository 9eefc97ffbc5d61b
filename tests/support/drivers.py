"""Serves an application in three ways behind one interface: in memory, over epoll, over io_uring.

    with open_driver("memory", app, Limits()) as driver, driver.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.receive().status == 200

The memory driver is a `MemoryReactor` with a clock of its own, which passes while a client waits. The others start a
server in this process and use sockets. No wait takes longer than `PATIENCE_SECONDS`.
"""

import contextlib
import importlib.util
import select
import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Self, cast

import pytest

from mreactor.app.application import App
from mreactor.config import Config, Limits
from mreactor.http1 import observation_maker, render_plain_refusal
from mreactor.http1.connection import Connection
from mreactor.http1.context import ReactorContext
from mreactor.net import Acceptor, Reactor
from mreactor.protocol import Context
from mreactor.server.server import Server
from mreactor.tls import Certificates, TlsContext
from tests.support.certificates import server_pair
from tests.support.memory import READ_BYTES, TICK_SECONDS, UNLIMITED, MemoryReactor
from tests.support.responses import ReceivedResponse, read_response, read_responses
from tests.support.tls import TlsSession

PIECE_BYTES = 256 * 1024
PATIENCE_SECONDS = 60.0  # for things that take milliseconds: the machine may be busy, or stand still for seconds

KINDS = ("memory", "epoll", "io_uring")
SOCKET_KINDS = ("epoll", "io_uring")
# The same, and every byte encrypted.
TLS = "-tls"
TLS_KINDS = tuple(kind + TLS for kind in KINDS)
TLS_SOCKET_KINDS = tuple(kind + TLS for kind in SOCKET_KINDS)


class Client(ABC):
    """One connection, from the client's side. A wait that takes too long raises TimeoutError."""

    def __init__(self) -> None:
        self._received = bytearray()
        self.has_ended = False  # the server has closed, or shut its side

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Send all of the data. Read meanwhile what the server sends."""

    @abstractmethod
    def shutdown_write(self) -> None:
        """Half-close the connection."""

    @abstractmethod
    def reset(self) -> None:
        """Close the connection with RST."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection. Idempotent."""

    @abstractmethod
    def _wait(self, seconds: float) -> bool:
        """Wait for bytes and append them to `_received`, or set `has_ended`. Return False when the time is over."""

    def receive(self, method: str = "GET") -> ReceivedResponse:
        """Receive the next response, interim ones included. `method` is the request's."""
        while (read := read_response(bytes(self._received), method, at_end=self.has_ended)) is None:
            self._await()
        del self._received[: read[1]]
        return read[0]

    def await_bytes(self, count: int) -> None:
        """Wait until at least so many bytes have come."""
        while len(self._received) < count:
            assert not self.has_ended, f"it ended after {len(self._received)} bytes of {count}"
            self._await()

    def receive_bytes(self, count: int) -> bytes:
        """Receive at least so many bytes."""
        self.await_bytes(count)
        taken = bytes(self._received)
        self._received.clear()
        return taken

    def receive_rest(self) -> bytes:
        """Receive everything up to a clean end of the connection."""
        while not self.has_ended:
            self._await()
        taken = bytes(self._received)
        self._received.clear()
        return taken

    def receive_all(self, *methods: str) -> list[ReceivedResponse]:
        """Receive all responses up to the end of the connection."""
        return read_responses(self.receive_rest(), *methods)

    def take(self) -> bytes:
        """Take what has been received so far."""
        taken = bytes(self._received)
        self._received.clear()
        return taken

    def ask(self, request: bytes, method: str = "GET") -> ReceivedResponse:
        """Send a request and receive its response."""
        self.send(request)
        return self.receive(method)

    def pass_time(self, seconds: float) -> bool:
        """Let time pass. Return True, and at once, when the server sends something."""
        return self._wait(seconds)

    def _await(self) -> None:
        if not self._wait(PATIENCE_SECONDS):
            raise TimeoutError(f"nothing came; so far {len(self._received)} bytes: {bytes(self._received[-300:])!r}")


class Driver(ABC):
    """An application that is being served."""

    kind = ""
    uses_tls = False

    def connect(self, *, window: int = 0) -> Client:
        """Open a connection. Its client takes about `window` bytes without reading; 0 for the usual."""
        client = self.connect_plain(window=window)
        return TlsClient(client) if self.uses_tls else client

    @abstractmethod
    def connect_plain(self, *, window: int = 0) -> Client:
        """Open a connection without TLS, whatever the server expects."""

    @abstractmethod
    def now(self) -> float:
        """Return the seconds of the clock that deadlines use."""

    @abstractmethod
    def contexts(self) -> list[ReactorContext]:
        """Return the reactors' contexts. Read only."""

    @abstractmethod
    def tick(self) -> None:
        """Let a moment pass."""

    def timeouts(self) -> Counter[str]:
        """Return the number of deadlines that have passed, by kind."""
        return sum((Counter(context.counters.timeouts) for context in self.contexts()), Counter())

    @abstractmethod
    def open_connections(self) -> int:
        """Return how many connections the server has."""

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Let time pass until a condition holds that no client can see."""
        end = self.now() + PATIENCE_SECONDS
        while not is_so():
            assert self.now() < end, "the condition never holds"
            self.tick()

    @abstractmethod
    def close(self) -> None:
        """End everything. Fail if something does not end."""


@contextlib.contextmanager
def open_driver(kind: str, app: App, limits: Limits, *, drains: bool = True, **settings: Any) -> Iterator[Driver]:
    """Serve an application. Skip the test if this machine cannot.

    Args:
        kind: one of `KINDS` or `TLS_KINDS`.
        app: what to serve.
        limits: the bounds of the server.
        drains: end the server as SIGTERM does, which takes a quarter of a second more than at once.
        settings: further fields of `Config`.
    """
    reason = missing(kind)
    if reason:
        pytest.skip(reason)
    backend, _, tls = kind.partition("-")
    if tls:
        certificate, key = server_pair()
        settings = {"tls_cert": (str(certificate),), "tls_key": (str(key),)} | settings
    driver = (
        MemoryDriver(app, limits, **settings)
        if backend == "memory"
        else SocketDriver(backend, app, limits, drains, **settings)
    )
    driver.uses_tls = bool(tls)
    try:
        yield driver
    finally:
        driver.close()


def missing(kind: str) -> str:
    """Return why this machine lacks a kind of driver; empty if it has it."""
    if kind.removesuffix(TLS) != "io_uring":
        return ""
    if importlib.util.find_spec("mreactor.net.reactor.io_uring") is None:
        return "io_uring: there is no such backend yet"
    from mreactor.iouring import probe

    support = probe()
    return "" if support.usable else f"io_uring: {support.cause}"


def http1_context(context: Context) -> ReactorContext:
    """Return the context that counts and parses."""
    return cast(ReactorContext, context.inner if isinstance(context, TlsContext) else context)


def fail_at_poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give connections a bug: they fail on bytes that contain `poison`."""
    take = Connection.receive_uncached

    def fail(self: Connection, data: bytes) -> bytes | None:
        if b"poison" in data:
            raise RuntimeError("a bug of ours")
        return take(self, data)

    monkeypatch.setattr(Connection, "receive_uncached", fail)


# With TLS.


class TlsClient(Client):
    """Encrypts what another client sends, and decrypts what it receives. A clean end comes with a close_notify."""

    def __init__(self, client: Client, session: TlsSession | None = None) -> None:
        super().__init__()
        self.client = client
        self.tls = session or TlsSession()
        self._flush()

    def send(self, data: bytes) -> None:
        # Part by part: what the server sends meanwhile may have to be decrypted before it takes more.
        for start in range(0, len(data), PIECE_BYTES):
            self.tls.send(data[start : start + PIECE_BYTES])
            self._flush()

    def shutdown_write(self) -> None:
        while not self.tls.is_open and self.client.pass_time(PATIENCE_SECONDS):
            self._take()
        self.tls.end()
        self._flush()
        self.client.shutdown_write()

    def reset(self) -> None:
        self.client.reset()

    def close(self) -> None:
        self.client.close()

    def _wait(self, seconds: float) -> bool:
        # The other client may have received something while it sent.
        while not self._take():
            if not self.client.pass_time(seconds):
                return False
        return True

    def _take(self) -> bool:
        """Decrypt what has come. Return whether there was anything, or the end."""
        plaintext = self.tls.receive(self.client.take())
        self._received += plaintext
        self._flush()
        has_ended, self.has_ended = self.has_ended, self.client.has_ended
        assert self.tls.has_ended or not self.has_ended, "the connection was cut off: there is no close_notify"
        return bool(plaintext) or has_ended != self.has_ended

    def _flush(self) -> None:
        if self.tls.outgoing.pending and not self.client.has_ended:
            self.client.send(self.tls.outgoing.read())


# In memory.


class MemoryDriver(Driver):
    """A `MemoryReactor` for HTTP, in one thread; its time passes while a client waits."""

    kind = "memory"

    def __init__(self, app: App, limits: Limits, **settings: Any) -> None:
        config = Config(limits=limits, **settings)
        certificates = Certificates(config) if config.tls_cert else None
        make_observation = observation_maker(config)
        app.freeze()

        def make_context() -> Context:
            observation = make_observation() if make_observation is not None else None
            context = ReactorContext(limits, app.routes, errors=app.errors, observation=observation)
            return TlsContext(context, certificates, limits, render_plain_refusal) if certificates else context

        self.reactor = MemoryReactor(make_context, limits=limits)

    def connect_plain(self, *, window: int = 0) -> "MemoryClient":
        return MemoryClient(self.reactor, window or UNLIMITED)

    def now(self) -> float:
        return self.reactor.now

    def contexts(self) -> list[ReactorContext]:
        return [http1_context(self.reactor.context)]

    def open_connections(self) -> int:
        return self.reactor.remove_closed()

    def tick(self) -> None:
        self.reactor.pass_time(TICK_SECONDS)

    def close(self) -> None:
        self.reactor.close()


class MemoryClient(Client):
    """The peer of a `Session`."""

    def __init__(self, reactor: MemoryReactor, window: int) -> None:
        super().__init__()
        self._reactor = reactor
        self._session = reactor.connect(window=window, runs_jobs=False)

    def send(self, data: bytes) -> None:
        self._session.arrive(data)
        self._session.drive()

    def shutdown_write(self) -> None:
        self._session.arrive_eof()
        self._session.drive()

    def reset(self) -> None:
        self._session.reset()

    def close(self) -> None:
        """Leave. What the server still sends is lost, as it is for a socket that is closed."""
        self._session.arrive_eof()
        self._session.window = UNLIMITED
        self._session.drive()
        self._session.reset()

    def _wait(self, seconds: float) -> bool:
        end = self._reactor.now + seconds
        while not self._take() and not self.has_ended:
            if self._reactor.now >= end:
                return False
            self._reactor.pass_time(TICK_SECONDS)
        return True

    def _take(self) -> bool:
        came = self._session.take_sent()
        self._received += came
        self._session.drive()
        if self._session.has_ended and not self._session.sent:
            self.has_ended = True
        return bool(came)


# Over sockets.


class SocketDriver(Driver):
    """A server in this process, and its clients over the loopback."""

    def __init__(self, kind: str, app: App, limits: Limits, drains: bool, **settings: Any) -> None:
        self.kind = kind
        self._drains = drains
        config = Config(port=0, backend=kind, limits=limits, **{"threads": 2, **settings})
        self.server = Server(config, app)
        self.clients: list[SocketClient] = []
        before = set(threading.enumerate())
        self.server.start()
        self._threads = set(threading.enumerate()) - before

    def connect_plain(self, *, window: int = 0) -> "SocketClient":
        client = SocketClient(self.server.address, window)
        self.clients.append(client)
        return client

    def now(self) -> float:
        return time.monotonic()

    @property
    def reactors(self) -> list[Reactor[Any]]:
        """The server's reactors; to be looked at only."""
        return list(self.server.reactors)

    @property
    def acceptor(self) -> Acceptor:
        """The server's acceptor; to be looked at only."""
        acceptor = self.server.acceptor
        assert acceptor is not None, "the server has started"
        return acceptor

    def contexts(self) -> list[ReactorContext]:
        return [http1_context(reactor.context) for reactor in self.reactors]

    def open_connections(self) -> int:
        return self.acceptor.accepted - sum(context.counters.closed for context in self.contexts())

    def tick(self) -> None:
        time.sleep(0.01)

    def close(self) -> None:
        for client in self.clients:
            client.close()
        begun = time.monotonic()
        if self._drains:
            self.server.stop()
        else:
            self.server.abort()
        taken = time.monotonic() - begun
        assert taken < self.server.config.limits.drain_seconds, "the server noticed that all clients are gone"
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)  # they have been told; the server itself waits for a second only
        left = [thread.name for thread in self._threads if thread.is_alive()]
        assert not left, f"threads are left: {left}"


class SocketClient(Client):
    """A client with a real socket."""

    def __init__(self, address: tuple[str, int], window: int = 0, source: str = "") -> None:
        super().__init__()
        self.sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        if window:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        if source:
            self.sock.bind((source, 0))
        self.sock.settimeout(PATIENCE_SECONDS)
        try:
            self.sock.connect(address)
        except BaseException:
            self.sock.close()
            raise
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)

    def send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            can_read, can_write = self._poll(PATIENCE_SECONDS, select.POLLIN | select.POLLOUT)
            assert can_read or can_write, f"the server takes nothing; {len(view)} bytes are left"
            if can_read and not self.has_ended:
                self._read()
            if can_write:
                view = view[self.sock.send(view) :]

    def shutdown_write(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()

    def _wait(self, seconds: float) -> bool:
        if self.has_ended:
            time.sleep(seconds)
            return False
        can_read, _ = self._poll(seconds, select.POLLIN)
        if can_read:
            self._read()
        return can_read

    def _poll(self, seconds: float, events: int) -> tuple[bool, bool]:
        poll = select.poll()
        poll.register(self.sock, select.POLLOUT if self.has_ended else events)
        happened = dict(poll.poll(seconds * 1000)).get(self.sock.fileno(), 0)
        gone = select.POLLERR | select.POLLHUP
        return bool(happened & (select.POLLIN | gone)), bool(happened & (select.POLLOUT | gone))

    def _read(self) -> None:
        data = self.sock.recv(READ_BYTES)
        self._received += data
        self.has_ended = not data
