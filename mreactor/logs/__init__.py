"""Log lines and the access log."""

from .access import AccessBuffer, AccessLog, resolve_file
from .access_formats import RequestDetails
from .handlers import configure, count_lost, flush, suppress_failures
from .tracebacks import application_frames, format_error, summarize_error

__all__ = [
    "AccessBuffer", "AccessLog", "RequestDetails", "application_frames", "configure", "count_lost", "flush",
    "format_error", "resolve_file", "summarize_error", "suppress_failures",
]  # fmt: skip
