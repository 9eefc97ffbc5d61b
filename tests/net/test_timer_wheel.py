"""The timer wheel: nothing comes early past recognition, nothing is forgotten, nothing comes twice."""

import math
import random

import pytest

from mreactor.net.timer_wheel import SLOTS, TICK_SECONDS, TimerWheel

FDS_MAX = 64
NOW = 1_000_000.1


def wheel(now: float = NOW) -> TimerWheel:
    return TimerWheel(now, FDS_MAX)


def due(wheel: TimerWheel, now: float) -> list[int]:
    return list(wheel.due(now))


def when_due(wheel: TimerWheel, fd: int, now: float, seconds_max: float = 300.0) -> float | None:
    """The time of the first tick that brings up a descriptor; None if it stays away for as long as given."""
    for tick in range(int(seconds_max / TICK_SECONDS)):
        if fd in due(wheel, now + tick * TICK_SECONDS):
            return now + tick * TICK_SECONDS
    return None


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.25, 0.3, 1.0, 2.0, 10.0, 75.0, 250.0])
def test_a_deadline_comes_up_at_the_first_tick_past_it(seconds: float) -> None:
    timers = wheel()
    timers.schedule(5, NOW + seconds)
    moment = when_due(timers, 5, NOW)
    assert moment is not None
    assert NOW + seconds < moment <= NOW + seconds + 2 * TICK_SECONDS


@pytest.mark.parametrize("seconds", [-100.0, -0.001, 0.0])
def test_a_deadline_that_has_passed_comes_up_at_the_next_tick(seconds: float) -> None:
    timers = wheel()
    timers.schedule(5, NOW + seconds)
    assert due(timers, NOW) == []
    assert due(timers, NOW + TICK_SECONDS) == [5]


def test_who_gives_up_looking_loses_nothing() -> None:
    timers = wheel()
    for fd in range(3):
        timers.schedule(fd, NOW + 1)
    assert next(timers.due(NOW + 2)) == 0
    assert due(timers, NOW + 2) == [1, 2]


def test_any_may_be_scheduled_and_forgotten_while_one_looks() -> None:
    timers = wheel()
    for fd in range(5):
        timers.schedule(fd, NOW + 1)
    taken = []
    for fd in timers.due(NOW + 2):
        taken.append(fd)
        timers.forget(4)
        if fd == 0:
            timers.schedule(0, NOW + 3)
    assert taken == [0, 1, 2, 3]
    assert due(timers, NOW + 4) == [0]


def test_it_comes_up_once() -> None:
    timers = wheel()
    timers.schedule(5, NOW + 1)
    assert due(timers, NOW + 2) == [5]
    assert when_due(timers, 5, NOW + 2, 2 * SLOTS * TICK_SECONDS) is None


def test_a_deadline_at_infinity_never_comes_up() -> None:
    timers = wheel()
    timers.schedule(5, math.inf)
    assert when_due(timers, 5, NOW, 2 * SLOTS * TICK_SECONDS) is None


def test_a_deadline_that_was_put_off_comes_up_early_and_is_then_scheduled_again() -> None:
    timers = wheel()
    timers.schedule(5, NOW + 1)
    timers.schedule(5, NOW + 10)
    assert due(timers, NOW + 2) == [5]
    timers.schedule(5, NOW + 10)
    assert due(timers, NOW + 9.9) == []
    assert due(timers, NOW + 10.5) == [5]


def test_a_deadline_that_was_brought_forward_comes_up_in_time_and_once() -> None:
    timers = wheel()
    timers.schedule(5, NOW + 10)
    timers.schedule(5, NOW + 1)
    assert due(timers, NOW + 1.5) == [5]
    assert due(timers, NOW + 11) == []


def test_a_deadline_that_was_brought_forward_may_be_put_off_to_where_it_was() -> None:
    """Its old place has not gone: it must come up there once, not twice."""
    timers = wheel()
    timers.schedule(5, NOW + 10)
    timers.schedule(5, NOW + 1)
    assert due(timers, NOW + 1.5) == [5]
    timers.schedule(5, NOW + 10)
    assert due(timers, NOW + 9.9) == []
    assert due(timers, NOW + 10.5) == [5]
    assert due(timers, NOW + 100) == []


