"""System calls of one client's socket that fail: that client is closed, and no other notices."""

import errno
import itertools
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mreactor.app.application import App
from mreactor.http.request import Request
from mreactor.iouring import Ring, abi
from mreactor.net.reactor import io_uring as uring
from tests.support.drivers import SocketDriver
from tests.support.faults import (
    BIG,
    EVENT_SECONDS,
    GET,
    Fault,
    Verb,
    await_closed,
    await_quiet,
    check_it_serves_on,
    failing,
    request,
    serve,
    target_of,
    wrap_clients,
    wrap_sends,
)

# --- Failures of one client's socket. ---

SOCKET_ERRORS = (
    errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENOBUFS, errno.ENOMEM, errno.EIO,
    errno.EPERM, errno.ENOTCONN,
)  # fmt: skip


def test_a_send_fails(kind: str, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client is closed, and others are not."""
    fault = Fault()
    wrap_clients(monkeypatch, send=failing(fault))
    fail_completions(monkeypatch, fault, uring.SENT)
    fail_nonblocking_sends(monkeypatch, fault)
    with serve(kind, app) as driver:
        targets = ("/hello/you", "/constant", "/big", "/blocking")
        for error, target in itertools.product(SOCKET_ERRORS, targets):
            with driver.connect() as other, driver.connect() as client:
                assert other.ask(GET).status == 200
                await_quiet(driver)
                fault.arm(1, error, client)
                client.send(request(target))
                with suppress(ConnectionResetError):
                    client.receive_rest()
                assert other.ask(GET).status == 200
        assert fault.happened == len(SOCKET_ERRORS) * len(targets)
        check_it_serves_on(driver)


def test_a_read_fails(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = Fault()
    wrap_clients(monkeypatch, recv=failing(fault))
    with serve("epoll", app) as driver:
        beginnings = (GET[:10], GET, request("/echo", b"x" * 10)[:-3])
        for error, first in itertools.product(SOCKET_ERRORS, beginnings):
            with driver.connect() as other, driver.connect() as client:
                assert other.ask(GET).status == 200
                client.send(first)
                if first == GET:
                    client.receive()
                fault.arm(1, error, client)
                with suppress(ConnectionResetError, BrokenPipeError):
                    client.send(b"x")
                    client.receive_rest()
                assert other.ask(GET).status == 200
        assert fault.happened == len(SOCKET_ERRORS) * len(beginnings)
        check_it_serves_on(driver)


def test_sendfile_fails(kind: str, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Error 0: the file has become shorter. What has begun cannot be mended, so the client sees it cut off."""
    fault, real = Fault(), os.sendfile

    def sendfile(*args: Any) -> int:
        return failing(fault)(real, *args) if fault.error else 0 if fault.strikes() else real(*args)

    monkeypatch.setattr(os, "sendfile", sendfile)
    with serve(kind, app) as driver:
        for error in (errno.EIO, errno.ENOMEM, errno.EPIPE, errno.ECONNRESET, 0):
            with driver.connect() as client:
                fault.arm(1, error)
                client.send(request("/file"))
                with suppress(ConnectionResetError):
                    assert len(client.receive_rest()) < len(BIG)
        assert fault.happened == 5
        check_it_serves_on(driver)
        assert not [path for path in Path("/proc/self/fd").iterdir() if target_of(path).endswith("/the file")]
        with driver.connect() as client:
            assert client.ask(request("/file")).body == BIG


@pytest.mark.parametrize(
    "error", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EOVERFLOW], ids=errno.errorcode.get
)
def test_sendfile_is_refused(kind: str, app: App, error: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox or a file system refuses it: the file is read and sent, whole."""

    def sendfile(*args: Any) -> int:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "sendfile", sendfile)
    with serve(kind, app) as driver, driver.connect() as client:
        assert client.ask(request("/file")).body == BIG


def fail_completions(monkeypatch: pytest.MonkeyPatch, fault: Fault, bit: int) -> None:
    """Have completions of one kind tell a failure, when it is time; only those of reactors."""
    real = Ring.completions

    def completions(ring: Ring) -> Iterator[tuple[int, int, int]]:
        in_reactor = threading.current_thread().name.startswith("reactor")
        for completion in real(ring):
            if in_reactor and completion[0] & ~uring.FD_MASK == bit and fault.strikes():
                yield completion[0], -fault.error, completion[2]
            else:
                yield completion

    monkeypatch.setattr(Ring, "completions", completions)


def fail_nonblocking_sends(monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    """Have an attempt to send do nothing and complete with a failure, when it is time."""
    real_completions = Ring.completions

    def pack(ring: Ring, real: Verb, operation: int, sqe_flags: int, *rest: int) -> Any:
        if sqe_flags != abi.SQE_CQE_SKIP_SUCCESS or not fault.strikes():
            return real(operation, sqe_flags, *rest)
        ring.prepare_nop(rest[-1])
        return ring._queue.pop()

    def completions(ring: Ring) -> Iterator[tuple[int, int, int]]:
        for user_data, res, flags in real_completions(ring):
            has_failed = user_data & ~uring.FD_MASK == uring.SEND_INCOMPLETE and res == 0
            yield user_data, -fault.error if has_failed else res, flags

    wrap_sends(monkeypatch, pack)
    monkeypatch.setattr(Ring, "completions", completions)


# --- Descriptors whose numbers come again. ---


def test_a_stale_event_reaches_no_other_connection(kind: str, app: App, caplog: pytest.LogCaptureFixture) -> None:
    """Handlers end while their clients half-close: a descriptor is closed in the same round that has an event of it."""

    @app.get("/soon", blocking=True)
    def soon(request: Request) -> str:
        time.sleep(dice.random() / 200)
        return "soon"

    dice = random.Random(1)
    lost: list[str] = []

    def ask(address: tuple[str, int]) -> None:
        for _ in range(40):
            with socket.create_connection(address, timeout=EVENT_SECONDS) as sock, sock.makefile("rb") as response:
                sock.sendall(b"GET /soon HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                time.sleep(dice.random() / 200)
                sock.shutdown(socket.SHUT_WR)
                content = response.read()
                if not content.endswith(b"soon"):
                    lost.append(content[:100].decode())

    with serve(kind, app) as driver:
        assert isinstance(driver, SocketDriver)
        threads = [threading.Thread(target=ask, args=(driver.server.address,)) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        await_closed(driver)
    assert not lost
    assert not [record.message for record in caplog.records if record.levelname == "ERROR"]
