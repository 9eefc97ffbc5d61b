"""The life of one client's connection, without any I/O: bytes in, bytes out, deadlines (RFC 9112 section 9).

A driver (a reactor, or a test) owns a `Connection`, tells it what has happened and then looks what it wants:

    receive(data), receive_eof(), sent(n), complete(job), resume(), expire(now), abort()
    pending(), take_job(), wants_read, state, deadline

The connection calls nobody. Closing is a state that the driver observes. One thread, the driver's, uses it.
"""

import logging
from collections.abc import Callable, Iterator
from enum import IntEnum
from math import inf
from typing import Any, Final

from .http1.body import ChunkedBody, FixedBody, body_of
from .http1.parser import END_OF_HEAD, HeadReader
from .http1.request import Request, RequestHead
from .http1.response import CONTINUE, LAST_CHUNK, TEXT, FileBody, Response, encode_chunk, respond
from .http1.status import HTTPError, has_body
from .metrics import Tally
from .router import Match
from .service import Call, Service, error_response

log = logging.getLogger("mreactor")


class State(IntEnum):
    """Where a connection stands."""

    IDLE = 0  # between requests; nothing is buffered, nothing is owed
    HEAD = 1  # a part of a request head has come
    BODY = 2  # a request's body is coming
    WAITING = 3  # a blocking handler, or a blocking stream's next part, is being computed elsewhere
    SENDING = 4  # an answer is owed to the peer
    READY = 5  # further requests are buffered, and the others' turn comes first: call `resume`
    LINGERING = (
        6  # all is said; the write side is shut and late bytes are read, so that no reset destroys the answer
    )
    CLOSED = 7


# Connections hold their state as a bare int: members of an Enum are shared between threads and reference-counted with
# atomic operations, small ints are immortal and cost nothing.
IDLE: Final = int(State.IDLE)
HEAD: Final = int(State.HEAD)
BODY: Final = int(State.BODY)
WAITING: Final = int(State.WAITING)
SENDING: Final = int(State.SENDING)
READY: Final = int(State.READY)
LINGERING: Final = int(State.LINGERING)
CLOSED: Final = int(State.CLOSED)

NEXT_STATES: dict[int, frozenset[int]] = {
    IDLE: frozenset({HEAD, BODY, WAITING, SENDING, LINGERING, CLOSED}),
    HEAD: frozenset({IDLE, BODY, WAITING, SENDING, LINGERING, CLOSED}),
    BODY: frozenset({IDLE, WAITING, SENDING, LINGERING, CLOSED}),
    WAITING: frozenset({SENDING, CLOSED}),
    SENDING: frozenset({IDLE, READY, WAITING, LINGERING, CLOSED}),
    READY: frozenset({IDLE, HEAD, BODY, WAITING, SENDING, LINGERING, CLOSED}),
    LINGERING: frozenset({CLOSED}),
    CLOSED: frozenset(),
}

_TIMEOUT_KINDS = {IDLE: "keepalive", HEAD: "head", BODY: "body", SENDING: "write", LINGERING: "linger"}

DRAIN_GRACE_SECONDS = 1.0

_NO_MORE: Final = object()  # what an exhausted stream yields


