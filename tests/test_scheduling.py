"""Reactors in line for a core: how they notice, and what they make of it."""

import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from drivers import Driver, open_driver
from vectors import get

from mreactor import scheduling, server
from mreactor.app import App
from mreactor.config import Limits
from mreactor.http1.request import Request
from mreactor.reactor import uring
from mreactor.scheduling import Line
from mreactor.timers import TICK_SECONDS

CROWD = 6
PAUSE_SECONDS = 0.1

type Wait = tuple[int, int]


def spin(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def ask_of_a_thread(body: Callable[[Line], bool]) -> bool:
    """What `body` finds in a thread of its own, of which the kernel has counted nothing before."""
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(body(Line())))
    thread.start()
    thread.join()
    return found[0]


def spin_on_one_core(line: Line) -> bool:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # of this thread, and of those that it starts
    rival = threading.Thread(target=spin, args=(0.3,))
    rival.start()
    spin(0.3)
    is_long = line.is_long()
    rival.join()
    return is_long


def sleep_and_ask(line: Line) -> bool:
    time.sleep(0.1)
    return line.is_long()


def test_two_busy_threads_on_one_core_stand_in_line() -> None:
    assert ask_of_a_thread(spin_on_one_core)


def test_who_sleeps_does_not_stand_in_line() -> None:
    assert not ask_of_a_thread(sleep_and_ask)


def test_the_past_does_not_count() -> None:
    assert not ask_of_a_thread(lambda line: spin_on_one_core(line) and sleep_and_ask(line))


@pytest.mark.parametrize("content", [None, b"", b"1000\n", b"no numbers here\n"])
def test_a_kernel_that_does_not_count_shows_no_line(
    content: bytes | None, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "schedstat"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(scheduling, "SCHEDSTAT", str(path))
    assert not ask_of_a_thread(spin_on_one_core)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[Wait]:
    """How many completions each round waits for, and how many nanoseconds at most."""
    found: list[Wait] = []
    enter = uring.UringReactor._enter

    def note(reactor: uring.UringReactor, min_complete: int, timeout_ns: int) -> None:
        found.append((min_complete, timeout_ns))
        enter(reactor, min_complete, timeout_ns)

    monkeypatch.setattr(uring.UringReactor, "_enter", note)
    return found


def crowd(monkeypatch: pytest.MonkeyPatch, cpus: int, is_long: bool) -> AbstractContextManager[Driver]:
    """A server with one reactor, whose threads do or do not find a line."""
    app = App()
    app.get("/")(lambda request: "hello")
    app.get("/pause")(pause)
    monkeypatch.setattr(server, "usable_cpus", lambda: cpus)
    monkeypatch.setattr(Line, "is_long", lambda line: is_long)
    return open_driver("io_uring", app, Limits(), threads=1)


def pause(request: Request) -> str:
    time.sleep(PAUSE_SECONDS)
    return "now"


def ask_together(driver: Driver) -> None:
    """Have `CROWD` requests come in one round, then one alone."""
    clients = [driver.connect() for _ in range(CROWD + 1)]
    for client in clients:
        assert client.ask(get("/")).body == b"hello"
    clients[0].send(get("/pause"))
    time.sleep(PAUSE_SECONDS / 2)
    for client in clients[1:]:
        client.send(get("/"))
    assert [client.receive().body for client in clients] == [b"now", *[b"hello"] * CROWD]
    begun = time.monotonic()
    assert clients[0].ask(get("/")).body == b"hello"
    assert time.monotonic() - begun < TICK_SECONDS / 2, "the wait for the others has a short end"


def test_a_round_of_a_crowded_reactor_waits_for_as_many_as_the_last(
    waits: list[Wait], monkeypatch: pytest.MonkeyPatch
) -> None:
    with crowd(monkeypatch, cpus=0, is_long=True) as driver:
        ask_together(driver)
    assert (CROWD, uring.GATHER_NANOSECONDS) in waits
    assert all(limit == uring.GATHER_NANOSECONDS for wanted, limit in waits if wanted > 1)


@pytest.mark.parametrize(("cpus", "is_long"), [(0, False), (1, True)])
def test_others_wait_for_one(
    cpus: int, is_long: bool, waits: list[Wait], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line; or as many cores as reactors, whatever else runs on them."""
    with crowd(monkeypatch, cpus, is_long) as driver:
        ask_together(driver)
    assert {wanted for wanted, _ in waits} <= {0, 1}
