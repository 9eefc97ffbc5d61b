"""What a parser remembers of heads: it changes no outcome, what repeats stays in it, and it is bounded."""

import random
import tracemalloc
from collections.abc import Iterable, Iterator
from itertools import islice

import pytest

from mreactor.app.application import App
from mreactor.config import Limits
from mreactor.http.memo import BYTES_MAX, ENTRIES_MAX, KEY_BYTES_MAX, SIGHTINGS, Memo
from mreactor.http.request_head import RequestHead
from mreactor.http1.context import ReactorContext
from mreactor.http1.head_parser import END_OF_HEAD, Parser
from tests.http1.heads import (
    BAD,
    GOOD,
    LIMITS,
    Case,
    Outcome,
    case_id,
    check_all_ways,
    cut,
    get,
    head_of,
    post,
    properties,
    read_pieces,
    read_whole,
    small_pieces,
    splits,
)

# A head that comes for so many times is remembered, in all its parts.
SIGHTS = 2

SMALL = Limits(request_line_bytes_max=40, head_bytes_max=90, fields_max=4)
MEBIBYTE = 1024 * 1024


def parse_often(parser: Parser, raw: bytes, times: int = SIGHTS) -> RequestHead:
    """Let a parser read a head again and again; returns the last."""
    for _ in range(times):
        head = parser.parse(raw)
    return head


# --- What is shared. ---


def test_a_repeated_head_shares_its_parts_from_the_second_sight_on() -> None:
    parser, raw = Parser(LIMITS), get(b"/a", b"X: y")
    first, second, third = (parser.parse(bytes(bytearray(raw))) for _ in range(3))
    assert third.line is second.line is not first.line
    assert third.fields is second.fields is not first.fields
    assert third.headers is second.headers


def test_heads_with_equal_fields_share_them() -> None:
    parser = Parser(LIMITS)
    heads = [parser.parse(get(b"/%d" % number, b"X: y")) for number in range(4)]
    assert len({id(head.fields) for head in heads}) == 2
    assert heads[1].headers is heads[2].headers is heads[3].headers
    assert len({id(head.line) for head in heads}) == 4
    assert [head.path for head in heads] == ["/0", "/1", "/2", "/3"]


def test_heads_with_equal_lines_share_them() -> None:
    parser = Parser(LIMITS)
    heads = [parser.parse(get(b"/a", b"X: %d" % number)) for number in range(4)]
    assert len({id(head.line) for head in heads}) == 2
    assert [head.headers["x"] for head in heads] == ["0", "1", "2", "3"]


def test_heads_that_frame_alike_share_what_that_means() -> None:
    parser = Parser(LIMITS)
    heads = [parser.parse(post(b"X: %d" % number, b"Content-Length: 5")) for number in range(4)]
    assert len({id(head.fields) for head in heads}) == 4
    assert len({id(head.fields.framing) for head in heads}) == 2


def test_framing_fields_count_in_their_order_and_number() -> None:
    parser = Parser(LIMITS)
    one, other = b"Connection: close", b"Connection: keep-alive"
    for fields, outcome in (((one, other), False), ((other, one), False), ((other,), True), ((other, other), True)):
        for _ in range(3):
            assert parser.parse(get(b"/", *fields)).keep_alive is outcome
    for _ in range(3):
        assert parser.parse(post(b"Content-Length: 5")).content_length == 5
        assert read_whole(parser, post(b"Content-Length: 5", b"Content-Length: 5")) == 400


def test_a_head_in_pieces_shares_the_fields_of_a_whole_one() -> None:
    parser, raw = Parser(LIMITS), get(b"/a", b"X: y")
    whole = parse_often(parser, raw)
    reader = parser.reader(0)
    read = reader.read(raw)
    assert read is not None
    assert parser.finish(read[0], read[1]).fields is whole.fields


def test_fields_are_not_shared_between_versions() -> None:
    parser = Parser(LIMITS)
    for _ in range(3):
        assert parser.parse(get()).keep_alive
        assert not parser.parse(get(version=b"1.0")).keep_alive
        assert parser.parse(get(b"/a")).keep_alive
        assert read_whole(parser, get(host=b"", version=b"1.0")) != 400
        assert read_whole(parser, get(host=b"")) == 400


def test_a_path_is_decoded_once_however_often_its_line_comes() -> None:
    parser = Parser(LIMITS)
    for _ in range(4):
        head = parser.parse(get(b"/%2541"))
        assert (head.path, head.raw_path) == ("/%41", "/%2541")
    for _ in range(4):
        assert read_whole(parser, get(b"/%ff")) == 400
        assert read_whole(parser, get(b"/%00")) == 400


