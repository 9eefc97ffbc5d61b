"""A request as handlers see it."""

import binascii
import io
import re
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import IO, Any, overload

from ..protocol import SecurePeer
from ..runtime import hot
from .conditional import evaluate_conditions
from .cookies import parse_cookies
from .dates import format_date
from .headers import Headers
from .json_content import decode_json
from .lazy import Lazy
from .request_head import RequestHead
from .response import Response
from .spooled_body import SpooledBody
from .status import HTTPError, MissingField
from .uploads import Files, Form, read_form

# Of a query or a form: each field costs far more memory than its bytes.
FORM_FIELDS_MAX = 1000

# Of a field: each costs far more time than its byte.
STRAY_PERCENTS_MAX = 1000

CHANGED = "The resource is not the version that the request asks for."

_STRAY_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class Parameters(Mapping[str, str]):
    """Decoded query or form fields. A repeated name has its first value; `get_all` returns all values.

    Args:
        fields: names and values, in order.
        noun: what one of them is called where it is missing.
    """

    def __init__(self, fields: list[tuple[str, str]], noun: str = "field") -> None:
        self._noun = noun
        self._fields = fields
        self._first: dict[str, str] = {}
        for name, value in fields:
            self._first.setdefault(name, value)

    def __getitem__(self, name: str) -> str:
        """Return the first value of a name.

        Raises:
            MissingField: there is none. It is a KeyError, and the client gets a 400 if the handler does not catch it.
        """
        value = self._first.get(name)
        if value is None:
            raise MissingField(name, self._noun)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._first)

    def __len__(self) -> int:
        return len(self._first)

    def get_all(self, name: str) -> list[str]:
        """Return all values of a name, in order."""
        return [value for field, value in self._fields if field == name]

    @overload
    def get_as[T](self, name: str, convert: Callable[[str], T]) -> T: ...
    @overload
    def get_as[T, D](self, name: str, convert: Callable[[str], T], default: D) -> T | D: ...

    def get_as(self, name: str, convert: Callable[[str], Any], default: Any = ...) -> Any:
        """Return the first value of a name as another type, such as `int`.

        Args:
            convert: makes the value. It raises ValueError or ArithmeticError for a text that is none.
            default: returned if the name is missing.

        Raises:
            MissingField: there is none, and no default.
            HTTPError: 400, the text cannot be converted.
        """
        text = self._first.get(name)
        if text is None and default is not ...:
            return default
        try:
            return convert(self[name])
        except (ValueError, ArithmeticError):
            raise HTTPError(400, f"The {self._noun} {name!r} cannot be {text!r:.80}.") from None

    def __repr__(self) -> str:
        return f"Parameters({self._fields!r})"


