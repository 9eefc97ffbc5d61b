"""HTTP semantics (RFC 9110): requests, responses, header fields, status codes, dates."""

from .conditional import RANGE_ALONE, evaluate_conditions, selecting_fields
from .cookies import SameSite
from .dates import MONTHS, format_date, note_date, noted_date, parse_date
from .error_page import FAILED, render_error, render_traceback
from .grammar import TOKEN
from .handler import Handler, MustWait, describe_handler, underlying_function
from .headers import Headers
from .json_content import use_json
from .memo import Memo
from .negotiation import choose_type, rank_codings
from .partial import ACCEPTS_RANGES, conclude, not_modified, respond_in_part, select_ranges
from .pause import Pause
from .raw_response import DATE, SERVER, SERVER_AND_DATE, RawResponse
from .request import CHANGED, Parameters, Request, make_request
from .request_head import METHODS, Framing, HeaderFields, RequestHead, RequestLine, unread_head
from .response import (
    BINARY,
    HTML,
    JSON,
    TEXT,
    Body,
    Content,
    Response,
    SizedStream,
    check_fields,
    encode_fields,
    encode_part,
    make_response,
    redirect,
    respond,
)  # fmt: skip
from .response_headers import Fields, ResponseHeaders
from .spooled_body import SpooledBody
from .status import REASONS, HTTPError, has_body, status_line
from .uploads import Files, UploadedFile

__all__ = [
    "ACCEPTS_RANGES", "BINARY", "CHANGED", "DATE", "FAILED", "HTML", "JSON", "METHODS", "MONTHS", "RANGE_ALONE",
    "REASONS", "SERVER", "SERVER_AND_DATE", "TEXT", "TOKEN", "Body", "Content", "Fields", "Files", "Framing",
    "HTTPError", "Handler", "HeaderFields", "Headers", "Memo", "MustWait", "Parameters", "Pause", "RawResponse",
    "Request", "RequestHead", "RequestLine", "Response", "ResponseHeaders", "SameSite", "SizedStream",
    "SpooledBody", "UploadedFile", "check_fields", "choose_type", "conclude", "describe_handler", "encode_fields",
    "encode_part", "evaluate_conditions", "format_date", "has_body", "make_request", "make_response",
    "not_modified", "note_date", "noted_date", "parse_date", "rank_codings", "redirect", "render_error",
    "render_traceback", "respond", "respond_in_part", "select_ranges", "selecting_fields", "status_line",
    "underlying_function", "unread_head", "use_json",
]  # fmt: skip
