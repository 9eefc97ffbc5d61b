"""What is remembered within a second: the bounds of it, and that each request answered from memory is counted once."""

import pytest

from mreactor.config import Limits
from mreactor.heads import PlainHeads
from mreactor.http1.parser import Parser
from mreactor.http1.request import RequestHead
from mreactor.metrics import Counters
from mreactor.replies import (
    ANSWER_BYTES_MAX,
    BYTES_MAX,
    CALL_BYTES_MAX,
    ELSEWHERE,
    ENTRIES_MAX,
    IN_LOOP,
    KEY_BYTES_MAX,
    UPLOADS,
    Replies,
)
from mreactor.router import Match


def head(*, plain: bool = True, body: bool = False, framing: str = "") -> RequestHead:
    """The head of a request whose route is known, with a body of 5 bytes or of another framing if asked for."""
    framing = framing or ("Content-Length: 5" if body else "")
    fields = f"{framing}\r\n" if framing else ""
    made = Parser(Limits()).parse(f"POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode())
    made.match = Match(lambda request: "", {"name": "x"}, False, False, [0], plain)
    return made


HEADS = PlainHeads()


def keep_answer(replies: Replies, key: bytes, answer: bytes = b"answer", count: int = 1) -> list[int]:
    """Have an answer kept; returns what counts its requests."""
    tally = [0]
    replies.keep(key, answer, head(), count, (tally, None))
    return tally


def keep_call(replies: Replies, key: bytes) -> None:
    replies.keep(key, b"answer", head(), 1, None)


def hit(replies: Replies, key: bytes, times: int, place: int) -> None:
    """Count what is found by a key, as whoever answers with it does."""
    replies.answers[key][2][place] += times


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def replies(counters: Counters) -> Replies:
    return Replies(counters, HEADS)


# --- What is kept. ---


def test_an_answer_is_kept_with_what_the_log_says(replies: Replies) -> None:
    asked = head()
    note = asked, 200, 5
    replies.keep(b"one", b"answer", asked, 1, ([0], note))
    replies.keep(b"three", b"answers", asked, 3, ([0], note))
    replies.keep(b"unlogged", b"answer", asked, 1, ([0], None))
    assert replies.answers == {
        b"one": (b"answer", 6, [0, 0], (*note, 1)),
        b"three": (b"answers", 7, [0, 0], (*note, 3)),
        b"unlogged": (b"answer", 6, [0, 0], None),
    }
    assert not replies.calls


def test_the_way_to_an_answer_that_is_computed_is_kept(replies: Replies) -> None:
    asked = head()
    replies.keep(b"key", b"answer", asked, 1, None)
    match = asked.match
    assert replies.calls == {b"key": (match.handler, None, {"name": "x"}, asked, match.tally, HEADS, None)}
    assert not replies.answers


@pytest.mark.parametrize("argument", ["x", 0, 0.0])
def test_a_parameter_that_is_taken_by_position_is_not_named(replies: Replies, argument: object) -> None:
    asked = head()
    asked.match.argument = argument
    replies.keep(b"key", b"answer", asked, 1, None)
    assert replies.calls[b"key"][1:3] == (argument, {})


@pytest.mark.parametrize(
    ("asked", "count"),
    [(head(plain=False), 1), (head(plain=False, body=True), 1), (head(), 2), (head(body=True), 2)],
    ids=["not plain", "not plain, with a body", "several at once", "several with a body"],
)
def test_other_ways_are_not_kept(replies: Replies, asked: RequestHead, count: int) -> None:
    """The short lane answers once."""
    replies.keep(b"key and body", b"answer", asked, count, None)
    assert not replies.calls
    assert not replies.uploads
    assert not replies.answers


@pytest.mark.parametrize(
    "framing", ["Transfer-Encoding: chunked", "Content-Length: 5\r\nExpect: 100-continue"]
)
def test_bodies_that_take_more_than_cutting_off_are_read_each_time(replies: Replies, framing: str) -> None:
    replies.keep(b"key and body", b"answer", head(framing=framing), 1, None)
    assert not replies.uploads


def test_the_way_of_a_body_is_kept_by_its_head(replies: Replies) -> None:
    known = b"POST / HTTP/1.1\r\n\r\n"
    asked = head(body=True)
    replies.keep(known + b"12345", b"answer", asked, 1, None)
    assert not replies.calls
    found = replies.find_upload(known + b"abcde")
    assert found is not None
    (_, _, _, found_head, *_), body = found
    assert found_head is asked
    assert body == b"abcde"
    for other in (known, known + b"1234", known + b"123456", known[:-1], b"", b"\r\n\r\n" + known + b"12345"):
        assert replies.find_upload(other) is None


@pytest.mark.parametrize(
    ("method", "is_kept"),
    [("GET", False), ("DELETE", False), ("OPTIONS", False), ("POST", True), ("PUT", True), ("PATCH", True)],
)
def test_bodies_are_expected_of_the_methods_that_have_one(
    replies: Replies, method: str, is_kept: bool
) -> None:
    """The others do not search for one: see `UPLOADS`."""
    known = method.encode() + b" / HTTP/1.1\r\n\r\n"
    replies.keep(known + b"12345", b"answer", head(body=True), 1, None)
    assert bool(replies.uploads) == (known > UPLOADS) == is_kept


# --- Bounds. ---


@pytest.mark.parametrize(
    ("key", "answer"), [(KEY_BYTES_MAX, 10), (3, ANSWER_BYTES_MAX), (KEY_BYTES_MAX, ANSWER_BYTES_MAX)]
)
def test_an_answer_at_the_bound_is_kept(replies: Replies, key: int, answer: int) -> None:
    keep_answer(replies, b"k" * key, b"a" * answer)
    assert len(replies.answers) == 1


@pytest.mark.parametrize(("key", "answer"), [(KEY_BYTES_MAX + 1, 10), (3, ANSWER_BYTES_MAX + 1)])
def test_an_answer_past_the_bound_is_not_kept(replies: Replies, key: int, answer: int) -> None:
    keep_answer(replies, b"k" * key, b"a" * answer)
    assert not replies.answers
    assert not replies.calls


def test_answers_are_bounded_in_number(replies: Replies) -> None:
    for number in range(ENTRIES_MAX + 10):
        keep_answer(replies, b"%d" % number)
    assert list(replies.answers) == [b"%d" % number for number in range(ENTRIES_MAX)]


def fill(replies: Replies) -> int:
    """Keep answers up to the last byte of the bound; returns their number."""
    for number in range(BYTES_MAX // ANSWER_BYTES_MAX):
        keep_answer(replies, b"%04d" % number, b"a" * (ANSWER_BYTES_MAX - 4))
    return BYTES_MAX // ANSWER_BYTES_MAX


def test_answers_are_bounded_in_bytes(replies: Replies) -> None:
    count = fill(replies)
    assert len(replies.answers) == count
    keep_answer(replies, b"", b"a")
    keep_answer(replies, b"k", b"")
    assert len(replies.answers) == count
    keep_answer(replies, b"", b"")
    assert len(replies.answers) == count + 1


def test_calls_are_bounded_in_number_and_size(replies: Replies) -> None:
    keep_call(replies, b"k" * (KEY_BYTES_MAX + 1))
    assert not replies.calls
    keep_call(replies, b"k" * KEY_BYTES_MAX)
    for number in range(ENTRIES_MAX + 10):
        keep_call(replies, b"%d" % number)
    assert len(replies.calls) == ENTRIES_MAX


def test_uploads_are_bounded_in_number_and_size(replies: Replies) -> None:
    asked = head(body=True)
    replies.keep(b"k" * (KEY_BYTES_MAX + 1) + b"12345", b"answer", asked, 1, None)
    assert not replies.uploads
    for number in range(ENTRIES_MAX + 10):
        replies.keep(b"POST %d12345" % number, b"answer", asked, 1, None)
    assert len(replies.uploads) == ENTRIES_MAX


def test_calls_and_uploads_are_bounded_in_bytes_together(replies: Replies) -> None:
    """What a head leads to takes many times its bytes."""
    key, asked = b"P" * KEY_BYTES_MAX, head(body=True)
    for number in range(CALL_BYTES_MAX // KEY_BYTES_MAX):
        half = key[: KEY_BYTES_MAX // 2 - 4] + b"%04d" % number
        keep_call(replies, half)
        replies.keep(half + b"12345", b"answer", asked, 1, None)
    held = len(replies.calls) + len(replies.uploads)
    assert held == CALL_BYTES_MAX // (KEY_BYTES_MAX // 2)
    keep_call(replies, b"k")
    replies.keep(b"P12345", b"answer", asked, 1, None)
    assert len(replies.calls) + len(replies.uploads) == held
    replies.turn_second()
    keep_call(replies, b"k")
    assert list(replies.calls) == [b"k"]


# --- Seconds. ---


def test_a_new_second_empties_the_tables_in_place(replies: Replies) -> None:
    """Idle connections hold the tables themselves."""
    answers, calls = replies.answers, replies.calls
    keep_answer(replies, b"a")
    keep_call(replies, b"b")
    replies.turn_second()
    assert replies.answers is answers
    assert replies.calls is calls
    assert not answers
    assert not calls


def test_a_new_second_makes_room(replies: Replies) -> None:
    for _ in range(3):
        count = fill(replies)
        assert len(replies.answers) == count
        replies.turn_second()


def test_what_was_answered_from_memory_is_counted_when_the_second_is_over(
    replies: Replies, counters: Counters
) -> None:
    once, thrice, never = (
        keep_answer(replies, b"a"),
        keep_answer(replies, b"b", count=3),
        keep_answer(replies, b"c"),
    )
    hit(replies, b"a", 4, IN_LOOP)
    hit(replies, b"a", 1, ELSEWHERE)
    hit(replies, b"b", 7, IN_LOOP)
    for _ in range(2):
        replies.turn_second()
        assert (once, thrice, never) == ([5], [21], [0])
        assert counters.cache_hits == [26]
        assert counters.bytes_in == 4 + 7, "elsewhere bytes are counted when they are read"
        assert counters.bytes_out == (4 + 7) * len(b"answer")


def test_an_answer_kept_anew_loses_no_count(replies: Replies, counters: Counters) -> None:
    first = keep_answer(replies, b"a")
    hit(replies, b"a", 2, IN_LOOP)
    second = keep_answer(replies, b"a")
    hit(replies, b"a", 3, ELSEWHERE)
    replies.turn_second()
    assert first[0] + second[0] == 5
    assert counters.cache_hits == [5]


def test_closing_forgets_for_good_and_counts(replies: Replies, counters: Counters) -> None:
    tally = keep_answer(replies, b"a")
    keep_call(replies, b"b")
    hit(replies, b"a", 4, IN_LOOP)
    replies.close()
    assert replies.is_closed
    keep_answer(replies, b"a")
    keep_call(replies, b"b")
    replies.turn_second()
    assert not replies.answers
    assert not replies.calls
    assert (tally, counters.cache_hits) == ([4], [4])
