"""The admin listener: metrics, health checks and the live page. And the watchdog, which reports stuck reactors."""

from .listener import AdminListener
from .status import ServerStatus
from .watchdog import Watchdog

__all__ = ["AdminListener", "ServerStatus", "Watchdog"]