@pytest.mark.parametrize("name", GOOD)
def test_the_short_way_takes_each_good_head_that_is_one(name: str) -> None:
    """Else the other tests would compare the long way with itself."""
    raw, _ = GOOD[name]
    parser = Parser(LIMITS)
    for _ in range(3):
        head = parser.parse_plain(raw)
        assert (head is None) == raw.startswith(b"\r\n")
        assert head is None or properties(head) == properties(head_of(raw))


@pytest.mark.parametrize("case", BAD, ids=case_id)
def test_the_short_way_takes_no_bad_head(case: Case) -> None:
    parser = Parser(LIMITS)
    raws = [case.raw] if case.raw.endswith(END_OF_HEAD) else []
    for raw in [*raws, case.raw + get(), case.raw + END_OF_HEAD] * 3:
        assert parser.parse_plain(raw) is None


@pytest.mark.parametrize("name", GOOD)
def test_the_short_way_takes_no_two_heads_for_one(name: str) -> None:
    raw, _ = GOOD[name]
    parser = Parser(LIMITS)
    for _ in range(3):
        for other in (raw + raw, raw + b"\r\n", raw + END_OF_HEAD, raw + b"a: b\r\n\r\n", b"\r\n" + raw):
            assert parser.parse_plain(other) is None


@pytest.mark.parametrize("raw", [b"", b"\r\n", END_OF_HEAD, b"GET", b"\r\n\r", b"a" * 9000 + END_OF_HEAD])
def test_the_short_way_takes_nothing_that_is_no_head(raw: bytes) -> None:
    assert Parser(LIMITS).parse_plain(raw) is None


# --- No outcome changes. ---


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
    # Each line of it alone, and in the other order: known lines make up a new block.
    fields = block.removesuffix(END_OF_HEAD).split(b"\r\n")
    others += [get(b"/", field, host=b"") for field in fields[:10]]
    others += [get(b"/", field) for field in fields[:10]]
    others.append(get(b"/", *reversed(fields), host=b""))
    for other in others:
        for _ in range(SIGHTS):
            read_whole(parser, other)


@pytest.mark.parametrize("case", BAD, ids=case_id)
@pytest.mark.slow
def test_no_memo_turns_a_refusal_into_anything_else(case: Case) -> None:
    parser = Parser(LIMITS)
    prime(parser, case.raw)
    for _ in range(SIGHTS + 1):
        assert read_whole(parser, case.raw) == case.status
    assert read_pieces(parser, small_pieces(case.raw)) == case.status
    for first, second in splits(case.raw):
        assert read_pieces(parser, [first, second]) == case.status


@pytest.mark.parametrize("name", GOOD)
def test_no_memo_changes_a_good_head(name: str) -> None:
    raw, _ = GOOD[name]
    expected = properties(head_of(raw)), len(raw)
    parser = Parser(LIMITS)
    prime(parser, raw)
    for _ in range(SIGHTS + 1):
        assert read_whole(parser, raw) == expected
    assert read_pieces(parser, small_pieces(raw)) == expected
    for first, second in splits(raw):
        assert read_pieces(parser, [first, second]) == expected


def test_a_leading_empty_line_leaves_no_false_block() -> None:
    """What follows the empty line is a request line and fields; remembered as fields, it would be taken for them."""
    parser = Parser(LIMITS)
    for _ in range(3):
        parser.parse(b"\r\n" + get())
        assert read_whole(parser, b"GET / HTTP/1.1\r\n" + get()) == 400
        assert read_whole(parser, b"\r\n\r\n" + get()) == 400


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


def known_lines() -> tuple[list[bytes], list[bytes]]:
    """Request lines and field lines of the tables, good and bad, and some that come together in no table."""
    raws = [case.raw for case in BAD if len(case.raw) < 200] + [raw for raw, _ in GOOD.values()]
    lines = sorted({raw.partition(b"\r\n")[0] for raw in raws})
    fields = {field for raw in raws for field in raw.partition(b"\r\n")[2].split(b"\r\n")}
    fields |= {b"%b: %b" % (name, value) for name in (b"Host", b"CONNECTION", b"expect") for value in (b"a", b"close")}
    return lines, sorted(fields - {b""})


