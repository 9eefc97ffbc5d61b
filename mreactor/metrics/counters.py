"""The counters of a reactor. It alone writes them; any thread may take a snapshot.

Nothing here takes a lock: the owner replaces each number whole, and one call copies a table. A number in a snapshot is
at most a moment old. See docs/decisions/019.
"""

from ..runtime import hot
from .histogram import Histogram

# The number of requests of one method and status: a list of one int, which the response cache can refer to.
type RequestCounter = list[int]

# All kinds, so that a reader can show a zero before the first event of a kind.
TIMEOUTS = ("head", "body", "keepalive", "write", "linger", "handshake", "proxy")
# Methods that are counted by name; `-` is that of a request that could not be read.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "-", "other")
ERRORS = ("handler", "stream", "connection", "socket", "peer", "address", "unsent", "tls", "proxy")


@hot("counter")
class Counters:
    """The counts of one reactor. They only grow, except two: bytes of request bodies in memory now (`buffered`), and
    of responses that slow clients have not taken (`unsent`).
    """

    __slots__ = (
        "accepted", "buffered", "bytes_in", "bytes_out", "cache_hits", "closed", "errors", "loop_lag", "requests",
        "service_time", "timeouts", "unsent",
    )  # fmt: skip

    def __init__(self) -> None:
        self.requests: dict[tuple[str, int], RequestCounter] = {}
        self.bytes_in = 0
        self.bytes_out = 0
        self.accepted = 0
        self.closed = 0
        self.buffered = 0
        self.unsent = 0
        self.cache_hits: RequestCounter = [0]
        self.timeouts: dict[str, int] = {}
        self.errors: dict[str, int] = {}
        self.service_time = Histogram()
        self.loop_lag = Histogram()

    @property
    def open(self) -> int:
        """Number of open connections."""
        return self.accepted - self.closed

    @property
    def answered(self) -> int:
        """Number of responses, of any method and status."""
        return sum(counter[0] for counter in self.requests.values())

    def counter(self, method: str, status: int) -> RequestCounter:
        """Return the counter of this method and status, for the caller to add to."""
        found = self.requests.get((method, status))
        if found is None:
            if method not in METHODS:
                # Clients choose the methods of WSGI applications. Each name of its own would take memory for ever.
                method = "other"
            found = self.requests.get((method, status))
        if found is None:
            found = self.requests[method, status] = [0]
        return found

    def timeout(self, kind: str) -> None:
        """Count an expired deadline, one of `TIMEOUTS`."""
        self.timeouts[kind] = self.timeouts.get(kind, 0) + 1

    def error(self, kind: str) -> None:
        """Count a failure, one of `ERRORS`."""
        self.errors[kind] = self.errors.get(kind, 0) + 1

    def snapshot(self) -> "Counters":
        """Return a copy, while the owner keeps counting. Safe to call from any thread."""
        # `dict.copy` is atomic. An iteration over the owner's table would fail when the table grows.
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
        """Add the counts of another reactor. Both are snapshots, or belong to the caller."""
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


# In the order in which a snapshot reads them: closed before accepted, so that `open` cannot be negative.
_NUMBERS = ("closed", "accepted", "bytes_in", "bytes_out", "buffered", "unsent")
