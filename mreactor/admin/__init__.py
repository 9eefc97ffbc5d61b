"""The admin listener: metrics, health, readiness, the live page; and the watchdog."""

from .listener import Admin, ServerStatus
from .watchdog import Watchdog

__all__ = ["Admin", "ServerStatus", "Watchdog"]
