"""A trusted proxy's connection, whose requests are those of other clients: each has its own address."""

from typing import TYPE_CHECKING

from ..http import HTTPError, RequestHead
from ..protocol import Peer
from ..proxy import Forwarding
from .connection import Connection
from .dispatch import RequestBody
from .response_cache import ResponseCache
from .routed_request import RoutedRequest
from .states import CLOSED, IDLE

if TYPE_CHECKING:
    from .cache_entries import CachedRoute, CacheTicket
    from .context import ReactorContext


class ForwardedConnection(Connection):
    """A connection whose `peer` is the client of the present request, and the proxy between requests.

    So nothing that the fast path does between requests has the address of the last request's client.

    Args:
        proxy: the other end.
        forwarding: which fields of its requests tell their client; None if it is itself the client.
    """

    __slots__ = ("_forwarding", "_proxy")

    def __init__(self, context: "ReactorContext", proxy: Peer, forwarding: Forwarding | None) -> None:
        Connection.__init__(self, context, proxy)
        self._proxy = proxy
        self._forwarding = forwarding

    def call_cached_route(self, route: "CachedRoute", body: bytes) -> bytes | None:
        """Do the same with the address of the request's client. The route was found by the bytes of the head."""
        self.peer = self._find_client(route[-1])
        response = Connection.call_cached_route(self, route, body)
        if self.state == IDLE:
            self.peer = self._proxy
        return response

    def _respond(self, request: RoutedRequest, body: RequestBody) -> bytes | None:
        self.peer = self._find_client(request.head)
        return Connection._respond(self, request, body)

    def _encode_refusal(self, error: HTTPError) -> bytes:
        request = self._ensure_reader().request
        self.peer = self._proxy if request is None else self._find_client(request.head)
        return Connection._encode_refusal(self, error)

    def _end_turn(self, output: bytes, rest: bytes) -> bytes | None:
        response = Connection._end_turn(self, output, rest)
        if self.state == IDLE:
            self.peer = self._proxy
        return response

    def _enter(self, state: int) -> None:
        Connection._enter(self, state)
        if state in (IDLE, CLOSED):
            self.peer = self._proxy

    def _find_client(self, head: RequestHead) -> Peer:
        forwarding = self._forwarding
        return self._proxy if forwarding is None else forwarding.find_client(self._proxy, head.headers)


class ForwardingCache(ResponseCache):
    """A response cache that leaves out requests with fields about other clients.

    A hit does not look at the fields, and would log the address of the connection.
    """

    __slots__ = ("forwarding",)

    forwarding: Forwarding

    def store_response(
        self, key: bytes, response: bytes, request: RoutedRequest, count: int, ticket: "CacheTicket"
    ) -> None:
        if not self.forwarding.has_fields(request.head.headers):
            ResponseCache.store_response(self, key, response, request, count, ticket)
