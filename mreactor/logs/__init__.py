"""Log lines and the access log."""

from .access import AccessBuffer, AccessLog
from .handlers import configure

__all__ = ["AccessBuffer", "AccessLog", "configure"]
