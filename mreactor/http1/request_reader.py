"""Reading requests: from a connection's bytes to one routed request after another."""

from typing import TYPE_CHECKING

from ..http import HTTPError, SpooledBody
from ..runtime import hot
from .body_decoder import ChunkedDecoder, ContentLengthDecoder, decoder_for
from .head_parser import END_OF_HEAD, HeadReader
from .routed_request import RoutedRequest

if TYPE_CHECKING:
    from .context import ReactorContext


# The response to a client that stops in the middle of a request.
CUT_OFF = "The request ended before it was complete."


def borrow(context: "ReactorContext") -> "RequestReader":
    """Return the context's idle reader, which serves all requests that come whole, or a new one."""
    reader, context.idle_reader = context.idle_reader, None
    return RequestReader(context) if reader is None else reader


@hot("__init__", "read", "accept", "take_body", "give_back", "drop")
class RequestReader:
    """Reads one connection's requests, whole or in pieces. Lent to one connection at a time.

    Attributes:
        request: the request read last, or being read; None before its head is complete.
        awaits_continue: the client waits for `100 Continue` before it sends the body.
    """

    __slots__ = ("_body", "_charged", "_context", "_head_reader", "_since", "_whole", "awaits_continue", "request")

    def __init__(self, context: "ReactorContext") -> None:
        self._context = context
        self._head_reader: HeadReader | None = None  # of a head that comes in pieces
        self._body: ContentLengthDecoder | ChunkedDecoder | None = None
        self._whole = b""  # a body that came with its head
        self._since = 0.0  # monotonic seconds when the body began
        self._charged = 0  # bytes of the body that the context has reserved
        self.request: RoutedRequest | None = None
        self.awaits_continue = False

    def read(self, data: bytes, start: int) -> int:
        """Read and route the request that begins at `start`.

        Returns:
            the offset past it; -1 if it is incomplete. The next call then continues: for a head with the same bytes
            and more, for a body (`in_body`) with what follows.

        Raises:
            HTTPError: the message is malformed, or too large.
        """
        if self._head_reader is None:
            self.request = None
        if self._head_reader is None and (end := data.find(END_OF_HEAD, start)) >= 0:
            end += len(END_OF_HEAD)
            return self.accept(self._context.route(self._context.parser.parse(data[start:end])), data, end)
        end = self._read_on(data, start)
        return end if end < 0 or self.request is None else self.accept(self.request, data, end)

    def accept(self, request: RoutedRequest, data: bytes, end: int) -> int:
        """Take a request whose head ends at `end`, and read its body. Returns and raises as `read`."""
        self.request = request
        return self._begin_body(request, data, end) if request.head.fields.framing.has_body else end

    def read_body(self, data: bytes) -> int:
        """Continue in a body; returns and raises as `read`."""
        assert self._body is not None, "a body is being received"
        self.awaits_continue = False
        end = self._body.feed(data, 0)
        if end is None:
            self._charge(self._body.store.in_memory)
        return -1 if end is None else end

    @property
    def in_body(self) -> bool:
        """A body has begun and has not been taken."""
        return self._body is not None

    @property
    def paused_at(self) -> int:
        """The offset at which the last call stopped in a body, because the turn is over; -1 if it did not."""
        return -1 if self._body is None else self._body.paused_at

    @property
    def body_deadline(self) -> float:
        """Monotonic seconds by which more of the body must come: soon after the last of it, and at a rate."""
        limits, now = self._context.limits, self._context.now
        received = self._body.received if self._body is not None else 0
        grace_ends = self._since + limits.body_grace_seconds
        return min(now + limits.body_stall_seconds, grace_ends + received / limits.body_rate_min)

    def take_body(self) -> bytes | SpooledBody:
        """Return the body of the request that has been read; empty if it has none."""
        if self._body is None:
            whole, self._whole = self._whole, b""
            return whole
        body, self._body = self._body, None
        self._charge(0)
        return body.store.content()

    def give_back(self) -> None:
        """Return to the context, empty, for another connection to borrow."""
        self.drop()
        self.request = None
        self._context.idle_reader = self

    def rebase(self) -> None:
        """Note that the next call's data begins with the head being read: what was before it is dropped."""
        if self._head_reader is not None:
            self._head_reader.rebase()

    def drop(self) -> None:
        """Forget what was read of an incomplete request. Its bytes may come again."""
        if self._body is not None:
            self._body.store.close()
        self._head_reader = self._body = None
        self._whole = b""
        self._charge(0)
        self.awaits_continue = False

    def _read_on(self, data: bytes, start: int) -> int:
        """Read a head that comes in pieces; returns as `read`."""
        parser = self._context.parser
        if self._head_reader is None:
            self._head_reader = parser.reader(start)
        read = self._head_reader.read(data)
        if read is None:
            return -1
        self._head_reader = None
        line, field_lines, end = read
        self.request = self._context.route(parser.finish(line, field_lines))
        return end

    def _begin_body(self, request: RoutedRequest, data: bytes, start: int) -> int:
        head, limits = request.head, self._context.limits
        end = start + head.content_length
        is_whole = end <= len(data) and not head.chunked and not head.expects_continue
        if is_whole and head.content_length <= limits.body_bytes_max:
            # The body came with its head, as most do: it needs no decoder.
            self._whole = data[start:end]
            return end
        body = decoder_for(head, limits)
        assert body is not None, "the head announces a body"
        if head.expects_continue:
            # The client asks for a refusal before it sends the body. The error is a new one each time: a traceback on
            # the remembered one would keep a request alive.
            if (refusal := request.match.refusal) is not None:
                raise HTTPError(refusal.status, refusal.reason, refusal.headers)
            self.awaits_continue = start == len(data)
        self._body = body
        self._since = self._context.now
        read = body.feed(data, start)
        if read is None:
            self._charge(body.store.in_memory)
        return -1 if read is None else read

    def _charge(self, received: int) -> None:
        """Reserve what is held for this connection, or release it. Raises as `ReactorContext.reserve_body_bytes`."""
        if received != self._charged:
            self._context.reserve_body_bytes(received - self._charged)
            self._charged = received
