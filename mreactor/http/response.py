"""Responses: what handlers return, and how it becomes bytes (RFC 9112 sections 4 to 7)."""

import json
import operator
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..protocol import FileBody
from ..runtime import hot
from .grammar import TOKEN
from .status import has_body

TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
JSON = "application/json"
BINARY = "application/octet-stream"
_USUAL = frozenset({"", TEXT, HTML, JSON, BINARY})  # 0.04 µs cheaper to find than to check

# Fields that follow from the message itself; a handler that sets them would make the message ambiguous.
FRAMING_FIELDS = frozenset(
    {"connection", "content-length", "date", "server", "transfer-encoding", "keep-alive"}
)


# As in `grammar`, for text: a token, and what a value may hold in ISO-8859-1.
_NAME = re.compile(TOKEN.decode("ascii"), re.ASCII)
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*+")

type Fields = tuple[tuple[str, str], ...]

type Body = bytes | Iterator[bytes | str] | FileBody

type Content = (
    bytes | bytearray | str | Mapping[str, Any] | list[Any] | Iterable[bytes | str] | FileBody | None
)


@hot("__init__")
class Response:
    """An answer: a status, header fields and content.

    Args:
        content: `bytes`; `str`, sent as UTF-8; a `dict` or `list`, sent as JSON; any other iterable of `bytes` or
            `str`, streamed in chunks as it yields; None for no content.
        status: the status code, 200 to 599.
        headers: further header fields. Framing fields (Content-Length, Connection, ...) are the server's to set.
        content_type: the media type; by default it follows from the content's type.

    `status`, `headers`, `content_type` and `body` may be set later and are checked then as well; `body` takes whatever
    `content` does, and the media type stays as it is.

    Attributes:
        plain: the body and its type, where nothing else distinguishes the response and the body is bytes; else None.
            Nearly all are plain, and one pair is made in less time than the four parts of the others.

    Raises:
        ValueError: a field name or value that cannot be sent, a status out of range, or JSON that is none (NaN).
        TypeError: content of another type, or a status that is no integer.
    """

    __slots__ = ("_body", "_content_type", "_headers", "_status", "plain")

    def __init__(
        self,
        content: Content = None,
        status: int = 200,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        *,
        content_type: str = "",
    ) -> None:
        # True of nearly every type, and cheaper than the whole test by 0.4 µs.
        if content_type not in _USUAL and not (content_type.isascii() and content_type.isprintable()):
            _check_content_type(content_type, ())
        self.plain: tuple[bytes, str] | None
        if type(content) is bytes and status == 200 and not headers:
            self.plain = (content, content_type or BINARY)
            return
        body, implied = _encode_content(content)
        if type(body) is bytes and status == 200 and not headers:
            self.plain = (body, content_type or implied)
            return
        self.plain = None
        self._body, self._status, self._content_type = body, 200, content_type or implied
        self._headers: Fields = ()
        if status != 200:
            self.status = status
        if headers:
            self.headers = headers
            _check_content_type(content_type, self._headers)

    @property
    def body(self) -> Body:
        """The content as it is sent."""
        return plain[0] if (plain := self.plain) else self._body

    @body.setter
    def body(self, content: Content) -> None:
        body, _ = _encode_content(content)
        self._unfold()
        self._body = body

    @property
    def status(self) -> int:
        """The status code."""
        return 200 if self.plain else self._status

    @status.setter
    def status(self, status: int) -> None:
        code = operator.index(status)  # a member of an Enum prints as its name
        if not 200 <= code <= 599:
            raise ValueError(f"{code} is not the status of an answer")
        self._unfold()
        self._status = code

    @property
    def headers(self) -> Fields:
        """The header fields, but for those that are the server's to set."""
        return () if self.plain else self._headers

    @headers.setter
    def headers(self, headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> None:
        fields = check_fields(headers)
        self._unfold()
        self._headers = fields
        if _has_content_type(fields):
            self._content_type = ""

    @property
    def content_type(self) -> str:
        """The media type; empty where there is none, or where it stands among the header fields."""
        return plain[1] if (plain := self.plain) else self._content_type

    @content_type.setter
    def content_type(self, content_type: str) -> None:
        _check_content_type(content_type, self.headers)
        self._unfold()
        self._content_type = content_type

    def _unfold(self) -> None:
        """Take a plain response apart: one of its parts is to change."""
        if plain := self.plain:
            self._body, self._content_type = plain
            self._status, self._headers, self.plain = 200, (), None


def check_fields(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> Fields:
    """Header fields fit to be sent (RFC 9110 section 5.5): nothing in them can end a line or begin another.

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


def _check_content_type(content_type: str, fields: Fields) -> None:
    if not _VALUE.fullmatch(content_type):
        raise ValueError(f"the content type cannot be sent: {content_type!r}")
    if content_type and _has_content_type(fields):
        raise ValueError("the content type is given twice")


def _has_content_type(fields: Fields) -> bool:
    return any(name.lower() == "content-type" for name, _ in fields)


def respond(result: Any) -> Response:
    """The response that a handler's return value stands for: itself, or its content with status 200."""
    return (
        result if type(result) is Response else result if isinstance(result, Response) else Response(result)
    )


def encode_fields(response: Response) -> bytes:
    """The fields of a response that do not depend on connection or time, each with its CRLF."""
    # Joined, not formatted: what has been checked goes out, not what a subclass of str makes of itself.
    lines = [name + ": " + value + "\r\n" for name, value in response.headers]
    if response.content_type and has_body(response.status):
        lines.append("Content-Type: " + response.content_type + "\r\n")
    return "".join(lines).encode("latin-1")


def encode_length(status: int, body: Body, *, chunks: bool) -> bytes:
    """The framing field of a response, with its CRLF (RFC 9112 section 6).

    Args:
        status: the status code.
        body: bytes, a file or an iterator.
        chunks: the peer understands chunked coding; otherwise a stream ends with the connection.
    """
    if not has_body(status):
        return b"Content-Length: 0\r\n" if status == 205 else b""
    if isinstance(body, bytes | FileBody):
        return b"Content-Length: %d\r\n" % len(body)
    return b"Transfer-Encoding: chunked\r\n" if chunks else b""


def encode_chunk(part: bytes) -> bytes:
    """One chunk (RFC 9112 section 7.1); empty for an empty part, since an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(part), part) if part else b""


LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def _encode_content(content: Content) -> tuple[Body, str]:
    """The body and the media type implied by its Python type."""
    match content:
        case str():
            return content.encode(), TEXT
        case bytes() | bytearray() | memoryview():
            return bytes(content), BINARY
        case None:
            return b"", ""
        case Mapping() | list():
            return json.dumps(
                content, separators=(",", ":"), ensure_ascii=False, allow_nan=False
            ).encode(), JSON
        case FileBody():
            return content, BINARY
        case Iterable():
            return iter(content), BINARY
    raise TypeError(f"a handler cannot answer with {type(content).__name__}")
