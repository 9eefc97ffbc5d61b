"""Request heads: from bytes to `RequestHead` (RFC 9112 sections 2, 3 and 5).

`HeadReader` reads a head line by line and checks each line as soon as it can, so the outcome does not depend on how the
bytes were split. Clients repeat their header fields: `Parser` remembers the header blocks that it has accepted by their
exact bytes. It remembers only success, so a memo never changes a refusal. Reactor thread only.
"""

from ipaddress import AddressValueError, IPv6Address
from urllib.parse import unquote

from ..config import Limits
from ..http import METHODS, Headers, HTTPError, RequestHead
from ..runtime import hot
from .grammar import ABSOLUTE_FORM, CONTENT_LENGTH, FIELD_LINE, FORBIDDEN, HOST, IS_TOKEN, ORIGIN_FORM, REQUEST_LINE
from .memo import Memo

# One sentence for two faults: which of them is noticed first depends on how the bytes were split.
FORBIDDEN_BYTE = "The request head holds a control byte, or a line that does not end with CR LF."

END_OF_HEAD = b"\r\n\r\n"

type Fields = list[tuple[bytes, bytes]]


@hot("__init__")
class RequestLine:
    """The parts of a request line, checked and decoded; see `RequestHead` for their meaning."""

    __slots__ = ("authority", "method", "minor", "path", "query", "target")

    def __init__(self, line: bytes) -> None:
        match = REQUEST_LINE.fullmatch(line)
        if match is None:
            raise HTTPError(400, "The request line is not METHOD SP TARGET SP HTTP/1.1.")
        method, self.target, major, minor = match.groups()
        if method == b"PRI":
            raise HTTPError(400, "HTTP/2 is not supported.")
        if major != b"1":
            raise HTTPError(505, "Only HTTP/1.0 and HTTP/1.1 are supported.")
        self.minor = 0 if minor == b"0" else 1
        self.method = _method(method)
        self.authority, self.path, self.query = _target(self.target, self.method)


@hot("__init__")
class Framing:
    """What the header fields say about the whole message. Requests with the same header bytes share one instance."""

    __slots__ = ("chunked", "close", "content_length", "expects_continue", "headers", "host", "keep_alive")

    def __init__(self, fields: Fields, minor: int) -> None:
        decoded = ((name.decode("ascii"), value.decode("latin-1")) for name, value in fields)
        self.headers = Headers(tuple(decoded))
        self.host = _host([value for name, value in fields if name == b"host"], minor)
        codings = [value for name, value in fields if name == b"transfer-encoding"]
        lengths = [value for name, value in fields if name == b"content-length"]
        self.chunked = _chunked(codings, lengths, minor)
        self.content_length = _content_length(lengths)
        options = _tokens([value for name, value in fields if name == b"connection"])
        self.close = b"close" in options
        self.keep_alive = b"keep-alive" in options
        self.expects_continue = _expectation([value for name, value in fields if name == b"expect"], minor)


