"""HTTP/1.1 messages and connections without I/O (RFC 9112)."""

from .connection import Connection
from .context import ReactorContext
from .encoder import render_overload, render_plain_refusal
from .error_pages import encode_overload
from .head_parser import Parser
from .isolation import has_context_variables
from .observing import observation_maker
from .redirect_connection import Redirector

__all__ = [
    "Connection", "Parser", "ReactorContext", "Redirector", "encode_overload", "has_context_variables",
    "observation_maker", "render_overload", "render_plain_refusal",
]  # fmt: skip
