"""The server's life cycle: start, signals, drain, report."""

from .server import Server, StartError, url

__all__ = ["Server", "StartError", "url"]
