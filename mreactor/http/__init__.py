"""HTTP semantics (RFC 9110): requests, responses, header fields, status codes, dates."""

from .conditional import evaluate_conditions
from .dates import MONTHS, format_date, note_date, noted_date, parse_date
from .grammar import TOKEN
from .handler import Handler, describe_handler, underlying_function
from .headers import Headers
from .raw_response import DATE, SERVER, SERVER_AND_DATE, RawResponse
from .request import Request, make_request
from .request_head import METHODS, Framing, HeaderFields, RequestHead, RequestLine
from .response import BINARY, HTML, TEXT, Body, Response, encode_part, respond
from .spooled_body import SpooledBody
from .status import REASONS, HTTPError, has_body, status_line

__all__ = [
    "BINARY", "DATE", "HTML", "METHODS", "MONTHS", "REASONS", "SERVER", "SERVER_AND_DATE", "TEXT", "TOKEN", "Body",
    "Framing", "HTTPError", "Handler", "HeaderFields", "Headers", "RawResponse", "Request", "RequestHead",
    "RequestLine", "Response", "SpooledBody", "describe_handler", "encode_part", "evaluate_conditions", "format_date",
    "has_body", "make_request", "note_date", "noted_date", "parse_date", "respond", "status_line",
    "underlying_function",
]  # fmt: skip
