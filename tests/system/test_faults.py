"""System calls that fail, come short, or storm: nobody but the client concerned notices, and nothing leaks.

Faults are put where the package meets the kernel: a socket's bound methods, `sendfile`, `accept4`, epoll, a ring's
system calls and completions. Where the kernel can be brought to fail by itself, it is: small pools, tiny windows.
"""

import ctypes
import errno
import itertools
import logging
import os
import random
import re
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mreactor.app.application import App
from mreactor.config import Limits
from mreactor.http.request import Request
from mreactor.http.response import Response
from mreactor.iouring import Ring, SystemCalls, abi
from mreactor.iouring import ring as ring_module
from mreactor.net.acceptor import base as acceptor_base
from mreactor.net.acceptor import io_uring as acceptor_uring
from mreactor.net.reactor import base, epoll
from mreactor.net.reactor import io_uring as uring
from mreactor.net.reactor.client import EpollClient
from mreactor.protocol import FileBody
from mreactor.server import server
from tests.support.drivers import (
    PATIENCE_SECONDS,
    SOCKET_KINDS,
    SocketDriver,
    fail_at_poison,
    missing,
    open_driver,
)

GET = b"GET /hello/you HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /hello/you HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
BIG = bytes(range(256)) * 400
EVENT_SECONDS = 60.0
QUICK_SECONDS = 0.02

type Verb = Callable[..., Any]


def request(target: str, body: bytes = b"") -> bytes:
    """A request with or without a body."""
    method, length = ("POST", f"Content-Length: {len(body)}\r\n") if body else ("GET", "")
    return f"{method} {target} HTTP/1.1\r\nHost: a\r\n{length}\r\n".encode() + body


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have idle threads look round more often, or half of the time goes into stopping servers."""
    for module, name, value in (
        (epoll, "TICK_SECONDS", QUICK_SECONDS),
        (base, "TICK_SECONDS", QUICK_SECONDS),
        (base, "TICK_NANOSECONDS", int(QUICK_SECONDS * 1e9)),
        (uring, "TICK_NANOSECONDS", int(QUICK_SECONDS * 1e9)),
        (acceptor_base, "WAKE_SECONDS", QUICK_SECONDS),
        (acceptor_uring, "WAKE_SECONDS", QUICK_SECONDS),
    ):
        monkeypatch.setattr(module, name, value)


@pytest.fixture
def app(tmp_path: Path) -> App:
    app = App()
    file = tmp_path / "the file"
    file.write_bytes(BIG)

    @app.get("/hello/{name}")
    def hello(request: Request, name: str) -> str:
        return f"hello {name}"

    @app.get("/constant", constant=True)
    def constant(request: Request) -> str:
        return "constant"

    @app.post("/echo")
    def echo(request: Request) -> Response:
        return Response(request.body)

    @app.get("/big")
    def big(request: Request) -> bytes:
        return BIG

    @app.get("/file")
    def send_file(request: Request) -> Response:
        return Response(FileBody(os.open(file, os.O_RDONLY), 0, len(BIG)))

    @app.get("/blocking", blocking=True)
    def blocking(request: Request) -> str:
        return "done"

    return app


@pytest.fixture(params=SOCKET_KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if reason := missing(name):
        pytest.skip(reason)
    return name


@pytest.fixture
def ring_kind() -> str:
    if reason := missing("io_uring"):
        pytest.skip(reason)
    return "io_uring"


def serve(kind: str, app: App, **settings: Any) -> Any:
    """One reactor, so that all clients meet in it."""
    return open_driver(kind, app, settings.pop("limits", Limits()), threads=1, **settings)


def check_all_is_well(driver: Any, count: int = 20) -> None:
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
    clients = [client for reactor in driver.server._reactors for client in reactor._all_clients()]
    deadline = time.monotonic() + EVENT_SECONDS
    while any(getattr(client, "in_flight", None) is not None for client in clients):
        assert time.monotonic() < deadline, "a send does not end"
        time.sleep(0.001)


def check_all_answers(driver: Any) -> None:
    """Each kind of answer, on one connection, whole and right."""
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


class Now:
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


def failing(now: Now) -> Verb:
    """A verb that fails when it is time."""

    def verb(real: Any, *args: Any) -> Any:
        if (not now.port or real.__self__.getpeername()[1] == now.port) and now.strikes():
            raise OSError(now.error, os.strerror(now.error))
        return real(*args)

    return verb


class FaultyCalls(SystemCalls):
    """A ring's system calls, of which `io_uring_enter` fails when it is time."""

    __slots__ = ()
    now = Now()
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
                and self.now.strikes()
            )
            return -1 if failed else real_call(number, *args)

        self.syscall = syscall
        self.errno = lambda: self.now.error if failed else real_errno()


