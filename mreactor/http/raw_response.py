"""Responses whose status line and fields an application has written itself, as WSGI applications do."""

from ..protocol import FileBody
from ..runtime import hot
from .response import Body, Response

SERVER, DATE = 1, 2
SERVER_AND_DATE = SERVER | DATE


@hot("__init__")
class RawResponse(Response):
    """A response with a status line and fields that are ready to be sent. The caller has checked them.

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

    __slots__ = ("common", "context", "first_part", "length", "rendered_fields", "start")

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
