"""Receiving requests: from a connection's bytes to one routed request after another."""

from typing import TYPE_CHECKING

from ..http import HTTPError, RequestHead
from ..runtime import hot
from .body_decoder import ChunkedDecoder, ContentLengthDecoder, decoder_for
from .head_parser import END_OF_HEAD, HeadReader

if TYPE_CHECKING:
    from .context import ReactorContext


# What a client is told that stops in the middle of one.
CUT_OFF = "The request ended before it was complete."


def borrow(context: "ReactorContext") -> "RequestReader":
    """One for a connection that begins to receive. The context has a idle_reader one, which does for whole messages."""
    idle_reader, context.idle_reader = context.idle_reader, None
    return RequestReader(context) if idle_reader is None else idle_reader


@hot("__init__", "read", "take_body", "give_back", "drop")
class RequestReader:
    """Reads one connection's requests, whole or in pieces. Used by the connection alone, until it is given back.

    Attributes:
        head: the request read last, or being read; None before its head is complete.
        awaits_continue: the client waits for `100 Continue` before it sends the body.
    """

    __slots__ = ("_body", "_charged", "_reader", "_context", "_since", "_whole", "awaits_continue", "head")

    def __init__(self, context: "ReactorContext") -> None:
        self._context = context
        self._reader: HeadReader | None = None  # of a head that comes in pieces
        self._body: ContentLengthDecoder | ChunkedDecoder | None = None
        self._whole = b""  # a body that came with its head
        self._since = 0.0  # when the body began
        self._charged = 0  # bytes of it that the context counts as held
        self.head: RequestHead | None = None
        self.awaits_continue = False

    def read(self, data: bytes, start: int) -> int:
        """Read and route the request that begins at `start`.

        Returns:
            the offset past it; -1 where it is not all there yet. Then the next call continues: of a head with the same
            bytes and more, of a body (`in_body`) with what follows.

        Raises:
            HTTPError: the message is malformed, or too large.
        """
        if self._reader is None:
            self.head = None
        if self._reader is None and (end := data.find(END_OF_HEAD, start)) >= 0:
            end += len(END_OF_HEAD)
            head = self._context.parser.parse(data[start:end])
        else:
            end = self._read_on(data, start)
            if end < 0 or self.head is None:
                return -1
            head = self.head
        self.head = head
        if head.match is None:
            self._context.route(head)
        return self._begin_body(head, data, end) if head.has_body else end

    def read_body(self, data: bytes) -> int:
        """Read on in a body; returns and raises as `read`."""
        assert self._body is not None, "a body is being received"
        self.awaits_continue = False
        end = self._body.feed(data, 0)
        if end is None:
            self._charge(self._body.received)
        return -1 if end is None else end

    @property
    def in_body(self) -> bool:
        """A body has begun, and was not taken yet."""
        return self._body is not None

    @property
    def body_deadline(self) -> float:
        """Monotonic seconds by which more of the body has to come: soon after the last of it, and at a rate."""
        limits, now = self._context.limits, self._context.now
        received = self._body.received if self._body is not None else 0
        grace_ends = self._since + limits.body_grace_seconds
        return min(now + limits.body_stall_seconds, grace_ends + received / limits.body_rate_min)

    def take_body(self) -> bytes:
        """The body of the request that has been read; empty where it has none."""
        if self._body is None:
            whole, self._whole = self._whole, b""
            return whole
        body, self._body = self._body, None
        self._charge(0)
        return body.content()

    def give_back(self) -> None:
        """The connection needs it no more: another may have it, which finds nothing of this one in it."""
        self.drop()
        self.head = None
        self._context.idle_reader = self

    def rebase(self) -> None:
        """The next call's data begins with the head being read: what was before it has been dropped."""
        if self._reader is not None:
            self._reader.rebase()

    def drop(self) -> None:
        """Forget what has been read of an unfinished request; its bytes may come again."""
        self._reader = self._body = None
        self._whole = b""
        self._charge(0)
        self.awaits_continue = False

    def _read_on(self, data: bytes, start: int) -> int:
        """Read a head that comes in pieces."""
        if self._reader is None:
            self._reader = self._context.parser.reader(start)
        read = self._reader.read(data)
        if read is None:
            return -1
        self._reader = None
        line, fields, end = read
        self.head = self._context.parser.finish(line, fields)
        return end

    def _begin_body(self, head: RequestHead, data: bytes, start: int) -> int:
        end = start + head.content_length
        is_whole = end <= len(data) and not head.chunked and not head.expects_continue
        if is_whole and head.content_length <= self._context.limits.body_bytes_max:
            self._whole = data[start:end]  # it came with its head, as most do: no reader is needed
            return end
        body = decoder_for(head, self._context.limits)
        assert body is not None, "the head announces a body"
        if head.expects_continue:
            # What cannot be answered well is refused before the body is sent, which is what the client asks for.
            refusal = head.match.params.get("refusal")
            if isinstance(refusal, HTTPError):
                raise HTTPError(refusal.status, refusal.reason, refusal.headers)
            self.awaits_continue = start == len(data)
        self._body = body
        self._since = self._context.now
        read = body.feed(data, start)
        if read is None:
            self._charge(body.received)
        return -1 if read is None else read

    def _charge(self, received: int) -> None:
        """Have the context know how much is held for this connection.

        Raises:
            HTTPError: 503, all connections together hold too much.
        """
        if received != self._charged:
            self._context.reserve_body_bytes(received - self._charged)
            self._charged = received
