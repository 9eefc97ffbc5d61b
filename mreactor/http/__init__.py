"""HTTP semantics (RFC 9110): requests, responses, header fields, status codes, dates."""

from .conditional import evaluate_conditions
from .dates import MONTHS, format_date, note_date, noted_date, parse_date
from .error_page import render_error, render_traceback
from .grammar import TOKEN
from .handler import Handler, describe_handler, underlying_function
from .headers import Headers
from .json_content import use_json
from .request import Request
from .request_head import METHODS, Framing, HeaderFields, RequestHead, RequestLine, unread_head
from .response import BINARY, HTML, JSON, TEXT, Body, Content, Response, SizedStream, encode_part, redirect, respond
from .status import REASONS, HTTPError, has_body, status_line
from .uploads import Files, UploadedFile

__all__ = [
    "BINARY", "HTML", "JSON", "METHODS", "MONTHS", "REASONS", "TEXT", "TOKEN", "Body", "Content", "Files", "Framing",
    "HTTPError", "Handler", "HeaderFields", "Headers", "Request", "RequestHead", "RequestLine", "Response",
    "SizedStream", "UploadedFile", "describe_handler", "encode_part", "evaluate_conditions", "format_date", "has_body",
    "note_date", "noted_date", "parse_date", "redirect", "render_error", "render_traceback", "respond", "status_line",
    "underlying_function", "unread_head", "use_json",
]  # fmt: skip
