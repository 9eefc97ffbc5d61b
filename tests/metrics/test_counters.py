"""Counters and histograms: what is counted is found again, merged or copied."""

import bisect
import random
import threading
from itertools import pairwise

import pytest

from mreactor.metrics.counters import BUCKETS, ERRORS, TIMEOUTS, Counters, Histogram, bucket_index

SECONDS_MAX = 60.0


# --- Buckets. ---


def test_buckets_rise_by_a_fourth_of_a_doubling() -> None:
    assert BUCKETS[0] == 1000
    assert BUCKETS[-1] == 1000 * 2**24
    assert all(1.18 < high / low < 1.20 for low, high in pairwise(BUCKETS))


@pytest.mark.parametrize("nanoseconds", [-5, 0, 1, 999, 1000])
def test_the_first_bucket_takes_all_up_to_a_microsecond(nanoseconds: int) -> None:
    assert bucket_index(nanoseconds) == 0


@pytest.mark.parametrize("bound", BUCKETS)
def test_a_bound_belongs_to_its_bucket(bound: int) -> None:
    for nanoseconds in (bound - 1, bound, bound + 1):
        assert bucket_index(nanoseconds) == bisect.bisect_left(BUCKETS, nanoseconds)


def test_any_duration_is_in_the_first_bucket_that_holds_it() -> None:
    rng = random.Random(97)
    for _ in range(20_000):
        nanoseconds = int(10 ** rng.uniform(0, 12))
        assert bucket_index(nanoseconds) == bisect.bisect_left(BUCKETS, nanoseconds)


@pytest.mark.parametrize("nanoseconds", [BUCKETS[-1] + 1, 10**11, 10**18, 10**30])
def test_the_last_bucket_takes_the_rest(nanoseconds: int) -> None:
    assert bucket_index(nanoseconds) == len(BUCKETS)


# --- Histograms. ---


def histogram(*nanoseconds: int) -> Histogram:
    made = Histogram()
    for one in nanoseconds:
        made.observe(one)
    return made


def test_an_empty_histogram() -> None:
    assert Histogram().count == 0
    assert Histogram().total == 0
    assert Histogram().quantile(0.5) == 0.0


def test_durations_are_counted_and_summed() -> None:
    made = histogram(500, 2000, 10**12)
    made.observe(3000, times=7)
    made.observe(3000, times=0)
    assert made.count == 10
    assert made.total == 500 + 2000 + 10**12 + 21_000
    assert made.counts[0] == 1
    assert made.counts[-1] == 1
    assert made.counts[bucket_index(3000)] == 7


def test_merging_adds() -> None:
    one, other = histogram(500, 2000), histogram(2000, 10**12)
    one.merge(other)
    assert one.counts == histogram(500, 2000, 2000, 10**12).counts
    assert one.total == 500 + 2000 + 2000 + 10**12
    assert other.count == 2


@pytest.mark.parametrize("q", [0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0])
def test_a_quantile_is_at_most_a_bucket_too_high(q: float) -> None:
    rng = random.Random(99)
    durations = sorted(int(10 ** rng.uniform(3, 10)) for _ in range(2000))
    exact = durations[max(0, -int(-q * len(durations) // 1) - 1)] / 1e9
    assert exact <= histogram(*durations).quantile(q) <= exact * 1.2


def test_quantiles_of_a_few() -> None:
    made = histogram(1000, 1000, 1000, BUCKETS[40])
    assert made.quantile(0.75) == 1e-6
    assert made.quantile(0.76) == BUCKETS[40] / 1e9
    assert histogram(10**12).quantile(0.5) == BUCKETS[-1] / 1e9  # no bound above: the highest known


def test_a_snapshot_of_a_histogram_stands_still() -> None:
    made = histogram(500)
    copy = made.snapshot()
    made.observe(500)
    assert (copy.count, copy.total) == (1, 500)
    assert made.count == 2


# --- Counters. ---


def test_a_tally_is_the_same_for_the_same_method_and_status() -> None:
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


def test_open_connections_are_those_accepted_and_not_closed() -> None:
    counters = Counters()
    counters.accepted, counters.closed = 5, 2
    assert counters.open == 3


def filled(factor: int) -> Counters:
    """Counters with a different number in each place."""
    counters = Counters()
    numbers = ("accepted", "closed", "bytes_in", "bytes_out", "buffered")
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
    """All that counters hold, as plain values."""
    found = {name: getattr(counters, name) for name in Counters.__slots__}
    for name in ("service_time", "loop_lag"):
        found[name] = (found[name].counts, found[name].total)
    return found


def test_a_snapshot_is_equal_and_stands_still() -> None:
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


def test_merging_takes_what_only_the_other_has() -> None:
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
    """The tables grow meanwhile, and nobody takes a lock."""
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
