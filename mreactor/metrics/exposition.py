"""What a server's counters look like from outside: Prometheus text, OpenMetrics, and a JSON object.

Pure functions of a `Snapshot`; any thread may call them. This module knows no thread, socket or server.

Numbers are given per reactor, under the label `reactor`; who wants the sum adds them up, which is exact, since each is
written in one place only. Names follow the Prometheus conventions: base units, and the unit in the name.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from .counters import BUCKETS, ERRORS, TIMEOUTS, Counters, Histogram

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

# One bound a doubling, from 1 µs to 16.8 s, of the four that are kept: counts are exact at the bounds shown, and a
# scrape stays small.
BOUNDS_STEP = 4

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}

COUNTER, GAUGE, HISTOGRAM, INFO = "counter", "gauge", "histogram", "info"

type Labels = tuple[tuple[str, str], ...]
type Sample = tuple[str, Labels, float]  # what follows the family's name, labels, value


@dataclass(frozen=True, slots=True)
class ReactorSnapshot:
    """One reactor at one moment.

    Attributes:
        state: starting, running, stuck or dead.
        heartbeat_age: seconds since its last round of events.
        counters: a snapshot of its counters.
    """

    index: int
    state: str
    heartbeat_age: float
    counters: Counters


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A server at one moment.

    Attributes:
        time: when this was, in Unix seconds.
        started: when the server started, in Unix seconds; another server has another value.
        info: what it is, as text: version, python, gil, backend and the like.
        report: what the log said when it started, a line each.
        reasons: why no traffic should be sent to it; empty if it is ready.
        refused: connections refused by the acceptor, before any reactor saw them.
        lines_dropped: lines that are missing from the access log.
        cpu_seconds, resident_bytes: of the process.
    """

    time: float
    started: float
    info: Mapping[str, str]
    report: tuple[str, ...]
    reasons: tuple[str, ...]
    is_draining: bool
    has_gil: bool
    connections_max: int
    refused: int
    lines_dropped: int
    cpu_seconds: float
    resident_bytes: int
    reactors: tuple[ReactorSnapshot, ...]

    def total(self) -> Counters:
        """The sum over all reactors."""
        total = Counters()
        for reactor in self.reactors:
            total.merge(reactor.counters)
        return total


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with all its label values; a counter's name comes without `_total`."""

    name: str
    kind: str
    text: str
    samples: Sequence[Sample]
    unit: str = ""


# Of each reactor, by the attribute of its counters: name, kind, explanation, unit.
_NUMBERS: tuple[tuple[Callable[[Counters], int], str, str, str, str], ...] = (
    (attrgetter("accepted"), "connections_accepted", COUNTER, "Connections that the reactor took on.", ""),
    (attrgetter("open"), "connections_open", GAUGE, "Connections open at present.", ""),
    (attrgetter("bytes_in"), "received_bytes", COUNTER, "Bytes received from clients.", "bytes"),
    (attrgetter("bytes_out"), "sent_bytes", COUNTER, "Bytes sent to clients.", "bytes"),
    (attrgetter("buffered"), "buffered_bytes", GAUGE, "Bytes held in memory for clients.", "bytes"),
    (lambda c: c.cache_hits[0], "reply_cache_hits", COUNTER, "Requests answered from the reply cache.", ""),
)


def render_text(snapshot: Snapshot, form: str) -> str:
    """All metrics as text.

    Args:
        form: `PROMETHEUS` (text format 0.0.4) or `OPENMETRICS` (1.0.0); which are the content types, too.
    """
    is_open = form == OPENMETRICS
    blocks = [_render(family, is_open) for family in families(snapshot)]
    return "".join(blocks) + ("# EOF\n" if is_open else "")


def choose_format(accept: str) -> str:
    """The form to answer with, by the request's Accept field: OpenMetrics where it is preferred to plain text."""
    weights = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for alternative in accept.lower().split(","):
        media_type, *parameters = (part.strip() for part in alternative.split(";"))
        if media_type in weights:
            weights[media_type] = max(weights[media_type], _weight(parameters))
    return OPENMETRICS if weights["application/openmetrics-text"] > weights["text/plain"] else PROMETHEUS