def test_infinity_does_not_take_an_earlier_place_away() -> None:
    timers = wheel()
    timers.schedule(5, NOW + 1)
    timers.schedule(5, math.inf)
    assert due(timers, NOW + 2) == [5]


@pytest.mark.parametrize("seconds", [256.0, 300.0, 3600.0, 1e9])
def test_what_lies_past_the_wheel_comes_up_at_its_end(seconds: float) -> None:
    timers = wheel()
    timers.schedule(5, NOW + seconds)
    moment = when_due(timers, 5, NOW)
    assert moment is not None
    assert NOW + (SLOTS - 3) * TICK_SECONDS < moment < NOW + SLOTS * TICK_SECONDS


def test_a_descriptor_that_was_forgotten_does_not_come_up() -> None:
    timers = wheel()
    timers.schedule(5, NOW + 1)
    timers.forget(5)
    assert due(timers, NOW + 2) == []
    timers.forget(5)


@pytest.mark.parametrize("seconds", [0.5, 1.0, 5.0])
def test_a_descriptor_used_again_has_a_deadline_of_its_own(seconds: float) -> None:
    """A client leaves, the next one gets its number: the first one's place must not bring up the second."""
    timers = wheel()
    timers.schedule(5, NOW + 1)
    timers.forget(5)
    timers.schedule(5, NOW + seconds)
    moment = when_due(timers, 5, NOW)
    assert moment is not None
    assert NOW + seconds < moment <= NOW + seconds + 2 * TICK_SECONDS
    assert when_due(timers, 5, moment) is None


def test_all_due_descriptors_come_up_together() -> None:
    timers = wheel()
    for fd in range(10):
        timers.schedule(fd, NOW + fd)
    assert due(timers, NOW + 4.5) == [0, 1, 2, 3, 4]
    assert due(timers, NOW + 4.5) == []
    assert due(timers, NOW + 100) == [5, 6, 7, 8, 9]


def test_a_pause_longer_than_the_wheel_loses_nothing() -> None:
    """The machine was asleep."""
    timers = wheel()
    for fd in range(20):
        timers.schedule(fd, NOW + fd * 12)
    assert sorted(due(timers, NOW + 10 * SLOTS * TICK_SECONDS)) == list(range(20))
    later = NOW + 10 * SLOTS * TICK_SECONDS
    timers.schedule(5, later + 1)
    assert due(timers, later + 2) == [5]


def test_time_that_stands_still_or_runs_back_brings_up_nothing() -> None:
    timers = wheel()
    timers.schedule(5, NOW + 1)
    assert due(timers, NOW) == due(timers, NOW - 50) == []
    assert due(timers, NOW + 2) == [5]


@pytest.mark.parametrize("now", [0.0, 0.1, TICK_SECONDS * SLOTS, 1e7])
def test_the_clock_may_begin_anywhere(now: float) -> None:
    timers = wheel(now)
    timers.schedule(0, now + 3)
    moment = when_due(timers, 0, now)
    assert moment is not None
    assert now + 3 < moment <= now + 3 + 2 * TICK_SECONDS


def test_any_course_of_events_keeps_every_deadline() -> None:
    """As a reactor uses it: what comes up too early is scheduled again, what is due is taken out."""
    rng = random.Random(75)
    timers, now = wheel(), NOW
    deadlines: dict[int, float] = {}
    for _ in range(20_000):
        fd = rng.randrange(FDS_MAX)
        match rng.randrange(8):
            case 0:
                timers.forget(fd)
                deadlines.pop(fd, None)
            case 1:
                deadlines[fd] = math.inf
                timers.schedule(fd, math.inf)
            case _:
                deadlines[fd] = now + rng.choice([0.1, 1.0, 10.0, 30.0, 75.0, 300.0]) * rng.random()
                timers.schedule(fd, deadlines[fd])
        now += rng.choice([0.0, 0.0, 0.001, 0.1, 0.3, 1.0])
        taken = due(timers, now)
        assert len(taken) == len(set(taken))
        for taken_fd in taken:
            if deadlines.get(taken_fd, math.inf) < now:
                del deadlines[taken_fd]
            elif taken_fd in deadlines:
                timers.schedule(taken_fd, deadlines[taken_fd])
        assert all(deadline > now - 2 * TICK_SECONDS for deadline in deadlines.values())