class Job:
    """Work that may wait, to be run in another thread and handed back to `Connection.complete`."""

    __slots__ = ("_args", "_call", "_keywords", "error", "result")

    def __init__(self, call: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self._call = call
        self._args = args
        self._keywords = keywords
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """Do the work; what it raises is kept for the connection."""
        try:
            self.result = self._call(*self._args, **self._keywords)
        except (
            BaseException
        ) as error:  # even sys.exit(): a handler's failure is its client's answer, no thread's end
            self.error = error


class Connection:
    """One client.

    Attributes:
        state: a value of `State`, as an int.
        deadline: monotonic seconds by which something has to happen, else `expire` is due; infinite for none.
    """

    __slots__ = (
        "_body",
        "_buffer",
        "_calls",
        "_eof",
        "_head",
        "_job",
        "_keep_alive",
        "_kept",
        "_late",
        "_output",
        "_peer",
        "_reader",
        "_refused",
        "_replies",
        "_service",
        "_since",
        "_stream",
        "_unstarted",
        "deadline",
        "state",
    )

    def __init__(self, service: Service, peer: tuple[Any, ...]) -> None:
        self._service = service
        self._peer = peer
        self.state = IDLE
        self._replies = service.replies  # while idle; otherwise a dict that stays empty
        self._calls = service.calls  # likewise
        # A fresh connection has as long for its first head as a head may take: silence is no head.
        self.deadline = service.now + service.limits.head_seconds
        self._buffer = b""  # received and not yet used
        self._reader: HeadReader | None = None  # of the head that is coming in pieces
        self._head: RequestHead | None = None  # of the request being received or answered
        self._body: FixedBody | ChunkedBody | None = None
        self._job: Job | None = None  # what WAITING waits for
        self._unstarted: Job | None = None  # the same, until the driver takes it
        self._output: bytes | memoryview = b""
        self._stream: FileBody | Iterator[bytes | str] | None = None  # what follows the output
        self._keep_alive = True
        self._refused = False  # the last answer refuses a message whose end is unknown
        self._kept: tuple[Tally, tuple[RequestHead, int, int] | None] | None = None  # for the reply cache
        self._eof = False  # the peer has shut its write side
        self._late = 0  # bytes read while lingering
        self._since = 0.0  # when the body began

    # What has happened.

    def receive(self, data: bytes) -> bytes | None:
        """Take bytes from the peer; none at all mean that it has shut its write side, see `receive_eof`.

        Returns:
            the whole answer, where sending it leaves the connection idle: nothing else needs looking at.
            None otherwise: look at `pending`, `take_job`, `state` and `deadline`.
        """
        # The fast lane: these very bytes have been answered within this second, and the connection is idle (else
        # `_replies` is empty). It costs 0.4 µs where parsing, calling a constant handler and encoding cost 4 µs.
        reply = self._replies.get(data)
        if reply is not None:
            answer, count, tally, note = reply
            tally[0] += count
            service = self._service
            service.cache_hits[0] += count
            if note is not None:
                service.access.note(self._peer, *note, count)
            self.deadline = service.idle_deadline
            return answer
        # The second lane: these bytes are one request whose plain route is known; only the handler runs anew. It costs
        # 1.5 µs without the handler, where reading and routing the request and settling its end cost 4 µs.
        call = self._calls.get(data)
        if call is not None:
            return self._answer_again(call)
        return self._receive(data)

    def receive_eof(self) -> None:
        """The peer has shut its write side. What it has asked for in full is still answered."""
        self._eof = True
        if self.state in (IDLE, LINGERING):
            self._close()
        elif self.state in (HEAD, BODY):
            self._refuse(HTTPError(400, "The request ended before it was complete."))

    def owe(self, answer: bytes, count: int) -> None:
        """The kernel took only `count` bytes of an answer that `receive` returned: the rest is owed."""
        self._output = memoryview(answer)[count:]
        self._enter(SENDING)

    def sent(self, count: int) -> None:
        """The kernel has taken `count` bytes of `pending`."""
        if count and self.state == SENDING:
            self.deadline = max(self.deadline, self._service.now + self._service.limits.write_stall_seconds)
        if self._output:
            self._output = memoryview(self._output)[count:]
        elif isinstance(self._stream, FileBody):
            self._stream.advance(count)
        if not self._output and self.state == SENDING:
            self._go_on()

    def complete(self, job: Job) -> None:
        """A job is done. One that the connection does not wait for any more is ignored."""
        if job is not self._job:
            return
        self._job = None
        self._enter(SENDING)
        if self._stream is not None:
            self._take_part(job)
        else:
            self._output = bytes(self._output) + self._answer_from(job)
        if not self._output:
            self._go_on()

    def resume(self) -> None:
        """It is this connection's turn again (state READY)."""
        data, self._buffer = self._buffer, b""
        self._take_turn(data)

    def expire(self, now: float) -> None:
        """Act on a deadline that has passed; does nothing before it."""
        if now < self.deadline or self.state == CLOSED:
            return
        self._service.counters.timeout(_TIMEOUT_KINDS.get(self.state, "other"))
        if self.state in (HEAD, BODY):
            self._refuse(HTTPError(408, "The request took too long to arrive."))
        else:
            self._close()

    def drain(self) -> None:
        """The server is stopping: close if idle; otherwise the next answer is the last.

        A client that was answered within the last second, or is new, may have its next request on the way: a close would
        lose it. It gets a second, and an answer with `Connection: close`.
        """
        self._keep_alive = False
        if self.state != IDLE:
            return
        now = self._service.now
        if (
            self._head is not None
            and self.deadline - self._service.limits.keepalive_seconds < now - DRAIN_GRACE_SECONDS
        ):
            self._close()
        else:
            self._replies, self._calls = self._service.no_replies, self._service.no_calls
            self.deadline = min(self.deadline, now + DRAIN_GRACE_SECONDS)

    def abort(self) -> None:
        """The peer is gone, or the connection is not to be had any longer."""
        self._close()

    # What is wanted.

    @property
    def wants_read(self) -> bool:
        """Whether further bytes are welcome. While it is False, let them wait in the kernel: that is backpressure."""
        return self.state <= BODY or self.state == LINGERING

    def pending(self) -> bytes | memoryview | FileBody:
        """What to send now; empty for nothing. Report what was taken with `sent`."""
        if self._output or self.state != SENDING or not isinstance(self._stream, FileBody):
            return self._output
        return self._stream

    def take_job(self) -> Job | None:
        """The job to start, given out once; None if there is none."""
        job, self._unstarted = self._unstarted, None
        return job

    # Receiving.

    def _receive(self, data: bytes) -> bytes | None:
        if not data:
            self.receive_eof()
            return None
        state = self.state
        if state == IDLE:
            return self._take_turn(data)
        if state == BODY:
            return self._receive_body(data)
        if state == LINGERING:
            self._late += len(data)
            if self._late > self._service.limits.linger_bytes_max:
                self._close()
        elif state == HEAD:
            data, self._buffer = self._buffer + data, b""
            return self._take_turn(data)
        elif state != CLOSED and self._keep_alive:
            self._buffer += data  # was on its way when the connection ceased to want bytes
        return None

    def _take_turn(self, data: bytes) -> bytes | None:
        """Answer the requests in `data`, up to the bound for one turn; returns what `receive` returns."""
        answers: list[bytes] = []
        start = 0
        first, same = None, True
        try:
            for _ in range(self._service.limits.pipelined_per_turn_max):
                began, start = start, self._read_request(data, start)
                head = self._head
                # What cannot be answered at once waits, unanswered, until the answers before it are sent.
                if head is None or start < 0 or (answers and head.match.blocking):
                    return self._pause(answers, data[began:])
                answer = self._answer(head)
                if answer is None:
                    self._buffer = data[start:]
                    return None
                answers.append(answer)
                first, same = first or head, same and (first is None or head is first)
                if start == len(data) or self._stream is not None or not self._keep_alive:
                    break
        except HTTPError as error:
            answers.append(self._refusal(error))
            start = len(data)
        output = answers[0] if len(answers) == 1 else b"".join(answers)
        if same and first is not None and start == len(data):
            self._remember(data, first, output, len(answers))
        return self._finish(output, data[start:])

    def _read_request(self, data: bytes, start: int) -> int:
        """Read the request at `start` into `_head` and `_body`, and route it.

        Returns:
            the offset past it; -1 where it is not all there yet.
        """
        if self._reader is None and (end := data.find(END_OF_HEAD, start)) >= 0:
            end += len(END_OF_HEAD)
            head = self._head = self._service.parser.parse(data[start:end])
        else:
            end = self._read_on(data, start)
            if end < 0:
                return -1
            head = self._head
        if head.match is None:
            self._route(head)
        return self._begin_body(head, data, end) if head.has_body else end

    def _read_on(self, data: bytes, start: int) -> int:
        """Read a head that comes in pieces; returns as `_read_request`."""
        if self._reader is None:
            self._head = None
            self._reader = self._service.parser.reader(start)
        read = self._reader.read(data)
        if read is None:
            return -1
        self._reader = None
        line, fields, end = read
        self._head = self._service.parser.finish(line, fields)
        return end

    def _begin_body(self, head: RequestHead, data: bytes, start: int) -> int:
        """Begin a request's body and take what has come of it; returns as `_read_request`."""
        body = body_of(head, self._service.limits)
        assert body is not None, "the head announces a body"
        if head.expects_continue:
            if (refusal := head.match.params.get("refusal")) is not None and head.match.handler is _refused:
                raise HTTPError(refusal.status, refusal.reason, refusal.headers)
            if start == len(data):
                self._output = CONTINUE
        self._body = body
        end = body.feed(data, start)
        return -1 if end is None else end

    def _receive_body(self, data: bytes) -> bytes | None:
        head, body = self._head, self._body
        assert head is not None and body is not None, "state BODY has both"
        try:
            end = body.feed(data, 0)
        except HTTPError as error:
            self._refuse(error)
            return None
        if end is None:
            limits = self._service.limits
            self.deadline = self._since + limits.body_grace_seconds + body.received / limits.body_rate_min
            return None
        answer = self._answer(head)
        if answer is None:
            self._buffer = data[end:]
            return None
        return self._finish(answer, data[end:])

    def _pause(self, answers: list[bytes], rest: bytes) -> None:
        """End a turn before a request that cannot be answered yet."""
        if answers:
            self._reader = self._body = None  # it is read anew when its turn comes
            self._finish(b"".join(answers), rest)
        elif self._body is not None:
            self._since = self._service.now
            self._enter(BODY)
        else:
            self._buffer = rest
            if self._reader is not None:
                self._reader.rebase()
            if self.state != HEAD:
                self._enter(HEAD)
        if self._eof and self.state in (HEAD, BODY):
            self._refuse(HTTPError(400, "The request ended before it was complete."))

    def _finish(self, output: bytes, rest: bytes) -> bytes | None:
        """End a turn with an answer: the connection falls idle, or goes on from SENDING."""
        if (
            rest
            or self._stream is not None
            or not self._keep_alive
            or self._eof
            or self._output
            or self.state == READY
        ):
            self._buffer = rest
            self._output = bytes(self._output) + output
            self._enter(SENDING)
            return None
        if self.state == IDLE:
            self.deadline = self._service.idle_deadline
        else:
            self._enter(IDLE)
        return output

    def _remember(self, data: bytes, head: RequestHead, output: bytes, count: int) -> None:
        """Keep what `data`, the same request `count` times over, has led to."""
        match = head.match
        if match.plain and count == 1:
            self._service.remember_call(data, (match.handler, match.params, head, match.tally))
        elif self._kept is not None and self._keep_alive:
            self._service.remember(data, (output, count, *self._kept))
        self._kept = None

    # Answering.

    def _route(self, head: RequestHead) -> None:
        """Find what answers a head; the head keeps it, and so do the requests that repeat the head."""
        service = self._service
        try:
            match = service.router.match(head)
        except HTTPError as error:
            match = Match(_refused, {"refusal": error}, False, False)
        match.tally = service.counters.tally(head.method, 200)
        match.plain = head.plain and not match.blocking and not match.constant and service.access is None
        head.match = match

    def _answer_again(self, call: Call) -> bytes | None:
        """Answer a request that has been read and routed before; returns what `receive` returns."""
        handler, params, head, tally = call
        self._head = head
        try:
            content = handler(Request(head, b"", self._peer), **params)
            if type(content) is str:
                tally[0] += 1
                service = self._service
                self.deadline = service.idle_deadline
                return service.encode_plain(content.encode(), TEXT)
            response = respond(content)
        except BaseException as error:
            response = self._failure(error)
        return self._finish(self._encode(head, response), b"")

    def _answer(self, head: RequestHead) -> bytes | None:
        """Answer the request that has been read; None where its handler runs elsewhere (state WAITING)."""
        match = head.match
        body = b""
        if self._body is not None:
            body, self._body = self._body.content(), None
        if match.blocking:
            self._job = self._unstarted = Job(match.handler, (Request(head, body, self._peer),), match.params)
            self._enter(WAITING)
            return None
        try:
            content = match.handler(Request(head, body, self._peer), **match.params)
            response = respond(content)
        except BaseException as error:
            response = self._failure(error)
        return self._encode(head, response)

    def _failure(self, error: BaseException) -> Response:
        """The answer to a handler's exception; the connection stays usable."""
        if isinstance(error, HTTPError):
            try:
                return error_response(error)
            except ValueError as unfit:  # header fields that cannot be sent
                error = unfit
        head = self._head
        assert head is not None, "a handler was called"
        self._service.counters.error("handler")
        log.error("the handler of %s %s failed", head.method, head.raw_path, exc_info=error)
        return error_response(HTTPError(500, "The server failed to answer this request."))

    def _answer_from(self, job: Job) -> bytes:
        """The answer that a blocking handler has computed."""
        head = self._head
        assert head is not None, "a request is being answered"
        try:
            if job.error is not None:
                raise job.error
            response = respond(job.result)
        except BaseException as error:
            response = self._failure(error)
        return self._encode(head, response)

    def _encode(self, head: RequestHead, response: Response) -> bytes:
        """The answer's bytes; of a file or stream the head, and the rest is set to follow it."""
        service, status, body = self._service, response.status, response.body
        in_full = isinstance(body, bytes)
        if not head.keep_alive or (head.version == (1, 0) and not isinstance(body, bytes | FileBody)):
            self._keep_alive = False
        answer = service.encode(response, head, self._keep_alive)
        if not in_full:
            if has_body(status) and head.method != "HEAD":
                self._stream = body
            else:
                _close_stream(body)
        tally = service.counters.tally(head.method, status)
        tally[0] += 1
        note = None
        if service.access is not None:
            note = (head, status, len(body) if isinstance(body, bytes | FileBody) else -1)
            service.access.note(self._peer, *note)
        self._kept = (tally, note) if head.match.constant and in_full and status in (200, 304) else None
        return answer

    def _refuse(self, error: HTTPError) -> None:
        """Refuse what is being received: an answer, and nothing after it is read as a request."""
        self._finish(self._refusal(error), b"")

    def _refusal(self, error: HTTPError) -> bytes:
        """The answer to a message that cannot be read. Where it ends is not known, so the connection ends with it."""
        service = self._service
        self._keep_alive = False
        self._refused = True
        self._reader = self._body = None
        service.counters.tally("-", error.status)[0] += 1
        if service.access is not None:
            service.access.note(self._peer, None, error.status, 0)
        return service.encode(error_response(error), None, False)

    # Sending.

    def _go_on(self) -> None:
        """The output is out: fetch what follows it, or go to the next state."""
        while not self._output and self.state == SENDING:
            stream = self._stream
            if isinstance(stream, FileBody):
                if stream.remaining:
                    return
                self._drop_stream()
            elif stream is not None:
                self._begin_part(stream)
            elif not self._keep_alive:
                self._enter(LINGERING if self._lingers() else CLOSED)
            elif self._buffer:
                self._enter(READY)
            else:
                self._enter(CLOSED if self._eof else IDLE)

    def _lingers(self) -> bool:
        """Whether bytes may be on their way that would turn the closing into a reset (RFC 9112 section 9.6)."""
        return not self._eof and bool(self._refused or self._buffer or self._service.draining)

    def _begin_part(self, stream: Iterator[bytes | str]) -> None:
        job = Job(next, (stream, _NO_MORE), {})
        if self._head is not None and self._head.match.blocking:
            self._job = self._unstarted = job
            self._enter(WAITING)
        else:
            job.run()
            self._take_part(job)

    def _take_part(self, job: Job) -> None:
        """Send a stream's next part; one that fails ends the connection, so that the peer sees the answer cut off."""
        assert self._head is not None, "a request is being answered"
        chunked = self._head.version == (1, 1)
        try:
            if job.error is not None:
                raise job.error
            if job.result is _NO_MORE:
                self._drop_stream()
                self._output = LAST_CHUNK if chunked else b""
            else:
                part = job.result.encode() if isinstance(job.result, str) else bytes(memoryview(job.result))
                self._output = encode_chunk(part) if chunked else part
        except BaseException as error:
            self._failure(error)
            self._close()

    def _drop_stream(self) -> None:
        stream, self._stream = self._stream, None
        _close_stream(stream)

    # Moving between states.

    def _enter(self, state: int) -> None:
        assert state in NEXT_STATES[self.state], (State(self.state), State(state))
        service, limits = self._service, self._service.limits
        self.state = state
        is_idle = state == IDLE
        self._replies = service.replies if is_idle else service.no_replies
        self._calls = service.calls if is_idle else service.no_calls
        if is_idle:
            self.deadline = service.idle_deadline
        elif state == HEAD:
            # A fresh connection's deadline runs since accept.
            self.deadline = min(self.deadline, service.now + limits.head_seconds)
        elif state == BODY:
            self.deadline = service.now + limits.body_grace_seconds
        elif state == SENDING:
            self.deadline = service.now + limits.write_stall_seconds
        elif state == LINGERING:
            self.deadline = service.now + limits.linger_seconds
        else:
            self.deadline = inf

    def _close(self) -> None:
        if self.state == CLOSED:
            return
        self._enter(CLOSED)
        self._buffer = self._output = b""
        self._job = self._unstarted = self._body = self._reader = None
        self._drop_stream()


def _refused(request: Request, refusal: HTTPError) -> Response:
    """The handler of requests that no route answers."""
    return error_response(refusal)


def _close_stream(stream: FileBody | Iterator[bytes | str] | bytes | None) -> None:
    """Close a file, or a generator so that its `finally` runs; other iterators have nothing to close."""
    close = getattr(stream, "close", None)
    if close is None:
        return
    try:
        close()
    except Exception:
        log.exception("a stream failed when it was closed")
