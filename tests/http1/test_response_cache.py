"""What is remembered within a second: the bounds of it, and that each request answered from memory is counted once."""

import pytest

from mreactor.app.router import Match
from mreactor.config import Limits
from mreactor.http.request import RequestHead
from mreactor.http1.head_cache import HeadCache
from mreactor.http1.head_parser import Parser
from mreactor.http1.response_cache import (
    ANSWER_BYTES_MAX,
    BODY_METHODS_AFTER,
    BYTES_MAX,
    CALL_BYTES_MAX,
    ENTRIES_MAX,
    KEY_BYTES_MAX,
    LOOP_HITS,
    OTHER_HITS,
    ResponseCache,
)
from mreactor.metrics.counters import Counters


def head(*, plain: bool = True, body: bool = False, framing: str = "") -> RequestHead:
    """The head of a request whose route is known, with a body of 5 bytes or of another framing if asked for."""
    framing = framing or ("Content-Length: 5" if body else "")
    fields = f"{framing}\r\n" if framing else ""
    made = Parser(Limits()).parse(f"POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode())
    made.match = Match(lambda request: "", {"name": "x"}, False, False, [0], plain)
    return made


HEADS = HeadCache()


def keep_answer(cache: ResponseCache, key: bytes, answer: bytes = b"answer", count: int = 1) -> list[int]:
    """Have an answer kept; returns what counts its requests."""
    counter = [0]
    cache.store(key, answer, head(), count, (counter, None))
    return counter


def keep_call(cache: ResponseCache, key: bytes) -> None:
    cache.store(key, b"answer", head(), 1, None)


def hit(cache: ResponseCache, key: bytes, times: int, place: int) -> None:
    """Count what is found by a key, as whoever answers with it does."""
    cache.responses[key][2][place] += times


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def cache(counters: Counters) -> ResponseCache:
    return ResponseCache(counters, HEADS)


# --- What is kept. ---


def test_an_answer_is_kept_with_what_the_log_says(cache: ResponseCache) -> None:
    asked = head()
    note = asked, 200, 5
    cache.store(b"one", b"answer", asked, 1, ([0], note))
    cache.store(b"three", b"answers", asked, 3, ([0], note))
    cache.store(b"unlogged", b"answer", asked, 1, ([0], None))
    assert cache.responses == {
        b"one": (b"answer", 6, [0, 0], (*note, 1)),
        b"three": (b"answers", 7, [0, 0], (*note, 3)),
        b"unlogged": (b"answer", 6, [0, 0], None),
    }
    assert not cache.routes


def test_the_way_to_an_answer_that_is_computed_is_kept(cache: ResponseCache) -> None:
    asked = head()
    cache.store(b"key", b"answer", asked, 1, None)
    match = asked.match
    assert cache.routes == {b"key": (match.handler, None, {"name": "x"}, asked, match.counter, HEADS, None)}
    assert not cache.responses


@pytest.mark.parametrize("argument", ["x", 0, 0.0])
def test_a_parameter_that_is_taken_by_position_is_not_named(cache: ResponseCache, argument: object) -> None:
    asked = head()
    asked.match.argument = argument
    cache.store(b"key", b"answer", asked, 1, None)
    assert cache.routes[b"key"][1:3] == (argument, {})


@pytest.mark.parametrize(
    ("asked", "count"),
    [(head(plain=False), 1), (head(plain=False, body=True), 1), (head(), 2), (head(body=True), 2)],
    ids=["not plain", "not plain, with a body", "several at once", "several with a body"],
)
def test_other_ways_are_not_kept(cache: ResponseCache, asked: RequestHead, count: int) -> None:
    """The short lane answers once."""
    cache.store(b"key and body", b"answer", asked, count, None)
    assert not cache.routes
    assert not cache.body_routes
    assert not cache.responses


@pytest.mark.parametrize(
    "framing", ["Transfer-Encoding: chunked", "Content-Length: 5\r\nExpect: 100-continue"]
)
def test_bodies_that_take_more_than_cutting_off_are_read_each_time(
    cache: ResponseCache, framing: str
) -> None:
    cache.store(b"key and body", b"answer", head(framing=framing), 1, None)
    assert not cache.body_routes


def test_the_way_of_a_body_is_kept_by_its_head(cache: ResponseCache) -> None:
    known = b"POST / HTTP/1.1\r\n\r\n"
    asked = head(body=True)
    cache.store(known + b"12345", b"answer", asked, 1, None)
    assert not cache.routes
    found = cache.find_body_route(known + b"abcde")
    assert found is not None
    (_, _, _, found_head, *_), body = found
    assert found_head is asked
    assert body == b"abcde"
    for other in (known, known + b"1234", known + b"123456", known[:-1], b"", b"\r\n\r\n" + known + b"12345"):
        assert cache.find_body_route(other) is None


@pytest.mark.parametrize(
    ("method", "is_kept"),
    [("GET", False), ("DELETE", False), ("OPTIONS", False), ("POST", True), ("PUT", True), ("PATCH", True)],
)
def test_bodies_are_expected_of_the_methods_that_have_one(
    cache: ResponseCache, method: str, is_kept: bool
) -> None:
    """The others do not search for one: see `BODY_METHODS_AFTER`."""
    known = method.encode() + b" / HTTP/1.1\r\n\r\n"
    cache.store(known + b"12345", b"answer", head(body=True), 1, None)
    assert bool(cache.body_routes) == (known > BODY_METHODS_AFTER) == is_kept


# --- Bounds. ---


@pytest.mark.parametrize(
    ("key", "answer"), [(KEY_BYTES_MAX, 10), (3, ANSWER_BYTES_MAX), (KEY_BYTES_MAX, ANSWER_BYTES_MAX)]
)
def test_an_answer_at_the_bound_is_kept(cache: ResponseCache, key: int, answer: int) -> None:
    keep_answer(cache, b"k" * key, b"a" * answer)
    assert len(cache.responses) == 1


@pytest.mark.parametrize(("key", "answer"), [(KEY_BYTES_MAX + 1, 10), (3, ANSWER_BYTES_MAX + 1)])
def test_an_answer_past_the_bound_is_not_kept(cache: ResponseCache, key: int, answer: int) -> None:
    keep_answer(cache, b"k" * key, b"a" * answer)
    assert not cache.responses
    assert not cache.routes


def test_answers_are_bounded_in_number(cache: ResponseCache) -> None:
    for number in range(ENTRIES_MAX + 10):
        keep_answer(cache, b"%d" % number)
    assert list(cache.responses) == [b"%d" % number for number in range(ENTRIES_MAX)]


def fill(cache: ResponseCache) -> int:
    """Keep answers up to the last byte of the bound; returns their number."""
    for number in range(BYTES_MAX // ANSWER_BYTES_MAX):
        keep_answer(cache, b"%04d" % number, b"a" * (ANSWER_BYTES_MAX - 4))
    return BYTES_MAX // ANSWER_BYTES_MAX


def test_answers_are_bounded_in_bytes(cache: ResponseCache) -> None:
    count = fill(cache)
    assert len(cache.responses) == count
    keep_answer(cache, b"", b"a")
    keep_answer(cache, b"k", b"")
    assert len(cache.responses) == count
    keep_answer(cache, b"", b"")
    assert len(cache.responses) == count + 1


def test_calls_are_bounded_in_number_and_size(cache: ResponseCache) -> None:
    keep_call(cache, b"k" * (KEY_BYTES_MAX + 1))
    assert not cache.routes
    keep_call(cache, b"k" * KEY_BYTES_MAX)
    for number in range(ENTRIES_MAX + 10):
        keep_call(cache, b"%d" % number)
    assert len(cache.routes) == ENTRIES_MAX


def test_uploads_are_bounded_in_number_and_size(cache: ResponseCache) -> None:
    asked = head(body=True)
    cache.store(b"k" * (KEY_BYTES_MAX + 1) + b"12345", b"answer", asked, 1, None)
    assert not cache.body_routes
    for number in range(ENTRIES_MAX + 10):
        cache.store(b"POST %d12345" % number, b"answer", asked, 1, None)
    assert len(cache.body_routes) == ENTRIES_MAX


def test_calls_and_uploads_are_bounded_in_bytes_together(cache: ResponseCache) -> None:
    """What a head leads to takes many times its bytes."""
    key, asked = b"P" * KEY_BYTES_MAX, head(body=True)
    for number in range(CALL_BYTES_MAX // KEY_BYTES_MAX):
        half = key[: KEY_BYTES_MAX // 2 - 4] + b"%04d" % number
        keep_call(cache, half)
        cache.store(half + b"12345", b"answer", asked, 1, None)
    held = len(cache.routes) + len(cache.body_routes)
    assert held == CALL_BYTES_MAX // (KEY_BYTES_MAX // 2)
    keep_call(cache, b"k")
    cache.store(b"P12345", b"answer", asked, 1, None)
    assert len(cache.routes) + len(cache.body_routes) == held
    cache.begin_second()
    keep_call(cache, b"k")
    assert list(cache.routes) == [b"k"]


# --- Seconds. ---


def test_a_new_second_empties_the_tables_in_place(cache: ResponseCache) -> None:
    """Idle connections hold the tables themselves."""
    answers, calls = cache.responses, cache.routes
    keep_answer(cache, b"a")
    keep_call(cache, b"b")
    cache.begin_second()
    assert cache.responses is answers
    assert cache.routes is calls
    assert not answers
    assert not calls


def test_a_new_second_makes_room(cache: ResponseCache) -> None:
    for _ in range(3):
        count = fill(cache)
        assert len(cache.responses) == count
        cache.begin_second()


def test_what_was_answered_from_memory_is_counted_when_the_second_is_over(
    cache: ResponseCache, counters: Counters
) -> None:
    once, thrice, never = (
        keep_answer(cache, b"a"),
        keep_answer(cache, b"b", count=3),
        keep_answer(cache, b"c"),
    )
    hit(cache, b"a", 4, LOOP_HITS)
    hit(cache, b"a", 1, OTHER_HITS)
    hit(cache, b"b", 7, LOOP_HITS)
    for _ in range(2):
        cache.begin_second()
        assert (once, thrice, never) == ([5], [21], [0])
        assert counters.cache_hits == [26]
        assert counters.bytes_in == 4 + 7, "elsewhere bytes are counted when they are read"
        assert counters.bytes_out == (4 + 7) * len(b"answer")


def test_an_answer_kept_anew_loses_no_count(cache: ResponseCache, counters: Counters) -> None:
    first = keep_answer(cache, b"a")
    hit(cache, b"a", 2, LOOP_HITS)
    second = keep_answer(cache, b"a")
    hit(cache, b"a", 3, OTHER_HITS)
    cache.begin_second()
    assert first[0] + second[0] == 5
    assert counters.cache_hits == [5]


def test_closing_forgets_for_good_and_counts(cache: ResponseCache, counters: Counters) -> None:
    counter = keep_answer(cache, b"a")
    keep_call(cache, b"b")
    hit(cache, b"a", 4, LOOP_HITS)
    cache.close()
    assert cache.is_closed
    keep_answer(cache, b"a")
    keep_call(cache, b"b")
    cache.begin_second()
    assert not cache.responses
    assert not cache.routes
    assert (counter, counters.cache_hits) == ([4], [4])
