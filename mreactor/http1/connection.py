"""The life of one client's connection, without any I/O: bytes in, bytes out, deadlines (RFC 9112 section 9).

A driver (a reactor, or a test) owns a `Connection`, tells it what has happened and then looks what it wants:

    receive(data), receive_eof(), sent(n), complete(job), resume(), expire(now), abort()
    pending(), next_job(), wants_read, state, deadline

The connection calls nobody. Closing is a state that the driver observes. One thread, the driver's, uses it.
"""

from math import nextafter
from typing import TYPE_CHECKING, Any

from ..concurrency import Job
from ..http import CONTINUE, TEXT, HTTPError, Request, RequestHead, Response, respond
from ..protocol import FileBody
from ..runtime import hot
from .dispatch import call_handler, encode_refusal, encode_response, failure, job_response, make_job
from .request_reader import CUT_OFF, RequestReader, borrow
from .response_cache import BODY_METHODS_AFTER, OTHER_HITS, CachedResponse, CachedRoute, CacheTicket
from .response_stream import Stream
from .send_buffer import ANSWERS_BYTES_MAX, SendBuffer
from .states import (
    BODY,
    CLOSED,
    DRAIN_GRACE_SECONDS,
    HEAD,
    IDLE,
    LINGERING,
    NEXT_STATES,
    READY,
    SENDING,
    WAITING,
    State,
)

if TYPE_CHECKING:
    from .context import ReactorContext


