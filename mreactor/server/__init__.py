"""The server's life cycle: start, signals, drain, report; and the end of its process."""

from ..net import StartError
from .process import end_process, open_standard_descriptors
from .report import scheme, url
from .server import Server
from .signals import end_at_once

__all__ = ["Server", "StartError", "end_at_once", "end_process", "open_standard_descriptors", "scheme", "url"]