def families(snapshot: Snapshot) -> Iterator[Family]:
    """All metrics, in the order in which they are shown."""
    yield from _of_server(snapshot)
    yield from _of_process(snapshot)
    reactors = [((("reactor", str(one.index)),), one) for one in snapshot.reactors]
    up = [("", labels, int(one.state == "running")) for labels, one in reactors]
    yield Family("mreactor_reactor_up", GAUGE, "1 while the reactor's event loop turns.", up)
    ages = [("", labels, one.heartbeat_age) for labels, one in reactors]
    text = "Seconds since the event loop's last round."
    yield Family("mreactor_reactor_heartbeat_age_seconds", GAUGE, text, ages, "seconds")
    counters = [(labels, one.counters) for labels, one in reactors]
    for read, name, kind, text, unit in _NUMBERS:
        suffix = "_total" if kind == COUNTER else ""
        samples = [(suffix, labels, read(one)) for labels, one in counters]
        yield Family(f"mreactor_{name}", kind, text, samples, unit)
    yield from _of_events(counters)
    yield from _of_durations(counters)


def stats(snapshot: Snapshot) -> dict[str, Any]:
    """All metrics as one object for `/stats.json`, per reactor and in sum."""
    return {
        "time": snapshot.time,
        "started": snapshot.started,
        "info": dict(snapshot.info),
        "report": list(snapshot.report),
        "ready": not snapshot.reasons,
        "reasons": list(snapshot.reasons),
        "draining": snapshot.is_draining,
        "gil": snapshot.has_gil,
        "connections_max": snapshot.connections_max,
        "refused": snapshot.refused,
        "access_log_dropped": snapshot.lines_dropped,
        "process": {"cpu_seconds": snapshot.cpu_seconds, "resident_bytes": snapshot.resident_bytes},
        "total": _totals(snapshot.total()),
        "reactors": [
            {"index": one.index, "state": one.state, "heartbeat_age": one.heartbeat_age}
            | _totals(one.counters)
            for one in snapshot.reactors
        ],
    }


def _of_server(snapshot: Snapshot) -> Iterator[Family]:
    yield Family(
        "mreactor", INFO, "What this server is.", [("_info", tuple(sorted(snapshot.info.items())), 1.0)]
    )
    numbers = (
        ("start_time_seconds", GAUGE, snapshot.started, "When the server started, in Unix time.", "seconds"),
        ("ready", GAUGE, int(not snapshot.reasons), "1 while the server wants traffic, as /readyz says.", ""),
        ("draining", GAUGE, int(snapshot.is_draining), "1 while the server finishes what it has.", ""),
        ("gil_enabled", GAUGE, int(snapshot.has_gil), "1 if only one thread of Python runs at a time.", ""),
        ("connections_limit", GAUGE, snapshot.connections_max, "Connections open at once, at most.", ""),
        ("connections_refused", COUNTER, snapshot.refused, "Connections refused: there was no room.", ""),
        ("access_log_dropped", COUNTER, snapshot.lines_dropped, "Lines missing from the access log.", ""),
    )
    for name, kind, value, text, unit in numbers:
        suffix = "_total" if kind == COUNTER else ""
        yield Family(f"mreactor_{name}", kind, text, [(suffix, (), value)], unit)


def _of_process(snapshot: Snapshot) -> Iterator[Family]:
    text = "CPU time that the process has used, in user and system mode."
    yield Family("process_cpu_seconds", COUNTER, text, [("_total", (), snapshot.cpu_seconds)], "seconds")
    text = "Physical memory that the process holds."
    samples: list[Sample] = [("", (), snapshot.resident_bytes)]
    yield Family("process_resident_memory_bytes", GAUGE, text, samples, "bytes")


def _of_events(counters: Iterable[tuple[Labels, Counters]]) -> Iterator[Family]:
    """What is counted by method, status or kind."""
    requests: list[Sample] = []
    timeouts: list[Sample] = []
    errors: list[Sample] = []
    for labels, one in counters:
        for (method, status), counter in sorted(one.requests.items()):
            further = (("method", method), ("status", str(status)))
            requests.append(("_total", labels + further, counter[0]))
        timeouts += _by_kind(labels, TIMEOUTS, one.timeouts)
        errors += _by_kind(labels, ERRORS, one.errors)
    text = "Requests answered; one that could not be read has the method -."
    yield Family("mreactor_requests", COUNTER, text, requests)
    yield Family("mreactor_timeouts", COUNTER, "Deadlines that clients missed.", timeouts)
    yield Family("mreactor_errors", COUNTER, "Failures of handlers, connections and sockets.", errors)


