"""A response on its way from the handler to the peer: counted, logged and encoded."""

from typing import TYPE_CHECKING, Any, NamedTuple

from ..http import HTTPError, RawResponse, Response, conclude, encode_fields, has_body
from ..protocol import FileBody, Peer
from .cache_entries import CacheTicket, LogEntry
from .error_pages import failure_page
from .response_cache import RESPONSE_BYTES_MAX
from .response_stream import Stream, close_stream
from .routed_request import RoutedRequest

if TYPE_CHECKING:
    from .context import ReactorContext


# Bytes of content. A longer response is logged when it is sent or cut off, and is too long for the response cache.
# Where the access log tells how long requests took, all responses are: see `ReactorContext.logged_at_once_max`.
LOGGED_AT_ONCE_MAX = RESPONSE_BYTES_MAX


class EncodedResponse(NamedTuple):
    """A response that is ready to be sent.

    Attributes:
        output: the head, and the content if it is in memory.
        stream: the content that follows, if it is not; its owner closes it.
        keep_alive: the connection persists after it.
        cache_ticket: set if the response cache may keep it.
        log_later: what the access log says once the response is sent, with the bytes of content that are in the
            output; None if it is logged by now, or never.
    """

    output: bytes
    stream: FileBody | Stream | None
    keep_alive: bool
    cache_ticket: CacheTicket | None
    log_later: LogEntry | None


def encode_response(
    context: "ReactorContext",
    peer: Peer,
    request: RoutedRequest,
    response: Response,
    blocking_stream: Stream | None,
    *,
    keep_alive: bool,
) -> EncodedResponse:
    """Encode the response to a request and count it. Log it, unless it is so long that it may not arrive whole.

    Args:
        blocking_stream: the body, if the thread pool has made a stream of it.
    """
    # Read once. The handler may still change the response from another thread, and Content-Length must match the bytes
    # sent.
    body, _, status, _, _ = response.parts
    # The fields of a raw response are rendered: its application has judged conditions and ranges.
    if type(body) is FileBody and status == 200 and type(response) is not RawResponse:
        response = _conclude(context, peer, request, response)
        body, _, status, _, _ = response.parts
    head = request.head
    stream: FileBody | Stream | None = None
    if not isinstance(body, bytes):
        stream = blocking_stream or _make_stream(context, request, response, body)
    if not head.keep_alive or (isinstance(stream, Stream) and stream.ends_with_connection):
        keep_alive = False
    if type(response) is RawResponse:
        output = context.encoder.encode_raw(response, head, keep_alive=keep_alive)
        head_bytes = len(output)
        if response.first_part and isinstance(stream, Stream) and has_body(status):
            output += stream.encode(response.first_part)
    else:
        output = context.encoder.encode_parts(status, body, encode_fields(response), head, keep_alive=keep_alive)
        head_bytes = len(output)
    may_be_cached = request.match.endpoint.constant and stream is None and status in (200, 206, 304)
    content_length = len(body) if isinstance(body, bytes | FileBody) else -1
    if head.method == "HEAD" or not has_body(status):
        content_length = 0
    if stream is not None and content_length == 0:
        # The thread pool has closed a stream of its own.
        if isinstance(stream, FileBody) or not stream.blocking:
            close_stream(stream)
        stream = None
    if isinstance(stream, FileBody) and not stream.remaining:
        output += stream.next_region()
    counter = context.counters.counter(head.method, status)
    counter[0] += 1
    entry = None if context.access is None else LogEntry(head, status, content_length)
    if entry is not None and stream is not None:
        # What follows is counted when it is sent.
        entry = entry._replace(content_length=len(output) - head_bytes)
    is_long = stream is not None or content_length > context.logged_at_once_max
    if context.access is not None and not is_long:
        context.access.log_request(peer, head, status, content_length)
    ticket = CacheTicket(counter, entry) if may_be_cached else None
    return EncodedResponse(output, stream, keep_alive, ticket, entry if is_long else None)


def _make_stream(context: "ReactorContext", request: RoutedRequest, response: Response, body: Any) -> FileBody | Stream:
    """Return what follows the head of a response whose content is not in memory."""
    if isinstance(body, FileBody):
        return body
    # The parts see what the handler has set, and share it with no other response. An empty context is false.
    variables = context.stream_context() if response.context is None else response.context
    is_11, blocking = request.head.version == (1, 1), request.match.endpoint.blocking
    return Stream(body, is_11=is_11, context=variables, blocking=blocking, length=response.length)


def _conclude(context: "ReactorContext", peer: Peer, request: RoutedRequest, response: Response) -> Response:
    """Apply the conditions and the ranges of a request to a response with a file."""
    try:
        return conclude(request.head, response)
    except HTTPError as error:
        return failure_page(context, request.make_argument(b"", peer), error)
