"""What all connections of one reactor share: routes, parser, caches, counters, and the present second.

A reactor makes its context inside its own thread and nobody else touches it: in free-threaded Python an object that two
threads use costs each of them an atomic operation, or a lock, at every mention.
"""

import time
from collections.abc import Iterable
from math import inf
from typing import Any

from ..app import Match, Route, Router
from ..config import Limits
from ..http import (
    REASONS,
    Body,
    HTTPError,
    Request,
    RequestHead,
    Response,
    encode_fields,
    encode_length,
    format_date,
    has_body,
    status_line,
)
from ..logs import AccessBuffer
from ..metrics import Counters
from ..protocol import FastPath, Peer
from ..runtime import hot, private_bytes
from .connection import Connection
from .head_cache import HeadCache
from .head_parser import END_OF_HEAD, Parser
from .response_cache import BODY_METHODS_AFTER, ResponseCache
from .states import (
    BODY,
    CLOSED,
    DRAIN_GRACE_SECONDS,
    HEAD,
    IDLE,
    LINGERING,
    READY,
    SENDING,
    TIMEOUT_KINDS,
    WAITING,
)

SERVER = b"Server: mreactor\r\n"


@hot("begin_round", "encode", "begin_second")
class ReactorContext:
    """The shared part of one reactor's connections.

    Args:
        limits: the bounds that connections keep.
        routes: the frozen routes of the application.
        access: where requests are noted; None: the access log is off.
        reactors: how many share the bounds that hold for the whole server.
        second_offset: when this reactor's seconds begin, after the clock's, from 0 to 1. Reactors that all rendered and parsed
            anew at once would meet at the interpreter's locks.

    Attributes:
        now: monotonic seconds, as of the present round of the event loop.
        idle_deadline: when a connection that falls idle now will have been idle for too long.
        next_second: monotonic seconds at which `begin_second` is due.
        cache: what this second's requests have led to; empty while the server drains.
        plain_heads: the heads of the commonest answers: `plain_heads[content_type][len(content)] + content` is one.
        draining: answers say `Connection: close`.
        note: what tells the access log of a request; see `AccessBuffer.log_request`.
        spare: a `RequestReader` that no connection uses now, or None.
        slow_path_responses: answers of the present round that did not take the reactor's fast lane, which counts its own.
    """

    def __init__(
        self,
        limits: Limits,
        routes: Iterable[Route],
        access: AccessBuffer | None = None,
        reactors: int = 1,
        second_offset: float = 0.0,
    ) -> None:
        self.limits = limits
        self.router = Router(routes)
        self.parser = Parser(limits)
        self.counters = Counters()
        self.access = access
        self.note = _note_nothing if access is None else access.log_request
        self.draining = False
        self.slow_path_responses = 0
        self.idle_reader: Any = None
        self._second_offset = second_offset
        self._buffered_max = max(limits.buffered_bytes_max // reactors, 2 * limits.body_bytes_max)
        self.plain_heads = HeadCache()
        self.cache = ResponseCache(self.counters, self.plain_heads, access)
        self.fast_path = FastPath(
            self.cache.responses.get, self.cache.routes.get, self.cache.body_routes.get,
            private_bytes(END_OF_HEAD), private_bytes(BODY_METHODS_AFTER), self.note,
        )  # fmt: skip
        # All of them, before anybody asks: the table that they are made from is shared, and reading it takes its lock.
        self._status_lines = {status: status_line(status) for status in REASONS}
        # Seconds that each state may last, or between two signs of life in it; infinite for none.
        self.state_timeouts = {
            IDLE: limits.keepalive_seconds,
            HEAD: limits.head_seconds,
            BODY: limits.body_grace_seconds,
            WAITING: inf,
            SENDING: limits.write_stall_seconds,
            READY: inf,
            LINGERING: limits.linger_seconds,
            CLOSED: inf,
        }
        self.begin_round(time.monotonic())
        self.begin_second(self.now)

    def begin_round(self, now: float) -> float:
        """Begin a round of the event loop; returns the deadline of connections that fall idle in it."""
        self.now = now
        self.idle_deadline = deadline = now + self.state_timeouts[IDLE]
        return deadline

    def begin_second(self, now: float) -> float:
        """Begin a second: render what changes with it, forget the answers of the last one; returns `next_second`."""
        wall = time.time()
        self.next_second = now + 1.0 - (wall - self._second_offset) % 1.0
        if self.access is not None:
            self.access.begin_second(wall)
        self.common_fields = SERVER + b"Date: %b\r\n" % format_date(wall).encode("ascii")
        self.plain_heads.begin_second(self._status_line(200) + self.common_fields)
        self.cache.begin_second()
        return self.next_second

    def connect(self, peer: Peer) -> Connection:
        """Make the connection of a new client."""
        return Connection(self, peer)

    def tick(self, now: float) -> None:
        """Hand over access log lines that are many or old enough."""
        if self.access is not None:
            self.access.hand_over_due(now)

    def close(self) -> None:
        """Hand over all access log lines that are left."""
        if self.access is not None:
            self.access.flush()

    def drain(self) -> None:
        """From now on each answer is the last one of its connection, and who falls idle has a moment only."""
        self.draining = True
        self.state_timeouts[IDLE] = DRAIN_GRACE_SECONDS
        self.cache.close()

    def reserve_body_bytes(self, count: int) -> None:
        """Count bytes of unfinished bodies, less where `count` is negative.

        Raises:
            HTTPError: 503, and nothing is counted: this reactor's connections would hold more than its share.
        """
        held = self.counters.buffered + count
        if count > 0 and held > self._buffered_max:
            raise HTTPError(503, "The server holds too many unfinished requests.")
        self.counters.buffered = held

    def encode(self, response: Response, head: RequestHead | None, keep_alive: bool) -> bytes:
        """An answer as bytes, see `encode_parts`."""
        return self.encode_parts(response.status, response.body, encode_fields(response), head, keep_alive)

    def encode_parts(
        self, status: int, body: Body, fields: bytes, head: RequestHead | None, keep_alive: bool
    ) -> bytes:
        """An answer as bytes; of a file or a stream the head alone.

        Args:
            status: the status code.
            body: the content, even where the answer is one that has none.
            fields: as `encode_fields` gives them.
            head: the request that it answers, None where none could be read.
            keep_alive: the connection persists after it.
        """
        is_11 = head is None or head.version == (1, 1)
        connection = (
            b""
            if keep_alive and is_11
            else b"Connection: keep-alive\r\n"
            if keep_alive
            else b"Connection: close\r\n"
        )
        start = self._status_line(status) + self.common_fields + fields
        answer = start + encode_length(status, body, chunks=is_11) + connection + b"\r\n"
        if isinstance(body, bytes) and has_body(status) and not _is_head(head):
            answer += body
        return answer

    def route(self, head: RequestHead) -> None:
        """Find what answers a head; the head keeps it, and so do the requests that repeat the head."""
        try:
            match = self.router.match(head)
        except HTTPError as error:
            match = Match(_refused, {"refusal": error}, False, False)
        match.counter = self.counters.counter(head.method, 200)
        match.plain = head.plain and not match.blocking and not match.constant
        head.match = match

    def status_text(self, status: int) -> str:
        """The status and its reason, as a page shows them: `404 Not Found`."""
        return self._status_line(status)[len("HTTP/1.1 ") :].decode("ascii").strip()

    def _status_line(self, status: int) -> bytes:
        return self._status_lines.get(status) or status_line(status)

    def count_write_timeout(self) -> None:
        """Count a peer that took no bytes for too long, as the kernel saw first."""
        self.count_timeout(SENDING)

    def count_timeout(self, state: int) -> None:
        """Count a deadline that a connection in this state has missed."""
        self.counters.timeout(TIMEOUT_KINDS[state])


def render_overload() -> bytes:
    """Render the response to a client that finds no room: 503, and the connection ends."""
    text = b"This server has too many connections.\r\n"
    return (
        b"HTTP/1.1 503 Service Unavailable\r\n%bContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: %d\r\nRetry-After: 1\r\nConnection: close\r\n\r\n%b" % (SERVER, len(text), text)
    )


def _note_nothing(*request: Any) -> None:
    """Where the access log is off."""


def _refused(request: Request, refusal: HTTPError) -> Response:
    """The handler of requests that no route answers."""
    # Anew each time: a traceback on the remembered one would keep the request alive, body and all.
    raise HTTPError(refusal.status, refusal.reason, refusal.headers)


def _is_head(head: RequestHead | None) -> bool:
    return head is not None and head.method == "HEAD"