def new_combinations(rng: random.Random, lines: list[bytes], fields: list[bytes]) -> Iterator[bytes]:
    """Heads that are new, of lines that are not."""
    usual = b"GET / HTTP/1.1", b"POST /a?b HTTP/1.1", b"GET /%41 HTTP/1.0"
    harmless = b"Host: a", b"X: y", b"Content-Length: 5", b"Connection: close", b"Accept: *"
    while True:
        chosen = [rng.choice(harmless if rng.random() < 0.8 else fields) for _ in range(rng.randrange(6))]
        chosen += [b"Host: a"] * (rng.random() < 0.5)
        rng.shuffle(chosen)
        line = rng.choice(usual if rng.random() < 0.8 else lines)
        end = rng.choice((END_OF_HEAD[:2],) * 20 + (b"\n", b"", b"\r\n\r\n", b" \r\n", b"Host: a\r\n\r\n"))
        yield line + b"\r\n" + b"".join(field + b"\r\n" for field in chosen) + end


@pytest.mark.parametrize("limits", [LIMITS, SMALL], ids=["default", "small"])
@pytest.mark.slow
def test_known_lines_in_new_combinations(limits: Limits) -> None:
    """A parser that knows all lines comes to the same result as one that knows nothing and reads line by line."""
    rng = random.Random(91)
    remembering = Parser(limits)
    outcomes: list[Outcome] = []
    for raw in islice(new_combinations(rng, *known_lines()), 4000):
        expected = read_pieces(Parser(limits), [raw])
        for _ in range(rng.choice((1, 1, 3))):
            assert read_whole(remembering, raw) == expected, raw
        assert read_pieces(remembering, cut(rng, raw)) == expected, raw
        outcomes.append(expected)
    accepted = sum(isinstance(outcome, tuple) for outcome in outcomes)
    assert accepted > 500
    assert {400, 501} <= {outcome for outcome in outcomes if isinstance(outcome, int)}


def test_what_one_set_of_limits_accepts_is_remembered_under_no_other() -> None:
    small = Limits(fields_max=3)
    raw = get(b"/", b"X: 1", b"X: 2", b"X: 3")
    parse_often(Parser(LIMITS), raw, 3)
    check_all_ways(raw, 431, small)


# --- What repeats stays. ---


def never_repeating(count: int) -> Iterator[bytes]:
    """Heads that are new in every part."""
    for number in range(count):
        yield get(
            b"/%d?%d" % (number, number), b"X-Id: %d" % number, b"Cookie: %d" % number, host=b"Host: %x\r\n" % number
        )


CLIENTS = [get(b"/page/%d" % number, b"User-Agent: %d" % number, b"Accept: */*") for number in range(50)]


def hits(parser: Parser, known: Iterable[RequestHead], raws: Iterable[bytes]) -> int:
    """How many heads are made of the remembered line and the remembered fields."""
    read = ((parser.parse(raw), head) for raw, head in zip(raws, known, strict=True))
    return sum(found.line is head.line and found.fields is head.fields for found, head in read)


def test_heads_that_never_repeat_drive_out_none_that_do() -> None:
    parser = Parser(LIMITS)
    known = [parse_often(parser, raw) for raw in CLIENTS]
    for raw in never_repeating(20_000):
        parser.parse(raw)
    assert hits(parser, known, CLIENTS) == len(CLIENTS)


def test_heads_that_come_twice_and_never_again_drive_out_none_in_use() -> None:
    parser = Parser(LIMITS)
    known = [parse_often(parser, raw) for raw in CLIENTS]
    for number, raw in enumerate(never_repeating(10_000)):
        parse_often(parser, raw)
        if number % 200 == 0:
            assert hits(parser, known, CLIENTS) == len(CLIENTS)


def test_long_blocks_are_not_remembered() -> None:
    parser = Parser(LIMITS)
    at_bound, past_it = (
        get(b"/", b"X: " + b"a" * (KEY_BYTES_MAX - len(b"Host: a\r\nX: \r\n\r\n") + more)) for more in (0, 1)
    )
    assert len(at_bound.partition(b"\r\n")[2]) == KEY_BYTES_MAX
    assert parse_often(parser, at_bound).fields is parser.parse(at_bound).fields
    assert parse_often(parser, past_it).fields is not parser.parse(past_it).fields


def test_long_request_lines_are_not_remembered() -> None:
    parser = Parser(LIMITS)
    at_bound, past_it = (get(b"/" + b"a" * (KEY_BYTES_MAX - len(b"GET / HTTP/1.1") + more)) for more in (0, 1))
    assert parse_often(parser, at_bound).line is parser.parse(at_bound).line
    assert parse_often(parser, past_it).line is not parser.parse(past_it).line


