"""The life of one client's HTTP/1.1 connection, without I/O: bytes in, bytes out, deadlines (RFC 9112 section 9).

The driver, a reactor or a test, feeds events in and then acts on the connection's requests; see `protocol.Connection`.
`StateMachine` holds state and deadline, `RequestReader` reads, and `ResponseWriter` sends. An idle connection has
neither reader nor writer, because thousands of connections may be idle. See docs/decisions/026.
"""

from math import inf
from typing import TYPE_CHECKING

from ..concurrency import Job
from ..http import (
    TEXT,
    HTTPError,
    MustWait,
    RawResponse,
    Request,
    Response,
    encode_fields,
    has_body,
    make_response,
    respond,
)  # fmt: skip
from ..logs import AccessBuffer
from ..protocol import FileBody, Peer, memory_of
from ..runtime import hot
from .cache_entries import OTHER_HITS, CachedResponse, CachedRoute, CacheTicket, LogEntry
from .dispatch import RequestBody, call_handler, job_response, make_job
from .encoded_response import LOGGED_AT_ONCE_MAX, encode_response
from .encoder import CONTINUE
from .error_pages import encode_refusal, failure_page, log_stream_failure
from .head_parser import END_OF_HEAD
from .request_reader import CUT_OFF, RequestReader, borrow
from .response_cache import BODY_METHODS_AFTER
from .response_stream import Stream
from .response_writer import ResponseWriter
from .routed_request import RoutedRequest
from .state_machine import StateMachine
from .states import BODY, CLOSED, DRAIN_GRACE_SECONDS, HEAD, IDLE, LINGERING, READY, SENDING, WAITING

if TYPE_CHECKING:
    from .context import ReactorContext


# A client that sends more requests before it reads waits for the rest of a turn's responses.
RESPONSE_BYTES_A_TURN_MAX = 256 * 1024
# Parts of a stream that are computed in one turn without any byte to send.
EMPTY_PARTS_A_TURN_MAX = 64
# What a reactor keeps of them, for as many jobs as are under way at a time.
SPARE_WRITERS_MAX = 256
# What may come before a request and does not begin one; the first may still become the second.
EMPTY_LINES = (b"\r", b"\r\n")


