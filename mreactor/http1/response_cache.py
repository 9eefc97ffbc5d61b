"""What one reactor remembers for a second: complete responses, and the routes of complete requests.

The keys are the bytes received, exactly as they came, so one dict lookup replaces parsing and routing. Entries live
for a second at most, because then the Date changes. The cache is bounded, so hostile requests find no room. See
docs/decisions/013, 014 and 015.
"""

from typing import Any

from ..metrics import Counters
from ..runtime import hot
from .cache_entries import LOOP_HITS, CachedResponse, CachedRoute, CacheTicket, HitRecord, make_cached_response
from .head_parser import END_OF_HEAD
from .routed_request import RoutedRequest

# A cheap test of the method: POST, PUT and PATCH compare greater; GET, HEAD, OPTIONS and DELETE do not.
BODY_METHODS_AFTER = b"P"

ENTRIES_MAX = 1024
KEY_BYTES_MAX = 4096
RESPONSE_BYTES_MAX = 64 * 1024
BYTES_MAX = 8 * 1024 * 1024
# Of the keys of all routes. What they lead to takes up to thirty times as much.
ROUTE_KEY_BYTES_MAX = 256 * 1024


@hot("find_body_route", "store_response", "store_route", "begin_second")
class ResponseCache:
    """The memory of one reactor. Reactor thread only.

    Attributes:
        responses: complete responses of constant routes, by the bytes received.
        closing_responses: those to requests that end their connection.
        routes: routes of requests without a body, by the bytes received.
        body_routes: routes of requests with a body, by the head's bytes, with the length of head and body.
        is_closed: nothing is remembered any more.
    """

    __slots__ = (
        "_bytes", "_counters", "_hits", "_route_key_bytes", "body_routes", "closing_responses", "is_closed",
        "responses", "routes",
    )  # fmt: skip

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._hits: list[HitRecord] = []
        self._bytes = self._route_key_bytes = 0
        self.responses: dict[bytes, CachedResponse] = {}
        self.closing_responses: dict[bytes, CachedResponse] = {}
        self.routes: dict[bytes, CachedRoute] = {}
        self.body_routes: dict[bytes, tuple[CachedRoute, int]] = {}
        self.is_closed = False

    def store_response(
        self, key: bytes, response: bytes, request: RoutedRequest, count: int, ticket: CacheTicket
    ) -> None:
        """Remember a response for the rest of the second, if there is room.

        Args:
            key: the bytes received: the same request `count` times, and nothing else.
            response: the bytes sent for all of it.
        """
        head = request.head
        # After a request with a body the connection has to linger, which a hit would not know.
        if self.is_closed or (head.has_body and not head.keep_alive):
            return
        responses = self.responses if head.keep_alive else self.closing_responses
        size = len(key) + len(response)
        is_huge = len(key) > KEY_BYTES_MAX or len(response) > RESPONSE_BYTES_MAX
        is_full = len(self._hits) >= ENTRIES_MAX or self._bytes + size > BYTES_MAX
        if is_full or is_huge or key in responses:
            return
        cached = make_cached_response(response, ticket, count)
        responses[key] = cached
        self._hits.append(HitRecord(cached[2], count, ticket.counter, len(key), len(response)))
        self._bytes += size

    def store_route(self, data: bytes, route: CachedRoute) -> None:
        """Remember a route for the rest of the second, if there is room.

        Args:
            data: the bytes received: one request, and nothing else. It is not chunked and expects no 100 Continue.
        """
        head = route[-1]
        key = data[: len(data) - head.content_length]
        table: dict[bytes, Any] = self.body_routes if head.has_body else self.routes
        is_full = len(table) >= ENTRIES_MAX or self._route_key_bytes + len(key) > ROUTE_KEY_BYTES_MAX
        is_unfit = len(key) > KEY_BYTES_MAX or (head.has_body and key <= BODY_METHODS_AFTER)
        if self.is_closed or is_full or is_unfit:
            return
        self._route_key_bytes += len(key)
        table[key] = (route, len(data)) if head.has_body else route

    def find_body_route(self, data: bytes) -> tuple[CachedRoute, bytes] | None:
        """Find the route of a complete request by its head; returns it with the body. `data > BODY_METHODS_AFTER`."""
        end = data.find(END_OF_HEAD) + len(END_OF_HEAD)
        found = self.body_routes.get(data[:end])
        return None if found is None or found[1] != len(data) else (found[0], data[end:])

    def begin_second(self) -> None:
        """Forget everything, and book the hits: on the request path a hit only adds one to its count."""
        counters = self._counters
        for hits, requests, counter, bytes_in, bytes_out in self._hits:
            answered = sum(hits) * requests
            counter[0] += answered
            counters.cache_hits[0] += answered
            counters.bytes_in += hits[LOOP_HITS] * bytes_in
            counters.bytes_out += hits[LOOP_HITS] * bytes_out
        self._hits.clear()
        self.responses.clear()
        self.closing_responses.clear()
        self.routes.clear()
        self.body_routes.clear()
        self._bytes = self._route_key_bytes = 0

    def close(self) -> None:
        """Forget everything for good."""
        self.is_closed = True
        self.begin_second()
