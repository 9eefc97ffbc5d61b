"""Histograms of durations. One thread writes each; any thread may take a snapshot. See docs/decisions/019."""

from typing import Final

from ..runtime import hot

# Upper bounds in nanoseconds, four to each doubling, from 1 µs to 16.8 s: an error of at most 19 %.
BUCKETS: Final = tuple(int(1000 * 2 ** (i / 4)) for i in range(97))


@hot()
class Histogram:
    """A histogram of durations with fixed, logarithmic buckets. `total` is their sum in nanoseconds."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0

    def observe(self, nanoseconds: int, times: int = 1) -> None:
        """Count a duration, `times` over."""
        self.counts[bucket_index(nanoseconds)] += times
        self.total += nanoseconds * times

    def snapshot(self) -> "Histogram":
        """Return a copy. Safe to call from any thread."""
        copy = Histogram()
        copy.counts = self.counts.copy()
        copy.total = self.total
        return copy

    def merge(self, other: "Histogram") -> None:
        """Add the counts of another histogram."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    @property
    def count(self) -> int:
        """Number of durations observed."""
        return sum(self.counts)

    def quantile(self, q: float) -> float:
        """Return the bound, in seconds, below which a share `q` of the durations lies; 0 for an empty histogram."""
        wanted, seen = q * self.count, 0
        for index, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return BUCKETS[min(index, len(BUCKETS) - 1)] / 1e9
        return 0.0


def bucket_index(nanoseconds: int) -> int:
    """Return the index of the first bucket whose bound is not below the duration; `len(BUCKETS)` if there is none."""
    if nanoseconds <= 1000:
        return 0
    # bit_length finds the doubling without a search. At most four steps remain.
    index = min(max(0, (nanoseconds // 1000).bit_length() - 1) * 4, len(BUCKETS))
    while index < len(BUCKETS) and BUCKETS[index] < nanoseconds:
        index += 1
    return index
