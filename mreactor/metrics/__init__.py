"""Counters and histograms, each with one writing thread, and their text and JSON forms."""

from .counters import Counters, RequestCounter
from .exposition import choose_format, render_text, stats
from .histogram import BUCKETS, Histogram
from .snapshot import NO_POOL, PoolSnapshot, ReactorSnapshot, RouteSnapshot, Snapshot

__all__ = [
    "BUCKETS", "NO_POOL", "Counters", "Histogram", "PoolSnapshot", "ReactorSnapshot", "RequestCounter", "RouteSnapshot",
    "Snapshot",
    "choose_format", "render_text", "stats",
]  # fmt: skip
