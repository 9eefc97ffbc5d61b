"""The forms in which metrics leave the server: Prometheus text, OpenMetrics text, and a JSON object.

Pure functions of a `Snapshot`. Safe to call from any thread.
"""

import dataclasses
from typing import Any, Final

from .counters import ERRORS, TIMEOUTS, Counters
from .families import COUNTER, INFO, Family, Labels, collect_families
from .histogram import BUCKETS, Histogram
from .snapshot import PoolSnapshot, Snapshot

# The text formats are named by their content types.
PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}


def render_text(snapshot: Snapshot, text_format: str) -> str:
    """Render all metrics as text, in `PROMETHEUS` or `OPENMETRICS`."""
    render, end = (_render_open, "# EOF\n") if text_format == OPENMETRICS else (_render_plain, "")
    return "".join(map(render, collect_families(snapshot))) + end


def _render_open(family: Family) -> str:
    unit = [f"# UNIT {family.name} {family.unit}"] if family.unit else []
    return _render_lines(family.name, family.kind, family, unit)


def _render_plain(family: Family) -> str:
    """Render a family in the older format, which names counters in full and has neither infos nor units."""
    if family.kind == INFO:
        return _render_lines(f"{family.name}_info", "gauge", family, [])
    suffix = "_total" if family.kind == COUNTER else ""
    return _render_lines(family.name + suffix, family.kind, family, [])


def _render_lines(name: str, kind: str, family: Family, unit: list[str]) -> str:
    lines = [f"# HELP {name} {family.text}", f"# TYPE {name} {kind}", *unit]
    for suffix, labels, value in family.samples:
        lines.append(f"{family.name}{suffix}{_render_labels(labels)} {value}")
    return "\n".join(lines) + "\n"


def _render_labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def stats(snapshot: Snapshot) -> dict[str, Any]:
    """Return all metrics as one JSON object for `/stats.json`, per reactor and in total."""
    return {
        "time": snapshot.time,
        "uptime": snapshot.uptime,
        "started": snapshot.started,
        "info": dict(snapshot.info),
        "application": snapshot.application,
        "host": snapshot.host,
        "report": list(snapshot.report),
        "ready": not snapshot.reasons,
        "reasons": list(snapshot.reasons),
        "draining": snapshot.is_draining,
        "gil": snapshot.has_gil,
        "gil_cause": snapshot.gil_cause,
        "connections_max": snapshot.connections_max,
        "refused": snapshot.refused,
        "access_log_dropped": snapshot.lines_dropped,
        "log_dropped": snapshot.log_lines_dropped,
        "pool": _describe_pool(snapshot.pool),
        "process": {
            "cpu_seconds": snapshot.cpu_seconds,
            "resident_bytes": snapshot.resident_bytes,
            "open_fds": snapshot.open_fds,
            "max_fds": snapshot.fds_max,
        },
        "routes": [dataclasses.asdict(one) for one in snapshot.routes],
        "total": _describe_counters(snapshot.total()) | {"in_flight": sum(one.in_flight for one in snapshot.reactors)},
        "reactors": [
            {"index": one.index, "state": one.state, "heartbeat_age": one.heartbeat_age, "in_flight": one.in_flight}
            | _describe_counters(one.counters)
            for one in snapshot.reactors
        ],
    }


def _describe_counters(counters: Counters) -> dict[str, Any]:
    requests: dict[str, dict[str, int]] = {}
    for (method, status), counter in sorted(counters.requests.items()):
        if counter[0]:
            requests.setdefault(method, {})[str(status)] = counter[0]
    return {
        "answered": counters.answered,
        "requests": requests,
        "bytes_in": counters.bytes_in,
        "bytes_out": counters.bytes_out,
        "accepted": counters.accepted,
        "open": counters.open,
        "buffered": counters.buffered,
        "unsent": counters.unsent,
        "cache_hits": counters.cache_hits[0],
        "timeouts": dict.fromkeys(TIMEOUTS, 0) | counters.timeouts,
        "errors": dict.fromkeys(ERRORS, 0) | counters.errors,
        "service_time": _describe_durations(counters.service_time),
        "loop_lag": _describe_durations(counters.loop_lag),
    }


def _describe_pool(pool: PoolSnapshot) -> dict[str, Any]:
    """The buckets of waiting times as those of `_describe_durations`."""
    bounds = [(1 << digits) / 1e6 for digits in range(len(pool.waits) - 1)] + [None]
    return {
        "threads": pool.threads,
        "threads_max": pool.threads_max,
        "busy": pool.busy,
        "streams": pool.streams,
        "queued": pool.queued,
        "refused": pool.refused,
        "wait": {
            "count": sum(pool.waits),
            "sum": pool.waited,
            "buckets": [[bound, n] for bound, n in zip(bounds, pool.waits, strict=bool(pool.waits)) if n],
        },
    }


def _describe_durations(histogram: Histogram) -> dict[str, Any]:
    """In seconds. A bucket is its upper bound, None for the last, and its own count. Empty buckets are left out."""
    bounds = [bound / 1e9 for bound in BUCKETS] + [None]
    return {
        "count": histogram.count,
        "sum": histogram.total / 1e9,
        **{name: histogram.quantile(q) for name, q in QUANTILES.items()},
        "buckets": [[bound, n] for bound, n in zip(bounds, histogram.counts, strict=True) if n],
    }
