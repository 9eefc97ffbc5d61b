"""HTTP/1.1 messages and connections without I/O (RFC 9112)."""

from .connection import Connection
from .context import ReactorContext
from .encoder import render_overload, render_plain_refusal
from .isolation import has_context_variables

__all__ = ["Connection", "ReactorContext", "has_context_variables", "render_overload", "render_plain_refusal"]
