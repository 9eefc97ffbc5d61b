"""A request's head as the parser leaves it: a request line and header fields.

Heads seldom repeat as a whole, but request lines do, and so do the fields of one client. A reactor shares these parts
between its requests. See docs/decisions/091.
"""

from typing import Any

from ..runtime import hot
from .headers import Headers, parse_headers

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@hot()
class RequestLine:
    """A request line, checked and taken apart. Equal lines may share one instance.

    Attributes:
        authority: the host of a target in absolute form; else empty.
        is_repeated: a request before this one had it, and did not take the shortest way.
        keeps_framing: HTTP/1.1 and not HEAD, so a response on a persistent connection has content and no Connection
            field.
        match: where the line leads, for its owner to keep; None before.
        counter: what counts its responses, likewise.
        route: how to call its handler at once, likewise; None if that is not possible.

    The others are those of `RequestHead`.
    """

    __slots__ = (
        "authority", "counter", "is_repeated", "keeps_framing", "match", "method", "path", "query_string", "raw_path",
        "route", "target", "version",
    )  # fmt: skip

    authority: str
    counter: Any
    is_repeated: bool
    keeps_framing: bool
    match: Any
    method: str
    path: str
    query_string: str
    raw_path: str
    route: Any
    target: str
    version: tuple[int, int]


@hot()
class Framing:
    """What the header fields say about the whole message. Equal fields in one version may share one instance.

    Attributes:
        is_simple: the connection persists, and a body comes as it is: not chunked, and not after `100 Continue`.

    The others are those of `RequestHead`.
    """

    __slots__ = ("chunked", "content_length", "expects_continue", "has_body", "host", "is_simple", "keep_alive")

    chunked: bool
    content_length: int
    expects_continue: bool
    has_body: bool
    host: str
    is_simple: bool
    keep_alive: bool


@hot()
class HeaderFields:
    """The header fields of a request, each line checked. Equal fields in one version may share one instance.

    Attributes:
        lines: the fields as received, without CR LF.
        framing: what they say about the message.
        decoded: the fields decoded, if somebody has asked for them.
        is_repeated: a request before this one had them.
    """

    __slots__ = ("decoded", "framing", "is_repeated", "lines")

    lines: list[bytes]
    framing: Framing
    decoded: Headers | None
    is_repeated: bool


@hot()
class RequestHead:
    """A request's head, checked. Nothing changes it.

    Attributes:
        line: the request line.
        fields: the header fields.
    """

    __slots__ = ("fields", "line")

    line: RequestLine
    fields: HeaderFields

    @property
    def headers(self) -> Headers:
        """The header fields, decoded on first use."""
        fields = self.fields
        if fields.decoded is None:
            fields.decoded = parse_headers(fields.lines)
        return fields.decoded

    @property
    def method(self) -> str:
        """One of the methods served, in capitals."""
        return self.line.method

    @property
    def target(self) -> str:
        """The request target as received."""
        return self.line.target

    @property
    def raw_path(self) -> str:
        """The path with its percent-encoding, starting with `/`, or `*`."""
        return self.line.raw_path

    @property
    def path(self) -> str:
        """The path decoded (UTF-8)."""
        return self.line.path

    @property
    def query_string(self) -> str:
        """What follows `?`, as received."""
        return self.line.query_string

    @property
    def version(self) -> tuple[int, int]:
        """(1, 0) or (1, 1); later minor versions count as 1.1 (RFC 9110 section 2.5)."""
        return self.line.version

    @property
    def host(self) -> str:
        """The authority, from the target or else the Host field; empty if HTTP/1.0 gives none."""
        return self.line.authority or self.fields.framing.host

    @property
    def content_length(self) -> int:
        """Length of the body in bytes, 0 if none is announced."""
        return self.fields.framing.content_length

    @property
    def chunked(self) -> bool:
        """The body is in chunked coding."""
        return self.fields.framing.chunked

    @property
    def has_body(self) -> bool:
        """A body follows, chunked or of a length above 0."""
        return self.fields.framing.has_body

    @property
    def keep_alive(self) -> bool:
        """The connection persists after the response (RFC 9112 section 9.3)."""
        return self.fields.framing.keep_alive

    @property
    def expects_continue(self) -> bool:
        """The client waits for `100 Continue` before it sends the body."""
        return self.fields.framing.expects_continue

    @property
    def default_framing(self) -> bool:
        """HTTP/1.1, persistent and not HEAD: the response has content, and no Connection field."""
        return self.line.keeps_framing and self.fields.framing.keep_alive


def unread_head() -> RequestHead:
    """Make the head of a request that could not be read: everything in it is empty. Error handlers get it."""
    line, framing, fields, head = RequestLine(), Framing(), HeaderFields(), RequestHead()
    line.authority = line.method = line.path = line.query_string = line.raw_path = line.target = framing.host = ""
    line.counter = line.match = line.route = None
    line.version, line.keeps_framing = (1, 1), False
    framing.chunked = framing.expects_continue = framing.has_body = framing.is_simple = framing.keep_alive = False
    framing.content_length = 0
    fields.lines, fields.framing, fields.decoded, fields.is_repeated = [], framing, Headers(), False
    head.line, head.fields = line, fields
    return head
