"""Counters and histograms with one writing thread each, merged when read.

A reactor owns its `Counters` and only it writes them. A reader of another thread takes a `snapshot`, in which each
number is at most a moment old. Nothing here takes a lock: a number is replaced whole, so it is never seen torn, and a
table is copied by a single call.
"""

from ..runtime import hot

# The request counter of a method and status is a list of one number: the cheapest thing to add to (50 ns), and the
# reply cache can keep a reference to the one that an entry counts for.
type RequestCounter = list[int]

# Upper bounds in nanoseconds, four to each doubling from 1 µs to some 16 s: an error of at most 19 %.
BUCKETS = tuple(int(1000 * 2 ** (i / 4)) for i in range(97))


@hot()
class Histogram:
    """A histogram of durations with fixed, logarithmic buckets."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0  # nanoseconds

    def observe(self, nanoseconds: int, times: int = 1) -> None:
        """Count a duration, `times` over."""
        self.counts[bucket_index(nanoseconds)] += times
        self.total += nanoseconds * times

    def snapshot(self) -> "Histogram":
        """A copy, taken by any thread."""
        copy = Histogram()
        copy.counts = self.counts.copy()
        copy.total = self.total
        return copy

    def merge(self, other: "Histogram") -> None:
        """Add another histogram's counts to this one's."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    @property
    def count(self) -> int:
        """Durations observed."""
        return sum(self.counts)

    def quantile(self, q: float) -> float:
        """The duration in seconds that a share `q` of the observations does not exceed; 0 where there are none."""
        wanted, seen = q * self.count, 0
        for index, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return BUCKETS[min(index, len(BUCKETS) - 1)] / 1e9
        return 0.0


def bucket_index(nanoseconds: int) -> int:
    """The index of the first bucket whose bound is not below the duration; the last one for what is past them all."""
    if nanoseconds <= 1000:
        return 0
    # bit_length finds the doubling without a search; at most four steps remain inside it.
    index = min(max(0, (nanoseconds // 1000).bit_length() - 1) * 4, len(BUCKETS))
    while index < len(BUCKETS) and BUCKETS[index] < nanoseconds:
        index += 1
    return index


# The kinds that exist, so that a reader can show a zero before the first of a kind happens.
TIMEOUTS = ("head", "body", "keepalive", "write", "linger")
ERRORS = ("handler", "connection", "socket", "peer", "address")


@hot("counter")
class Counters:
    """What one reactor counts. All of it only grows, except `buffered`, the bytes held for clients at present."""

    __slots__ = (
        "accepted",
        "buffered",
        "bytes_in",
        "bytes_out",
        "cache_hits",
        "closed",
        "errors",
        "loop_lag",
        "requests",
        "service_time",
        "timeouts",
    )

    def __init__(self) -> None:
        self.requests: dict[tuple[str, int], RequestCounter] = {}
        self.bytes_in = 0
        self.bytes_out = 0
        self.accepted = 0
        self.closed = 0
        self.buffered = 0
        self.cache_hits: RequestCounter = [0]
        self.timeouts: dict[str, int] = {}
        self.errors: dict[str, int] = {}
        self.service_time = Histogram()
        self.loop_lag = Histogram()

    @property
    def open(self) -> int:
        """Connections open at present."""
        return self.accepted - self.closed

    @property
    def answered(self) -> int:
        """Requests answered, of any method and status."""
        return sum(counter[0] for counter in self.requests.values())

    def counter(self, method: str, status: int) -> RequestCounter:
        """The number of requests of this method and status, to be added to."""
        found = self.requests.get((method, status))
        if found is None:
            found = self.requests[method, status] = [0]
        return found

    def timeout(self, kind: str) -> None:
        """Count a deadline that passed, one of `TIMEOUTS`."""
        self.timeouts[kind] = self.timeouts.get(kind, 0) + 1

    def error(self, kind: str) -> None:
        """Count a failure, one of `ERRORS`."""
        self.errors[kind] = self.errors.get(kind, 0) + 1

    def snapshot(self) -> "Counters":
        """A copy that stands still, taken by any thread while the owner goes on counting."""
        # `dict.copy` is one step to other threads; iterating here would meet a table that grows.
        copy = Counters()
        copy.requests = {key: counter.copy() for key, counter in self.requests.copy().items()}
        copy.timeouts = self.timeouts.copy()
        copy.errors = self.errors.copy()
        copy.cache_hits = self.cache_hits.copy()
        copy.service_time = self.service_time.snapshot()
        copy.loop_lag = self.loop_lag.snapshot()
        for name in _NUMBERS:
            setattr(copy, name, getattr(self, name))
        return copy

    def merge(self, other: "Counters") -> None:
        """Add another reactor's counts to these; both are snapshots, or the caller's own."""
        for (method, status), counter in other.requests.items():
            self.counter(method, status)[0] += counter[0]
        for mine, theirs in ((self.timeouts, other.timeouts), (self.errors, other.errors)):
            for kind, count in theirs.items():
                mine[kind] = mine.get(kind, 0) + count
        self.cache_hits[0] += other.cache_hits[0]
        self.service_time.merge(other.service_time)
        self.loop_lag.merge(other.loop_lag)
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


# In the order in which a snapshot reads them: closed before accepted, so that `open` is never negative.
_NUMBERS = ("closed", "accepted", "bytes_in", "bytes_out", "buffered")