@hot(
    "__init__", "receive_data", "receive_uncached", "_receive_whole", "call_cached_route", "queue_remainder",
    "data_sent", "abort", "next_job", "job_done", "data_to_send", "_take_turn", "_respond", "_encode", "_end_turn",
    "_wait_for", "_begin_sending", "_advance", "_enter", "_ensure_reader", "_ensure_writer",
)  # fmt: skip
class Connection(StateMachine):
    """One client; implements `protocol.Connection`. Reactor thread only."""

    __slots__ = (
        "_buffer", "_cache_ticket", "_eof", "_keep_alive", "_reader", "_refused", "_request",
        "_writer", "peer",
    )  # fmt: skip

    # Of the present request, where requests have ids.
    _request_id = ""

    def __init__(self, context: "ReactorContext", peer: Peer) -> None:
        StateMachine.__init__(self, context)  # super() takes a lock that all threads share
        self.peer = peer
        self._buffer = b""  # received and not used yet
        self._reader: RequestReader | None = None
        self._writer: ResponseWriter | None = None
        # The request of the present response, unless it is encoded by the head cache: only other responses need it.
        self._request: RoutedRequest | None = None
        self._keep_alive = True
        self._refused = False  # the last response refuses a message whose end is unknown
        self._cache_ticket: CacheTicket | None = None  # of the response encoded last
        self._eof = False  # the peer has shut its write side

    # Events.

    def receive_data(self, data: bytes) -> bytes | None:
        """Take bytes from the peer; `b""` means that it has shut its write side. Returns as `protocol.Connection`."""
        if self.state == IDLE:
            # The fast path. The reactors contain it as well, see docs/decisions/018.
            cache = self._context.cache
            if data > BODY_METHODS_AFTER and (found := cache.find_body_route(data)) is not None:
                return self.call_cached_route(*found)
            if (cached := cache.responses.get(data)) is not None:
                self.deadline = self._context.idle_deadline
                return self._from_cache(cached)
            if (route := cache.routes.get(data)) is not None:
                return self.call_cached_route(route, b"")
        return self.receive_uncached(data)

    def receive_uncached(self, data: bytes) -> bytes | None:
        """Take bytes that the fast path does not know. Returns as `receive_data`."""
        if not data:
            return self._receive_eof()
        if (state := self.state) == IDLE:
            cache = self._context.cache
            if cache.closing_responses and (cached := cache.closing_responses.get(data)) is not None:
                # The request has no body, whatever the last one had.
                self._keep_alive, self._request = False, None
                return self._end_turn(self._from_cache(cached), b"")
            return self._receive_whole(data)
        if state == BODY:
            return self._receive_body(data)
        if state == LINGERING:
            self._discard_late(len(data))
        elif state == HEAD:
            if self._holds_empty_line:
                # The head begins now, and with it its time.
                self.state = IDLE
            data, self._buffer = self._buffer + data, b""
            return self._take_turn(data)
        elif state != CLOSED and self._keep_alive:
            # These bytes were on their way when `wants_read` became False.
            self._buffer += data
        return None

    def call_cached_route(self, route: CachedRoute, body: bytes) -> bytes | None:
        """Fast path: call the handler of a cached route. IDLE only. Returns as `receive_data`."""
        handler, positional_param, keyword_params, counter, heads, access, match, head = route
        request = Request(head, body, self.peer)
        try:
            # By position is cheaper than by name: see docs/decisions/014.
            if positional_param is not None:
                result = handler(request, positional_param)
            else:
                result = handler(request, **keyword_params) if keyword_params else handler(request)
            if (kind := type(result)) is not str:
                response = result if kind is Response else respond(result, handler)
                _, content_type, _, _, content = response.parts
                if content is None:
                    return self._end_turn(self._encode(RoutedRequest(head, match, counter), response), b"")
            else:
                content, content_type = result.encode(), TEXT
        except MustWait:
            try:
                self._run_in_pool(RoutedRequest(head, match, counter), body)
            except HTTPError as error:
                return self._refuse(error)
            return None
        except BaseException as error:
            routed = RoutedRequest(head, match, counter)
            return self._end_turn(self._encode(routed, failure_page(self._context, request, error)), b"")
        if access is not None:
            if len(content) > LOGGED_AT_ONCE_MAX:
                routed = RoutedRequest(head, match, counter)
                return self._end_turn(self._encode(routed, make_response(content, content_type, 200, ())), b"")
            access.log_request(self.peer, head, 200, len(content))
        counter[0] += 1
        self.deadline = self._context.idle_deadline
        return heads[content_type][len(content)] + content

    def queue_remainder(self, response: bytes, sent: int) -> None:
        """Queue what the kernel has not taken of a response that `receive_data` returned."""
        writer = self._ensure_writer()
        # Whole, it goes through the ring without a copy.
        writer.output = memoryview(response)[sent:] if sent else response
        self._begin_sending(writer)

    def data_sent(self, count: int) -> None:
        """Note that the kernel has taken `count` bytes of `data_to_send`."""
        writer = self._ensure_writer()
        writer.data_sent(count)
        if self.state == SENDING:
            self._advance()

    def reject_job(self, job: Job) -> None:
        """Give a job that the pool refuses its error: 503."""
        job.error = HTTPError(503, "Too many requests are waiting.")

    def job_done(self, job: Job) -> bytes | None:
        """Take a finished job back. Returns as `receive_data`."""
        if job.size:
            self._context.reserve_body_bytes(-job.size)
        writer = self._ensure_writer()
        if not writer.take_back(job) or (request := self._request) is None:
            return None
        if isinstance(writer.stream, Stream):
            self._begin_sending(writer)
            self._take_part(writer, job)
        elif writer.stream is not None:
            # A piece of a file is loaded. Whether that has failed shows when it is sent.
            self._begin_sending(writer)
        else:
            # A stream keeps its connection: its head has said so.
            if self._context.draining and not self._buffer:
                self._keep_alive = False
            response = job_response(self._context, job)
            output = self._encode(request, response, job.stream if isinstance(job.stream, Stream) else None)
            if self._keep_alive and writer.is_spare and not (self._buffer or self._eof):
                self._writer = None
                if len(self._context.spare_writers) < SPARE_WRITERS_MAX:
                    self._context.spare_writers.append(writer)
                self._enter(IDLE)
                return output
            self._begin_sending(writer)
            writer.add(output)
        self._advance()
        return None

    def resume(self) -> None:
        """Take the next turn (READY)."""
        data, self._buffer = self._buffer, b""
        if self._reader is not None:
            self._receive_body(data)
        elif self._writer is not None:
            self._buffer = data
            self._begin_sending(self._writer)
            self._advance()
        else:
            self._take_turn(data)

    def handle_timeout(self, now: float) -> None:
        """Act on a deadline that has passed. Does nothing before it."""
        if self.state == LINGERING and (writer := self._writer) is not None:
            # Closing alone would leave a peer that is still sending to wait for minutes.
            writer.resets = now >= writer.linger_ends and writer.late_bytes > 0
        if self.state == WAITING and now >= self.deadline:
            # The stream's pause is over.
            self._begin_sending(self._ensure_writer())
            self._advance()
        else:
            StateMachine.handle_timeout(self, now)

    def abort(self) -> None:
        """End the connection, whatever it is doing. Idempotent."""
        if (state := self.state) != CLOSED:
            writer = self._writer
            if writer is not None:
                # First, since a closed connection does not know the client that a proxy has named.
                self._log_sent(writer, is_whole=False)
            self._enter(CLOSED)
            self._buffer = b""
            self._end_reading()
            if writer is not None:
                writer.resets |= writer.ends_with_connection and state != LINGERING
                writer.abandon()

    # What the driver acts on, besides `state`, `deadline` and `wants_read`.

    def data_to_send(self) -> bytes | memoryview | FileBody:
        """Return what to send now; empty for nothing. Report with `data_sent` what the kernel has taken."""
        return b"" if self._writer is None else self._writer.data_to_send()

    @property
    def unsent_bytes(self) -> int:
        """The memory that unsent responses keep."""
        return 0 if self._writer is None else memory_of(self._writer.output)

    @property
    def more_follows(self) -> bool:
        """A file comes right behind `data_to_send`: the kernel may hold these bytes back for it (MSG_MORE)."""
        return self._writer is not None and self._writer.file_follows

    @property
    def resets(self) -> bool:
        """CLOSED: end by a reset, so that the peer cannot take what it has for the whole."""
        return self._writer is not None and self._writer.resets

    def next_job(self) -> Job | None:
        """Return the job to run in the thread pool, once; None if there is none."""
        return None if self._writer is None else self._writer.take_next_job()

    # Reading.

    def _receive_whole(self, data: bytes) -> bytes | None:
        """Take the shortest way for one whole request whose handler responds at once. Returns as `receive_data`."""
        context, end = self._context, data.find(END_OF_HEAD) + len(END_OF_HEAD)
        if end < len(END_OF_HEAD) or context.draining:
            return self._take_turn(data)
        head = context.parser.parse_plain(data[:end])
        if head is None:
            return self._take_turn(data)
        line, fields = head.line, head.fields
        is_repeated = line.match is not None and fields.is_repeated
        if line.match is None:
            try:
                context.match(line)
            except HTTPError:
                # A method that nothing takes: refused as any other fault.
                return self._take_turn(data)
        framing = fields.framing
        if line.route is not None and framing.is_simple:
            length = framing.content_length
            if end + length == len(data) and (not length or length <= context.limits.body_bytes_max):
                route: CachedRoute = (*line.route, head)
                if is_repeated:
                    context.cache.store_route(data, route)
                fields.is_repeated = True
                return self.call_cached_route(route, data[end:])
        request = RoutedRequest(head, line.match, line.counter)
        if request.match.endpoint.blocking and end == len(data) and framing.is_simple and not framing.has_body:
            return self._respond(request, b"")
        return self._take_turn(data, request, end)

    def _take_turn(self, data: bytes, request: RoutedRequest | None = None, head_end: int = 0) -> bytes | None:
        """Respond to the requests in `data`, up to the bound of one turn. Returns as `receive_data`.

        Args:
            request: the first request, if it has been found already; its head ends at `head_end`.
        """
        reader, context = self._ensure_reader(), self._context
        responses: list[bytes] = []
        size, start, all_equal = 0, 0, True
        first: RoutedRequest | None = None
        try:
            while len(responses) < context.limits.pipelined_per_turn_max and size <= RESPONSE_BYTES_A_TURN_MAX:
                began, start = start, reader.accept(request, data, head_end) if request else reader.read(data, start)
                request = reader.request
                # A request that takes time waits until the responses before it are sent.
                if start < 0 or request is None or (responses and request.match.endpoint.blocking):
                    return self._wait_for_more(responses, data[began:])
                if start == len(data) and context.draining:
                    self._keep_alive = False
                response = self._respond(request, reader.take_body())
                if response is None:
                    self._buffer = data[start:]
                    if responses:
                        # The handler has found only now that it must wait. These do not wait for it.
                        self._ensure_writer().add(b"".join(responses))
                        context.slow_path_responses += 1
                    return None
                responses.append(response)
                size += len(response)
                first = first or request
                all_equal, request = all_equal and request.has_head_of(first), None
                if start == len(data) or self._writer is not None or not self._keep_alive:
                    break
        except HTTPError as error:
            responses.append(self._encode_refusal(error))
            return self._end_turn(b"".join(responses), b"")
        output = responses[0] if len(responses) == 1 else b"".join(responses)
        if all_equal and first is not None and start == len(data):
            ticket, line, fields = self._cache_ticket, first.head.line, first.head.fields
            is_repeated = line.is_repeated and fields.is_repeated
            if is_repeated and ticket is not None and self._keep_alive == first.head.keep_alive:
                context.cache.store_response(data, output, first, len(responses), ticket)
            line.is_repeated = fields.is_repeated = True
        return self._end_turn(output, data[start:])

    def _receive_body(self, data: bytes) -> bytes | None:
        reader = self._ensure_reader()
        try:
            end = reader.read_body(data)
            if end < 0 or reader.request is None:
                return self._wait_for_body(reader, data)
            if end == len(data) and self._context.draining:
                self._keep_alive = False
            response = self._respond(reader.request, reader.take_body())
        except HTTPError as error:
            return self._refuse(error)
        if response is None:
            self._buffer = data[end:]
            return None
        return self._end_turn(response, data[end:])

    def _receive_eof(self) -> bytes | None:
        """Respond to complete requests only: the peer has shut its write side. Returns as `receive_data`."""
        self._eof = True
        if self.awaits_rest:
            return self._refuse(HTTPError(400, CUT_OFF))
        if self.state in (IDLE, HEAD, LINGERING):
            self.abort()
        return None

    def _wait_for_more(self, responses: list[bytes], rest: bytes) -> bytes | None:
        """End a turn before a request that has to wait. Returns as `receive_data`."""
        reader = self._ensure_reader()
        if responses:
            # The next turn reads this request from its beginning.
            return self._end_turn(b"".join(responses), rest)
        if reader.in_body:
            if reader.awaits_continue:
                self._ensure_writer().add(CONTINUE)
            self._enter(BODY)
            return self._wait_for_body(reader, rest)
        self._buffer = rest
        reader.rebase()
        self._wait_for_head()
        return self._receive_eof() if self._eof else None

    def _wait_for_body(self, reader: RequestReader, data: bytes) -> bytes | None:
        """Wait for more of a body, or for this client's next turn. Returns as `receive_data`."""
        if (end := reader.paused_at) >= 0:
            self._buffer = data[end:]
            if self.state != READY:
                self._enter(READY)
        elif self._eof:
            return self._refuse(HTTPError(400, CUT_OFF))
        else:
            if self.state == READY:
                self._enter(BODY)
            self.deadline = reader.body_deadline
        return None

    def _wait_for_head(self) -> None:
        """Wait for more of a head. An empty line alone does not begin one, so the connection counts as idle."""
        if self.state != HEAD:
            deadline = self.deadline if self.state == IDLE else self._context.idle_deadline
            self._enter(HEAD)
            if self._holds_empty_line:
                self.deadline = deadline

    @property
    def _holds_empty_line(self) -> bool:
        return self.state == HEAD and self._buffer in EMPTY_LINES

    def _end_turn(self, output: bytes, rest: bytes) -> bytes | None:
        """End a turn with its responses: the connection falls idle, or continues from SENDING."""
        self._end_reading()
        if rest or self._writer is not None or self._eof or not self._keep_alive or self.state == READY:
            self._buffer = rest
            self._context.slow_path_responses += 1
            writer = self._ensure_writer()
            writer.add(output)
            self._begin_sending(writer)
            return None
        if self.state == IDLE:
            self.deadline = self._context.idle_deadline
        else:
            self._enter(IDLE)
        return output

    def _ensure_reader(self) -> RequestReader:
        self._reader = reader = self._reader or borrow(self._context)
        return reader

    def _end_reading(self) -> None:
        if self._reader is not None:
            self._reader.give_back()
            self._reader = None

    # Responding.

    def _respond(self, request: RoutedRequest, body: RequestBody) -> bytes | None:
        """Call a request's handler. Returns None if it runs elsewhere (state WAITING)."""
        self._cache_ticket = None
        if not request.match.endpoint.blocking:
            try:
                response = call_handler(self._context, self.peer, request, body)
            except MustWait:
                pass
            else:
                return self._encode(request, response)
        self._run_in_pool(request, body)
        return None

    def _run_in_pool(self, request: RoutedRequest, body: RequestBody) -> None:
        """Have a request's handler called in the thread pool (state WAITING)."""
        self._request = request
        self._wait_for(make_job(self._context, self.peer, request, body))
        if self._reader is not None:
            self._end_reading()

    def _encode(self, request: RoutedRequest, response: Response, blocking_stream: Stream | None = None) -> bytes:
        context = self._context
        # The commonest responses, at half the cost of the general way.
        body, content_type, status, _, content = response.parts
        access, kind = context.access, type(response)
        if (
            request.fast_encodable
            and self._keep_alive
            and type(body) is bytes
            and (access is None or len(body) <= LOGGED_AT_ONCE_MAX)
            and (content is not None or kind is RawResponse or (kind is Response and has_body(status)))
        ):
            counter = request.counter if status == 200 else context.counters.counter(request.head.method, status)
            counter[0] += 1
            if access is not None:
                access.log_request(self.peer, request.head, status, len(body))
            if content is not None:
                return context.head_cache[content_type][len(content)] + content
            if isinstance(response, RawResponse):
                return context.encoder.encode_raw(response, request.head, keep_alive=True)
            return context.encoder.encode_whole(status, body, encode_fields(response))
        self._request = request
        output, stream, self._keep_alive, self._cache_ticket, log_later = encode_response(
            context, self.peer, request, response, blocking_stream, keep_alive=self._keep_alive
        )
        if stream is not None:
            self._ensure_writer().begin_stream(stream)
        if log_later is not None:
            self._ensure_writer().unlogged = log_later
        return output

    def _refuse(self, error: HTTPError) -> bytes | None:
        return self._end_turn(self._encode_refusal(error), b"")

    def _encode_refusal(self, error: HTTPError) -> bytes:
        """Encode the response to a message that cannot be read. Nothing after it is taken for a request."""
        self._keep_alive, self._refused = False, True
        request = self._ensure_reader().request
        self._end_reading()
        self._buffer = b""
        head = None if request is None else request.head
        output, entry = encode_refusal(self._context, self.peer, head, error, self._request_id)
        if self._context.access is not None:
            # It ends the connection, so there is a writer anyway.
            self._ensure_writer().unlogged = entry
        return output

    def _from_cache(self, cached: CachedResponse) -> bytes:
        response, _, hits, log_entry = cached
        hits[OTHER_HITS] += 1
        if log_entry is not None:
            self._context.log_request(self.peer, *log_entry)
        return response

    # Sending.

    def _begin_sending(self, writer: ResponseWriter) -> None:
        writer.begin()
        self._enter(SENDING)

    def _advance(self) -> None:
        """Once the output is sent, compute what follows it, or enter the next state."""
        writer, parts = self._ensure_writer(), 0
        while self.state == SENDING and writer.needs_next:
            if isinstance(writer.stream, Stream):
                parts += 1
                if parts > EMPTY_PARTS_A_TURN_MAX:
                    self._enter(READY)
                else:
                    self._begin_part(writer, writer.stream)
            else:
                self._end_response(writer)
        if self.state == SENDING and (job := writer.load_job()) is not None:
            self._wait_for(job)

    def _end_response(self, writer: ResponseWriter) -> None:
        """Enter the state that follows a response that is sent, or sent as far as it could be computed."""
        self._log_sent(writer, is_whole=not writer.has_failed)
        if self._keep_alive:
            self._writer = None
            self._enter(READY if self._buffer else CLOSED if self._eof else IDLE)
        else:
            self._enter(LINGERING if self._must_linger(writer) else CLOSED)
            writer.linger_ends = self._context.now + self._context.limits.linger_seconds

    def _log_sent(self, writer: ResponseWriter, *, is_whole: bool) -> None:
        """Log a long response, with what the kernel has taken of its content."""
        entry, access = writer.unlogged, self._context.access
        if entry is not None and access is not None:
            writer.unlogged = None
            self._write_line(access, entry, writer.content_sent, is_whole=is_whole)

    def _write_line(self, access: AccessBuffer, entry: LogEntry, sent: int, *, is_whole: bool) -> None:
        log = access.log_request if is_whole else access.log_incomplete
        log(self.peer, entry.head, entry.status, sent)

    def _discard_late(self, count: int) -> None:
        """Keep lingering while the peer sends, within the bounds in time and bytes."""
        writer, limits = self._ensure_writer(), self._context.limits
        writer.late_bytes += count
        self.deadline = min(self._context.now + self._context.state_timeouts[LINGERING], writer.linger_ends)
        if writer.late_bytes > limits.linger_bytes_max:
            writer.resets = True
            self.abort()

    def _end_idle(self) -> None:
        # Closing at once would send a reset in response to a request that is on its way. See docs/decisions/076.
        self._end_reading()
        self._keep_alive, self._buffer = False, b""
        self._enter(LINGERING)
        # The peer is not reset, however long it sends: the end of the drain is the bound.
        self._ensure_writer().linger_ends = inf
        self.deadline = self._context.now + DRAIN_GRACE_SECONDS

    def _must_linger(self, writer: ResponseWriter) -> bool:
        """Whether bytes may be on their way that would turn the closing into a reset (RFC 9112 section 9.6)."""
        likely = writer.in_pieces or self._refused or self._buffer or self._context.draining
        return not self._eof and bool(likely or (self._request is not None and self._request.head.has_body))

    def _begin_part(self, writer: ResponseWriter, stream: Stream) -> None:
        job = stream.next_part()
        if stream.blocking:
            self._wait_for(job)
        else:
            job.run()
            self._take_part(writer, job)

    def _take_part(self, writer: ResponseWriter, job: Job) -> None:
        """Send a stream's next part. A part that fails is the last, so that the peer sees the response cut off."""
        error = writer.take_part(job)
        if error is not None and self._request is not None:
            log_stream_failure(self._context, self._request, error)
            self._keep_alive = False
            writer.has_failed = True
            if writer.ends_with_connection:
                self.abort()
        elif pause := writer.take_pause():
            self._enter(WAITING)
            self.deadline = self._context.now + pause

    def _wait_for(self, job: Job) -> None:
        spare = self._context.spare_writers
        self._writer = writer = self._writer or (spare.pop() if spare else ResponseWriter())
        writer.awaited_job = writer.next_job = job
        self._enter(WAITING)

    def _ensure_writer(self) -> ResponseWriter:
        self._writer = writer = self._writer or ResponseWriter()
        return writer