def _by_kind(labels: Labels, known: tuple[str, ...], counts: dict[str, int]) -> list[Sample]:
    """A sample for each kind, known ones at 0 from the start: so that a first event is seen as a rise."""
    kinds = dict.fromkeys(known, 0) | counts
    return [("_total", (*labels, ("kind", kind)), count) for kind, count in kinds.items()]


def _of_durations(counters: Iterable[tuple[Labels, Counters]]) -> Iterator[Family]:
    context: list[Sample] = []
    lag: list[Sample] = []
    for labels, one in counters:
        context += _buckets(labels, one.service_time)
        lag += _buckets(labels, one.loop_lag)
    text = "From a request's arrival in the reactor to its answer's departure, at most."
    yield Family("mreactor_request_service_seconds", HISTOGRAM, text, context, "seconds")
    text = "The longest round of the event loop in each quarter of a second."
    yield Family("mreactor_loop_lag_seconds", HISTOGRAM, text, lag, "seconds")


def _buckets(labels: Labels, histogram: Histogram) -> Iterator[Sample]:
    """A histogram's cumulative counts at the bounds shown, its sum and its count."""
    seen = 0
    for index, count in enumerate(histogram.counts):
        seen += count
        if index % BOUNDS_STEP == 0 and index < len(BUCKETS):
            yield "_bucket", (*labels, ("le", repr(BUCKETS[index] / 1e9))), seen
    yield "_bucket", (*labels, ("le", "+Inf")), seen
    yield "_sum", labels, histogram.total / 1e9
    yield "_count", labels, seen


def _render(family: Family, is_open: bool) -> str:
    """A family as lines. The formats differ in what they call a counter, and in that one knows infos and units."""
    name, kind = family.name, family.kind
    if not is_open and kind == COUNTER:
        name += "_total"
    elif not is_open and kind == INFO:
        name, kind = name + "_info", GAUGE
    lines = [f"# HELP {name} {family.text}", f"# TYPE {name} {kind}"]
    if is_open and family.unit:
        lines.append(f"# UNIT {name} {family.unit}")
    for suffix, labels, value in family.samples:
        lines.append(f"{family.name}{suffix}{_braced(labels)} {value}")
    return "\n".join(lines) + "\n"


def _braced(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _weight(parameters: list[str]) -> float:
    """The weight that an alternative of an Accept field has (RFC 9110 section 12.4.2); 0 for one that is no number."""
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0


def _totals(counters: Counters) -> dict[str, Any]:
    requests: dict[str, dict[str, int]] = {}
    for (method, status), counter in sorted(counters.requests.items()):
        requests.setdefault(method, {})[str(status)] = counter[0]
    return {
        "answered": counters.answered,
        "requests": requests,
        "bytes_in": counters.bytes_in,
        "bytes_out": counters.bytes_out,
        "accepted": counters.accepted,
        "open": counters.open,
        "buffered": counters.buffered,
        "cache_hits": counters.cache_hits[0],
        "timeouts": dict.fromkeys(TIMEOUTS, 0) | counters.timeouts,
        "errors": dict.fromkeys(ERRORS, 0) | counters.errors,
        "service_time": _durations(counters.service_time),
        "loop_lag": _durations(counters.loop_lag),
    }


def _durations(histogram: Histogram) -> dict[str, Any]:
    """In seconds. A bucket is its upper bound, None past them all, and its own count; empty ones are left out."""
    bounds = [bound / 1e9 for bound in BUCKETS] + [None]
    return {
        "count": histogram.count,
        "sum": histogram.total / 1e9,
        **{name: histogram.quantile(q) for name, q in QUANTILES.items()},
        "buckets": [[bound, n] for bound, n in zip(bounds, histogram.counts, strict=True) if n],
    }
