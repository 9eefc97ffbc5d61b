"""The head parser: each head has one outcome, however it is cut into pieces; its limits."""

from collections import Counter

import pytest

from mreactor.config import Limits
from mreactor.http.status import HTTPError
from mreactor.http1.head_parser import Parser
from tests.http1.heads import (
    BAD,
    GOOD,
    LIMITS,
    Case,
    case_id,
    check_all_ways,
    get,
    head_of,
    post,
    properties,
    read_pieces,
    read_whole,
    request,
)


@pytest.mark.parametrize("name", GOOD)
def test_what_a_good_head_says(name: str) -> None:
    raw, expected = GOOD[name]
    found = properties(head_of(raw))
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize("name", GOOD)
def test_a_good_head_read_in_every_way(name: str) -> None:
    raw, _ = GOOD[name]
    check_all_ways(raw, (properties(head_of(raw)), len(raw)))


@pytest.mark.parametrize("case", BAD, ids=case_id)
def test_a_bad_head_read_in_every_way(case: Case) -> None:
    check_all_ways(case.raw, case.status)


def test_the_tables_have_no_case_twice() -> None:
    raws = [case.raw for case in BAD] + [raw for raw, _ in GOOD.values()]
    assert not [raw for raw, times in Counter(raws).items() if times > 1]
    assert len({case_id(case) for case in BAD}) == len(BAD)


def test_connect_is_refused_with_allow() -> None:
    with pytest.raises(HTTPError) as caught:
        head_of(request(b"CONNECT / HTTP/1.1"))
    (name, value), = caught.value.headers  # fmt: skip
    assert name == "Allow"
    assert "CONNECT" not in value.split(", ")
    assert {"GET", "HEAD", "OPTIONS"} <= set(value.split(", "))


@pytest.mark.parametrize("raw", [get(), post(b"Content-Length: 5"), b"\r\n" + get(b"/a?b", b"X:")], ids=repr)
def test_an_unfinished_head_needs_more(raw: bytes) -> None:
    for end in range(len(raw)):
        check_all_ways(raw[:end], None)


def test_a_refusal_does_not_wait_for_the_end_of_the_head() -> None:
    """A peer that speaks something else gets its response at once, not at the head's deadline."""
    parser = Parser(LIMITS)
    assert read_pieces(parser, [b"\x16"]) == 400
    assert read_pieces(parser, [b"GET / HTTP/1.1\r\nX: \x00"]) == 400
    assert read_pieces(parser, [b"GET / HTTP/2.0\r\n"]) == 505


# --- Limits. ---

SMALL = Limits(request_line_bytes_max=64, head_bytes_max=256, fields_max=3)


def line_of(length: int) -> bytes:
    """A head whose request line has this length, without its CR LF."""
    target = b"/" + b"a" * (length - len(b"GET / HTTP/1.1"))
    assert len(b"GET %b HTTP/1.1" % target) == length
    return get(target)


def head_of_length(length: int, *, line: bytes = b"/", empty_line_first: bool = False) -> bytes:
    """A head of this length in all."""
    start = b"\r\n" if empty_line_first else b""
    return start + get(line, b"X: " + b"a" * (length - len(start) - len(get(line, b"X: "))))


@pytest.mark.parametrize("limits", [SMALL, LIMITS], ids=["small", "default"])
def test_the_request_line_is_bounded(limits: Limits) -> None:
    bound = limits.request_line_bytes_max
    at_bound = line_of(bound)
    check_all_ways(at_bound, (properties(head_of(at_bound)), len(at_bound)), limits)
    check_all_ways(line_of(bound + 1), 414, limits)
    check_all_ways(line_of(bound + 2), 414, limits)
    check_all_ways(line_of(bound * 3), 414, limits)


@pytest.mark.parametrize("limits", [SMALL, LIMITS], ids=["small", "default"])
def test_the_head_is_bounded(limits: Limits) -> None:
    bound = limits.head_bytes_max
    at_bound = head_of_length(bound)
    check_all_ways(at_bound, (properties(head_of(at_bound)), bound), limits)
    check_all_ways(head_of_length(bound + 1), 431, limits)
    check_all_ways(head_of_length(bound * 3), 431, limits)


