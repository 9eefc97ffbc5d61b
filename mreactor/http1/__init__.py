"""HTTP/1.1 messages and connections without I/O (RFC 9112)."""

from .connection import Connection
from .context import ReactorContext
from .encoder import render_overload, render_plain_refusal
from .head_parser import Parser

__all__ = ["Connection", "Parser", "ReactorContext", "render_overload", "render_plain_refusal"]
