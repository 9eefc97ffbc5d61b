"""What is remembered of heads: it changes no outcome, and it is bounded."""

import random
import tracemalloc

import pytest

from mreactor.http1.context import ReactorContext
from mreactor.http1.head_parser import END_OF_HEAD, Parser
from mreactor.http1.memo import ENTRIES_MAX, KEY_BYTES_MAX
from tests.http1.heads import BAD, GOOD, LIMITS, Case, case_id, get, head_of, properties, read_pieces, read_whole

# --- Memos. ---


def test_a_repeated_head_is_parsed_once() -> None:
    context, raw = ReactorContext(LIMITS, ()), get(b"/a", b"X: y")
    assert context.find_request(raw) is context.find_request(bytes(bytearray(raw)))


def test_heads_with_equal_fields_share_them() -> None:
    parser = Parser(LIMITS)
    one, two = parser.parse(get(b"/a", b"X: y")), parser.parse(get(b"/b", b"X: y"))
    assert one.headers is two.headers
    assert (one.path, two.path) == ("/a", "/b")


def test_fields_are_not_shared_between_versions() -> None:
    parser = Parser(LIMITS)
    assert parser.parse(get()).keep_alive
    assert not parser.parse(get(version=b"1.0")).keep_alive
    assert parser.parse(get(b"/a")).keep_alive
    assert read_whole(parser, get(host=b"", version=b"1.0")) != 400
    assert read_whole(parser, get(host=b"")) == 400


def test_a_leading_empty_line_leaves_no_false_block() -> None:
    """What follows the empty line is a request line and fields; remembered as fields, it would be taken for them."""
    parser = Parser(LIMITS)
    parser.parse(b"\r\n" + get())
    assert read_whole(parser, b"GET / HTTP/1.1\r\n" + get()) == 400
    assert read_whole(parser, b"\r\n\r\n" + get()) == 400


def prime(parser: Parser, raw: bytes) -> None:
    """Let a parser meet the parts of a message in other company: its fields under other lines, its line over others."""
    line, _, block = raw.partition(b"\r\n")
    others = [
        b"GET / HTTP/1.1\r\n" + block,
        b"GET / HTTP/1.0\r\n" + block,
        b"POST /?a HTTP/1.2\r\n" + block,
        line + b"\r\nHost: a\r\n\r\n",
        b"\r\n" + raw,
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
    for other in others:
        read_whole(parser, other)


@pytest.mark.parametrize("case", BAD, ids=case_id)
@pytest.mark.slow
def test_no_memo_turns_a_refusal_into_anything_else(case: Case) -> None:
    parser = Parser(LIMITS)
    prime(parser, case.raw)
    assert read_whole(parser, case.raw) == case.status
    assert read_whole(parser, case.raw) == case.status


@pytest.mark.parametrize("name", GOOD)
def test_no_memo_changes_a_good_head(name: str) -> None:
    raw, _ = GOOD[name]
    parser = Parser(LIMITS)
    prime(parser, raw)
    assert read_whole(parser, raw) == (properties(head_of(raw)), len(raw))
    assert read_whole(parser, raw) == (properties(head_of(raw)), len(raw))


def test_every_line_over_every_block_with_and_without_memo() -> None:
    """The product of the tables' request lines and blocks, by one parser that remembers and by new ones."""
    complete = [raw for raw in [*(c.raw for c in BAD), *(raw for raw, _ in GOOD.values())] if raw.endswith(END_OF_HEAD)]
    parts = [raw.partition(b"\r\n") for raw in complete if len(raw) < 200]
    rng = random.Random(9112)
    lines = rng.sample(sorted({line for line, _, _ in parts}), 60)
    blocks = rng.sample(sorted({block for _, _, block in parts}), 60)
    remembering = Parser(LIMITS)
    raws = [line + b"\r\n" + block for line in lines for block in blocks]
    rng.shuffle(raws)
    for raw in raws:
        assert read_whole(remembering, raw) == read_pieces(Parser(LIMITS), [raw]), raw


@pytest.fixture
def context() -> ReactorContext:
    return ReactorContext(LIMITS, ())


def test_requests_are_remembered_up_to_a_number(context: ReactorContext) -> None:
    first = context.find_request(get(b"/first"))
    for number in range(ENTRIES_MAX - 1):
        context.find_request(get(b"/%d" % number))
    assert context.find_request(get(b"/first")) is first
    context.find_request(get(b"/one-too-many"))
    assert context.find_request(get(b"/first")) is not first


def test_blocks_are_remembered_up_to_a_number() -> None:
    parser = Parser(LIMITS)
    first = parser.parse(get(b"/", b"X: first")).headers
    for number in range(ENTRIES_MAX - 1):
        parser.parse(get(b"/", b"X: %d" % number))
    assert parser.parse(get(b"/b", b"X: first")).headers is first
    parser.parse(get(b"/", b"X: one-too-many"))
    assert parser.parse(get(b"/c", b"X: first")).headers is not first


def test_long_heads_are_not_remembered(context: ReactorContext) -> None:
    filling = KEY_BYTES_MAX - len(get(b"/", b"X: "))
    at_bound, past_it = (get(b"/", b"X: " + b"a" * (filling + more)) for more in (0, 1))
    assert len(at_bound) == KEY_BYTES_MAX
    assert context.find_request(at_bound) is context.find_request(at_bound)
    assert context.find_request(past_it) is not context.find_request(past_it)


def test_long_blocks_are_not_remembered() -> None:
    parser = Parser(LIMITS)
    past_it = b"X: " + b"a" * KEY_BYTES_MAX
    assert parser.parse(get(b"/a", past_it)).headers is not parser.parse(get(b"/b", past_it)).headers


@pytest.mark.parametrize("fields", [1, 8, 98])
@pytest.mark.slow
def test_memos_stay_small_whatever_clients_send(fields: int, context: ReactorContext) -> None:
    """Decoded fields take many times their bytes, and each reactor has its memos."""
    tracemalloc.start()
    try:
        for number in range(ENTRIES_MAX):
            lines = [b"%x:%d" % (index, number) for index in range(fields)]
            filling = b"x" * (KEY_BYTES_MAX - len(get(b"/", *lines, b"z:")))
            context.find_request(get(b"/", *lines, b"z:" + filling))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 4 * 1024 * 1024