# --- It is bounded. ---

# Of one reactor: 24 MiB. A generation of a memo holds `BYTES_MAX` of keys. A block of short fields leads to most, some
# 50 times its bytes once it is decoded, and there are two generations of blocks of either version. Request lines with
# their routes, framing and field lines take the rest.
HELD_MAX = 60 * BYTES_MAX * 2 * 2 + 9 * MEBIBYTE


def hostile(kind: str, count: int) -> Iterator[bytes]:
    """Heads that are to make a parser hold as much as possible. They use both versions."""
    for number in range(count):
        line = b"GET /%d HTTP/1.%d\r\n" % (number, number % 2)
        match kind:
            case "distinct":
                yield line + b"Host: a%d\r\nX-Id: %d\r\nConnection: x%d\r\n\r\n" % (number, number, number)
            case "short fields":
                yield line + b"Host: a\r\n" + b"a:\r\n" * 98 + b"b:%d\r\n\r\n" % number
            case "short distinct fields":
                fields = b"".join(b"%x:\r\n" % (number % 100_000 * 100 + index) for index in range(99))
                yield line + b"Host:a\r\n" + fields + b"\r\n"
            case "framing fields":
                fields = b"".join(b"expect:\r\nconnection:%d\r\n" % (number * 49 + index) for index in range(49))
                yield line + b"Host: a\r\n" + fields + b"\r\n"
            case "long fields":
                yield line + b"Host: a\r\nX: %06d%b\r\n\r\n" % (number, b"x" * (KEY_BYTES_MAX - 30))
            case "long lines":
                target = b"/%d?%b" % (number, b"x" * (KEY_BYTES_MAX - 40))
                yield b"GET %b HTTP/1.%d\r\nHost: a\r\n\r\n" % (target, number % 2)
            case "encoded paths":
                target = b"/%d%b" % (number, b"%F0%9F%98%80" * 300)
                yield b"GET %b HTTP/1.%d\r\nHost: a\r\n\r\n" % (target, number % 2)
            case "huge":
                yield line + b"Host: a\r\nX: %d%b\r\n\r\n" % (number, b"x" * 30_000)


KINDS = [
    "distinct", "short fields", "short distinct fields", "framing fields", "long fields", "long lines", "encoded paths",
    "huge",
]  # fmt: skip


@pytest.fixture
def context() -> ReactorContext:
    app = App()
    app.get("/{name}")(lambda request, name: name)
    return ReactorContext(LIMITS, app.freeze())


def take(context: ReactorContext, raw: bytes, times: int = SIGHTS) -> None:
    """Read, route and decode a head as a handler would that looks at everything."""
    for _ in range(times):
        head = context.parser.parse(raw)
        context.route(head)
        assert head.headers["host"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_memos_stay_small_whatever_clients_send(kind: str, context: ReactorContext) -> None:
    tracemalloc.start()
    try:
        # Both generations of both versions are filled, and half of one again.
        example = next(hostile(kind, 1))
        generation = min(ENTRIES_MAX, BYTES_MAX // len(example)) + 1
        held = []
        for number, raw in enumerate(hostile(kind, 5 * generation)):
            take(context, raw)
            if number % generation in (0, generation - 1):
                held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert max(held) < HELD_MAX


def test_heads_that_collide_are_read_all_the_same_and_hold_nothing_more() -> None:
    """The hashes of their request lines end alike, so they meet in a small table."""
    parser, place = Parser(LIMITS), hash(b"GET /0 HTTP/1.1") % SIGHTINGS
    lines = (b"GET /%d HTTP/1.1" % number for number in range(200_000))
    colliding = [line for line in lines if hash(line) % SIGHTINGS == place]
    assert len(colliding) > 20
    known = parse_often(parser, get(b"/known"))
    for _ in range(5):
        for line in colliding:
            raw = line + b"\r\nHost: a\r\n\r\n"
            assert properties(parser.parse(raw)) == properties(head_of(raw))
            assert parser.parse(get(b"/known")).line is known.line


def test_keys_that_come_in_turn_do_not_hide_each_other() -> None:
    """A table of sights could let them, round for round."""
    made: list[bytes] = []

    def make(key: bytes) -> bytes:
        made.append(key)
        return key

    memo = Memo(make)
    keys = [b"If-None-Match: %d" % number for number in range(400)]
    for _ in range(6):
        made.clear()
        for key in keys:
            assert memo[key] == key
    assert made == []
