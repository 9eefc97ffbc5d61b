"""The server's life cycle: start, signals, drain, report."""

from ..net import StartError
from .report import url
from .server import Server

__all__ = ["Server", "StartError", "url"]
