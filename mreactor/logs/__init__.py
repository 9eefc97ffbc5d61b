"""Log lines and the access log."""

from .access import AccessBuffer, AccessLog
from .handlers import configure, flush, suppress_failures

__all__ = ["AccessBuffer", "AccessLog", "configure", "flush", "suppress_failures"]
