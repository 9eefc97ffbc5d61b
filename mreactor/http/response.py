"""Responses as handlers make them."""

import operator
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..protocol import FileBody
from ..runtime import hot
from .grammar import TOKEN
from .json_content import encode_json

TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
JSON = "application/json"
BINARY = "application/octet-stream"
_USUAL = frozenset({"", TEXT, HTML, JSON, BINARY})

# Fields that follow from the message itself. A handler that set them would make the message ambiguous.
FRAMING_FIELDS = frozenset(
    {"connection", "content-length", "date", "server", "transfer-encoding", "keep-alive"}
)

# A field's name is a token; its value holds ISO-8859-1 without control characters (RFC 9110 section 5.5).
_NAME = re.compile(TOKEN.decode("ascii"), re.ASCII)
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*+")

type Fields = tuple[tuple[str, str], ...]

type Body = bytes | Iterator[bytes | str] | FileBody

# See `Response.parts`.
type Parts = tuple[Body, str, int, Fields, bytes | None]

type Content = (
    bytes | bytearray | str | Mapping[str, Any] | list[Any] | Iterable[bytes | str] | FileBody | None
)


@hot("__init__")
class Response:
    """A response: a status, header fields and content.

    Args:
        content: `bytes`; `str`, sent as UTF-8; a `dict` or `list`, sent as JSON; any other iterable of `bytes` or
            `str`, streamed in chunks as it yields; None for no content.
        status: the status code, 200 to 599.
        headers: further header fields. Framing fields (Content-Length, Connection, ...) are the server's to set.
        content_type: the media type; by default it follows from the content's type.

    `status`, `headers`, `content_type` and `body` may be set later and are checked then as well; `body` takes whatever
    `content` does, and the media type stays as it is.

    Attributes:
        parts: body, media type, status, header fields; then the body again if the response is body-only (status 200,
            no header fields, bytes), else None. One tuple is cheaper than attributes. See docs/decisions/016.

    Raises:
        ValueError: a field name or value that cannot be sent, a status out of range, or JSON that is none (NaN).
        TypeError: content of another type, or a status that is no integer.
    """

    __slots__ = ("parts",)

    def __init__(
        self,
        content: Content = None,
        status: int = 200,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        *,
        content_type: str = "",
    ) -> None:
        # This short test accepts nearly every media type.
        if content_type not in _USUAL and not (content_type.isascii() and content_type.isprintable()):
            _check_content_type(content_type, ())
        self.parts: Parts
        if type(content) is bytes and status == 200 and not headers:
            self.parts = (content, content_type or BINARY, 200, (), content)
            return
        body, implied = _encode_content(content)
        if status == 200 and not headers:
            self.parts = (body, content_type or implied, 200, (), body if type(body) is bytes else None)
            return
        code = _check_status(status) if status != 200 else 200
        media_type = content_type or implied
        fields: Fields = ()
        if headers:
            fields = check_fields(headers)
            _check_content_type(content_type, fields)
            if _has_content_type(fields):
                media_type = ""
        self.parts = (body, media_type, code, fields, None)

    @property
    def body(self) -> Body:
        """The content as it is sent."""
        return self.parts[0]

    @body.setter
    def body(self, content: Content) -> None:
        body, _ = _encode_content(content)
        _, content_type, status, fields, _ = self.parts
        self._set(body, content_type, status, fields)

    @property
    def status(self) -> int:
        """The status code."""
        return self.parts[2]

    @status.setter
    def status(self, status: int) -> None:
        body, content_type, _, fields, _ = self.parts
        self._set(body, content_type, _check_status(status), fields)

    @property
    def headers(self) -> Fields:
        """The header fields, except those that the server sets."""
        return self.parts[3]

    @headers.setter
    def headers(self, headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> None:
        fields = check_fields(headers)
        body, content_type, status, _, _ = self.parts
        self._set(body, "" if _has_content_type(fields) else content_type, status, fields)

    @property
    def content_type(self) -> str:
        """The media type; empty if there is none, or if it stands among the header fields."""
        return self.parts[1]

    @content_type.setter
    def content_type(self, content_type: str) -> None:
        body, _, status, fields, _ = self.parts
        _check_content_type(content_type, fields)
        self._set(body, content_type, status, fields)

    def _set(self, body: Body, content_type: str, status: int, fields: Fields) -> None:
        body_only = body if type(body) is bytes and status == 200 and not fields else None
        self.parts = (body, content_type, status, fields, body_only)


def check_fields(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> Fields:
    """Return header fields that are safe to send (RFC 9110 section 5.5): none can end a line or begin another.

    Raises:
        ValueError: a name that is no token, a value with control characters or beyond ISO-8859-1, or a framing field.
    """
    fields = tuple(headers.items() if isinstance(headers, Mapping) else headers)
    for name, value in fields:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a header field")
        if name.lower() in FRAMING_FIELDS:
            raise ValueError(f"{name} is set by the server")
        if not _VALUE.fullmatch(value):
            raise ValueError(f"the value of {name} cannot be sent: {value!r}")
    return fields


def _check_status(status: int) -> int:
    # A member of an Enum would print as its name.
    code = operator.index(status)
    if not 200 <= code <= 599:
        raise ValueError(f"{code} is not the status of a response")
    return code


def _check_content_type(content_type: str, fields: Fields) -> None:
    if not _VALUE.fullmatch(content_type):
        raise ValueError(f"the content type cannot be sent: {content_type!r}")
    if content_type and _has_content_type(fields):
        raise ValueError("the content type is given twice")


def _has_content_type(fields: Fields) -> bool:
    return any(name.lower() == "content-type" for name, _ in fields)


def respond(result: Any) -> Response:
    """Return the response that a handler's return value stands for: itself, or its content with status 200."""
    return result if isinstance(result, Response) else Response(result)


def _encode_content(content: Content) -> tuple[Body, str]:
    """Return the body, and the media type implied by its Python type."""
    match content:
        case str():
            return content.encode(), TEXT
        case bytes() | bytearray() | memoryview():
            return bytes(content), BINARY
        case None:
            return b"", ""
        case Mapping() | list():
            return encode_json(content), JSON
        case FileBody():
            return content, BINARY
        case Iterable():
            return iter(content), BINARY
    raise TypeError(f"a handler cannot return {type(content).__name__}")
