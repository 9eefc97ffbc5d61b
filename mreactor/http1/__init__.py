"""HTTP/1.1 messages and connections without I/O (RFC 9112)."""

from .connection import Connection
from .context import ReactorContext
from .encoder import render_overload
from .head_parser import END_OF_HEAD, Framing, HeadReader, Parser, RequestLine
from .request_reader import RequestReader
from .response_cache import BODY_METHODS_AFTER, ResponseCache
from .states import BODY, CLOSED, HEAD, IDLE, LINGERING, READY, SENDING

__all__ = [
    "BODY",
    "BODY_METHODS_AFTER",
    "CLOSED",
    "END_OF_HEAD",
    "HEAD",
    "IDLE",
    "LINGERING",
    "READY",
    "SENDING",
    "Connection",
    "Framing",
    "HeadReader",
    "Parser",
    "ReactorContext",
    "RequestLine",
    "RequestReader",
    "ResponseCache",
    "render_overload",
]
