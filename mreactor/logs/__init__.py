"""Log lines and the access log."""

from .access import AccessBuffer, AccessLog, resolve_file
from .handlers import configure, flush, suppress_failures

__all__ = ["AccessBuffer", "AccessLog", "configure", "flush", "resolve_file", "suppress_failures"]
