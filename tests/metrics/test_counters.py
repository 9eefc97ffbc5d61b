"""Counters: what is counted is found again, in snapshots and in sums."""

import threading

from mreactor.metrics.counters import ERRORS, TIMEOUTS, Counters

SECONDS_MAX = 60.0


def test_each_method_and_status_has_one_counter() -> None:
    counters = Counters()
    counter = counters.counter("GET", 200)
    counter[0] += 2
    assert counters.counter("GET", 200) is counter
    assert counters.counter("GET", 404) == counters.counter("POST", 200) == [0]
    assert counters.requests == {("GET", 200): [2], ("GET", 404): [0], ("POST", 200): [0]}
    assert counters.answered == 2


def test_timeouts_and_errors_are_counted_by_kind() -> None:
    counters = Counters()
    for kind in (*TIMEOUTS, "head"):
        counters.timeout(kind)
    for kind in (*ERRORS, "peer", "peer"):
        counters.error(kind)
    assert counters.timeouts == dict.fromkeys(TIMEOUTS, 1) | {"head": 2}
    assert counters.errors == dict.fromkeys(ERRORS, 1) | {"peer": 3}


def test_open_connections_are_accepted_and_not_closed() -> None:
    counters = Counters()
    counters.accepted, counters.closed = 5, 2
    assert counters.open == 3


def filled(factor: int) -> Counters:
    """Make counters with a different number in each place."""
    counters = Counters()
    numbers = ("accepted", "closed", "bytes_in", "bytes_out", "buffered", "unsent")
    for place, name in enumerate(numbers, start=1):
        setattr(counters, name, place * 10 * factor)
    counters.cache_hits[0] = 7 * factor
    counters.counter("GET", 200)[0] = 3 * factor
    counters.timeouts["head"] = 4 * factor
    counters.errors["peer"] = 5 * factor
    counters.service_time.observe(2000, factor)
    counters.loop_lag.observe(4000, 2 * factor)
    return counters


def values(counters: Counters) -> dict[str, object]:
    """Return everything that counters hold, as plain values."""
    found = {name: getattr(counters, name) for name in Counters.__slots__}
    for name in ("service_time", "loop_lag"):
        found[name] = (found[name].counts, found[name].total)
    return found


def test_a_snapshot_is_equal_and_does_not_change() -> None:
    counters = filled(1)
    copy = counters.snapshot()
    assert values(copy) == values(filled(1))
    counters.merge(filled(1))
    counters.counter("PUT", 201)[0] += 1
    assert values(copy) == values(filled(1))


def test_merging_adds_every_number() -> None:
    counters = filled(1)
    counters.merge(filled(2))
    assert values(counters) == values(filled(3))


def test_merging_adds_keys_that_only_the_other_has() -> None:
    counters, other = Counters(), Counters()
    counters.counter("GET", 200)[0] = 1
    other.counter("PUT", 201)[0] = 2
    other.timeout("head")
    other.error("peer")
    counters.merge(other)
    assert counters.requests == {("GET", 200): [1], ("PUT", 201): [2]}
    assert counters.timeouts == {"head": 1}
    assert counters.errors == {"peer": 1}
    counters.counter("PUT", 201)[0] += 1
    assert other.requests == {("PUT", 201): [2]}


def test_a_snapshot_may_be_taken_while_the_owner_counts() -> None:
    """The tables grow meanwhile, and no thread takes a lock."""
    counters = Counters()
    done = threading.Event()

    def count() -> None:
        for number in range(20_000):
            counters.accepted += 1
            counters.counter("GET", number % 2000)[0] += 1
            counters.error(f"kind {number % 500}")
            counters.service_time.observe(number)
            counters.closed += 1
        done.set()

    owner = threading.Thread(target=count)
    owner.start()
    answered = 0
    while not done.is_set():
        copy = counters.snapshot()
        assert copy.open >= 0
        assert copy.answered >= answered
        answered = copy.answered
    owner.join(SECONDS_MAX)
    copy = counters.snapshot()
    assert (copy.open, copy.answered, copy.service_time.count) == (0, 20_000, 20_000)
    assert sum(copy.errors.values()) == 20_000
