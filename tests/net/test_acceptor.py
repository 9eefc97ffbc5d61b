"""Which reactor gets a new connection."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from mreactor.net import Refusals
from mreactor.net.acceptor import base
from mreactor.net.acceptor.base import COUNT_SECONDS, STUCK_SECONDS, UNEVEN_MAX, Acceptor


@dataclass
class FakeReactor:
    """What the acceptor knows of a reactor."""

    index: int
    heartbeat: float
    context: Any = field(default_factory=lambda: SimpleNamespace(counters=SimpleNamespace(closed=0)))


class RecordingAcceptor(Acceptor):
    """An acceptor that notes which reactor gets a connection, and hands nothing over."""

    def __init__(self, reactors: list[Any]) -> None:
        super().__init__([], reactors, connections_max=1000, fds_max=1000, refusals=Refusals(b""))
        self._chosen: list[int] = []

    def _serve(self) -> None:
        raise NotImplementedError

    def hand_over(self, reactor: Any, fd: int) -> None:
        self._chosen.append(reactor.index)

    def take(self, count: int) -> list[int]:
        """Dispatch connections; return the numbers of their reactors."""
        self._chosen = []
        for _ in range(count):
            self.dispatch(0)
        return self._chosen


class Clock:
    """Monotonic seconds, which pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(base, "time", clock)
    return clock


@pytest.fixture
def acceptor(clock: Clock) -> RecordingAcceptor:
    return RecordingAcceptor([FakeReactor(index, clock.now) for index in range(4)])


def leave(acceptor: RecordingAcceptor, clock: Clock, *counts: int) -> None:
    """Close so many connections of each reactor, and let time pass."""
    for reactor, count in zip(acceptor.reactors, counts, strict=True):
        reactor.context.counters.closed += count
    clock.sleep(2 * COUNT_SECONDS)


def test_connections_go_round_while_the_reactors_are_even(acceptor: RecordingAcceptor, clock: Clock) -> None:
    assert acceptor.take(8) == [0, 1, 2, 3, 0, 1, 2, 3]
    leave(acceptor, clock, 0, UNEVEN_MAX, 0, 0)
    assert acceptor.take(4) == [0, 1, 2, 3]
    leave(acceptor, clock, 3, 2, 3, 3)
    assert acceptor.take(4) == [0, 1, 2, 3]


def test_the_emptiest_reactor_gets_the_turns_of_fuller_ones(acceptor: RecordingAcceptor, clock: Clock) -> None:
    acceptor.take(40)
    leave(acceptor, clock, 0, 0, 10, 6)
    assert acceptor.take(2) == [2, 2]
    acceptor.take(14)
    leave(acceptor, clock, 0, 0, 0, 0)
    acceptor.take(1)
    assert max(acceptor._open) - min(acceptor._open) <= UNEVEN_MAX + 1


def test_counts_are_read_once_in_a_while(acceptor: RecordingAcceptor, clock: Clock) -> None:
    """Between two readings the acceptor counts what it hands over, so no reactor gets a burst of clients."""
    acceptor.take(8)
    acceptor.reactors[3].context.counters.closed += 2
    assert acceptor.take(4) == [0, 1, 2, 3]
    leave(acceptor, clock, 0, 0, 0, 0)
    assert acceptor.take(4) == [3, 1, 2, 3]


@pytest.mark.parametrize("stuck", [{0}, {1, 2}, {0, 1, 3}])
def test_a_reactor_that_does_not_answer_is_left_out(acceptor: RecordingAcceptor, clock: Clock, stuck: set[int]) -> None:
    acceptor.take(8)
    clock.sleep(STUCK_SECONDS)
    for reactor in acceptor.reactors:
        if reactor.index not in stuck:
            reactor.heartbeat = clock.now
    # However many clients the others have.
    assert set(acceptor.take(40)) == {0, 1, 2, 3} - stuck
    for reactor in acceptor.reactors:
        reactor.heartbeat = clock.now
    clock.sleep(2 * COUNT_SECONDS)
    assert set(acceptor.take(8)) <= stuck


def test_all_get_clients_in_turn_where_none_answers(acceptor: RecordingAcceptor, clock: Clock) -> None:
    clock.sleep(2 * STUCK_SECONDS)
    assert acceptor.take(8) == [0, 1, 2, 3, 0, 1, 2, 3]


def test_one_reactor_gets_all(clock: Clock) -> None:
    assert RecordingAcceptor([FakeReactor(0, 0.0)]).take(3) == [0, 0, 0]