@hot("__init__")
class HeadReader:
    """Reads one head that may come in pieces, and keeps its place between calls."""

    __slots__ = ("_fields", "_judged", "_limits", "_line", "_line_start", "_start")

    def __init__(self, limits: Limits, start: int = 0) -> None:
        self._limits = limits
        self._start = self._line_start = start
        # Bytes before this offset are checked. Otherwise each byte that comes would have all bytes checked again.
        self._judged = start
        self._line: RequestLine | None = None
        self._fields: Fields = []

    def read(self, data: bytes) -> tuple[RequestLine, Fields, int] | None:
        """Continue in `data`, which holds all bytes since the first call.

        Returns:
            the request line, the fields and the offset past the head; None while more bytes are needed.

        Raises:
            HTTPError: 400, 405, 414, 431, 501 or 505, for the first faulty line.
        """
        while (line := self._next_line(data)) is not None:
            if self._line is None:
                # One empty line before a request is ignored (RFC 9112 section 2.2). A second one is a fault.
                if line or self._line_start != self._start + 2:
                    self._line = RequestLine(line)
            elif line:
                self._add_field(line)
            else:
                return self._line, self._fields, self._line_start
        return None

    def rebase(self) -> None:
        """Note that the data now begins with this head: what was before it is dropped."""
        self._line_start -= self._start
        self._judged -= self._start
        self._start = 0

    def _next_line(self, data: bytes) -> bytes | None:
        start = self._line_start
        last = self._start + self._limits.head_bytes_max
        if self._line is None:
            last = min(last, start + self._limits.request_line_bytes_max + 2)
        end = data.find(b"\n", max(start, self._judged), last)
        if end < 0:
            self._judge_unfinished(data, max(start, self._judged), last)
            return None
        if data[end - 1 : end] != b"\r" or end == start:
            raise HTTPError(400, FORBIDDEN_BYTE)
        line = data[start : end - 1]
        _refuse_forbidden(line)
        self._line_start = self._judged = end + 1
        return line

    def _judge_unfinished(self, data: bytes, start: int, last: int) -> None:
        rest = data[start:last]
        # A CR at the very end may be half of a line's end, so it is checked again with what follows.
        judged = rest.removesuffix(b"\r")
        _refuse_forbidden(judged)
        self._judged = start + len(judged)
        if len(data) >= last:
            if self._line is None:
                raise HTTPError(414, "The request line is too long.")
            raise HTTPError(431, "The request head is too long.")

    def _add_field(self, line: bytes) -> None:
        match = FIELD_LINE.fullmatch(line)
        if match is None:
            raise HTTPError(400, "A header line is not NAME: VALUE.")
        if len(self._fields) >= self._limits.fields_max:
            raise HTTPError(431, "The request has too many header fields.")
        name, value = match.groups()
        self._fields.append((name.lower(), value.rstrip(b"\t ")))


@hot("parse", "finish")
class Parser:
    """Parses one reactor's heads. It remembers header blocks by their exact bytes; see docs/decisions/017."""

    __slots__ = ("_blocks", "_limits")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._blocks: Memo[tuple[int, bytes], Framing] = Memo()

    def parse(self, raw: bytes) -> RequestHead:
        """Parse a complete head: `raw` ends with its first empty line. Raises as `HeadReader.read` and `finish`."""
        head = self._parse_known_block(raw)
        if head is not None:
            return head
        read = HeadReader(self._limits).read(raw)
        assert read is not None, "raw holds a whole head"
        line, fields, end = read
        framing = Framing(fields, line.minor)
        head = _head(line, framing)
        # Behind a leading empty line the first line is not the request line, so what follows is not the fields alone.
        if not raw.startswith(b"\r\n"):
            block = raw[raw.find(b"\n") + 1 : end]
            self._blocks.store((line.minor, block), framing, len(block))
        return head

    def reader(self, start: int) -> HeadReader:
        """Make the reader of a head that comes in pieces, the first of them at `start`."""
        return HeadReader(self._limits, start)

    def finish(self, line: RequestLine, fields: Fields) -> RequestHead:
        """Make a head from what a reader has read.

        Raises:
            HTTPError: 400, 417 or 501, for fields that contradict each other or the protocol.
        """
        return _head(line, Framing(fields, line.minor))

    def _parse_known_block(self, raw: bytes) -> RequestHead | None:
        """Parse a new request line above known fields. This must refuse what `HeadReader` refuses."""
        end = raw.find(b"\r\n")
        if not 0 < end <= self._limits.request_line_bytes_max or len(raw) > self._limits.head_bytes_max:
            return None
        minor = 0 if raw[end - 1 : end] == b"0" else 1
        framing = self._blocks.get((minor, raw[end + 2 :]))
        if framing is None or FORBIDDEN.search(raw, 0, end):
            return None
        return _head(RequestLine(raw[:end]), framing)


def _head(line: RequestLine, framing: Framing) -> RequestHead:
    head = RequestHead()
    head.method = line.method
    head.target = line.target.decode("ascii")
    head.raw_path = line.path.decode("ascii")
    head.path = _decode_path(head.raw_path)
    head.query_string = line.query.decode("ascii")
    head.version = (1, line.minor)
    head.headers = framing.headers
    head.host = line.authority.decode("ascii") or framing.host
    head.content_length = framing.content_length
    head.chunked = framing.chunked
    head.keep_alive = not framing.close if line.minor else framing.keep_alive and not framing.close
    head.expects_continue = framing.expects_continue
    head.has_body = head.chunked or head.content_length > 0
    head.default_framing = head.keep_alive and line.minor == 1 and line.method != "HEAD"
    return head


