"""Histograms: durations fall into the right buckets, and sums and quantiles follow."""

import bisect
import random
from itertools import pairwise

import pytest

from mreactor.metrics.histogram import BUCKETS, Histogram, bucket_index

# --- Buckets. ---


def test_four_buckets_make_a_doubling() -> None:
    assert BUCKETS[0] == 1000
    assert BUCKETS[-1] == 1000 * 2**24
    assert all(1.18 < high / low < 1.20 for low, high in pairwise(BUCKETS))


@pytest.mark.parametrize("nanoseconds", [-5, 0, 1, 999, 1000])
def test_the_first_bucket_ends_at_a_microsecond(nanoseconds: int) -> None:
    assert bucket_index(nanoseconds) == 0


@pytest.mark.parametrize("bound", BUCKETS)
def test_a_bound_belongs_to_its_bucket(bound: int) -> None:
    for nanoseconds in (bound - 1, bound, bound + 1):
        assert bucket_index(nanoseconds) == bisect.bisect_left(BUCKETS, nanoseconds)


def test_a_duration_belongs_to_the_first_bucket_that_holds_it() -> None:
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


def test_quantiles_of_few_durations() -> None:
    made = histogram(1000, 1000, 1000, BUCKETS[40])
    assert made.quantile(0.75) == 1e-6
    assert made.quantile(0.76) == BUCKETS[40] / 1e9
    assert histogram(10**12).quantile(0.5) == BUCKETS[-1] / 1e9  # no bound above: the highest bound


def test_a_snapshot_of_a_histogram_does_not_change() -> None:
    made = histogram(500)
    copy = made.snapshot()
    made.observe(500)
    assert (copy.count, copy.total) == (1, 500)
    assert made.count == 2
