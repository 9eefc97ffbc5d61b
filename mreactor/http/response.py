"""Responses as handlers make them."""

import operator
import re
from collections.abc import AsyncIterable, Awaitable, Iterable, Iterator, Mapping
from contextvars import Context
from dataclasses import is_dataclass
from datetime import datetime
from typing import Any, ClassVar, Final, Protocol
from urllib.parse import quote

from ..protocol import FileBody
from ..runtime import hot
from .cookies import SameSite, render_cookie
from .grammar import TOKEN
from .handler import Handler, describe_code, describe_handler, yields_text
from .json_content import encode_json
from .pause import Pause
from .response_headers import Fields, ResponseHeaders
from .status import has_body

TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
JSON = "application/json"
BINARY = "application/octet-stream"
_USUAL = frozenset({"", TEXT, HTML, JSON, BINARY})

# Fields that follow from the message itself. A handler that set them would make the message ambiguous.
FRAMING_FIELDS = frozenset({"connection", "content-length", "date", "server", "transfer-encoding", "keep-alive"})

# A field's name is a token; its value holds ISO-8859-1 without control characters (RFC 9110 section 5.5).
_NAME = re.compile(TOKEN.decode("ascii"), re.ASCII)
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*+")

# What a header field may hold of a Location: the characters of a URI (RFC 3986), and `%`.
_URI_CHARACTERS: Final = "!#$%&'()*+,/:;=?@[]~"
_REDIRECTIONS: Final = (301, 302, 303, 307, 308)


