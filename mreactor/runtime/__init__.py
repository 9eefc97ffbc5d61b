"""Adaptations to free-threaded CPython 3.13 and to the kernel's scheduler. Each can be removed: see README.md here."""

from . import interned_names as interned_names
from .allocator import release_empty_pages
from .scheduling import usable_cpus, use_batch_scheduling
from .type_cache import HOT, hot, separate_hot_classes
from .unshared import private_bytes, private_int

__all__ = [
    "HOT",
    "hot",
    "private_bytes",
    "private_int",
    "release_empty_pages",
    "separate_hot_classes",
    "usable_cpus",
    "use_batch_scheduling",
]
