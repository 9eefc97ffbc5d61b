"""The records of the response cache.

`CachedResponse`, `CachedRoute` and `RepeatedLogEntry` are exact tuples, because each request unpacks one. The other
records are read once a second or less often.
"""

from typing import Any, NamedTuple

from ..app import Handler, Match
from ..http import RequestHead
from ..logs import AccessBuffer
from ..metrics import RequestCounter
from .head_cache import HeadCache

# The places of the two hit counts. The reactor's fast path adds to the first and counts bytes by it.
LOOP_HITS = 0
OTHER_HITS = 1

# Head, status, bytes of content, and the number of equal requests: the arguments of `log_request` behind the peer.
type RepeatedLogEntry = tuple[RequestHead | None, int, int, int]

# The response, its length, its two hit counts, and the log entry of the requests that it answers.
type CachedResponse = tuple[bytes, int, list[int], RepeatedLogEntry | None]

# Handler, the path parameter passed by position, those passed by name, the counter of its responses; then what belongs
# to the context but is cheaper to find here: head cache and access log; then the match.
type LineRoute = tuple[Handler, Any, dict[str, Any], RequestCounter, HeadCache, AccessBuffer | None, Match]

# The route of a request line, and the request's head.
type CachedRoute = tuple[
    Handler, Any, dict[str, Any], RequestCounter, HeadCache, AccessBuffer | None, Match, RequestHead
]


class LogEntry(NamedTuple):
    """What the access log says of one request; `content_length` is that of the content sent.

    Without a head the request could not be read.
    """

    head: RequestHead | None
    status: int
    content_length: int


class CacheTicket(NamedTuple):
    """Permission to cache a response, with what is booked for each hit. No log entry: the access log is off."""

    counter: RequestCounter
    log_entry: LogEntry | None


class HitRecord(NamedTuple):
    """What `ResponseCache.begin_second` books for a cached response: requests and bytes are those of each hit."""

    hits: list[int]
    requests: int
    counter: RequestCounter
    bytes_in: int
    bytes_out: int


def make_cached_response(response: bytes, ticket: CacheTicket, count: int) -> CachedResponse:
    """Make the entry of a response to `count` equal requests."""
    entry = ticket.log_entry
    return response, len(response), [0, 0], None if entry is None else (*entry, count)


def make_line_route(match: Match, counter: RequestCounter, heads: HeadCache, access: AccessBuffer | None) -> LineRoute:
    """Make the route of a request line. With a head it is a `CachedRoute`."""
    return match.endpoint.handler, match.positional_param, match.keyword_params, counter, heads, access, match
