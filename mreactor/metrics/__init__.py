"""Counters and histograms, each with one writing thread, and their text and JSON forms."""

from .counters import Counters, RequestCounter
from .exposition import OPENMETRICS, PROMETHEUS, render_text, stats
from .histogram import BUCKETS, Histogram
from .snapshot import NO_POOL, PoolSnapshot, ReactorSnapshot, RouteSnapshot, Snapshot

__all__ = [
    "BUCKETS", "NO_POOL", "OPENMETRICS", "PROMETHEUS", "Counters", "Histogram", "PoolSnapshot", "ReactorSnapshot",
    "RequestCounter", "RouteSnapshot", "Snapshot", "render_text", "stats",
]  # fmt: skip
