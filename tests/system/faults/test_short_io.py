"""System calls that come short: reads, sends and files in pieces lose, double and reorder nothing."""

import itertools
import logging
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from mreactor.app.application import App
from mreactor.http.request import Request
from mreactor.http.response import Response
from mreactor.iouring import Ring, abi
from mreactor.net.reactor import epoll
from mreactor.net.reactor import io_uring as uring
from mreactor.protocol import FileBody
from tests.support.drivers import fail_at_poison
from tests.support.faults import (
    BIG,
    GET,
    Verb,
    check_all_responses,
    check_it_serves_on,
    request,
    serve,
    wrap_clients,
    wrap_sends,
)

BURSTS_MAX = 5


def test_one_byte_reads(kind: str, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoll, "READ_BYTES", 1)
    monkeypatch.setattr(uring, "BUFFER_BYTES", 1)
    with serve(kind, app) as driver:
        check_all_responses(driver)
        check_it_serves_on(driver)


def test_one_byte_writes(kind: str, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short write need not mean that the socket is full."""
    wrap_clients(monkeypatch, send=lambda real, data, *flags: real(data[:1], *flags))
    sent: list[int] = []

    def pack(ring: Ring, real: Verb, operation: int, sqe_flags: int, fd: int, address: int, *rest: int) -> Any:
        """A send of one byte; an attempt's completion is then what a short one's would be."""
        sent.append(sqe_flags)
        return real(operation, 0, fd, address, 1, socket.MSG_NOSIGNAL, rest[-1])

    wrap_sends(monkeypatch, pack)
    with serve(kind, app) as driver:
        check_all_responses(driver)
        check_it_serves_on(driver)
    assert set(sent) == ({0, abi.SQE_CQE_SKIP_SUCCESS} if kind == "io_uring" else set()), "attempts, other sends"


def test_files_in_pieces(kind: str, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full piece does not mean that the socket is full, nor does a short one."""
    real, sizes = os.sendfile, itertools.cycle((100, 65_536, 1))
    monkeypatch.setattr(os, "sendfile", lambda out, file, start, count: real(out, file, start, min(count, next(sizes))))
    with serve(kind, app) as driver, driver.connect() as client:
        assert client.ask(request("/file")).body == BIG
        assert client.ask(GET).body == b"hello you"


def test_a_file_that_a_fast_reader_takes_as_it_comes(kind: str, app: App) -> None:
    """The socket is never full, so no event would say that it has room again. This once stalled after 2 MiB."""
    size = 24 << 20

    @app.get("/huge")
    def huge(request: Request) -> Response:
        fd = os.memfd_create("huge")
        os.truncate(fd, size)
        return Response(FileBody(fd, 0, size))

    with serve(kind, app) as driver, driver.connect() as client:
        client.send(request("/huge") + GET)
        assert len(client.receive().body) == size
        assert client.receive().body == b"hello you"


def test_a_storm_of_eagain(kind: str, app: App) -> None:
    """Windows of a few KiB on both sides: of most sends the kernel takes little or nothing."""
    with serve(kind, app) as driver:
        driver.acceptor.listeners[0].sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        with ExitStack() as stack:
            clients = [stack.enter_context(driver.connect(window=2048)) for _ in range(4)]
            for client in clients:
                client.send(request("/big") + request("/file"))
            for client in clients:
                assert [client.receive().body for _ in range(2)] == [BIG] * 2
        check_it_serves_on(driver)


def request_without_reading(client: Any, count: int) -> bytes:
    """One small request after the other, each in a packet of its own; returns the responses' bodies in order."""
    for number in range(count):
        client.sock.sendall(request(f"/hello/{number:04d}"))
        time.sleep(0.0002)  # so that the server sees them one by one
    return b"".join(b"hello %04d" % number for number in range(count))


def test_small_responses_to_a_client_that_does_not_read(kind: str, app: App) -> None:
    """The kernel takes whole responses, then a part of one, then none: nothing is lost, doubled or overtaken."""
    with serve(kind, app) as driver:
        driver.acceptor.listeners[0].sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        with driver.connect(window=2048) as client:
            expected = request_without_reading(client, 400)
            assert b"".join(client.receive().body for _ in range(400)) == expected
        check_it_serves_on(driver)
        sent = sum(reactor.context.counters.bytes_out for reactor in driver.reactors)
        assert sent >= len(expected)
        assert all(reactor._bytes_counted_early == 0 for reactor in driver.reactors)


def test_no_response_overtakes_an_unsent_one(ring_kind: str, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full completion queue may show a request before the end of the last response: its client is cut off."""
    real, kept, told = Ring.completions, [], []

    def completions(ring: Ring) -> Iterator[tuple[int, int, int]]:
        """Tell of the first attempt that fails only behind the receive that comes next; then all in order again.

        Kept any longer, an end would reach a later client with the same number, which no ring lets happen.
        """
        for completion in real(ring):
            if completion[0] & ~uring.FD_MASK == uring.SEND_INCOMPLETE and not kept:
                kept.append(completion)
                continue
            yield completion
            if kept and not told and completion[2] & uring.RECEIVED == uring.RECEIVED:
                told.append(completion)
                yield kept[0]

    monkeypatch.setattr(Ring, "completions", completions)
    with serve(ring_kind, app) as driver:
        driver.acceptor.listeners[0].sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        # If the requests come in bursts, on a busy machine, no nonblocking send fails before the next one is queued.
        for _ in range(BURSTS_MAX):
            with driver.connect(window=2048) as client:
                with suppress(ConnectionError):
                    request_without_reading(client, 400)
                with suppress(ConnectionError):
                    while not client.has_ended and not client._received.endswith(b"hello 0399"):
                        client._await()
                received = bytes(client._received)
            found = re.findall(rb"hello (\d{4})", received)
            assert found == [b"%04d" % number for number in range(len(found))]
            if len(found) < 400:
                break
        assert 0 < len(found) < 400
        assert told, "the second response was queued"
        check_it_serves_on(driver)


def test_a_connection_that_fails_gives_its_buffer_back(
    ring_kind: str, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the pool would be dry after as many failures as it has buffers, and no client would be served any more."""
    fail_at_poison(monkeypatch)
    monkeypatch.setattr(uring, "BUFFERS", 8)
    with serve(ring_kind, app) as driver:
        for _ in range(20):
            with driver.connect() as client, suppress(ConnectionError):
                client.send(request("/poison"))
                client.receive_rest()
        check_it_serves_on(driver)


def test_a_log_that_fails(kind: str, app: App) -> None:
    """An application's own handler, or standard error that is closed where nothing was configured."""

    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("no")

    @app.get("/boom")
    def boom(request: Request) -> str:
        raise RuntimeError("boom")

    handler = Failing()
    logging.getLogger("mreactor").addHandler(handler)
    try:
        with serve(kind, app) as driver, driver.connect() as client, driver.connect() as other:
            assert client.ask(request("/boom")).status == 500
            assert other.ask(GET).status == 200
            assert client.ask(GET).status == 200
    finally:
        logging.getLogger("mreactor").removeHandler(handler)
