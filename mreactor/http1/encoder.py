"""Responses as bytes: status line, header fields, framing (RFC 9112 sections 4 to 7)."""

import time

from ..http import (
    DATE,
    REASONS,
    SERVER,
    SERVER_AND_DATE,
    Body,
    RawResponse,
    RequestHead,
    Response,
    SizedStream,
    encode_fields,
    format_date,
    has_body,
    note_date,
    status_line,
)  # fmt: skip
from ..protocol import FileBody
from ..runtime import hot

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

_SERVER = b"Server: mreactor\r\n"


@hot("encode_parts", "encode_raw", "encode_whole")
class Encoder:
    """Renders one reactor's responses, with the date of the present second.

    Attributes:
        common_fields: the fields that all responses of this second begin with.
    """

    def __init__(self) -> None:
        # Rendered at once: the table of reasons is shared between threads, and reading it takes its lock.
        self._status_lines = {status: status_line(status) for status in REASONS}
        self.common_fields = _SERVER
        self._date_field = b""

    def begin_second(self, wall: float) -> bytes:
        """Render what changes with the second `wall` (Unix time). Returns the start of a head with status 200."""
        note_date(wall)
        self._date_field = b"Date: %b\r\n" % format_date(wall).encode("ascii")
        self.common_fields = _SERVER + self._date_field
        return self._status_lines[200] + self.common_fields

    def encode(self, response: Response, head: RequestHead | None, *, keep_alive: bool) -> bytes:
        """Encode a response; see `encode_parts`."""
        return self.encode_parts(response.status, response.body, encode_fields(response), head, keep_alive=keep_alive)

    def encode_parts(
        self, status: int, body: Body, fields: bytes, head: RequestHead | None, *, keep_alive: bool
    ) -> bytes:
        """Encode a response; of a file or a stream only the head.

        Args:
            body: the content, also where none is sent: it decides the framing field.
            fields: the response's own fields, from `http.encode_fields`.
            head: the request's head; None if it could not be read.
            keep_alive: the connection persists.
        """
        is_11 = head is None or head.version == (1, 1)
        if not keep_alive:
            connection = b"Connection: close\r\n"
        else:
            connection = b"" if is_11 else b"Connection: keep-alive\r\n"
        start = (self._status_lines.get(status) or status_line(status)) + self.common_fields + fields
        encoded = start + encode_length(status, body, chunks=is_11) + connection + b"\r\n"
        if isinstance(body, bytes) and has_body(status) and (head is None or head.method != "HEAD"):
            encoded += body
        return encoded

    def encode_whole(self, status: int, body: bytes, fields: bytes) -> bytes:
        """Encode a response with content to a request of HTTP/1.1 on a connection that persists.

        Args:
            fields: the response's own fields, from `http.encode_fields`.
        """
        return b"%b%b%bContent-Length: %d\r\n\r\n%b" % (
            self._status_lines.get(status) or status_line(status), self.common_fields, fields, len(body), body,
        )  # fmt: skip

    def encode_raw(self, response: RawResponse, head: RequestHead, *, keep_alive: bool) -> bytes:
        """Encode a response that has its own status line and fields; of a file or a stream only the head."""
        body, _, status, _, _ = response.parts
        common = self.common_fields
        if response.common != SERVER_AND_DATE:
            common = (_SERVER if response.common & SERVER else b"") + (
                self._date_field if response.common & DATE else b""
            )
        if keep_alive and status == 200 and type(body) is bytes and head.line.keeps_framing:
            # The commonest kind.
            return b"%b%b%bContent-Length: %d\r\n\r\n%b" % (
                response.start, common, response.rendered_fields, len(body), body,
            )  # fmt: skip
        is_11 = head.version == (1, 1)
        length = response.framing_length(head.method)
        if length is not None and has_body(status):
            framing = b"Content-Length: %d\r\n" % length
        elif isinstance(body, bytes) and head.method == "HEAD":
            framing = b""
        else:
            framing = encode_length(status, body, chunks=is_11)
        if not keep_alive:
            connection = b"Connection: close\r\n"
        else:
            connection = b"" if is_11 else b"Connection: keep-alive\r\n"
        encoded = response.start + common + response.rendered_fields + framing + connection + b"\r\n"
        if isinstance(body, bytes) and has_body(status) and head.method != "HEAD":
            encoded += body
        return encoded


def encode_length(status: int, body: Body, *, chunks: bool) -> bytes:
    """Encode the framing field of a response with its CRLF; empty if it has none (RFC 9112 section 6).

    Args:
        chunks: the peer understands chunked coding; otherwise a stream ends with the connection.
    """
    if not has_body(status):
        return b"Content-Length: 0\r\n" if status == 205 else b""
    if isinstance(body, bytes | FileBody):
        return b"Content-Length: %d\r\n" % len(body)
    if isinstance(body, SizedStream):
        return b"Content-Length: %d\r\n" % body.length
    return b"Transfer-Encoding: chunked\r\n" if chunks else b""


def encode_chunk(part: bytes) -> bytes:
    """Encode a chunk (RFC 9112 section 7.1); empty for an empty part, because an empty chunk ends the body."""
    return b"%x\r\n%b\r\n" % (len(part), part) if part else b""


def render_overload() -> bytes:
    """Render the response that a new client gets when the server is full: 503, and the connection ends."""
    return _render_last(503, b"This server has too many connections.\r\n", b"Retry-After: 1\r\n")


def render_plain_refusal() -> bytes:
    """Render the response to a client that speaks HTTP where TLS is expected: 400, and the connection ends."""
    date = b"Date: %b\r\n" % format_date(time.time()).encode("ascii")
    return _render_last(400, b"This port serves HTTPS only: use a URL that begins with https://.\r\n", date)


def _render_last(status: int, content: bytes, fields: bytes = b"") -> bytes:
    return b"%b%bContent-Type: text/plain; charset=utf-8\r\n%b%bConnection: close\r\n\r\n%b" % (
        status_line(status), _SERVER, encode_length(status, content, chunks=False), fields, content,
    )  # fmt: skip
