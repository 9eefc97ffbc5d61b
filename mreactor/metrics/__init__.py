"""Counters and histograms, each with one writing thread, and their text and JSON forms."""

from .counters import BUCKETS, Counters, Histogram, RequestCounter
from .exposition import ReactorSnapshot, Snapshot, choose_format, render_text, stats

__all__ = [
    "BUCKETS",
    "Counters",
    "Histogram",
    "ReactorSnapshot",
    "RequestCounter",
    "Snapshot",
    "choose_format",
    "render_text",
    "stats",
]
