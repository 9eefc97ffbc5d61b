"""Three ways of talking to an application, behind one face: in memory, over epoll, over io_uring.

    with open_driver("memory", app, Limits()) as driver, driver.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.receive().status == 200

The memory driver moves a `Connection` as a reactor would, and has a time of its own: a client that waits makes it pass.
The others start a real server in this process and use real sockets; nothing there waits longer than `PATIENCE_SECONDS`.
"""

import contextlib
import importlib.util
import os
import select
import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest

from mreactor.app.application import App
from mreactor.concurrency.job import Job
from mreactor.config import Config, Limits
from mreactor.http1.connection import Connection
from mreactor.http1.context import ReactorContext
from mreactor.http1.states import CLOSED, LINGERING, READY
from mreactor.protocol import FileBody
from mreactor.server.server import Server
from tests.support.responses import ReceivedResponse, read_response, read_responses

PATIENCE_SECONDS = (
    60.0  # for things that take milliseconds: the machine may be busy, or stand still for seconds
)
READ_BYTES = 64 * 1024

KINDS = ("memory", "epoll", "io_uring")
SOCKET_KINDS = ("epoll", "io_uring")


class Client(ABC):
    """One connection, from the client's side. What it waits for has to come in time, else it is a TimeoutError."""

    def __init__(self) -> None:
        self._received = bytearray()
        self.has_ended = False  # the server has closed, or shut its side

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Send all of it. What the server sends meanwhile is taken in."""

    @abstractmethod
    def shutdown_write(self) -> None:
        """Half-close: nothing more will be sent."""

    @abstractmethod
    def reset(self) -> None:
        """Leave abruptly, with RST."""

    @abstractmethod
    def close(self) -> None:
        """Leave; again does nothing."""

    @abstractmethod
    def _wait(self, seconds: float) -> bool:
        """Wait until the server says something, append it to `_received`, or set `has_ended`; False if time is over."""

    def receive(self, method: str = "GET") -> ReceivedResponse:
        """The next answer, interim ones among them; `method` is that of the request."""
        while (read := read_response(bytes(self._received), method, at_end=self.has_ended)) is None:
            self._await()
        del self._received[: read[1]]
        return read[0]

    def receive_bytes(self, count: int) -> bytes:
        """So many bytes, at least."""
        while len(self._received) < count:
            assert not self.has_ended, f"it ended after {len(self._received)} bytes of {count}"
            self._await()
        taken = bytes(self._received)
        self._received.clear()
        return taken

    def receive_rest(self) -> bytes:
        """Everything up to the end of the connection, which has to be a clean one."""
        while not self.has_ended:
            self._await()
        taken = bytes(self._received)
        self._received.clear()
        return taken

    def receive_all(self, *methods: str) -> list[ReceivedResponse]:
        """All answers up to the end of the connection."""
        return read_responses(self.receive_rest(), *methods)

    def ask(self, request: bytes, method: str = "GET") -> ReceivedResponse:
        """Send a request and receive its answer."""
        self.send(request)
        return self.receive(method)

    def pass_time(self, seconds: float) -> bool:
        """Let time pass; True, and sooner, where the server says something meanwhile."""
        return self._wait(seconds)

    def _await(self) -> None:
        if not self._wait(PATIENCE_SECONDS):
            raise TimeoutError(
                f"nothing came; so far {len(self._received)} bytes: {bytes(self._received[-300:])!r}"
            )


class Driver(ABC):
    """An application that is being served."""

    kind = ""

    @abstractmethod
    def connect(self, *, window: int = 0) -> Client:
        """A new connection; `window` bytes is about what its client takes without reading, 0 for the usual."""

    @abstractmethod
    def now(self) -> float:
        """Seconds, by the clock that deadlines go by."""

    @abstractmethod
    def contexts(self) -> list[ReactorContext]:
        """What counts; to be read only."""

    @abstractmethod
    def tick(self) -> None:
        """Let a moment pass."""

    def timeouts(self) -> Counter[str]:
        """Deadlines that have passed so far, by kind."""
        return sum((Counter(context.counters.timeouts) for context in self.contexts()), Counter())

    @abstractmethod
    def open_connections(self) -> int:
        """How many connections the server has now."""

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Let time pass until something is so that no client sees."""
        end = self.now() + PATIENCE_SECONDS
        while not is_so():
            assert self.now() < end, "it does not come to be so"
            self.tick()

    @abstractmethod
    def close(self) -> None:
        """End it all; fails if something does not end."""


@contextlib.contextmanager
def open_driver(
    kind: str, app: App, limits: Limits, *, drains: bool = True, **settings: Any
) -> Iterator[Driver]:
    """Serve an application; skips the test where this machine cannot.

    Args:
        kind: one of `KINDS`.
        app: what to serve.
        limits: the bounds of the server.
        drains: end the server as SIGTERM does, and not at once: a quarter of a second more, and worth it now and then.
        settings: further fields of `Config`.
    """
    reason = missing(kind)
    if reason:
        pytest.skip(reason)
    driver = (
        MemoryDriver(app, limits) if kind == "memory" else SocketDriver(kind, app, limits, drains, **settings)
    )
    try:
        yield driver
    finally:
        driver.close()


def missing(kind: str) -> str:
    """Why a kind of driver cannot be had here; empty where it can."""
    if kind != "io_uring":
        return ""
    if importlib.util.find_spec("mreactor.net.reactor.io_uring") is None:
        return "io_uring: there is no such backend yet"
    from mreactor.iouring import probe

    support = probe()
    return "" if support.usable else f"io_uring: {support.cause}"


