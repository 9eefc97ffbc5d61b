"""What all connections of one reactor share: routes, parser, encoder, caches, counters.

Created in the reactor's thread and never shared with another: touching a shared object costs an atomic operation or a
lock in free-threaded Python. See docs/decisions/001.
"""

import dataclasses
import time
from collections.abc import Iterable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from .. import protocol
from ..app import Endpoint, ErrorResponder, Match, Route, Router, UnknownMethod
from ..config import Limits
from ..http import HTTPError, RequestHead, RequestLine
from ..logs import AccessBuffer
from ..metrics import Counters
from ..proxy import Forwarding
from ..runtime import hot, private_bytes
from .cache_entries import make_line_route
from .connection import Connection
from .encoded_response import LOGGED_AT_ONCE_MAX
from .encoder import Encoder
from .forwarded_connection import ForwardedConnection, ForwardingCache
from .head_cache import HeadCache
from .head_parser import END_OF_HEAD, Parser
from .isolation import isolate
from .request_reader import RequestReader
from .response_cache import BODY_METHODS_AFTER, ResponseCache
from .response_writer import ResponseWriter
from .routed_request import RoutedRequest
from .states import DRAIN_GRACE_SECONDS, IDLE, SENDING, TIMEOUT_KINDS, state_timeouts

if TYPE_CHECKING:
    from .observation import Observation


