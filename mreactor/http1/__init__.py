"""HTTP/1.1 messages and connections without I/O (RFC 9112)."""

from .connection import Connection
from .context import ReactorContext, render_overload
from .dispatch import EncodedResponse
from .head_parser import END_OF_HEAD, Framing, HeadReader, Parser, RequestLine
from .request_reader import RequestReader
from .response_cache import BODY_METHODS_AFTER, ResponseCache
from .send_buffer import SendBuffer
from .states import BODY, CLOSED, HEAD, IDLE, LINGERING, READY, SENDING

__all__ = [
    "BODY", "BODY_METHODS_AFTER", "CLOSED", "END_OF_HEAD", "HEAD", "IDLE", "LINGERING", "READY", "SENDING",
    "Connection", "EncodedResponse", "Framing", "HeadReader", "Parser", "ReactorContext", "RequestLine",
    "RequestReader", "ResponseCache", "SendBuffer", "render_overload",
]  # fmt: skip