@hot("__init__")
class Request:
    """One request with its whole body.

    It belongs to the handler. Query and form are decoded on first use.

    Attributes:
        head: the parsed head, see `RequestHead`.
        body: the body in full, without transfer coding; empty bytes if there is none.
        peer: the client's address; host and port come first. Behind a proxy it is the proxy's, unless
            `--trusted-proxies` names that.
        id: the request's id, with `--request-id-header` or `--access-log-fields request-id`; otherwise empty.
        may_wait: the handler runs in the thread pool. Elsewhere it raises `MustWait` to be called again there.
    """

    id: str = ""
    may_wait: bool = False

    # Applications may set attributes of their own: `__dict__` does not exist before that.
    __slots__ = (
        "__dict__", "_kept_cookies", "_kept_files", "_kept_form", "_kept_multipart", "_kept_query", "_kept_state",
        "_kept_stream", "body", "head", "peer",
    )  # fmt: skip

    def __init__(self, head: RequestHead, body: bytes, peer: tuple[Any, ...]) -> None:
        self.head = head
        self.body = body
        self.peer = peer

    @Lazy
    def stream(self) -> IO[bytes]:
        """The body as a binary file, at its beginning. A large body is read from disk, piece by piece."""
        return io.BytesIO(self.body)

    @property
    def method(self) -> str:
        """The method, in capitals."""
        return self.head.line.method

    @property
    def target(self) -> str:
        """The request target as received."""
        return self.head.line.target

    @property
    def path(self) -> str:
        """The decoded path."""
        return self.head.line.path

    @property
    def headers(self) -> Headers:
        """The header fields, by name in any case."""
        return self.head.headers

    @property
    def host(self) -> str:
        """The authority, such as `example.org:8080`."""
        return self.head.host

    @property
    def scheme(self) -> str:
        """`https` if the connection is encrypted, otherwise `http`. What a trusted proxy says counts instead."""
        return "https" if isinstance(self.peer, SecurePeer) else "http"

    @property
    def client_certificate(self) -> dict[str, Any] | None:
        """The client's verified certificate, as `ssl.SSLSocket.getpeercert` gives it; None if there is none."""
        return self.peer.certificate if isinstance(self.peer, SecurePeer) else None

    @Lazy
    def query(self) -> Parameters:
        """The decoded query parameters.

        Raises:
            HTTPError: 400, more than 1000 fields or not UTF-8.
        """
        return _parameters(self.head.query_string.encode("latin-1"))

    @Lazy
    def form(self) -> Parameters:
        """The fields of a form: `application/x-www-form-urlencoded`, or `multipart/form-data` without its files.

        Raises:
            HTTPError: 415, the body is of another type; 400, more than 1000 fields or not UTF-8; see also `files`.
        """
        if self.content_type == "multipart/form-data":
            return Parameters(self._multipart.fields)
        if self.content_type != "application/x-www-form-urlencoded":
            raise HTTPError(415, "This resource takes application/x-www-form-urlencoded or multipart/form-data.")
        return _parameters(self.body)

    @property
    def content_type(self) -> str:
        """The body's media type in lower case, without parameters; empty if there is none."""
        declared: str = self.headers.get("content-type", "")
        return declared.partition(";")[0].strip().lower()

    def check(self, *, etag: str = "", modified: float | None = None) -> Response | None:
        """Check the request's conditions against the present version of what it names (RFC 9110 section 13).

        Call it before you read or change the resource, and return the response that it returns:

            if unchanged := request.check(etag=etag):
                return unchanged

        Args:
            etag: the version's entity tag with its quotes, such as `"v7"` or the weak `W/"v7"`.
            modified: when the version was made, in Unix time. Responses to GET should carry both as fields.

        Returns:
            a 304 if the client has this version (GET and HEAD); None if the handler has to respond.

        Raises:
            HTTPError: 412, the request is for another version, or the client must not overwrite this one.
            ValueError: the tag has no quotes.
        """
        if etag and not (etag.startswith(('"', 'W/"')) and etag.endswith('"') and len(etag) > 1):
            raise ValueError(f"an entity tag has quotes around it, unlike {etag!r}")
        seconds = None if modified is None else int(modified)
        is_read = self.method in ("GET", "HEAD")
        status = evaluate_conditions(self.headers, etag, seconds, is_read=is_read)
        if status == 412:
            raise HTTPError(412, CHANGED)
        if status == 200:
            return None
        fields = [("ETag", etag)] if etag else []
        if seconds is not None:
            fields.append(("Last-Modified", format_date(seconds)))
        return Response(None, 304, fields)

    def json(self) -> Any:
        """Decode the body from JSON (RFC 8259): UTF-8, without what a response could not carry again.

        A body is refused if it is nested more than 256 levels deep or has more than a million commas, opening brackets
        and quotes. A handler that takes such bodies decodes `body` itself.

        Raises:
            HTTPError: 400, the body is not JSON, or holds NaN, an infinity or a lone surrogate, or is refused.
        """
        try:
            return decode_json(self.body)
        except (ValueError, RecursionError) as error:
            raise HTTPError(400, f"The body is not JSON: {error}.") from None

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target}>"

    # What few handlers use.

    @property
    def url(self) -> str:
        """The URL of the request as the client wrote it, such as `http://example.org/a?b=c`. The client chooses it."""
        if self.target.startswith("/"):
            return f"{self.scheme}://{self.host}{self.target}"
        return self.target

    @Lazy
    def state(self) -> Any:
        """A place for the attributes that the application gives this request, such as `request.state.user`."""
        return SimpleNamespace()

    @Lazy
    def cookies(self) -> Parameters:
        """The cookies by name. Of a repeated name the first counts, which is that of the longest path."""
        return Parameters(parse_cookies(self.headers.get("cookie", "")), "cookie")

    @Lazy
    def files(self) -> Files:
        """The files of a `multipart/form-data` body. Large ones lie on disk and vanish with the request.

        Raises:
            HTTPError: 415, the body is of another type; 400, it is malformed; 413, it has too many parts, or a part's
                head, a name or the text fields are too large.
        """
        return Files(self._multipart.files)

    @Lazy
    def _multipart(self) -> Form:
        return read_form(self.stream, self.headers.get("content-type", ""))


class SpooledRequest(Request):
    """A request with a body that lies in a temporary file. `body` reads it into memory, on first use."""

    __slots__ = ("_kept_body", "_spooled")

    def __init__(self, head: RequestHead, body: SpooledBody, peer: tuple[Any, ...]) -> None:
        self._spooled = body
        # Made in the thread that will free it. Another one, if it sleeps, would keep the file until it wakes.
        self._kept_stream = body.open()
        self.head = head
        self.peer = peer

    @Lazy
    def body(self) -> bytes:
        """The body in full."""
        return self._spooled.read()


def make_request(head: RequestHead, body: bytes | SpooledBody, peer: tuple[Any, ...]) -> Request:
    """Make a request, wherever its body lies."""
    return Request(head, body, peer) if isinstance(body, bytes) else SpooledRequest(head, body, peer)


def _parameters(encoded: bytes) -> Parameters:
    try:
        fields = _decode_fields(encoded)
    except ValueError as error:
        raise HTTPError(400, f"The form fields cannot be read: {error}.") from None
    return Parameters(fields)


def _decode_fields(encoded: bytes) -> list[tuple[str, str]]:
    """Decode a query or form (the URL standard, urlencoded parsing), but refuse what is not UTF-8."""
    count = encoded.count(b"&") + 1
    if count > FORM_FIELDS_MAX:
        raise ValueError(f"more than {FORM_FIELDS_MAX} fields")
    fields = []
    for field in encoded.split(b"&"):
        if field:
            name, _, value = field.partition(b"=")
            fields.append((_unquote(name), _unquote(value)))
    return fields


def _unquote(encoded: bytes) -> str:
    """Decode `+` and percent-encoding. A percent sign without two hex digits stands for itself.

    `unquote_plus` makes an object for each escape: 16 MiB of them would take half a gigabyte and seconds. The decoder
    of quoted-printable does the same work in one pass, with `=` for the sign.
    """
    text = encoded.replace(b"+", b" ")
    if b"%" in text:
        text, strays = _STRAY_PERCENT.subn(b"%25", text, STRAY_PERCENTS_MAX + 1)
        if strays > STRAY_PERCENTS_MAX:
            raise ValueError(f"more than {STRAY_PERCENTS_MAX} percent signs that encode nothing")
        text = binascii.a2b_qp(text.replace(b"=", b"=3D").replace(b"%", b"="))
    return text.decode()
