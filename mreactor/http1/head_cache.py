"""The response heads of body-only responses: status 200, no field of the handler's but the media type, keep-alive.

A response is `heads[content_type][len(content)] + content`: two lookups, and a call only for a new head. Heads live
for a second, because then the Date changes. The cache is bounded, because handlers may make up types and lengths, even
from what a client has sent; other heads are rendered each time. See docs/decisions/016.
"""

from ..http import Response, encode_fields

HEADS_MAX = 2048
TYPES_MAX = 256
TYPE_BYTES_MAX = 256


class HeadCache(dict[str, "HeadsByLength"]):
    """One reactor's heads of the present second, by media type. A type that cannot be sent raises ValueError."""

    def __init__(self) -> None:
        self._start = b""
        self.room = 0

    def begin_second(self, start: bytes) -> None:
        """Forget all heads. From now on heads begin with `start`: the status line and the common fields."""
        self.clear()
        self._start, self.room = start, HEADS_MAX

    def __missing__(self, content_type: str) -> "HeadsByLength":
        start = self._start + encode_fields(Response(None, content_type=content_type)) + b"Content-Length: "
        if len(self) >= TYPES_MAX or len(content_type) > TYPE_BYTES_MAX:
            return HeadsByLength(start, None)
        self[content_type] = heads = HeadsByLength(start, self)
        return heads


class HeadsByLength(dict[int, bytes]):
    """The heads of one media type, by the content's length. They use up the keeper's room; without one none is kept."""

    def __init__(self, start: bytes, keeper: HeadCache | None) -> None:
        self._start, self._keeper = start, keeper

    def __missing__(self, length: int) -> bytes:
        head = b"%b%d\r\n\r\n" % (self._start, length)
        if self._keeper is not None and self._keeper.room > 0:
            self._keeper.room -= 1
            self[length] = head
        return head
