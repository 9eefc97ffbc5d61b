"""The heads of plain answers: status 200, no field of the handler's but the media type, and the connection persists.

An answer is `heads[content_type][len(content)] + content`: two lookups, and no call but for a head that is new. Heads
live for a second at most, because then the Date changes. Handlers may make up types and lengths without end, even out
of what a client has sent, so what is kept is bounded; the rest is rendered each time.
"""

from ..http import Response, encode_fields

HEADS_MAX = 2048
TYPES_MAX = 256
TYPE_BYTES_MAX = 256


class HeadCache(dict[str, "HeadsByLength"]):
    """One reactor's heads of the present second, by media type, then by the length of the content in bytes.

    Raises:
        ValueError: a media type that cannot be sent.
    """

    def __init__(self) -> None:
        self._start = b""
        self.room = 0

    def begin_second(self, start: bytes) -> None:
        """Forget the last second's; from now on heads begin with `start`, the status line and the common fields."""
        self.clear()
        self._start, self.room = start, HEADS_MAX

    def __missing__(self, content_type: str) -> "HeadsByLength":
        start = self._start + encode_fields(Response(None, content_type=content_type)) + b"Content-Length: "
        if len(self) >= TYPES_MAX or len(content_type) > TYPE_BYTES_MAX:
            return HeadsByLength(start, None)
        self[content_type] = heads = HeadsByLength(start, self)
        return heads


class HeadsByLength(dict[int, bytes]):
    """The heads of one media type, by the length of the content.

    Args:
        start: the head up to the length.
        keeper: whose room is used up by what is kept; None: nothing is.
    """

    def __init__(self, start: bytes, keeper: HeadCache | None) -> None:
        self._start, self._keeper = start, keeper

    def __missing__(self, length: int) -> bytes:
        head = b"%b%d\r\n\r\n" % (self._start, length)
        if self._keeper is not None and self._keeper.room > 0:
            self._keeper.room -= 1
            self[length] = head
        return head