@hot(
    "__init__",
    "receive_data",
    "receive_uncached",
    "call_cached_route",
    "queue_remainder",
    "data_sent",
    "abort",
    "next_job",
    "data_to_send",
    "_take_turn",
    "_answer",
    "_encode",
    "_end_turn",
    "_advance",
    "_enter",
    "_ensure_reader",
    "_ensure_send_buffer",
)
class Connection:
    """One client.

    Attributes:
        state: a value of `State`, as an int.
        deadline: monotonic seconds by which something has to happen, else `expire` is due; infinite for none.
        peer: the client's address, as `getpeername` gives it.
    """

    __slots__ = (
        "_buffer", "_eof", "_fresh_deadline", "_head", "_job", "_keep_alive", "_cacheable", "_linger_bytes", "_send_buffer",
        "_reader", "_refused", "_context", "_next_job", "deadline", "peer", "state",
    )  # fmt: skip

    def __init__(self, context: "ReactorContext", peer: tuple[Any, ...]) -> None:
        self._context, self.peer = context, peer
        self.state = IDLE
        # A fresh connection has as long for its first head as a head may take, and no other deadline is equal to this.
        self.deadline = self._fresh_deadline = nextafter(context.now + context.limits.head_seconds, 0.0)
        self._buffer = b""  # received and not yet used
        # Thousands of connections may be idle, and an idle one has neither of these.
        self._reader: RequestReader | None = None  # while a message is being received
        self._send_buffer: SendBuffer | None = None  # while something is owed
        self._head: RequestHead | None = None  # of the request being answered, or the last one
        self._job: Job | None = None  # what WAITING waits for
        self._next_job: Job | None = None  # the same, until the driver takes it
        self._keep_alive = True
        self._refused = False  # the last answer refuses a message whose end is unknown
        self._cacheable: CacheTicket | None = None  # for the reply cache
        self._eof = False  # the peer has shut its write side
        self._linger_bytes = 0  # bytes read while lingering

    def receive_data(self, data: bytes) -> bytes | None:
        """Take bytes from the peer; none at all mean that it has shut its write side, see `receive_eof`.

        Returns:
            the whole answer, where sending it leaves the connection idle: nothing else needs looking at.
            None otherwise: look at `pending`, `next_job`, `state` and `deadline`.
        """
        if self.state == IDLE:
            cache = self._context.cache
            # These very bytes have been answered within this second (0.2 µs), or are one request whose plain route is
            # known (1 µs and the handler); the long way costs 4 µs. Reactors look for both themselves, and then `take`.
            if data > BODY_METHODS_AFTER and (upload := cache.find_body_route(data)) is not None:
                return self.call_cached_route(*upload)
            if (reply := cache.responses.get(data)) is not None:
                self.deadline = self._context.idle_deadline
                return self._from_cache(reply)
            if (call := cache.routes.get(data)) is not None:
                return self.call_cached_route(call, b"")
        return self.receive_uncached(data)

    def receive_uncached(self, data: bytes) -> bytes | None:
        """As `receive`, for bytes that are not known."""
        if not data:
            return self.receive_eof()
        if (state := self.state) == IDLE:
            cache = self._context.cache
            if cache.closing_responses and (reply := cache.closing_responses.get(data)) is not None:
                self._keep_alive, self._head = False, None  # it has no body, whatever the last one had
                return self._end_turn(self._from_cache(reply), b"")
            return self._take_turn(data)
        if state == BODY:
            return self._receive_body(data)
        if state == LINGERING:
            self._linger_bytes += len(data)
            if self._linger_bytes > self._context.limits.linger_bytes_max:
                self.abort()
        elif state == HEAD:
            data, self._buffer = self._buffer + data, b""
            return self._take_turn(data)
        elif state != CLOSED and self._keep_alive:
            self._buffer += data  # was on its way when the connection ceased to want bytes
        return None

    def call_cached_route(self, call: CachedRoute, body: bytes) -> bytes | None:
        """While idle: answer a request that has been read and routed before; returns what `receive` returns."""
        handler, argument, named, head, counter, heads, access = call
        try:
            request = Request(head, body, self.peer)
            if argument is not None:  # 0.15 µs cheaper than by name
                result = handler(request, argument)
            else:
                result = handler(request, **named) if named else handler(request)
            if (kind := type(result)) is not str:
                response = result if kind is Response else respond(result)
                if (plain := response.plain) is None:
                    return self._end_turn(self._encode(head, response), b"")
                content, content_type = plain
            else:
                content, content_type = result.encode(), TEXT
        except BaseException as error:
            return self._end_turn(self._encode(head, failure(self._context, head, error)), b"")
        counter[0] += 1
        self.deadline = self._context.idle_deadline
        if access is not None:
            access.log_request(self.peer, head, 200, len(content))
        return heads[content_type][len(content)] + content

    def receive_eof(self) -> bytes | None:
        """The peer has shut its write side. What it has asked for in full is still answered; returns as `receive`."""
        self._eof = True
        if self.state in (HEAD, BODY):
            return self._end_turn(self._refusal(HTTPError(400, CUT_OFF)), b"")
        if self.state in (IDLE, LINGERING):
            self.abort()
        return None

    def queue_remainder(self, answer: bytes, count: int) -> None:
        """The kernel took only `count` bytes of an answer that `receive` returned: the rest is owed."""
        self._ensure_send_buffer().output = memoryview(answer)[count:]
        self._enter(SENDING)

    def data_sent(self, count: int) -> None:
        """The kernel has taken `count` bytes of `pending`."""
        self._ensure_send_buffer().data_sent(count)
        if self.state == SENDING:
            if count:
                self.deadline = self._ensure_send_buffer().deadline(self._context)
            self._advance()

    def job_done(self, job: Job) -> None:
        """A job is done. One that the connection does not wait for any more is ignored."""
        self._context.reserve_body_bytes(-job.size)
        if job is not self._job or (head := self._head) is None:
            self._next_job = job.disposal() or self._next_job
            return
        self._job = None
        if self._context.draining and not self._buffer and job.stream is None:  # a stream's head is long gone
            self._keep_alive = False
        self._enter(SENDING)
        if job.stream is None:
            self._ensure_send_buffer().add(self._encode(head, job_response(self._context, head, job)))
        else:
            self._take_part(job)
        self._advance()

    def reject_job(self, job: Job) -> None:
        """Give a job that the pool refuses its error: 503."""
        job.error = HTTPError(503, "Too many requests are waiting.")

    def resume(self) -> None:
        """It is this connection's turn again (state READY)."""
        data, self._buffer = self._buffer, b""
        self._take_turn(data)

    def handle_timeout(self, now: float) -> None:
        """Act on a deadline that has passed; does nothing before it."""
        if now < self.deadline or self.state == CLOSED:
            return
        # A fresh connection has not been kept alive for anything: it owes its first head.
        self._context.count_timeout(HEAD if self.deadline == self._fresh_deadline else self.state)
        if self.state in (HEAD, BODY):
            self._end_turn(self._refusal(HTTPError(408, "The request took too long to arrive.")), b"")
        else:
            self.abort()

    def drain(self) -> None:
        """The server is stopping: close if idle for a while; else the last request received has the last answer."""
        now, limits = self._context.now, self._context.limits
        # Who has fallen idle while the server drains has a moment only, too.
        if self.state != IDLE or self.deadline <= now + DRAIN_GRACE_SECONDS:
            return
        is_fresh = self.deadline == self._fresh_deadline
        since = self.deadline - (limits.head_seconds if is_fresh else limits.keepalive_seconds)
        self.deadline = min(self.deadline, now + DRAIN_GRACE_SECONDS)
        if since < now - DRAIN_GRACE_SECONDS:
            self.abort()

    def abort(self) -> None:
        """End the connection, whatever it was doing."""
        if self.state != CLOSED:
            self._enter(CLOSED)
            self._buffer = b""
            self._end_receiving()
            # A stream whose part is being computed cannot be closed yet: see `complete`.
            self._next_job = (
                None if self._send_buffer is None else self._send_buffer.give_up(self._job is not None)
            )
            self._send_buffer = self._job = None

    @property
    def wants_read(self) -> bool:
        """Whether further bytes are welcome. While it is False, let them wait in the kernel: that is backpressure."""
        return self.state <= BODY or self.state == LINGERING

    def data_to_send(self) -> bytes | memoryview | FileBody:
        """What to send now; empty for nothing. Report what was taken with `sent`."""
        return b"" if self._send_buffer is None else self._send_buffer.data_to_send()

    @property
    def awaits_rest(self) -> bool:
        """A message has begun and its rest has not come."""
        return self.state in (HEAD, BODY)

    @property
    def more_follows(self) -> bool:
        """Whether a file comes right behind `pending`, so that the kernel need not send the little there is at once."""
        return self._send_buffer is not None and isinstance(self._send_buffer.stream, FileBody)

    def next_job(self) -> Job | None:
        """The job to start, given out once; None if there is none."""
        job, self._next_job = self._next_job, None
        return job

    def _from_cache(self, reply: CachedResponse) -> bytes:
        answer, _, hits, noted = reply
        hits[OTHER_HITS] += 1
        if noted is not None:
            self._context.note(self.peer, *noted)
        return answer

    def _take_turn(self, data: bytes) -> bytes | None:
        """Answer the requests in `data`, up to the bound for one turn; returns what `receive` returns."""
        reader, context, self._cacheable = self._ensure_reader(), self._context, None
        answers: list[bytes] = []
        size, start, same = 0, 0, True
        first: RequestHead | None = None
        try:
            while len(answers) < context.limits.pipelined_per_turn_max and size <= ANSWERS_BYTES_MAX:
                began, start = start, reader.read(data, start)
                head = reader.head
                # What cannot be answered at once waits, unanswered, until the answers before it are sent.
                if start < 0 or head is None or (answers and head.match.blocking):
                    return self._wait_for_more(answers, data[began:])
                answer = self._answer(head, reader.take_body(), start == len(data))
                if answer is None:
                    self._buffer = data[start:]
                    return None
                answers.append(answer)
                size += len(answer)
                same = same and (first is None or head is first)
                first = head
                if start == len(data) or self._send_buffer is not None or not self._keep_alive:
                    break
        except HTTPError as error:
            answers.append(self._refusal(error))
            start = len(data)
        output = answers[0] if len(answers) == 1 else b"".join(answers)
        if same and first is not None and start == len(data):
            kept = self._cacheable if self._keep_alive == first.keep_alive else None
            context.cache.store(data, output, first, len(answers), kept)
        return self._end_turn(output, data[start:])

    def _receive_body(self, data: bytes) -> bytes | None:
        reader = self._ensure_reader()
        try:
            end = reader.read_body(data)
            if end < 0 or reader.head is None:
                self.deadline = reader.body_deadline
                return None
            answer = self._answer(reader.head, reader.take_body(), end == len(data))
        except HTTPError as error:
            return self._end_turn(self._refusal(error), b"")
        if answer is None:
            self._buffer = data[end:]
            return None
        return self._end_turn(answer, data[end:])

    def _wait_for_more(self, answers: list[bytes], rest: bytes) -> bytes | None:
        """End a turn before a request that cannot be answered yet; returns what `receive` returns."""
        reader = self._ensure_reader()
        if answers:
            return self._end_turn(
                b"".join(answers), rest
            )  # what has come of this one is read anew in its turn
        if reader.in_body:
            if reader.awaits_continue:
                self._ensure_send_buffer().add(CONTINUE)
            self._enter(BODY)
            self.deadline = reader.body_deadline
        else:
            self._buffer = rest
            reader.rebase()
            if self.state != HEAD:
                self._enter(HEAD)
        return self._end_turn(self._refusal(HTTPError(400, CUT_OFF)), b"") if self._eof else None

    def _end_turn(self, output: bytes, rest: bytes) -> bytes | None:
        """End a turn with an answer: the connection falls idle, or goes on from SENDING."""
        self._end_receiving()
        if rest or self._send_buffer is not None or self._eof or not self._keep_alive or self.state == READY:
            self._buffer = rest
            self._context.slow_path_responses += 1
            self._ensure_send_buffer().add(output)
            self._enter(SENDING)
            return None
        if self.state == IDLE:
            self.deadline = self._context.idle_deadline
        else:
            self._enter(IDLE)
        return output

    def _answer(self, head: RequestHead, body: bytes, is_last: bool) -> bytes | None:
        """Answer a request, perhaps the last that is there; None where its handler runs elsewhere (state WAITING)."""
        if is_last and self._context.draining:
            self._keep_alive = False
        if not head.match.blocking:
            return self._encode(head, call_handler(self._context, self.peer, head, body))
        self._head = head
        self._wait_for(make_job(self._context, self.peer, head, body))
        self._end_receiving()
        return None

    def _encode(self, head: RequestHead, response: Response) -> bytes:
        self._head, context, match = head, self._context, head.match
        # The commonest answer, at half the cost of the general way.
        if (plain := response.plain) is not None and match.plain and self._keep_alive:
            content, content_type = plain
            match.counter[0] += 1
            if context.access is not None:
                context.access.log_request(self.peer, head, 200, len(content))
            return context.plain_heads[content_type][len(content)] + content
        answer = encode_response(context, self.peer, head, response, self._keep_alive)
        self._keep_alive, self._cacheable = answer.keep_alive, answer.kept
        if answer.stream is not None:
            self._ensure_send_buffer().stream = answer.stream
        return answer.output

    def _refusal(self, error: HTTPError) -> bytes:
        """The answer to a message that cannot be read: nothing after it is taken for a request."""
        self._keep_alive, self._refused = False, True
        head = self._ensure_reader().head
        self._end_receiving()
        self._buffer = b""
        return encode_refusal(self._context, self.peer, head, error)

    def _advance(self) -> None:
        """Where the output is out, fetch what follows it, or go to the next state."""
        send_buffer = self._ensure_send_buffer()
        while (
            self.state == SENDING and not send_buffer.output and not isinstance(send_buffer.stream, FileBody)
        ):
            if send_buffer.stream is not None:
                self._begin_part(send_buffer.stream)
            elif not self._keep_alive:
                self._enter(LINGERING if self._lingers() else CLOSED)
            else:
                self._send_buffer = None
                self._enter(READY if self._buffer else CLOSED if self._eof else IDLE)

    def _lingers(self) -> bool:
        """Whether bytes may be on their way that would turn the closing into a reset (RFC 9112 section 9.6)."""
        likely = (
            self._ensure_send_buffer().in_pieces or self._refused or self._buffer or self._context.draining
        )
        return not self._eof and bool(likely or (self._head is not None and self._head.has_body))

    def _begin_part(self, stream: Stream) -> None:
        job = stream.next_part()
        if stream.blocking:
            self._wait_for(job)
        else:
            job.run()
            self._take_part(job)

    def _take_part(self, job: Job) -> None:
        """Send a stream's next part; one that fails is the last one, so that the peer sees the answer cut off."""
        error = self._ensure_send_buffer().take_part(job)
        if error is not None and self._head is not None:
            failure(self._context, self._head, error)
            self._keep_alive, self._next_job = False, self._ensure_send_buffer().end_stream(False)

    def _wait_for(self, job: Job) -> None:
        self._job = self._next_job = job
        self._enter(WAITING)

    def _enter(self, state: int) -> None:
        assert state in NEXT_STATES[self.state], (State(self.state).name, State(state).name)
        context = self._context
        self.state = state
        # A fresh connection's first head has been awaited since accept.
        if state != HEAD or self.deadline != self._fresh_deadline:
            self.deadline = context.now + context.state_timeouts[state]
        if state == SENDING:
            self._ensure_send_buffer().begin(context.now)

    def _ensure_reader(self) -> RequestReader:
        """What reads the message that is coming, or that begins."""
        self._reader = reader = self._reader or borrow(self._context)
        return reader

    def _end_receiving(self) -> None:
        if self._reader is not None:
            self._reader.give_back()
            self._reader = None

    def _ensure_send_buffer(self) -> SendBuffer:
        """What is owed, to be added to."""
        self._send_buffer = send_buffer = self._send_buffer or SendBuffer()
        return send_buffer
