"""Responses whose status line and fields an application has written itself, as WSGI applications do."""

from ..protocol import FileBody
from ..runtime import hot
from .response import FRAMING_FIELDS, Body, Response, encode_fields
from .response_headers import Fields
from .status import status_line

SERVER, DATE = 1, 2
SERVER_AND_DATE = SERVER | DATE


@hot("__init__")
class RawResponse(Response):
    """A response with a status line and fields that are ready to be sent. The caller has checked them.

    Who wants to read or change it as other responses calls `unpack` first.

    Args:
        start: the status line, with its CRLF.
        fields: the header fields, each with its CRLF, except those that frame the message.
        body: the content. It is empty if there is none to send.

    Attributes:
        start, rendered_fields: as the arguments.
        length: the bytes of content that the application announces; None if it announces none.
        context: the context variables that a stream's parts see; None for those of the thread at the moment.
        first_part: the stream's first part, which goes out with the head.
        common: which fields the server adds: SERVER, DATE, both or none.
    """

    __slots__ = ("_fixed_fields", "common", "context", "first_part", "length", "rendered_fields", "start")

    def __init__(self, status: int, start: bytes, fields: bytes, body: Body, length: int | None = None) -> None:
        # Not super(), which takes a lock: docs/decisions/001.
        self.parts = (body, "", status, (), None)
        self.start = start
        self.rendered_fields = fields
        self.length = length
        self.first_part = b""
        self.context = None
        self.common = SERVER_AND_DATE

    def omits(self, *, server: bool, date: bool) -> None:
        """Have the server add no Server or Date of its own."""
        self.common = (0 if server else SERVER) | (0 if date else DATE)

    def framing_length(self, method: str) -> int | None:
        """Return the Content-Length to send; None for none: the length is unknown, or would be a guess for HEAD."""
        body = self.parts[0]
        if self.length is not None or not isinstance(body, bytes | FileBody):
            return self.length
        return None if method == "HEAD" and not body else len(body)

    # As any other response.

    def unpack(self) -> None:
        """Make pairs of the rendered fields, which can then be read and changed. Call it once.

        The application's own Server and Date stay as they are, since they are no business of hooks.
        """
        fields: list[tuple[str, str]] = []
        content_type, fixed = "", ""
        for line in self.rendered_fields.decode("latin-1").split("\r\n")[:-1]:
            name, _, value = line.partition(": ")
            lower = name.lower()
            if lower in FRAMING_FIELDS:
                fixed += line + "\r\n"
            elif lower == "content-type" and not content_type:
                content_type = value
            else:
                fields.append((name, value))
        body, _, status, _, _ = self.parts
        if self.first_part:
            # A hook may wrap the stream, and has to get all of it.
            first, self.first_part = self.first_part, b""
            body.unread(first)  # type: ignore[union-attr]
        self.parts = (body, content_type, status, tuple(fields), None)
        self._fixed_fields = fixed.encode("latin-1")

    def copy(self) -> Response:
        """Return a response whose fields can be changed without changing this one. They share the content."""
        copied = RawResponse.__new__(RawResponse)
        for name in ("parts", *RawResponse.__slots__):
            setattr(copied, name, getattr(self, name))
        return copied

    def _set(self, body: Body, content_type: str, status: int, fields: Fields) -> None:
        old_body, _, old_status, _, _ = self.parts
        if body is not old_body:
            self.length = None
        if status != old_status:
            self.start = status_line(status)
        self.parts = (body, content_type, status, fields, None)
        self.rendered_fields = self._fixed_fields + encode_fields(self)
