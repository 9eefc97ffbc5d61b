"""The response cache: its bounds, and that each hit is counted once."""

import pytest

from mreactor.app.router import Endpoint, Match
from mreactor.config import Limits
from mreactor.http1.cache_entries import LOOP_HITS, OTHER_HITS, CachedRoute, CacheTicket, LogEntry, make_line_route
from mreactor.http1.head_cache import HeadCache
from mreactor.http1.head_parser import Parser
from mreactor.http1.response_cache import (
    BODY_METHODS_AFTER,
    BYTES_MAX,
    ENTRIES_MAX,
    KEY_BYTES_MAX,
    RESPONSE_BYTES_MAX,
    ROUTE_KEY_BYTES_MAX,
    ResponseCache,
)
from mreactor.http1.routed_request import RoutedRequest
from mreactor.metrics.counters import Counters
from tests.support.vectors import REPEATED, Talk, get, make_context, post


def routed(*, body: bool = False, positional_param: object = None) -> RoutedRequest:
    """A request whose route is known, with a body of 5 bytes if asked for."""
    fields = "Content-Length: 5\r\n" if body else ""
    head = Parser(Limits()).parse(f"POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode())
    endpoint = Endpoint(lambda request: "")
    by_position = Match(endpoint, {}, positional_param, "name")
    return RoutedRequest(head, Match(endpoint, {"name": "x"}) if positional_param is None else by_position, [0])


HEADS = HeadCache()


def store(cache: ResponseCache, key: bytes, response: bytes = b"response", count: int = 1) -> list[int]:
    """Store a response; returns the counter of its requests."""
    counter = [0]
    cache.store_response(key, response, routed(), count, CacheTicket(counter, None))
    return counter


def route_of(request: RoutedRequest) -> CachedRoute:
    return (*make_line_route(request.match, request.counter, HEADS, None), request.head)


def store_route(cache: ResponseCache, key: bytes, request: RoutedRequest | None = None) -> None:
    cache.store_route(key, route_of(request or routed()))


def hit(cache: ResponseCache, key: bytes, times: int, place: int) -> None:
    """Count hits as the fast path does."""
    cache.responses[key][2][place] += times


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def cache(counters: Counters) -> ResponseCache:
    return ResponseCache(counters)


# --- What is kept. ---


def test_a_response_is_stored_with_its_log_entry(cache: ResponseCache) -> None:
    request = routed()
    entry = LogEntry(request.head, 200, 5)
    cache.store_response(b"one", b"abcdef", request, 1, CacheTicket([0], entry))
    cache.store_response(b"three", b"abcdefg", request, 3, CacheTicket([0], entry))
    cache.store_response(b"unlogged", b"abcdef", request, 1, CacheTicket([0], None))
    assert cache.responses == {
        b"one": (b"abcdef", 6, [0, 0], (request.head, 200, 5, 1)),
        b"three": (b"abcdefg", 7, [0, 0], (request.head, 200, 5, 3)),
        b"unlogged": (b"abcdef", 6, [0, 0], None),
    }
    for response in cache.responses.values():
        assert type(response) is tuple
        assert response[3] is None or type(response[3]) is tuple, "the fast path unpacks it"
    assert not cache.routes


def test_the_route_of_a_computed_response_is_stored(cache: ResponseCache) -> None:
    request = routed()
    store_route(cache, b"key", request)
    match, head, counter = request.match, request.head, request.counter
    assert cache.routes == {b"key": (match.handler, None, {"name": "x"}, counter, HEADS, None, match, head)}
    assert type(cache.routes[b"key"]) is tuple
    assert not cache.responses


@pytest.mark.parametrize("argument", ["x", 0, 0.0])
def test_a_positional_parameter_is_not_passed_by_name(cache: ResponseCache, argument: object) -> None:
    store_route(cache, b"key", routed(positional_param=argument))
    assert cache.routes[b"key"][1:3] == (argument, {})


@pytest.mark.parametrize(
    "data",
    [
        get("/hello/a", method="HEAD"),
        get("/hello/a", "Connection: keep-alive", version="1.0"),
        post("/echo", b"12345", "Connection: close"),
        get("/hello/a") * 2,
        post("/echo", b"12345") * 2,
        get("/hello/a") + get("/hello/b"),
    ],
    ids=["HEAD", "1.0", "last, with a body", "several at once", "several with a body", "different ones"],
)
def test_other_routes_are_not_stored(data: bytes) -> None:
    """The fast path calls one handler, and its response has the default framing."""
    context = make_context()
    for _ in range(REPEATED + 1):
        Talk(context, [data])
    assert not context.cache.routes
    assert not context.cache.body_routes
    assert not context.cache.responses


@pytest.mark.parametrize(
    "pieces",
    [
        [b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"],
        [b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n", b"x"],
        [b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\nx"],
    ],
    ids=["chunked", "expected", "expected, but there"],
)
def test_the_route_of_a_body_that_needs_decoding_is_not_stored(pieces: list[bytes]) -> None:
    context = make_context()
    for _ in range(REPEATED + 1):
        assert Talk(context, pieces).responses()[-1].body == b"x"
    assert not context.cache.routes
    assert not context.cache.body_routes


def test_a_route_that_is_not_stored_uses_up_no_room(cache: ResponseCache) -> None:
    """Bodies of DELETE are not looked for, so their heads are not kept."""
    key = b"DELETE /" + b"a" * (KEY_BYTES_MAX - 8)
    for number in range(2 * ROUTE_KEY_BYTES_MAX // KEY_BYTES_MAX):
        store_route(cache, b"%b%d" % (key[:-4], number) + b"12345", routed(body=True))
    assert not cache.body_routes
    store_route(cache, b"k")
    assert cache.routes


def test_the_route_of_a_request_with_a_body_is_stored_by_its_head(cache: ResponseCache) -> None:
    known = b"POST / HTTP/1.1\r\n\r\n"
    request = routed(body=True)
    store_route(cache, known + b"12345", request)
    assert not cache.routes
    found = cache.find_body_route(known + b"abcde")
    assert found is not None
    (*_, found_head), body = found
    assert found_head is request.head
    assert body == b"abcde"
    for other in (known, known + b"1234", known + b"123456", known[:-1], b"", b"\r\n\r\n" + known + b"12345"):
        assert cache.find_body_route(other) is None


@pytest.mark.parametrize(
    ("method", "is_kept"),
    [("GET", False), ("DELETE", False), ("OPTIONS", False), ("POST", True), ("PUT", True), ("PATCH", True)],
)
def test_routes_with_a_body_are_stored_for_the_methods_that_have_one(
    cache: ResponseCache, method: str, is_kept: bool
) -> None:
    """The others do not search for one: see `BODY_METHODS_AFTER`."""
    known = method.encode() + b" / HTTP/1.1\r\n\r\n"
    store_route(cache, known + b"12345", routed(body=True))
    assert bool(cache.body_routes) == (known > BODY_METHODS_AFTER) == is_kept


# --- Bounds. ---


@pytest.mark.parametrize(
    ("key", "response"), [(KEY_BYTES_MAX, 10), (3, RESPONSE_BYTES_MAX), (KEY_BYTES_MAX, RESPONSE_BYTES_MAX)]
)
def test_a_response_at_the_bound_is_stored(cache: ResponseCache, key: int, response: int) -> None:
    store(cache, b"k" * key, b"a" * response)
    assert len(cache.responses) == 1


@pytest.mark.parametrize(("key", "response"), [(KEY_BYTES_MAX + 1, 10), (3, RESPONSE_BYTES_MAX + 1)])
def test_a_response_past_the_bound_is_not_stored(cache: ResponseCache, key: int, response: int) -> None:
    store(cache, b"k" * key, b"a" * response)
    assert not cache.responses
    assert not cache.routes


def test_responses_are_bounded_in_number(cache: ResponseCache) -> None:
    for number in range(ENTRIES_MAX + 10):
        store(cache, b"%d" % number)
    assert list(cache.responses) == [b"%d" % number for number in range(ENTRIES_MAX)]


def fill(cache: ResponseCache) -> int:
    """Store responses up to the last byte of the bound; returns their number."""
    for number in range(BYTES_MAX // RESPONSE_BYTES_MAX):
        store(cache, b"%04d" % number, b"a" * (RESPONSE_BYTES_MAX - 4))
    return BYTES_MAX // RESPONSE_BYTES_MAX


def test_responses_are_bounded_in_bytes(cache: ResponseCache) -> None:
    count = fill(cache)
    assert len(cache.responses) == count
    store(cache, b"", b"a")
    store(cache, b"k", b"")
    assert len(cache.responses) == count
    store(cache, b"", b"")
    assert len(cache.responses) == count + 1


def test_routes_are_bounded_in_number_and_size(cache: ResponseCache) -> None:
    store_route(cache, b"k" * (KEY_BYTES_MAX + 1))
    assert not cache.routes
    store_route(cache, b"k" * KEY_BYTES_MAX)
    for number in range(ENTRIES_MAX + 10):
        store_route(cache, b"%d" % number)
    assert len(cache.routes) == ENTRIES_MAX


def test_body_routes_are_bounded_in_number_and_size(cache: ResponseCache) -> None:
    request = routed(body=True)
    store_route(cache, b"k" * (KEY_BYTES_MAX + 1) + b"12345", request)
    assert not cache.body_routes
    for number in range(ENTRIES_MAX + 10):
        store_route(cache, b"POST %d12345" % number, request)
    assert len(cache.body_routes) == ENTRIES_MAX


def test_all_routes_are_bounded_in_bytes_together(cache: ResponseCache) -> None:
    """What a head leads to takes many times its bytes."""
    key, request = b"P" * KEY_BYTES_MAX, routed(body=True)
    for number in range(ROUTE_KEY_BYTES_MAX // KEY_BYTES_MAX):
        half = key[: KEY_BYTES_MAX // 2 - 4] + b"%04d" % number
        store_route(cache, half)
        store_route(cache, half + b"12345", request)
    held = len(cache.routes) + len(cache.body_routes)
    assert held == ROUTE_KEY_BYTES_MAX // (KEY_BYTES_MAX // 2)
    store_route(cache, b"k")
    store_route(cache, b"P12345", request)
    assert len(cache.routes) + len(cache.body_routes) == held
    cache.begin_second()
    store_route(cache, b"k")
    assert list(cache.routes) == [b"k"]


# --- Seconds. ---


def test_a_new_second_empties_the_tables_in_place(cache: ResponseCache) -> None:
    """Idle connections hold the tables themselves."""
    responses, calls = cache.responses, cache.routes
    store(cache, b"a")
    store_route(cache, b"b")
    cache.begin_second()
    assert cache.responses is responses
    assert cache.routes is calls
    assert not responses
    assert not calls


def test_a_new_second_makes_room(cache: ResponseCache) -> None:
    for _ in range(3):
        count = fill(cache)
        assert len(cache.responses) == count
        cache.begin_second()


def test_hits_are_booked_when_the_second_is_over(cache: ResponseCache, counters: Counters) -> None:
    once, thrice, never = (store(cache, b"a"), store(cache, b"b", count=3), store(cache, b"c"))
    hit(cache, b"a", 4, LOOP_HITS)
    hit(cache, b"a", 1, OTHER_HITS)
    hit(cache, b"b", 7, LOOP_HITS)
    for _ in range(2):
        cache.begin_second()
        assert (once, thrice, never) == ([5], [21], [0])
        assert counters.cache_hits == [26]
        assert counters.bytes_in == 4 + 7, "elsewhere bytes are counted when they are read"
        assert counters.bytes_out == (4 + 7) * len(b"response")


def test_a_response_stored_again_loses_no_count(cache: ResponseCache, counters: Counters) -> None:
    first = store(cache, b"a")
    hit(cache, b"a", 2, LOOP_HITS)
    second = store(cache, b"a")
    hit(cache, b"a", 3, OTHER_HITS)
    cache.begin_second()
    assert first[0] + second[0] == 5
    assert counters.cache_hits == [5]


def test_closing_forgets_for_good_and_counts(cache: ResponseCache, counters: Counters) -> None:
    counter = store(cache, b"a")
    store_route(cache, b"b")
    hit(cache, b"a", 4, LOOP_HITS)
    cache.close()
    assert cache.is_closed
    store(cache, b"a")
    store_route(cache, b"b")
    cache.begin_second()
    assert not cache.responses
    assert not cache.routes
    assert (counter, counters.cache_hits) == ([4], [4])
