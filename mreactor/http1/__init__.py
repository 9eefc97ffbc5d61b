"""HTTP/1.1 messages and connections without I/O (RFC 9112)."""

from .connection import Connection
from .context import ReactorContext
from .encoder import render_overload, render_plain_refusal

__all__ = ["Connection", "ReactorContext", "render_overload", "render_plain_refusal"]
