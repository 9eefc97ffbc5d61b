"""HTTP semantics (RFC 9110): requests, responses, header fields, status codes, dates."""

from .conditional import evaluate_conditions
from .dates import MONTHS, format_date, note_date, noted_date, parse_date
from .grammar import TOKEN
from .handler import Handler, describe_handler, underlying_function
from .headers import Headers
from .partial import conclude, not_modified, respond_in_part, select_ranges
from .request import Request
from .request_head import METHODS, Framing, HeaderFields, RequestHead, RequestLine
from .response import BINARY, HTML, TEXT, Body, Response, encode_part, respond
from .status import REASONS, HTTPError, has_body, status_line

__all__ = [
    "BINARY", "HTML", "METHODS", "MONTHS", "REASONS", "TEXT", "TOKEN", "Body", "Framing", "HTTPError", "Handler",
    "HeaderFields", "Headers", "Request", "RequestHead", "RequestLine", "Response", "conclude", "describe_handler",
    "encode_part", "evaluate_conditions", "format_date", "has_body", "not_modified", "note_date", "noted_date",
    "parse_date", "respond", "respond_in_part", "select_ranges", "status_line", "underlying_function",
]  # fmt: skip
