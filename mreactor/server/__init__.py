"""The server's life cycle: start, signals, drain, report; and the end of its process."""

from ..net import StartError
from .privileges import become
from .process import end_process, open_standard_descriptors
from .report import scheme, url
from .server import Server
from .signals import end_at_once
from .startup import take_startup

__all__ = [
    "Server", "StartError", "become", "end_at_once", "end_process", "open_standard_descriptors", "scheme",
    "take_startup", "url",
]  # fmt: skip
