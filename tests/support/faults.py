"""Faults where the package meets the kernel, and how a suite checks that the server goes on.

A fault replaces a socket's bound methods, a ring's system calls or its completions, and strikes when it is told to.
"""

import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mreactor.app.application import App
from mreactor.config import Limits
from mreactor.iouring import Ring, SystemCalls, abi
from mreactor.net.reactor.client import EpollClient
from tests.support.drivers import open_driver

GET = b"GET /hello/you HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /hello/you HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
BIG = bytes(range(256)) * 400
EVENT_SECONDS = 60.0

type Verb = Callable[..., Any]


def request(target: str, body: bytes = b"") -> bytes:
    """A request with or without a body."""
    method, length = ("POST", f"Content-Length: {len(body)}\r\n") if body else ("GET", "")
    return f"{method} {target} HTTP/1.1\r\nHost: a\r\n{length}\r\n".encode() + body


def serve(kind: str, app: App, **settings: Any) -> Any:
    """One reactor, so that all clients meet in it."""
    return open_driver(kind, app, settings.pop("limits", Limits()), threads=1, **settings)


def check_it_serves_on(driver: Any, count: int = 20) -> None:
    """New clients are served as if nothing had happened, and all that have left are forgotten."""
    for _ in range(count):
        with driver.connect() as client:
            assert client.ask(GET).body == b"hello you"
    await_closed(driver)


def target_of(link: Path) -> str:
    """What a descriptor stands for; nothing for one that was closed while we looked."""
    try:
        return os.readlink(link)
    except OSError:
        return ""


def await_closed(driver: Any) -> None:
    """Wait until the reactor knows that no client is left."""
    deadline = time.monotonic() + EVENT_SECONDS
    while driver.open_connections():
        assert time.monotonic() < deadline, f"{driver.open_connections()} connections are never closed"
        time.sleep(0.01)


def await_quiet(driver: Any) -> None:
    """Wait until the reactor has heard of the end of all that it has sent."""
    clients = [client for reactor in driver.reactors for client in reactor._all_clients()]
    deadline = time.monotonic() + EVENT_SECONDS
    while any(getattr(client, "in_flight", None) is not None for client in clients):
        assert time.monotonic() < deadline, "a send does not end"
        time.sleep(0.001)


def check_all_responses(driver: Any) -> None:
    """Each kind of response, on one connection, whole and right."""
    with driver.connect() as client:
        assert [client.ask(GET).body for _ in range(3)] == [b"hello you"] * 3
        assert [client.ask(request("/constant")).body for _ in range(3)] == [b"constant"] * 3
        assert client.ask(request("/echo", BIG[:3000])).body == BIG[:3000]
        client.send(GET + request("/echo", b"x" * 50) + request("/constant") + request("/blocking"))
        assert [client.receive().body for _ in range(4)] == [b"hello you", b"x" * 50, b"constant", b"done"]


def wrap_clients(monkeypatch: pytest.MonkeyPatch, recv: Verb | None = None, send: Verb | None = None) -> None:
    """Have each client's socket read and write through these functions, which get the real one as first argument."""
    construct = EpollClient.__init__

    def init(client: Any, *args: Any) -> None:
        construct(client, *args)
        real_recv, real_send, connection = client.fast_path
        client.fast_path = (
            real_recv if recv is None else partial(recv, real_recv),
            real_send if send is None else partial(send, real_send),
            connection,
        )

    monkeypatch.setattr(EpollClient, "__init__", init)


def wrap_sends(monkeypatch: pytest.MonkeyPatch, pack: Verb) -> None:
    """Have each ring make its sends by this function, which gets the ring and its real `pack_send` first."""
    construct = Ring.__init__

    def init(ring: Any, *args: Any, **keywords: Any) -> None:
        construct(ring, *args, **keywords)
        ring.pack_send = partial(pack, ring, ring.pack_send)

    monkeypatch.setattr(Ring, "__init__", init)


class Fault:
    """A switch that a fault asks whether it is its time, and with which error."""

    def __init__(self) -> None:
        self._left = 0
        self._lock = threading.Lock()
        self.error = 0
        self.port = 0
        self.happened = 0

    def arm(self, times: int, error: int = 0, client: Any = None) -> None:
        """Let it strike so often: anybody, or one client's socket."""
        with self._lock:
            self._left, self.error = times, error
            self.port = client.sock.getsockname()[1] if client is not None else 0

    def strikes(self) -> bool:
        with self._lock:
            if self._left <= 0:
                return False
            self._left -= 1
            self.happened += 1
            return True

    def await_strikes(self, count: int) -> None:
        """Wait until it has struck so often: an idle reactor comes round four times a second."""
        deadline = time.monotonic() + EVENT_SECONDS
        while self.happened < count:
            assert time.monotonic() < deadline, f"it has struck {self.happened} times"
            time.sleep(0.01)


def failing(fault: Fault) -> Verb:
    """A verb that fails when it is time."""

    def verb(real: Any, *args: Any) -> Any:
        if (not fault.port or real.__self__.getpeername()[1] == fault.port) and fault.strikes():
            raise OSError(fault.error, os.strerror(fault.error))
        return real(*args)

    return verb


class FaultyCalls(SystemCalls):
    """A ring's system calls, of which `io_uring_enter` fails when it is time."""

    __slots__ = ()
    fault = Fault()
    threads = "reactor"

    def __init__(self) -> None:
        super().__init__()
        real_call, real_errno = self.syscall, self.errno
        failed = False

        def syscall(number: int, *args: Any) -> int:
            nonlocal failed
            failed = (
                number == abi.NR_ENTER
                and threading.current_thread().name.startswith(self.threads)
                and self.fault.strikes()
            )
            return -1 if failed else real_call(number, *args)

        self.syscall = syscall
        self.errno = lambda: self.fault.error if failed else real_errno()
