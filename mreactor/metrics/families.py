"""The metrics that a server exposes: names, kinds, explanations, and their values in a snapshot.

The values of a reactor have the label `reactor`. Names follow the Prometheus conventions: base units, and the unit in
the name. They are published, so they never change. docs/observability.md explains them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from .counters import ERRORS, TIMEOUTS, Counters
from .histogram import BUCKETS, Histogram
from .snapshot import PoolSnapshot, ReactorSnapshot, RouteSnapshot, Snapshot

# Of four bounds to each doubling, one is shown, from 1 µs to 16.8 s. Counts are exact there, and a scrape stays small.
BOUNDS_STEP = 4

COUNTER, GAUGE, HISTOGRAM, INFO = "counter", "gauge", "histogram", "info"

type Labels = tuple[tuple[str, str], ...]


class Sample(NamedTuple):
    """One value of a family; the suffix follows the family's name."""

    suffix: str
    labels: Labels
    value: float


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with all its samples. The name of a counter has no `_total` here."""

    name: str
    kind: str
    text: str
    samples: Sequence[Sample]
    unit: str = ""


class Metric[T](NamedTuple):
    """A metric with one value for the server (T is `Snapshot`) or for each reactor (T is `ReactorSnapshot`)."""

    name: str
    kind: str
    read: Callable[[T], float | None]
    text: str
    unit: str = ""

    def family(self, *sources: tuple[Labels, T]) -> Family:
        """Return the family of these sources."""
        suffix = "_total" if self.kind == COUNTER else ""
        values = ((labels, self.read(source)) for labels, source in sources)
        samples = [Sample(suffix, labels, value) for labels, value in values if value is not None]
        return Family(self.name, self.kind, self.text, samples, self.unit)


# fmt: off
SERVER_METRICS: tuple[Metric[Snapshot], ...] = (
    Metric("mreactor_start_time_seconds", GAUGE, attrgetter("started"), "Start of the server in Unix time.", "seconds"),
    Metric("mreactor_ready", GAUGE, lambda s: int(not s.reasons), "1 while the server is ready, as /readyz reports."),
    Metric("mreactor_draining", GAUGE, lambda s: int(s.is_draining), "1 while the server drains before it stops."),
    Metric("mreactor_gil_enabled", GAUGE, lambda s: int(s.has_gil), "1 while the GIL is enabled."),
    Metric("mreactor_connections_limit", GAUGE, attrgetter("connections_max"), "Maximum number of open connections."),
    Metric("mreactor_connections_refused", COUNTER, attrgetter("refused"), "Connections refused for lack of room."),
    Metric("mreactor_access_log_dropped", COUNTER, attrgetter("lines_dropped"), "Lines missing from the access log."),
    Metric("mreactor_log_dropped", COUNTER, attrgetter("log_lines_dropped"), "Lines missing from the log."),
    Metric("mreactor_pool_threads", GAUGE, attrgetter("pool.threads"), "Threads of the pool for blocking handlers."),
    Metric("mreactor_pool_threads_limit", GAUGE, attrgetter("pool.threads_max"), "Maximum of threads that are busy."),
    Metric("mreactor_pool_busy", GAUGE, attrgetter("pool.busy"), "Threads that run a handler now."),
    Metric("mreactor_pool_streams", GAUGE, attrgetter("pool.streams"), "Threads that wait for the client of a stream."),
    Metric("mreactor_pool_queued", GAUGE, attrgetter("pool.queued"), "Requests that wait for a thread."),
    Metric("mreactor_pool_refused", COUNTER, attrgetter("pool.refused"), "Requests that found the queue full."),
    Metric("process_cpu_seconds", COUNTER, attrgetter("cpu_seconds"), "User and system CPU time used.", "seconds"),
    Metric("process_resident_memory_bytes", GAUGE, attrgetter("resident_bytes"), "Physical memory in use.", "bytes"),
    Metric("process_open_fds", GAUGE, attrgetter("open_fds"), "Open file descriptors."),
    Metric("process_max_fds", GAUGE, attrgetter("fds_max"), "Maximum number of open file descriptors."),
)

REACTOR_METRICS: tuple[Metric[ReactorSnapshot], ...] = (
    Metric("mreactor_reactor_up", GAUGE, lambda r: int(r.state == "running"), "1 while the event loop runs."),
    Metric("mreactor_reactor_heartbeat_age_seconds", GAUGE, attrgetter("heartbeat_age"),
           "Time since the last heartbeat of the event loop.", "seconds"),
    Metric("mreactor_connections_accepted", COUNTER, attrgetter("counters.accepted"), "Connections accepted."),
    Metric("mreactor_connections_open", GAUGE, attrgetter("counters.open"), "Open connections."),
    Metric("mreactor_requests_in_flight", GAUGE, attrgetter("in_flight"), "Requests without their whole response."),
    Metric("mreactor_received_bytes", COUNTER, attrgetter("counters.bytes_in"), "Bytes received.", "bytes"),
    Metric("mreactor_sent_bytes", COUNTER, attrgetter("counters.bytes_out"), "Bytes sent.", "bytes"),
    Metric("mreactor_buffered_bytes", GAUGE, attrgetter("counters.buffered"), "Bytes of unfinished requests.", "bytes"),
    Metric("mreactor_unsent_bytes", GAUGE, attrgetter("counters.unsent"), "Bytes unsent to slow clients.", "bytes"),
    Metric("mreactor_reply_cache_hits", COUNTER, lambda r: r.counters.cache_hits[0], "Responses from the cache."),
)
# fmt: on


def collect_families(snapshot: Snapshot) -> Iterator[Family]:
    """Yield all metrics in the order of the exposition."""
    info = Sample("_info", tuple(sorted(snapshot.info.items())), 1.0)
    yield Family("mreactor", INFO, "Version, interpreter and backend of the server.", [info])
    for of_server in SERVER_METRICS:
        yield of_server.family(((), snapshot))
    yield _collect_waits(snapshot.pool)
    reactors = [((("reactor", str(one.index)),), one) for one in snapshot.reactors]
    for of_reactor in REACTOR_METRICS:
        yield of_reactor.family(*reactors)
    counters = [(labels, one.counters) for labels, one in reactors]
    yield from _count_events(counters)
    yield from _collect_durations(counters)
    if snapshot.routes:
        yield from _collect_routes(snapshot.routes)


def _count_events(counters: Sequence[tuple[Labels, Counters]]) -> Iterator[Family]:
    """Yield the metrics with a label for method, status or kind."""
    requests = [
        Sample("_total", (*labels, ("method", method), ("status", str(status))), counter[0])
        for labels, one in counters
        for (method, status), counter in sorted(one.requests.items())
        # Routes have their counters before they have a response.
        if counter[0]
    ]
    timeouts = [sample for labels, one in counters for sample in _count_kinds(labels, TIMEOUTS, one.timeouts)]
    errors = [sample for labels, one in counters for sample in _count_kinds(labels, ERRORS, one.errors)]
    text = "Responses; the method is - for a request that could not be read."
    yield Family("mreactor_requests", COUNTER, text, requests)
    yield Family("mreactor_timeouts", COUNTER, "Deadlines that clients missed.", timeouts)
    yield Family("mreactor_errors", COUNTER, "Failures of handlers, connections and sockets.", errors)


def _count_kinds(labels: Labels, known: tuple[str, ...], counts: dict[str, int]) -> list[Sample]:
    """Return a sample for each kind. Known kinds start at 0, so that the first event shows as a rise."""
    kinds = dict.fromkeys(known, 0) | counts
    return [Sample("_total", (*labels, ("kind", kind)), count) for kind, count in kinds.items()]


def _collect_durations(counters: Sequence[tuple[Labels, Counters]]) -> Iterator[Family]:
    """Yield the histograms."""
    service = [sample for labels, one in counters for sample in _count_buckets(labels, one.service_time)]
    text = "Time from the arrival of a request in the reactor until its response is sent or queued, at most."
    yield Family("mreactor_request_service_seconds", HISTOGRAM, text, service, "seconds")
    lag = [sample for labels, one in counters for sample in _count_buckets(labels, one.loop_lag)]
    text = "The longest round of the event loop in each quarter of a second."
    yield Family("mreactor_loop_lag_seconds", HISTOGRAM, text, lag, "seconds")


def _collect_routes(routes: Sequence[RouteSnapshot]) -> Iterator[Family]:
    """Yield the calls and the times of handlers. There are as many samples as the application has routes."""
    labels = [(("method", one.method), ("route", one.pattern)) for one in routes]
    calls = [Sample("_total", label, one.calls) for label, one in zip(labels, routes, strict=True)]
    yield Family("mreactor_route_calls", COUNTER, "Calls of the handler of a route.", calls)
    seconds = [Sample("_total", label, one.seconds) for label, one in zip(labels, routes, strict=True)]
    yield Family("mreactor_route_seconds", COUNTER, "Time that these calls have taken together.", seconds, "seconds")


def _collect_waits(pool: PoolSnapshot) -> Family:
    """Return the histogram of the times that requests have waited for a thread: one bucket for each doubling."""
    seen, samples = 0, []
    for digits, count in enumerate(pool.waits):
        seen += count
        # So many binary digits: less than this many microseconds.
        samples.append(Sample("_bucket", (("le", repr((1 << digits) / 1e6)),), seen))
    # The last one has no bound.
    samples[-1:] = [Sample("_bucket", (("le", "+Inf"),), seen)]
    samples += [Sample("_sum", (), pool.waited), Sample("_count", (), seen)]
    text = "Time from the arrival of a request in the reactor until a thread of the pool takes it."
    return Family("mreactor_pool_wait_seconds", HISTOGRAM, text, samples, "seconds")


def _count_buckets(labels: Labels, histogram: Histogram) -> Iterator[Sample]:
    """Yield the cumulative counts at the bounds shown, the sum and the count."""
    seen = 0
    for index, count in enumerate(histogram.counts):
        seen += count
        if index % BOUNDS_STEP == 0 and index < len(BUCKETS):
            yield Sample("_bucket", (*labels, ("le", repr(BUCKETS[index] / 1e9))), seen)
    yield Sample("_bucket", (*labels, ("le", "+Inf")), seen)
    yield Sample("_sum", labels, histogram.total / 1e9)
    yield Sample("_count", labels, seen)