class Dataclass(Protocol):
    """An instance of a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


type Body = bytes | Iterator[bytes | str] | FileBody

# See `Response.parts`.
type Parts = tuple[Body, str, int, Fields, bytes | None]

type Content = (
    bytes | bytearray | memoryview | str | Mapping[str, Any] | list[Any] | Dataclass
    | Iterator[bytes] | Iterator[str] | Iterator[bytes | str] | Iterator[bytes | Pause] | Iterator[str | Pause]
    | Iterator[bytes | str | Pause] | FileBody | None
)  # fmt: skip


# Names that a handler may set, as they are usually written. They need no further check.
_KNOWN_NAMES = frozenset(
    {"Access-Control-Allow-Credentials", "Access-Control-Allow-Headers", "Access-Control-Allow-Methods"}
    | {"Access-Control-Allow-Origin", "Allow", "Cache-Control", "Content-Disposition", "Content-Encoding"}
    | {"Content-Language", "Content-Security-Policy", "ETag", "Expires", "Last-Modified", "Link", "Location"}
    | {"Referrer-Policy", "Retry-After", "Set-Cookie", "Strict-Transport-Security", "Vary", "WWW-Authenticate"}
    | {"X-Content-Type-Options", "X-Frame-Options", "X-Request-Id"}
)


@hot("__init__")
class Response:
    """A response: a status, header fields and content.

    Args:
        content: `bytes`; `str`, sent as UTF-8; a `dict` or another mapping, a `list` or a dataclass, sent as JSON; an
            iterator of `bytes` or `str`, such as a generator, streamed in chunks as it yields; None for no content.
        status: the status code, 200 to 599.
        headers: further header fields. Framing fields (Content-Length, Connection, ...) are the server's to set.
        content_type: the media type; by default it follows from the content's type.
        content_length: of a stream, the bytes that its parts have together. It is then not sent in chunks.

    `status`, `headers`, `content_type` and `body` may be set later and are checked then as well; `body` takes whatever
    `content` does, and the media type stays as it is.

    Attributes:
        parts: body, media type, status, header fields; then the body again if the response is body-only (status 200,
            no header fields, bytes), else None. One tuple is cheaper than attributes. See docs/decisions/016.

    Raises:
        ValueError: a field name or value that cannot be sent, a status out of range, or JSON that is none (NaN).
        TypeError: content of another type, a status that is no integer, or a field that is no `str`.
    """

    __slots__ = ("parts",)

    # See `RawResponse`.
    length: int | None = None
    context: Context | None = None

    def __init__(
        self,
        content: Content = None,
        status: int = 200,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        *,
        content_type: str = "",
        content_length: int | None = None,
    ) -> None:
        # This short test accepts nearly every media type.
        if content_type not in _USUAL and not (content_type.isascii() and content_type.isprintable()):
            _check_content_type(content_type, ())
        self.parts: Parts
        if type(content) is bytes and status == 200 and not headers and content_length is None:
            self.parts = (content, content_type or BINARY, 200, (), content)
            return
        if content_length is not None:
            content = SizedStream(content, content_length)
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
    def headers(self) -> ResponseHeaders:
        """The header fields, except those that the server sets: pairs, which can be read and changed by name."""
        return ResponseHeaders(self)

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

    def set_cookie(
        self,
        name: str,
        value: str,
        *,
        max_age: int | None = None,
        expires: datetime | None = None,
        path: str = "/",
        domain: str = "",
        secure: bool = False,
        http_only: bool = True,
        same_site: SameSite = "Lax",
        partitioned: bool = False,
    ) -> None:
        """Set a cookie (RFC 6265bis). Scripts cannot read it and other sites' forms do not send it, by default.

        Args:
            max_age: seconds for which the browser keeps it; without it and `expires`, until the browser is closed.
            secure: send it over HTTPS only. Set this wherever the site has HTTPS.
            domain: also send it to this domain's subdomains; by default to the host that set it, only.

        Raises:
            ValueError: something that browsers would misread, or a combination that they refuse.
        """
        cookie = render_cookie(
            name, value, max_age=max_age, expires=expires, path=path, domain=domain, secure=secure,
            http_only=http_only, same_site=same_site, partitioned=partitioned,
        )  # fmt: skip
        self.headers.add("Set-Cookie", cookie)

    def delete_cookie(self, name: str, *, path: str = "/", domain: str = "") -> None:
        """Let the browser delete a cookie. Path and domain must be those with which it was set."""
        self.set_cookie(
            name, "", max_age=0, path=path, domain=domain, secure=name.lower().startswith(("__host-", "__secure-"))
        )

    def copy(self) -> "Response":
        """Return a response whose header fields can be changed without changing this one. They share the content."""
        copied = Response.__new__(Response)
        copied.parts = self.parts
        return copied

    def _set(self, body: Body, content_type: str, status: int, fields: Fields) -> None:
        body_only = body if type(body) is bytes and status == 200 and not fields else None
        self.parts = (body, content_type, status, fields, body_only)


class SizedStream(Iterator[Any]):
    """A stream whose length is known before its parts.

    Raises:
        TypeError: the parts are not an iterator.
        ValueError: the length is negative.
    """

    __slots__ = ("_left", "_parts", "length")

    def __init__(self, parts: Any, length: int) -> None:
        if not isinstance(parts, Iterator):
            raise TypeError(f"content_length is for streams; the length of {_name_type(parts)} is known")
        self.length = self._left = operator.index(length)
        if length < 0:
            raise ValueError(f"a content_length cannot be {length}")
        self._parts: Iterator[Any] = parts

    def __next__(self) -> Any:
        """Return the next part.

        Raises:
            ValueError: the parts are longer or shorter than announced. No byte too many is returned.
        """
        try:
            part = next(self._parts)
        except StopIteration:
            if self._left:
                raise ValueError(f"a stream of {self.length} bytes has ended {self._left} bytes early") from None
            raise
        if isinstance(part, Pause):
            return part
        content = encode_part(part, self._parts)
        self._left -= len(content)
        if self._left < 0:
            raise ValueError(f"a stream of {self.length} bytes has {-self._left} bytes more")
        return content

    def close(self) -> None:
        """Close a generator, so that its `finally` runs."""
        close = getattr(self._parts, "close", None)
        if close is not None:
            close()


def redirect(location: str, status: int = 303) -> Response:
    """Make a redirection. Characters that a URI cannot hold are percent-encoded.

    Args:
        location: a path such as `/login`, or a URL. Do not take it from a request without a check.
        status: 303, GET the other resource; 307 and 308 keep the method; 301 and 308 are permanent.

    Raises:
        ValueError: another status, or a location with control characters.
    """
    if status not in _REDIRECTIONS:
        raise ValueError(f"{status} is not one of {', '.join(map(str, _REDIRECTIONS))}")
    if not location or not location.isprintable():
        raise ValueError(f"a redirection cannot lead to {location!r}")
    return Response(None, status, (("Location", quote(location, _URI_CHARACTERS)),))


def make_response(body: Body, content_type: str, status: int, fields: Fields) -> Response:
    """Make a response of parts that have been checked before, at a third of the cost of `Response(...)`."""
    response = Response.__new__(Response)
    body_only = body if type(body) is bytes and status == 200 and not fields else None
    response.parts = (body, content_type, status, fields, body_only)
    return response


def check_fields(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> Fields:
    """Return header fields that are safe to send (RFC 9110 section 5.5): none can end a line or begin another.

    Raises:
        ValueError: a name that is no token, a value with control characters or beyond ISO-8859-1, or a framing field.
        TypeError: a name or value that is no `str`.
    """
    fields = tuple(headers.items() if type(headers) is dict or isinstance(headers, Mapping) else headers)
    for name, value in fields:
        # The short way of nearly all fields.
        if type(name) is type(value) is str and name in _KNOWN_NAMES and value.isascii() and value.isprintable():
            continue
        if not isinstance(name, str):
            raise TypeError(f"the name of a header field must be a str, not {_name_type(name)}: {name!r}")
        if not isinstance(value, str):
            raise TypeError(f"the value of {name} must be a str, not {_name_type(value)}: {value!r}")
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
    return any(name not in _KNOWN_NAMES and name.lower() == "content-type" for name, _ in fields)


def respond(result: Any, handler: Handler | None = None) -> Response:
    """Return the response that a handler's return value stands for: itself, or its content with status 200.

    If the value cannot be sent, a note on the error names the handler, whose frame is gone.
    """
    try:
        if isinstance(result, Response):
            return result
        response = Response(result)
        # A look at the media type first: most content is no stream, and whether it is one is costly to tell.
        if (
            response.parts[1] is BINARY
            and handler is not None
            and isinstance(result, Iterator)
            and yields_text(handler)
        ):
            response.content_type = TEXT
        return response
    except BaseException as error:
        if handler is not None:
            error.add_note(f"It was returned by the handler {describe_handler(handler)}.")
        raise


def encode_part(part: Any, parts: Iterator[Any]) -> bytes:
    """Encode one part of a stream.

    Raises:
        TypeError: it is neither str nor bytes. The text leads to the code of the generator, whose frame is gone.
    """
    if isinstance(part, str):
        return part.encode()
    try:
        return bytes(memoryview(part))
    except TypeError:
        code = getattr(parts, "gi_code", None)
    source = repr(parts) if code is None else describe_code(code)
    raise TypeError(f"a part of a stream must be a str or bytes, not {_name_type(part)}; it comes from {source}")


def _encode_content(content: Content) -> tuple[Body, str]:
    """Return the body, and the media type implied by its Python type."""
    value: Any = content
    match value:
        case str():
            return value.encode(), TEXT
        case bytes() | bytearray() | memoryview():
            return bytes(value), BINARY
        case None:
            return b"", ""
        case Mapping() | list():
            return encode_json(value), JSON
        case FileBody():
            return value, BINARY
        case Iterator():
            return value, BINARY
    if is_dataclass(value) and not isinstance(value, type):
        return encode_json(value), JSON
    raise TypeError(f"a handler cannot return {_name_type(value)}; {_advise(value)}")


def _advise(content: Any) -> str:
    """Return what to write instead of content that cannot be sent."""
    match content:
        case tuple():
            return "for a status or header fields write Response(content, status, headers), for JSON a list"
        case Awaitable() | AsyncIterable():
            # A coroutine that is never awaited would warn when it is freed, far from here.
            close = getattr(content, "close", None)
            if close is not None:
                close()
            return "write a plain function, with blocking=True if it waits"
        case type():
            return "return an instance"
        case Iterable():
            return "write list(...) to send it as JSON, or iter(...) to stream its parts"
    return "it returns str, bytes, a dict, list or dataclass, an iterator of str or bytes, None or a Response"


def _name_type(value: Any) -> str:
    name = type(value).__name__
    return f"an {name}" if name[0] in "aeiouAEIOU" else f"a {name}"


def encode_fields(response: Response) -> bytes:
    """Encode the fields of a response that depend on neither connection nor time, each with its CRLF."""
    # Joined, not formatted: a subclass of str could format as something that was not checked.
    _, content_type, status, fields, _ = response.parts
    lines = [name + ": " + value + "\r\n" for name, value in fields]
    if content_type and has_body(status):
        lines.append("Content-Type: " + content_type + "\r\n")
    return "".join(lines).encode("latin-1")