# --- Short reads and writes. ---


def test_one_byte_reads(kind: str, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoll, "READ_BYTES", 1)
    monkeypatch.setattr(uring, "BUFFER_BYTES", 1)
    with serve(kind, app) as driver:
        check_all_answers(driver)
        check_all_is_well(driver)


def test_one_byte_writes(kind: str, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short write need not mean that the socket is full."""
    wrap_clients(monkeypatch, send=lambda real, data, *flags: real(data[:1], *flags))
    sent: list[int] = []

    def pack(
        ring: Ring, real: Verb, operation: int, sqe_flags: int, fd: int, address: int, *rest: int
    ) -> Any:
        """A send of one byte; an attempt's completion is then what a short one's would be."""
        sent.append(sqe_flags)
        return real(operation, 0, fd, address, 1, socket.MSG_NOSIGNAL, rest[-1])

    wrap_sends(monkeypatch, pack)
    with serve(kind, app) as driver:
        check_all_answers(driver)
        check_all_is_well(driver)
    assert set(sent) == ({0, abi.SQE_CQE_SKIP_SUCCESS} if kind == "io_uring" else set()), (
        "attempts, other sends"
    )


def test_files_in_pieces(kind: str, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full piece does not mean that the socket is full, nor does a short one."""
    real, sizes = os.sendfile, itertools.cycle((100, 65_536, 1))
    monkeypatch.setattr(
        os, "sendfile", lambda out, file, start, count: real(out, file, start, min(count, next(sizes)))
    )
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
        driver.server._acceptor.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        with ExitStack() as stack:
            clients = [stack.enter_context(driver.connect(window=2048)) for _ in range(4)]
            for client in clients:
                client.send(request("/big") + request("/file"))
            for client in clients:
                assert [client.receive().body for _ in range(2)] == [BIG] * 2
        check_all_is_well(driver)


def ask_without_reading(client: Any, count: int) -> bytes:
    """One small request after the other, each in a packet of its own; returns the answers' bodies in order."""
    for number in range(count):
        client.sock.sendall(request(f"/hello/{number:04d}"))
        time.sleep(0.0002)  # so that the server sees them one by one
    return b"".join(b"hello %04d" % number for number in range(count))


def test_small_answers_to_who_does_not_read(kind: str, app: App) -> None:
    """The kernel takes whole answers, then a part of one, then none: nothing is lost, doubled or overtaken."""
    with serve(kind, app) as driver:
        driver.server._acceptor.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        with driver.connect(window=2048) as client:
            expected = ask_without_reading(client, 400)
            assert b"".join(client.receive().body for _ in range(400)) == expected
        check_all_is_well(driver)
        sent = sum(reactor.context.counters.bytes_out for reactor in driver.server._reactors)
        assert sent >= len(expected)
        assert all(reactor._bytes_counted_early == 0 for reactor in driver.server._reactors)


def test_an_answer_does_not_follow_one_that_did_not_go_out(
    ring_kind: str, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a full completion queue a request may be seen before the end of the last answer: who asks is cut off."""
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
        driver.server._acceptor.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        with driver.connect(window=2048) as client:
            with suppress(ConnectionError):
                ask_without_reading(client, 400)
            with suppress(ConnectionError):
                while not client.has_ended:
                    client._await()
            received = bytes(client._received)
        found = re.findall(rb"hello (\d{4})", received)
        assert found == [b"%04d" % number for number in range(len(found))]
        assert 0 < len(found) < 400
        assert told, "the second answer was queued"
        check_all_is_well(driver)


def test_a_connection_that_fails_gives_its_buffer_back(
    ring_kind: str, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the pool would be dry after as many failures as it has buffers, and nobody would be served any more."""
    fail_at_poison(monkeypatch)
    monkeypatch.setattr(uring, "BUFFERS", 8)
    with serve(ring_kind, app) as driver:
        for _ in range(20):
            with driver.connect() as client, suppress(ConnectionError):
                client.send(request("/poison"))
                client.receive_rest()
        check_all_is_well(driver)


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


# --- Failures of one client's socket. ---

SOCKET_ERRORS = (
    errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENOBUFS, errno.ENOMEM, errno.EIO,
    errno.EPERM, errno.ENOTCONN,
)  # fmt: skip


def test_a_send_fails(kind: str, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client is closed, and others are not."""
    now = Now()
    wrap_clients(monkeypatch, send=failing(now))
    fail_completions(monkeypatch, now, uring.SENT)
    fail_attempts(monkeypatch, now)
    with serve(kind, app) as driver:
        targets = ("/hello/you", "/constant", "/big", "/blocking")
        for error, target in itertools.product(SOCKET_ERRORS, targets):
            with driver.connect() as other, driver.connect() as client:
                assert other.ask(GET).status == 200
                await_quiet(driver)
                now.arm(1, error, client)
                client.send(request(target))
                with suppress(ConnectionResetError):
                    client.receive_rest()
                assert other.ask(GET).status == 200
        assert now.happened == len(SOCKET_ERRORS) * len(targets)
        check_all_is_well(driver)


def test_a_read_fails(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    now = Now()
    wrap_clients(monkeypatch, recv=failing(now))
    with serve("epoll", app) as driver:
        beginnings = (GET[:10], GET, request("/echo", b"x" * 10)[:-3])
        for error, first in itertools.product(SOCKET_ERRORS, beginnings):
            with driver.connect() as other, driver.connect() as client:
                assert other.ask(GET).status == 200
                client.send(first)
                if first == GET:
                    client.receive()
                now.arm(1, error, client)
                with suppress(ConnectionResetError, BrokenPipeError):
                    client.send(b"x")
                    client.receive_rest()
                assert other.ask(GET).status == 200
        assert now.happened == len(SOCKET_ERRORS) * len(beginnings)
        check_all_is_well(driver)


def test_sendfile_fails(kind: str, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Error 0: the file has become shorter. What has begun cannot be mended, so the client sees it cut off."""
    now, real = Now(), os.sendfile

    def sendfile(*args: Any) -> int:
        return failing(now)(real, *args) if now.error else 0 if now.strikes() else real(*args)

    monkeypatch.setattr(os, "sendfile", sendfile)
    with serve(kind, app) as driver:
        for error in (errno.EIO, errno.ENOMEM, errno.EPIPE, errno.ECONNRESET, 0):
            with driver.connect() as client:
                now.arm(1, error)
                client.send(request("/file"))
                with suppress(ConnectionResetError):
                    assert len(client.receive_rest()) < len(BIG)
        assert now.happened == 5
        check_all_is_well(driver)
        assert not [path for path in Path("/proc/self/fd").iterdir() if target_of(path).endswith("/the file")]
        with driver.connect() as client:
            assert client.ask(request("/file")).body == BIG


@pytest.mark.parametrize(
    "error",
    [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EOVERFLOW],
    ids=errno.errorcode.get,
)
def test_sendfile_is_refused(kind: str, app: App, error: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox or a file system refuses it: the file is read and sent, whole."""

    def sendfile(*args: Any) -> int:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "sendfile", sendfile)
    with serve(kind, app) as driver, driver.connect() as client:
        assert client.ask(request("/file")).body == BIG


def fail_completions(monkeypatch: pytest.MonkeyPatch, now: Now, bit: int) -> None:
    """Have completions of one kind tell a failure, when it is time; only those of reactors."""
    real = Ring.completions

    def completions(ring: Ring) -> Iterator[tuple[int, int, int]]:
        in_reactor = threading.current_thread().name.startswith("reactor")
        for completion in real(ring):
            if in_reactor and completion[0] & ~uring.FD_MASK == bit and now.strikes():
                yield completion[0], -now.error, completion[2]
            else:
                yield completion

    monkeypatch.setattr(Ring, "completions", completions)


def fail_attempts(monkeypatch: pytest.MonkeyPatch, now: Now) -> None:
    """Have an attempt to send do nothing and complete with a failure, when it is time."""
    real_completions = Ring.completions

    def pack(ring: Ring, real: Verb, operation: int, sqe_flags: int, *rest: int) -> Any:
        if sqe_flags != abi.SQE_CQE_SKIP_SUCCESS or not now.strikes():
            return real(operation, sqe_flags, *rest)
        ring.prepare_nop(rest[-1])
        return ring._queue.pop()

    def completions(ring: Ring) -> Iterator[tuple[int, int, int]]:
        for user_data, res, flags in real_completions(ring):
            has_failed = user_data & ~uring.FD_MASK == uring.SEND_INCOMPLETE and res == 0
            yield user_data, -now.error if has_failed else res, flags

    wrap_sends(monkeypatch, pack)
    monkeypatch.setattr(Ring, "completions", completions)


# --- Failures of the reactor's own calls. ---

ENTER_ERRORS = (errno.EINTR, errno.EAGAIN, errno.EBUSY, errno.EBADR, errno.ETIME, errno.ENOMEM, errno.EFAULT)


@pytest.mark.parametrize("threads", ["reactor", "acceptor"])
def test_entering_the_ring_fails(
    ring_kind: str, app: App, monkeypatch: pytest.MonkeyPatch, threads: str
) -> None:
    """For a while, and then not any more: nothing that was queued is lost."""
    now = Now()
    monkeypatch.setattr(FaultyCalls, "now", now)
    monkeypatch.setattr(FaultyCalls, "threads", threads)
    monkeypatch.setattr(ring_module, "SystemCalls", FaultyCalls)
    with serve(ring_kind, app) as driver, driver.connect() as client:
        for number, error in enumerate(ENTER_ERRORS):
            now.arm(3, error)
            assert client.ask(GET).body == b"hello you"
            with driver.connect() as newcomer:
                assert newcomer.ask(GET).body == b"hello you"
            now.await_strikes(3 * (number + 1))
        check_all_answers(driver)


def test_waiting_with_epoll_fails(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    now = Now()

    class FaultyEpoll:
        """An epoll whose waits fail when it is time."""

        def __init__(self) -> None:
            self._epoll = select.epoll()

        def __getattr__(self, name: str) -> Any:
            return getattr(self._epoll, name)

        def poll(self, *args: Any) -> Any:
            return failing(now)(self._epoll.poll, *args)

    monkeypatch.setattr(epoll, "select", SimpleNamespace(**{**vars(select), "epoll": FaultyEpoll}))
    with serve("epoll", app) as driver, driver.connect() as client:
        for number, error in enumerate((errno.ENOMEM, errno.EINVAL, errno.EFAULT)):
            now.arm(2, error)
            assert client.ask(GET).body == b"hello you"
            now.await_strikes(2 * (number + 1))
        check_all_answers(driver)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The results with which receives have ended."""
    results: list[int] = []
    real = uring.UringReactor._handle_received

    def attend_received(reactor: Any, client: Any, res: int, flags: int) -> None:
        if not flags & abi.CQE_MORE:
            results.append(res)
        real(reactor, client, res, flags)

    monkeypatch.setattr(uring.UringReactor, "_handle_received", attend_received)
    return results


def test_the_buffer_pool_runs_dry(
    ring_kind: str, app: App, ended: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ENOBUFS: receives end, and are armed again without a byte lost."""
    monkeypatch.setattr(uring, "BUFFERS", 2)
    monkeypatch.setattr(uring, "BUFFER_BYTES", 64)
    with serve(ring_kind, app) as driver:
        ask_all_at_once(driver, 50, request("/echo", BIG[:5000]), BIG[:5000])
        assert -errno.ENOBUFS in ended
        check_all_is_well(driver)


def test_the_completion_queue_overflows(
    ring_kind: str, app: App, ended: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Multishot receives end with bytes in hand: they are armed again, and nothing is lost."""
    monkeypatch.setattr(uring, "ENTRIES", 4)
    monkeypatch.setattr(uring, "CQ_ENTRIES", 4)
    monkeypatch.setattr(uring, "BUFFERS", 64)
    with serve(ring_kind, app) as driver:
        ask_all_at_once(driver, 100, request("/echo", BIG[:20_000]), BIG[:20_000])
        assert max(ended) > 0, "no receive has met the full queue"
        assert driver.server._reactors[0]._ring.dropped == 0
        check_all_is_well(driver)


def ask_all_at_once(driver: Any, count: int, question: bytes, body: bytes) -> None:
    """Many clients ask before any of them listens; each is answered, three times over."""
    with ExitStack() as stack:
        clients = [stack.enter_context(driver.connect()) for _ in range(count)]
        for _ in range(3):
            for client in clients:
                client.send(question)
            for client in clients:
                assert client.receive().body == body


# --- Accepting. ---


def fail_accepts(monkeypatch: pytest.MonkeyPatch, now: Now) -> None:
    """Have accept fail when it is time, in both of its ways. No connection is lost by that: it stays in the queue."""
    real_accept, real_completions = acceptor_base.accept4, Ring.completions

    def accept4(listener: int) -> int:
        if now.strikes():
            ctypes.set_errno(now.error)
            return -1
        return real_accept(listener)

    def completions(ring: Ring) -> Iterator[tuple[int, int, int]]:
        for completion in real_completions(ring):
            yield completion
            if (
                completion[0] == acceptor_uring.ACCEPTED
                and threading.current_thread().name == "acceptor"
                and now.strikes()
            ):
                yield completion[0], -now.error, abi.CQE_MORE

    monkeypatch.setattr(acceptor_base, "accept4", accept4)
    monkeypatch.setattr(Ring, "completions", completions)


ACCEPT_ERRORS = (
    errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED, errno.EINTR, errno.EPERM,
    errno.EPROTO, errno.EAGAIN,
)  # fmt: skip


def test_accept_fails(
    kind: str, app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When no descriptor is left, a client may be refused. The acceptor lives, and a burst is one line in the log."""
    now = Now()
    fail_accepts(monkeypatch, now)
    monkeypatch.setattr(
        acceptor_base, "BURST_SECONDS", PATIENCE_SECONDS
    )  # however long this takes, it is one burst
    with serve(kind, app) as driver:
        for number, error in enumerate(ACCEPT_ERRORS):
            now.arm(3, error)
            for _ in range(6):
                with driver.connect() as client, suppress(ConnectionError):
                    client.send(LAST)
                    client.receive_rest()
            now.await_strikes(3 * (number + 1))
        check_all_is_well(driver)
        assert driver.server._acceptor.is_alive()
    assert len([record for record in caplog.records if "accept failed" in record.message]) <= 1


@pytest.mark.parametrize("is_forbidden", [False, True])
def test_the_acceptor_gives_way_where_it_may(
    kind: str, is_forbidden: bool, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(*args: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if is_forbidden:
        monkeypatch.setattr(os, "sched_setscheduler", forbid)
    with serve(kind, app) as driver:
        check_all_answers(driver)
        policy = os.sched_getscheduler(driver.server._acceptor.native_id)
        assert policy == (os.SCHED_OTHER if is_forbidden else os.SCHED_BATCH)


@pytest.mark.parametrize("is_crowded", [False, True])
def test_reactors_give_way_where_there_are_more_than_cores(
    kind: str, is_crowded: bool, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "usable_cpus", lambda: 1 if is_crowded else 2)
    with open_driver(kind, app, Limits(), threads=2) as driver:
        check_all_answers(driver)
        policies = {os.sched_getscheduler(reactor.native_id) for reactor in driver.server._reactors}
        assert policies == {os.SCHED_BATCH if is_crowded else os.SCHED_OTHER}


def test_a_connection_that_cannot_be_handed_over_is_closed(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """epoll_ctl fails with ENOSPC or ENOMEM: the client sees the end, and takes no place."""
    now = Now()
    now.arm(3, errno.ENOSPC)
    real = epoll.EpollReactor.add_connection

    def hand(reactor: Any, fd: int) -> None:
        failing(now)(real, reactor, fd)

    monkeypatch.setattr(epoll.EpollReactor, "add_connection", hand)
    with serve("epoll", app, limits=Limits(connections_max=4)) as driver:
        for _ in range(3):
            with driver.connect() as client, suppress(ConnectionResetError):
                assert client.receive_rest() == b""
        assert now.happened == 3
        check_all_is_well(driver)


def test_a_connection_that_comes_while_the_reactors_end_is_closed(
    app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The server is cut off. The acceptor ends a moment later, with a client in its queue, and in good order."""
    monkeypatch.setattr(acceptor_base, "WAKE_SECONDS", EVENT_SECONDS)  # a client wakes it
    with serve("epoll", app) as driver:
        ending = threading.Thread(target=driver.server.abort)
        ending.start()
        for reactor in driver.server._reactors:
            reactor.join(EVENT_SECONDS)
        with suppress(ConnectionError), driver.connect() as client:
            assert client.receive_rest() == b""
        ending.join(EVENT_SECONDS)
    assert "the acceptor failed" not in caplog.text


def test_a_connection_that_cannot_be_posted_goes_another_way(
    ring_kind: str, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MSG_RING fails, as it does where the ring is full: the mailbox has room, and whose turn it was keeps it."""
    real, posts, no_ring = Ring.prepare_msg_ring, itertools.count(), os.eventfd(0)

    def prepare_msg_ring(ring: Ring, ring_fd: int, *args: Any) -> None:
        real(ring, ring_fd if next(posts) % 2 else no_ring, *args)

    monkeypatch.setattr(Ring, "prepare_msg_ring", prepare_msg_ring)
    with open_driver(ring_kind, app, Limits(), threads=3) as driver:
        check_all_is_well(driver)
        with ExitStack() as stack:
            for _ in range(12):
                assert stack.enter_context(driver.connect()).ask(GET).status == 200
        accepted = [context.counters.accepted for context in driver.contexts()]
        assert sum(accepted) >= 12
        assert max(accepted) - min(accepted) <= 1
    os.close(no_ring)


@pytest.mark.parametrize("fails", [False, True])
def test_a_connection_whose_post_fails_at_the_very_end_is_served(
    ring_kind: str, fails: bool, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server stops accepting in the round that accepts it: its post goes with the acceptor's last submission.

    Which may fail at first.
    """
    real_post, real_submit = Ring.prepare_msg_ring, Ring.submit_and_wait
    real_attend = acceptor_uring.UringAcceptor._handle_accepted
    no_ring, tries = os.eventfd(0), itertools.count()

    def prepare_msg_ring(ring: Ring, ring_fd: int, *args: Any) -> None:
        real_post(ring, no_ring, *args)

    def attend(acceptor: acceptor_uring.UringAcceptor, ring: Ring, res: int, flags: int) -> None:
        real_attend(acceptor, ring, res, flags)
        acceptor.is_stopping, acceptor._is_armed = True, False

    def submit_and_wait(ring: Ring, min_complete: int, timeout_ns: int | None = None) -> bool:
        is_last = min_complete == 0 and threading.current_thread() is driver.server._acceptor
        if is_last and next(tries) == 0 and fails:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        return real_submit(ring, min_complete, timeout_ns)

    monkeypatch.setattr(Ring, "prepare_msg_ring", prepare_msg_ring)
    monkeypatch.setattr(acceptor_uring.UringAcceptor, "_handle_accepted", attend)
    with serve(ring_kind, app) as driver:
        monkeypatch.setattr(Ring, "submit_and_wait", submit_and_wait)
        with driver.connect() as client:
            assert client.ask(GET).status == 200
    assert next(tries) == (2 if fails else 1)
    os.close(no_ring)


# --- The thread pool. ---


def test_no_thread_can_be_started(kind: str, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """clone fails with EAGAIN: the request is refused, or waits for a thread that there is; the pool is not lost."""
    now = Now()
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith("blocking") and now.strikes():
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with serve(kind, app, limits=Limits(blocking_threads=2)) as driver:
        for _ in range(5):
            now.arm(1)
            with driver.connect() as client:
                assert client.ask(request("/blocking")).status in (200, 503)
                assert client.ask(GET).status == 200
        now.arm(0)
        with driver.connect() as client:
            assert client.ask(request("/blocking")).body == b"done"
        check_all_is_well(driver)


# --- Descriptors whose numbers come again. ---


def test_an_event_that_comes_too_late_concerns_nobody(
    kind: str, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    """Handlers end while their clients half-close: a descriptor is closed in the same round that has an event of it."""

    @app.get("/soon", blocking=True)
    def soon(request: Request) -> str:
        time.sleep(dice.random() / 200)
        return "soon"

    dice = random.Random(1)
    lost: list[str] = []

    def ask(address: tuple[str, int]) -> None:
        for _ in range(40):
            with (
                socket.create_connection(address, timeout=EVENT_SECONDS) as sock,
                sock.makefile("rb") as answer,
            ):
                sock.sendall(b"GET /soon HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                time.sleep(dice.random() / 200)
                sock.shutdown(socket.SHUT_WR)
                content = answer.read()
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
