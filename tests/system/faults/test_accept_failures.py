"""Accepting and handing over that fail: the acceptor lives, and no client is lost without an end."""

import ctypes
import errno
import itertools
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from mreactor.app.application import App
from mreactor.config import Limits
from mreactor.iouring import Ring, abi
from mreactor.net.acceptor import base as acceptor_base
from mreactor.net.acceptor import io_uring as acceptor_uring
from mreactor.net.reactor import epoll
from mreactor.server import server
from tests.support.drivers import PATIENCE_SECONDS, open_driver
from tests.support.faults import (
    EVENT_SECONDS,
    GET,
    LAST,
    Fault,
    check_all_responses,
    check_it_serves_on,
    failing,
    serve,
)


def fail_accepts(monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    """Have accept fail when it is time, in both of its ways. No connection is lost by that: it stays in the queue."""
    real_accept, real_completions = acceptor_base.accept4, Ring.completions

    def accept4(listener: int) -> int:
        if fault.strikes():
            ctypes.set_errno(fault.error)
            return -1
        return real_accept(listener)

    def completions(ring: Ring) -> Iterator[tuple[int, int, int]]:
        for completion in real_completions(ring):
            yield completion
            if (
                completion[0] == acceptor_uring.ACCEPTED
                and threading.current_thread().name == "acceptor"
                and fault.strikes()
            ):
                yield completion[0], -fault.error, abi.CQE_MORE

    monkeypatch.setattr(acceptor_base, "accept4", accept4)
    monkeypatch.setattr(Ring, "completions", completions)


ACCEPT_ERRORS = (
    errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED, errno.EINTR, errno.EPERM,
    errno.EPROTO, errno.EAGAIN,
)  # fmt: skip


def test_accept_fails(kind: str, app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """When no descriptor is left, a client may be refused. The acceptor lives, and a burst is one line in the log."""
    fault = Fault()
    fail_accepts(monkeypatch, fault)
    monkeypatch.setattr(acceptor_base, "BURST_SECONDS", PATIENCE_SECONDS)  # however long this takes, it is one burst
    with serve(kind, app) as driver:
        for number, error in enumerate(ACCEPT_ERRORS):
            fault.arm(3, error)
            for _ in range(6):
                with driver.connect() as client, suppress(ConnectionError):
                    client.send(LAST)
                    client.receive_rest()
            fault.await_strikes(3 * (number + 1))
        check_it_serves_on(driver)
        assert driver.acceptor.is_alive()
    assert len([record for record in caplog.records if "accept failed" in record.message]) <= 1


@pytest.mark.parametrize("is_forbidden", [False, True])
def test_the_acceptor_uses_batch_scheduling_where_permitted(
    kind: str, is_forbidden: bool, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(*args: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if is_forbidden:
        monkeypatch.setattr(os, "sched_setscheduler", forbid)
    with serve(kind, app) as driver:
        check_all_responses(driver)
        policy = os.sched_getscheduler(driver.acceptor.native_id)
        assert policy == (os.SCHED_OTHER if is_forbidden else os.SCHED_BATCH)


@pytest.mark.parametrize("is_crowded", [False, True])
def test_reactors_that_outnumber_the_cores_use_batch_scheduling(
    kind: str, is_crowded: bool, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "usable_cpus", lambda: 1 if is_crowded else 2)
    with open_driver(kind, app, Limits(), threads=2) as driver:
        check_all_responses(driver)
        policies = {os.sched_getscheduler(reactor.native_id) for reactor in driver.reactors}
        assert policies == {os.SCHED_BATCH if is_crowded else os.SCHED_OTHER}


def test_a_connection_that_cannot_be_handed_over_is_closed(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """epoll_ctl fails with ENOSPC or ENOMEM: the client sees the end, and takes no place."""
    fault = Fault()
    fault.arm(3, errno.ENOSPC)
    real = epoll.EpollReactor.add_connection

    def hand(reactor: Any, fd: int) -> None:
        failing(fault)(real, reactor, fd)

    monkeypatch.setattr(epoll.EpollReactor, "add_connection", hand)
    with serve("epoll", app, limits=Limits(connections_max=4)) as driver:
        for _ in range(3):
            with driver.connect() as client, suppress(ConnectionResetError):
                assert client.receive_rest() == b""
        assert fault.happened == 3
        check_it_serves_on(driver)


def test_a_connection_that_comes_while_the_reactors_end_is_closed(
    app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The server is cut off. The acceptor ends a moment later, with a client in its queue, and in good order."""
    monkeypatch.setattr(acceptor_base, "WAKE_SECONDS", EVENT_SECONDS)  # a client wakes it
    with serve("epoll", app) as driver:
        ending = threading.Thread(target=driver.server.abort)
        ending.start()
        for reactor in driver.reactors:
            reactor.join(EVENT_SECONDS)
        with suppress(ConnectionError), driver.connect() as client:
            assert client.receive_rest() == b""
        ending.join(EVENT_SECONDS)
    assert "the acceptor failed" not in caplog.text


def test_a_connection_that_cannot_be_posted_goes_through_the_mailbox(
    ring_kind: str, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MSG_RING fails, as it does where the ring is full: the mailbox has room, and whose turn it was keeps it."""
    real, posts, no_ring = Ring.prepare_msg_ring, itertools.count(), os.eventfd(0)

    def prepare_msg_ring(ring: Ring, ring_fd: int, *args: Any) -> None:
        real(ring, ring_fd if next(posts) % 2 else no_ring, *args)

    monkeypatch.setattr(Ring, "prepare_msg_ring", prepare_msg_ring)
    with open_driver(ring_kind, app, Limits(), threads=3) as driver:
        check_it_serves_on(driver)
        # A reactor that still has an earlier client would give its turn away.
        driver.wait_until(lambda: not driver.open_connections())
        with ExitStack() as stack:
            for _ in range(12):
                assert stack.enter_context(driver.connect()).ask(GET).status == 200
            counters = [context.counters for context in driver.contexts()]
            assert [each.accepted - each.closed for each in counters] == [4, 4, 4]
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

    def attend(acceptor: acceptor_uring.UringAcceptor, ring: Ring, index: int, res: int, flags: int) -> None:
        real_attend(acceptor, ring, index, res, flags)
        acceptor.is_stopping, acceptor._armed = True, set()

    def submit_and_wait(ring: Ring, min_complete: int, timeout_ns: int | None = None) -> bool:
        is_last = min_complete == 0 and threading.current_thread() is driver.acceptor
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