def _refuse_forbidden(line: bytes) -> None:
    if FORBIDDEN.search(line):
        raise HTTPError(400, FORBIDDEN_BYTE)


def _method(method: bytes) -> str:
    name = method.decode("ascii")
    for known in METHODS:
        if name == known:
            return known
    if name in ("CONNECT", "TRACE"):
        raise HTTPError(405, f"The method {name} is not supported.", (("Allow", ", ".join(METHODS)),))
    raise HTTPError(501, "This method is not supported.")


def _target(target: bytes, method: str) -> tuple[bytes, bytes, bytes]:
    """Split a request target into authority, path and query (RFC 9112 section 3.2)."""
    if match := ORIGIN_FORM.fullmatch(target):
        return b"", match[1], match[2] or b""
    if match := ABSOLUTE_FORM.fullmatch(target):
        _check_host(match[1])
        path = match[2] or (b"*" if method == "OPTIONS" and match[3] is None else b"/")
        return match[1], path, match[3] or b""
    if target == b"*" and method == "OPTIONS":
        return b"", b"*", b""
    raise HTTPError(400, "The request target is malformed.")


def _decode_path(raw: str) -> str:
    if "%" not in raw:
        return raw
    try:
        path = unquote(raw, errors="strict")
    except UnicodeDecodeError:
        raise HTTPError(400, "The path is not UTF-8.") from None
    if "\0" in path:
        raise HTTPError(400, "The path holds a NUL.")
    return path


def _host(values: list[bytes], minor: int) -> str:
    """Return the Host field: exactly one in HTTP/1.1, never two (RFC 9112 section 3.2)."""
    if len(values) > 1 or (minor and not values):
        raise HTTPError(400, "A request of HTTP/1.1 has exactly one Host field.")
    if not values:
        return ""
    _check_host(values[0])
    return values[0].decode("ascii")


def _check_host(value: bytes) -> None:
    match = HOST.fullmatch(value)
    if match is None or int(match[2][1:] or b"0") > 65535 or not _is_address(match[1]):
        raise HTTPError(400, "The host is malformed.")


def _is_address(host: bytes) -> bool:
    """Whether a host in brackets is an IPv6 address. Other hosts and future address formats pass."""
    if not host.startswith(b"[") or host[1:2] == b"v":
        return True
    try:
        IPv6Address(host[1:-1].decode("ascii"))
    except AddressValueError:
        return False
    return True


def _chunked(codings: list[bytes], lengths: list[bytes], minor: int) -> bool:
    """Whether the body is chunked (RFC 9112 section 6.1). What two recipients could read differently is refused."""
    if not codings:
        return False
    if lengths:
        raise HTTPError(400, "Transfer-Encoding and Content-Length exclude each other.")
    if minor == 0:
        raise HTTPError(400, "HTTP/1.0 has no Transfer-Encoding.")
    coding = codings[0].lower()
    if len(codings) == 1 and coding == b"chunked":
        return True
    if len(codings) == 1 and IS_TOKEN.fullmatch(coding):
        raise HTTPError(501, "The only supported transfer coding is chunked.")
    raise HTTPError(400, "Transfer-Encoding is not exactly chunked.")


def _content_length(lengths: list[bytes]) -> int:
    """Return the announced length of the body in bytes (RFC 9112 section 6.3). Two equal fields are refused as well."""
    if not lengths:
        return 0
    if len(lengths) > 1 or not CONTENT_LENGTH.fullmatch(lengths[0]):
        raise HTTPError(400, "Content-Length is not one decimal number.")
    return int(lengths[0])


def _expectation(values: list[bytes], minor: int) -> bool:
    """Whether the client waits for 100 Continue (RFC 9110 section 10.1.1); HTTP/1.0 has no expectations."""
    expectations = _tokens(values)
    if not expectations or minor == 0:
        return False
    if expectations != {b"100-continue"}:
        raise HTTPError(417, "The only supported expectation is 100-continue.")
    return True


def _tokens(values: list[bytes]) -> set[bytes]:
    """Return the elements of a list over all its lines, in lower case (RFC 9110 section 5.6.1)."""
    elements = (element.strip(b"\t ").lower() for value in values for element in value.split(b","))
    return {element for element in elements if element}
