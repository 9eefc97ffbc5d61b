"""Log lines and the access log."""

from .access import AccessBuffer, AccessLog, resolve_file
from .handlers import configure, count_lost, flush, suppress_failures

__all__ = [
    "AccessBuffer", "AccessLog", "configure", "count_lost", "flush", "resolve_file", "suppress_failures",
]  # fmt: skip