def test_the_head_is_bounded_whatever_is_known_of_it() -> None:
    parser = Parser(SMALL)
    block = head_of_length(SMALL.head_bytes_max).partition(b"\r\n")[2]
    assert isinstance(read_whole(parser, b"GET / HTTP/1.1\r\n" + block), tuple)
    assert read_whole(parser, b"GET /a HTTP/1.1\r\n" + block) == 431
    assert read_whole(parser, line_of(SMALL.request_line_bytes_max)) != 414
    assert read_whole(parser, line_of(SMALL.request_line_bytes_max + 1)) == 414


def test_an_empty_line_first_counts_towards_the_head() -> None:
    at_bound = head_of_length(SMALL.head_bytes_max, empty_line_first=True)
    check_all_ways(at_bound, (properties(head_of(at_bound)), len(at_bound)), SMALL)
    check_all_ways(b"\r\n" + head_of_length(SMALL.head_bytes_max), 431, SMALL)


def test_an_empty_line_first_does_not_count_towards_the_request_line() -> None:
    at_bound = b"\r\n" + line_of(SMALL.request_line_bytes_max)
    check_all_ways(at_bound, (properties(head_of(at_bound)), len(at_bound)), SMALL)
    check_all_ways(b"\r\n" + line_of(SMALL.request_line_bytes_max + 1), 414, SMALL)


def test_many_short_fields_are_bounded_by_the_head_too() -> None:
    limits = Limits(head_bytes_max=256, fields_max=1000)
    check_all_ways(get(b"/", *[b"A:"] * 200), 431, limits)


@pytest.mark.parametrize("limits", [SMALL, LIMITS], ids=["small", "default"])
def test_fields_are_bounded_in_number(limits: Limits) -> None:
    at_bound = get(b"/", *[b"X: y"] * (limits.fields_max - 1))
    check_all_ways(at_bound, (properties(head_of(at_bound)), len(at_bound)), limits)
    check_all_ways(get(b"/", *[b"X: y"] * limits.fields_max), 431, limits)


def test_a_malformed_field_past_the_bound_is_malformed() -> None:
    check_all_ways(get(b"/", *[b"X: y"] * (SMALL.fields_max - 1), b"x y"), 400, SMALL)


@pytest.mark.parametrize(
    ("raw", "bound", "status"),
    [
        (b"GET /" + b"a" * 1000, SMALL.request_line_bytes_max + 2, 414),
        (b"\r\nGET /" + b"a" * 1000, SMALL.request_line_bytes_max + 4, 414),
        (b"a" * 1000, SMALL.request_line_bytes_max + 2, 414),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 1000, SMALL.head_bytes_max, 431),
        (b"GET / HTTP/1.1\r\n" + b"X" * 1000, SMALL.head_bytes_max, 431),
        (b"GET / HTTP/1.1\r\n" + b"A:\r\n" * 3 + b"X: " + b"\t" * 1000, SMALL.head_bytes_max, 431),
    ],
)
def test_a_line_without_end_is_refused_when_it_reaches_the_bound(raw: bytes, bound: int, status: int) -> None:
    check_all_ways(raw[: bound - 1], None, SMALL)
    check_all_ways(raw[:bound], status, SMALL)
    check_all_ways(raw, status, SMALL)


@pytest.mark.parametrize("offset", range(-4, 5))
@pytest.mark.parametrize("byte", [b"\x00", b"\r", b"\n"])
def test_a_forbidden_byte_around_a_bound_is_judged_alike_in_all_splits(byte: bytes, offset: int) -> None:
    for raw, bound in (
        (b"GET /" + b"a" * 200, SMALL.request_line_bytes_max),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 400, SMALL.head_bytes_max),
    ):
        place = bound + offset
        spoilt = raw[:place] + byte + raw[place:]
        expected = read_pieces(Parser(SMALL), [spoilt])
        assert expected in (400, 414, 431)
        check_all_ways(spoilt, expected, SMALL)


def test_a_reader_goes_on_after_what_came_before_was_dropped() -> None:
    """`rebase`: the connection drops the requests that it has answered from its buffer."""
    raw, before = get(b"/a", b"X: y"), b"x" * 30
    for offset in range(len(raw)):
        parser = Parser(LIMITS)
        reader = parser.reader(len(before))
        assert reader.read(before + raw[:offset]) is None
        reader.rebase()
        read = reader.read(raw)
        assert read is not None
        line, fields, end = read
        assert (properties(parser.finish(line, fields)), end) == (properties(head_of(raw)), len(raw))
