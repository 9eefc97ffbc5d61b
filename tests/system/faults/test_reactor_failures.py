"""Calls of the reactor itself that fail: waiting, the ring's memory, the thread pool."""

import errno
import select
import threading
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from mreactor.app.application import App
from mreactor.config import Limits
from mreactor.iouring import abi
from mreactor.iouring import ring as ring_module
from mreactor.net.reactor import epoll
from mreactor.net.reactor import io_uring as uring
from tests.support.faults import (
    BIG,
    GET,
    Fault,
    FaultyCalls,
    check_all_responses,
    check_it_serves_on,
    failing,
    request,
    serve,
)

# --- Failures of the reactor's own calls. ---

ENTER_ERRORS = (errno.EINTR, errno.EAGAIN, errno.EBUSY, errno.EBADR, errno.ETIME, errno.ENOMEM, errno.EFAULT)


@pytest.mark.parametrize("threads", ["reactor", "acceptor"])
def test_entering_the_ring_fails(ring_kind: str, app: App, monkeypatch: pytest.MonkeyPatch, threads: str) -> None:
    """For a while, and then not any more: nothing that was queued is lost."""
    fault = Fault()
    monkeypatch.setattr(FaultyCalls, "fault", fault)
    monkeypatch.setattr(FaultyCalls, "threads", threads)
    monkeypatch.setattr(ring_module, "SystemCalls", FaultyCalls)
    with serve(ring_kind, app) as driver, driver.connect() as client:
        for number, error in enumerate(ENTER_ERRORS):
            fault.arm(3, error)
            assert client.ask(GET).body == b"hello you"
            with driver.connect() as newcomer:
                assert newcomer.ask(GET).body == b"hello you"
            fault.await_strikes(3 * (number + 1))
        check_all_responses(driver)


def test_waiting_with_epoll_fails(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = Fault()

    class FaultyEpoll:
        """An epoll whose waits fail when it is time."""

        def __init__(self) -> None:
            self._epoll = select.epoll()

        def __getattr__(self, name: str) -> Any:
            return getattr(self._epoll, name)

        def poll(self, *args: Any) -> Any:
            return failing(fault)(self._epoll.poll, *args)

    monkeypatch.setattr(epoll, "select", SimpleNamespace(**{**vars(select), "epoll": FaultyEpoll}))
    with serve("epoll", app) as driver, driver.connect() as client:
        for number, error in enumerate((errno.ENOMEM, errno.EINVAL, errno.EFAULT)):
            fault.arm(2, error)
            assert client.ask(GET).body == b"hello you"
            fault.await_strikes(2 * (number + 1))
        check_all_responses(driver)


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


def test_the_buffer_pool_runs_dry(ring_kind: str, app: App, ended: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOBUFS: receives end, and are armed again without a byte lost."""
    monkeypatch.setattr(uring, "BUFFERS", 2)
    monkeypatch.setattr(uring, "BUFFER_BYTES", 64)
    with serve(ring_kind, app) as driver:
        ask_all_at_once(driver, 50, request("/echo", BIG[:5000]), BIG[:5000])
        assert -errno.ENOBUFS in ended
        check_it_serves_on(driver)


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
        assert driver.reactors[0]._ring.dropped == 0
        check_it_serves_on(driver)


def ask_all_at_once(driver: Any, count: int, question: bytes, body: bytes) -> None:
    """Many clients ask before any of them listens; each is answered, three times over."""
    with ExitStack() as stack:
        clients = [stack.enter_context(driver.connect()) for _ in range(count)]
        for _ in range(3):
            for client in clients:
                client.send(question)
            for client in clients:
                assert client.receive().body == body


# --- The thread pool. ---


def test_no_thread_can_be_started(kind: str, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """clone fails with EAGAIN: the request is refused, or waits for a thread that there is; the pool is not lost."""
    fault = Fault()
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith("blocking") and fault.strikes():
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with serve(kind, app, limits=Limits(blocking_threads=2)) as driver:
        for _ in range(5):
            fault.arm(1)
            with driver.connect() as client:
                assert client.ask(request("/blocking")).status in (200, 503)
                assert client.ask(GET).status == 200
        fault.arm(0)
        with driver.connect() as client:
            assert client.ask(request("/blocking")).body == b"done"
        check_it_serves_on(driver)
