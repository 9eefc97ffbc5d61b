"""Adaptations to free-threaded CPython 3.13 and to the kernel's scheduler. README.md here says how to delete each.

This must be the first import of the package: it interns the package's attribute names.
"""

from .adaptations import at_import, before_threads, every_tick, in_thread
from .allocator import allocated_bytes
from .gil import gil_cause, has_gil, watch_gil
from .hot_path import HOT, hot
from .interpreter import IS_FREE_THREADED
from .scheduling import cpu_quota, usable_cpus
from .unshared import private_bytes, private_int

__all__ = [
    "HOT", "IS_FREE_THREADED", "allocated_bytes", "at_import", "before_threads", "cpu_quota", "every_tick",
    "gil_cause", "has_gil", "hot", "in_thread", "private_bytes", "private_int", "usable_cpus", "watch_gil",
]  # fmt: skip

INTERNED = at_import()