@hot("begin_round", "begin_second", "match")
class ReactorContext:
    """The shared part of one reactor's connections; implements `protocol.Context`.

    Args:
        routes: the frozen routes of the application.
        access: the reactor's share of the access log; None if it is off.
        reactors: how many reactors share the limits of the whole server.
        forwarding: which proxies' fields about clients are believed; None for no proxy.
        second_offset: when this reactor's seconds begin after the clock's, from 0 to 1. See docs/decisions/010.
        isolates: each call of a handler has a context of its own. If False, that begins when a handler has set a
            context variable. See docs/decisions/080.
        errors: the application's error handlers; None if it has none.
        debug: the client is shown the traceback of a handler that fails.
        observation: what is told of single requests; None for no more than usual.

    Attributes:
        cache: what this second's requests have led to; empty while the server drains, and if requests are observed.
        head_cache: heads of body-only responses: `head_cache[content_type][len(content)] + content` is a response.
        state_timeouts: seconds that each state may last; infinite for no bound.
        draining: each response says `Connection: close`.
        log_request: writes a line of the access log, see `AccessBuffer`.
        logged_at_once_max: a response with more bytes of content is logged when it is sent; negative for all responses.
        idle_reader: a `RequestReader` that no connection uses, or None.
        spare_writers: `ResponseWriter`s that no connection uses.
    """

    def __init__(
        self,
        limits: Limits,
        routes: Iterable[Route],
        access: AccessBuffer | None = None,
        reactors: int = 1,
        second_offset: float = 0.0,
        forwarding: Forwarding | None = None,
        *,
        isolates: bool = False,
        errors: ErrorResponder | None = None,
        debug: bool = False,
        observation: "Observation | None" = None,
    ) -> None:
        self.limits = limits
        self.errors = errors
        self.debug = debug
        self.router = Router(routes)
        self.parser = Parser(limits)
        self.encoder = Encoder()
        self.counters = Counters()
        self.access = access
        self.log_request = _log_nothing if access is None else access.log_request
        self.logged_at_once_max = -1 if access is not None and access.details else LOGGED_AT_ONCE_MAX
        self.observation = observation
        self.draining = False
        self.slow_path_responses = 0
        self.idle_reader: RequestReader | None = None
        self.spare_writers: list[ResponseWriter] = []
        self._isolates = isolates
        self._isolated: dict[Endpoint, Endpoint] = {}
        self._own_context = copy_context()
        # If handlers are isolated, that of the latest call.
        self._handler_context = [self._own_context]
        self._second_offset = second_offset
        self._buffered_max = max(limits.buffered_bytes_max // reactors, 2 * limits.body_bytes_max)
        self.head_cache = HeadCache()
        self._forwarding = forwarding
        if forwarding is None:
            self.cache = ResponseCache(self.counters)
        else:
            self.cache = cache = ForwardingCache(self.counters)
            cache.forwarding = forwarding
        if observation is not None:
            # Each request needs a look, and the response to it may be its own.
            self.cache.close()
        self.fast_path = protocol.FastPath(
            self.cache.responses.get, self.cache.routes.get, self.cache.body_routes.get,
            private_bytes(END_OF_HEAD), private_bytes(BODY_METHODS_AFTER), self.log_request,
        )  # fmt: skip
        self.state_timeouts = state_timeouts(limits)
        self.begin_round(time.monotonic())
        self.begin_second(self.now)

    def connect(self, peer: protocol.Peer) -> Connection:
        """Make the connection of a new client."""
        forwarding = self._forwarding
        if forwarding is not None and peer[0] not in forwarding.trusted:
            forwarding = None
        if self.observation is not None:
            return self.observation.connect(self, peer, forwarding)
        return Connection(self, peer) if forwarding is None else ForwardedConnection(self, peer, forwarding)

    def begin_round(self, now: float) -> float:
        """Begin a round of the event loop. Returns the deadline of connections that fall idle in it."""
        self.now = now
        self.idle_deadline = deadline = now + self.state_timeouts[IDLE]
        return deadline

    def begin_second(self, now: float) -> float:
        """Begin a second: render what changes with it and forget the last one's responses. Returns `next_second`."""
        wall = time.time()
        self.next_second = now + 1.0 - (wall - self._second_offset) % 1.0
        if self.access is not None:
            self.access.begin_second(wall)
        self.head_cache.begin_second(self.encoder.begin_second(wall))
        self.cache.begin_second()
        return self.next_second

    def tick(self, now: float) -> None:
        """Hand over access log lines that are many or old enough. Isolate handlers once one has set a variable."""
        if self.access is not None:
            self.access.hand_over_due(now)
        if not self._isolates and copy_context() != self._own_context:
            self._isolates = True
            # They lead to handlers that are not isolated.
            self.parser = Parser(self.limits)
            self.cache.begin_second()

    def drain(self) -> None:
        """Make each connection's next response its last, and give idle connections only a moment."""
        self.draining = True
        self.state_timeouts[IDLE] = DRAIN_GRACE_SECONDS
        self.cache.close()

    def close(self) -> None:
        """Hand over all access log lines that are left."""
        if self.access is not None:
            self.access.flush()

    def route(self, head: RequestHead) -> RoutedRequest:
        """Find what responds to a head. If nothing does, the match carries the refusal. Raises as `match`."""
        line = head.line
        return RoutedRequest(head, line.match or self.match(line), line.counter)

    def match(self, line: RequestLine) -> Match:
        """Find where a request line leads, and keep that with it.

        Raises:
            UnknownMethod: nothing takes this method.
        """
        try:
            match = self.router.match(line)
        except UnknownMethod:
            raise
        except HTTPError as error:
            # Its traceback would keep the frames of the router alive.
            match = Match.refused(error.with_traceback(None))
            if self.errors is not None:
                match.endpoint = self.errors.surround(match.endpoint, line.path)
        if self._isolates and not match.endpoint.blocking:
            match.endpoint = self._isolate(match.endpoint)
        line.match = match
        line.counter = counter = self.counters.counter(line.method, 200)
        is_immediate = match.endpoint.is_immediate and line.keeps_framing and self.observation is None
        line.route = make_line_route(match, counter, self.head_cache, self.access) if is_immediate else None
        return match

    def _isolate(self, endpoint: Endpoint) -> Endpoint:
        """Return the endpoint with a handler that is called in a context of its own."""
        isolated = self._isolated.get(endpoint)
        if isolated is None:
            handler = isolate(endpoint.handler, self._handler_context)
            isolated = dataclasses.replace(endpoint, handler=handler)
            # What responds where no route does is made for each request line, and clients send any number of them.
            if endpoint.pattern:
                # Paths without parameters share a match, so its endpoint may come back isolated.
                self._isolated[endpoint] = self._isolated[isolated] = isolated
        return isolated

    def stream_context(self) -> Context:
        """Return the context for the parts of what a handler on this reactor has just returned, for one stream."""
        return self._handler_context[0].copy() if self._isolates else copy_context()

    def reserve_body_bytes(self, count: int) -> None:
        """Count bytes of bodies in memory; a negative count releases them.

        Raises:
            HTTPError: 503, nothing is counted: the reactor's connections would hold more than its share.
        """
        held = self.counters.buffered + count
        if count > 0 and held > self._buffered_max:
            raise HTTPError(503, "The server holds too many unfinished requests.")
        self.counters.buffered = held

    def count_timeout(self, state: int) -> None:
        """Count a deadline that a connection has missed in this state."""
        self.counters.timeout(TIMEOUT_KINDS[state])

    def count_write_timeout(self) -> None:
        """Count a peer that has acknowledged too little for too long."""
        self.count_timeout(SENDING)


def _log_nothing(*request: Any) -> None:
    """Do nothing: the access log is off."""


if TYPE_CHECKING:

    def _implements(context: ReactorContext, connection: Connection) -> tuple[protocol.Context, protocol.Connection]:
        return context, connection