def fail_at_poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give connections a bug: they fail at bytes that hold `poison`."""
    take = Connection.receive_uncached

    def fail(self: Connection, data: bytes) -> bytes | None:
        if b"poison" in data:
            raise RuntimeError("a bug of ours")
        return take(self, data)

    monkeypatch.setattr(Connection, "receive_uncached", fail)


# In memory.


class MemoryDriver(Driver):
    """Connections without sockets, in one thread, with a time that passes when somebody waits."""

    kind = "memory"
    TICK_SECONDS = 0.05

    def __init__(self, app: App, limits: Limits) -> None:
        self.context = ReactorContext(limits, app.routes)
        self.clients: list[MemoryClient] = []
        self.jobs: deque[tuple[MemoryClient, Job]] = deque()

    def connect(self, *, window: int = 0) -> "MemoryClient":
        client = MemoryClient(self, window or 1 << 40)
        self.clients.append(client)
        return client

    def now(self) -> float:
        return self.context.now

    def contexts(self) -> list[ReactorContext]:
        return [self.context]

    def open_connections(self) -> int:
        self.clients = [client for client in self.clients if client.connection.state != CLOSED]
        return len(self.clients)

    def tick(self) -> None:
        """Let a moment pass: what waits in the pool is done, and deadlines are minded."""
        context = self.context
        context.begin_round(context.now + self.TICK_SECONDS)
        if context.now >= context.next_second:
            context.begin_second(context.now)
        self.run_jobs()
        for client in list(self.clients):
            client.connection.handle_timeout(context.now)
            client.drive()

    def run_jobs(self) -> None:
        """Do what blocking handlers have been asked for, as the thread pool would."""
        while self.jobs:
            client, job = self.jobs.popleft()
            job.run()
            client.connection.job_done(job)
            client.drive()

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.run_jobs()
        assert self.open_connections() == 0


class MemoryClient(Client):
    """The peer of a `Connection`, with the two socket buffers that lie between."""

    def __init__(self, driver: MemoryDriver, window: int) -> None:
        super().__init__()
        self.connection = Connection(driver.context, ("192.0.2.1", 50000))
        self._driver = driver
        self._window = window
        self._on_the_way = bytearray()  # from the server, not read by the client
        self._unread = bytearray()  # from the client, not read by the server
        self._is_shut = False
        self._eof_is_told = False

    def send(self, data: bytes) -> None:
        assert not self._is_shut, "the client has shut its side"
        self._unread += data
        self.drive()

    def shutdown_write(self) -> None:
        self._is_shut = True
        self.drive()

    def reset(self) -> None:
        self.connection.abort()

    def close(self) -> None:
        """Leave; what the server still has to say is lost, as it is to a socket that is closed."""
        self._is_shut = True
        self._window = 1 << 40
        self.drive()
        self.connection.abort()

    def drive(self) -> None:
        """Do what a reactor does, until nothing more can be done."""
        while self._flush() or self._settle() or self._read():
            pass

    def _wait(self, seconds: float) -> bool:
        end = self._driver.now() + seconds
        while not self._take() and not (self.has_ended and not self._on_the_way):
            if self._driver.now() >= end:
                return False
            self._driver.tick()
        return True

    def _take(self) -> bool:
        came = bytes(self._on_the_way)
        self._on_the_way.clear()
        self._received += came
        self.drive()
        if self.connection.state in (LINGERING, CLOSED) and not self._on_the_way:
            self.has_ended = True
        return bool(came)

    def _flush(self) -> bool:
        output = self.connection.data_to_send()
        room = self._window - len(self._on_the_way)
        if not output or room <= 0:
            return False
        if isinstance(output, FileBody):
            taken = os.pread(output.fd, min(room, len(output)), output.offset)
            assert taken, "a file became shorter"
        else:
            taken = bytes(output[:room])
        self._on_the_way += taken
        self.connection.data_sent(len(taken))
        return True

    def _settle(self) -> bool:
        job = self.connection.next_job()
        if job is not None:
            self._driver.jobs.append((self, job))
            return True
        if self.connection.state != READY:
            return False
        self.connection.resume()
        return True

    def _read(self) -> bool:
        connection = self.connection
        if not connection.wants_read:
            return False
        if self._unread:
            data = bytes(self._unread[:READ_BYTES])
            del self._unread[:READ_BYTES]
            answer = connection.receive_data(data)
            if answer is not None:
                taken = answer[: max(0, self._window - len(self._on_the_way))]
                self._on_the_way += taken
                if len(taken) < len(answer):
                    connection.queue_remainder(answer, len(taken))
            return True
        if self._is_shut and not self._eof_is_told:
            self._eof_is_told = True
            connection.receive_data(b"")
            return True
        return False


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

    def connect(self, *, window: int = 0) -> "SocketClient":
        client = SocketClient(self.server.address, window)
        self.clients.append(client)
        return client

    def now(self) -> float:
        return time.monotonic()

    def contexts(self) -> list[ReactorContext]:
        return [reactor.context for reactor in self.server.reactors]

    def open_connections(self) -> int:
        acceptor = self.server.acceptor
        assert acceptor is not None, "the server has started"
        return acceptor.accepted - sum(context.counters.closed for context in self.contexts())

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
        assert taken < self.server.config.limits.drain_seconds, "it did not know that all clients are gone"
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
