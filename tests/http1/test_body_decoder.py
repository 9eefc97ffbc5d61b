"""Message bodies: good, odd and malformed ones, each fed in every way, always with the same outcome."""

import gc
import random
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import pytest

from mreactor.config import Limits
from mreactor.http.status import HTTPError
from mreactor.http1.body_decoder import (
    CHUNK_LINE_BYTES_MAX,
    CHUNKS_A_TURN_MAX,
    EXTENSION_BYTES_MAX,
    TRAILER_BYTES_MAX,
    ChunkedDecoder,
    ContentLengthDecoder,
    decoder_for,
)
from mreactor.http1.head_parser import Parser

LIMITS = Limits()
IN_MEMORY = 1 << 40
SPLITS_MAX = 400  # bodies up to this size are split at every offset, longer ones at a sample of them
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"

type Body = ContentLengthDecoder | ChunkedDecoder
type Make = Callable[[], Body]

# What a body led to: the status of its refusal; content and size on the wire in bytes; None: more is needed.
type Outcome = int | tuple[bytes, int] | None


# --- Ways to feed. ---


def feed_piece(body: Body, data: bytes, start: int = 0) -> int | None:
    """Feed one piece, over as many turns as it takes."""
    while (end := body.feed(data, start)) is None and body.paused_at >= 0:
        start = body.paused_at
    return end


def feed(body: Body, pieces: Iterable[bytes], before: bytes = b"") -> Outcome:
    """As a connection does it: the first piece may come right behind the head, the others by themselves."""
    taken = 0
    for piece in pieces:
        start = len(before)
        try:
            end = feed_piece(body, before + piece, start)
        except HTTPError as error:
            return error.status
        if end is not None:
            return body.store.content(), taken + end - start
        taken += len(piece)
        before = b""
    return None


def splits(wire: bytes) -> Iterator[list[bytes]]:
    """A body in two pieces, at every offset or at a sample of them."""
    offsets: Iterable[int] = range(1, len(wire))
    if len(wire) > SPLITS_MAX:
        sample = random.Random(len(wire)).sample(range(1, len(wire)), 20)
        offsets = sorted({*sample, *range(1, 8), *range(len(wire) - 8, len(wire))})
    return ([wire[:offset], wire[offset:]] for offset in offsets)


def small_pieces(wire: bytes) -> list[bytes]:
    """A body byte by byte; of a long one the middle in pieces of odd size, to stay within the suite's time."""
    end = max(0, len(wire) - 1000)
    middle = [wire[start : min(start + 61, end)] for start in range(0, end, 61)]
    return middle + [wire[place : place + 1] for place in range(end, len(wire))]


def check_all_ways(make: Make, wire: bytes, expected: Outcome) -> None:
    """Feed a body in every way; `expected` may not depend on which."""
    assert feed(make(), [wire]) == expected, "whole"
    assert feed(make(), [wire], before=b"x" * 30) == expected, "right behind a head"
    assert feed(make(), small_pieces(wire)) == expected, "byte by byte"
    for pieces in splits(wire):
        assert feed(make(), pieces) == expected, f"split at {len(pieces[0])}"
    if expected is not None:
        assert feed(make(), [wire + NEXT]) == expected, "with trailing data"
        assert feed(make(), small_pieces(wire + NEXT)) == expected, "with trailing data, byte by byte"


def chunked(limits: Limits = LIMITS) -> ChunkedDecoder:
    return ChunkedDecoder(limits)


# --- Bodies of announced length. ---


@pytest.mark.parametrize("length", [1, 2, 13, 300])
def test_a_fixed_body_is_what_was_announced(length: int) -> None:
    content = random.Random(length).randbytes(length)
    check_all_ways(lambda: ContentLengthDecoder(length, IN_MEMORY), content, (content, length))


def test_an_unfinished_fixed_body_needs_more() -> None:
    check_all_ways(lambda: ContentLengthDecoder(9, IN_MEMORY), b"abcdefgh", None)


def test_a_fixed_body_counts_what_it_has_received() -> None:
    body = ContentLengthDecoder(5, IN_MEMORY)
    counts = []
    for piece in (b"ab", b"c", b"dexyz"):
        body.feed(piece, 0)
        counts.append(body.received)
    assert counts == [2, 3, 5]


def test_a_fixed_body_may_hold_anything() -> None:
    content = bytes(range(256)) + b"\r\n0\r\n\r\n"
    check_all_ways(lambda: ContentLengthDecoder(len(content), IN_MEMORY), content, (content, len(content)))


# --- Which reader. ---


def announced(*fields: bytes, limits: Limits = LIMITS) -> Body | None:
    lines = b"".join(field + b"\r\n" for field in fields)
    return decoder_for(Parser(limits).parse(b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n" % lines), limits)


def test_a_head_without_framing_has_no_body() -> None:
    assert announced() is None
    assert announced(b"Content-Length: 0") is None


def test_a_head_chooses_its_reader() -> None:
    assert isinstance(announced(b"Content-Length: 1"), ContentLengthDecoder)
    assert isinstance(announced(b"Transfer-Encoding: chunked"), ChunkedDecoder)


@pytest.mark.parametrize(
    "limits", [LIMITS, Limits(body_bytes_max=10), Limits(body_bytes_max=0)], ids=["default", "10", "0"]
)
def test_an_announced_length_is_bounded_before_a_byte_is_read(limits: Limits) -> None:
    bound = limits.body_bytes_max
    assert isinstance(announced(b"Content-Length: %d" % bound, limits=limits), ContentLengthDecoder | None)
    for length in (bound + 1, 10**18 - 1):
        with pytest.raises(HTTPError) as caught:
            announced(b"Content-Length: %d" % length, limits=limits)
        assert caught.value.status == 413


# --- Chunked coding. ---

GOOD = {
    "9112-7.1 nothing": (b"0\r\n\r\n", b""),
    "9112-7.1 one chunk": (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    "9112-7.1 some chunks": (b"1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n", b"abcdef"),
    "9112-7.1 line ends in chunks": (b"4\r\n\r\n\r\n\r\n2\r\n0\r\r\n0\r\n\r\n", b"\r\n\r\n0\r"),
    "9112-7.1 something like a last chunk in a chunk": (b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
    "9112-7.1 any byte": (b"100\r\n" + bytes(range(256)) + b"\r\n0\r\n\r\n", bytes(range(256))),
    "9112-7.1 hex in small letters": (b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    "9112-7.1 hex in capitals": (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    "9112-7.1 leading zeros": (b"0005\r\nhello\r\n0000\r\n\r\n", b"hello"),
    "9112-7.1 fifteen digits": (b"000000000000005\r\nhello\r\n000000000000000\r\n\r\n", b"hello"),
    "9112-7.1.1 extension": (b"5;a\r\nhello\r\n0\r\n\r\n", b"hello"),
    "9112-7.1.1 extension with value": (b"5;a=b\r\nhello\r\n0;c=d\r\n\r\n", b"hello"),
    "9112-7.1.1 extension with white space": (b"5 ;\ta\t= b\r\nhello\r\n0\r\n\r\n", b"hello"),
    "9112-7.1.1 extensions": (b"5;a;b=c;d\r\nhello\r\n0\r\n\r\n", b"hello"),
    "9112-7.1.1 quoted extension": (b'5;a="b;c=\\"d\\\\ \t\xe9"\r\nhello\r\n0\r\n\r\n', b"hello"),
    "9112-7.1.1 empty quoted extension": (b'5;a=""\r\nhello\r\n0\r\n\r\n', b"hello"),
    "9112-7.1.2 trailer": (b"5\r\nhello\r\n0\r\nX: y\r\n\r\n", b"hello"),
    "9112-7.1.2 trailers": (b"0\r\nX: y\r\nX:\r\nz:\t1 \r\n\r\n", b""),
    "9110-6.5.1 framing in trailers is dropped": (b"0\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\n\r\n", b""),
    "9110-6.5.1 Host in trailers is dropped": (b"0\r\nHost: b\r\nHost: c\r\n\r\n", b""),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_chunked_body(name: str) -> None:
    wire, content = GOOD[name]
    check_all_ways(chunked, wire, (content, len(wire)))


@pytest.mark.parametrize("name", GOOD)
def test_an_unfinished_chunked_body_needs_more(name: str) -> None:
    wire, _ = GOOD[name]
    for end in range(len(wire)):
        assert feed(chunked(), [wire[:end]]) is None
        assert feed(chunked(), small_pieces(wire[:end])) is None


class Case(NamedTuple):
    """A body, what it shall lead to, and why: RFC and section (`9112-7.1`), and what is wrong with it."""

    section: str
    reason: str
    wire: bytes
    status: int = 400


def case_id(case: Case) -> str:
    return f"{case.section}: {case.reason}"


def sized(line: bytes) -> bytes:
    return line + b"\r\nhello\r\n0\r\n\r\n"


BAD_SIZES = [
    b"", b"g", b"5g", b"xyz", b"+5", b"-5", b"-0", b"0x5", b"0X5", b"\\x5", b"5h", b" 5", b"\t5", b"5 ", b"5\t", b"5 5",
    b"5_0", b"1_0", b"5.0", b"5,5", b"5:", b"#5", b'"5"', b"(5)", b"5\x00", b"\x005", b"\x0b5", b"5\x0b",
    b"5\x0c", b"\xb25", b"\xd9\xa5", b"5\x85", b"\xa05", b"0000000000000005", b"8000000000000005", b"ffffffffffffffff",
    b"10000000000000005", b"0" * 300, b"f" * 300, b"-ffffffffffffffff",
]  # fmt: skip

BAD_EXTENSIONS = [
    b"5;", b"5;;", b"5;;a", b"5;a;", b"5;=b", b"5; =b", b"5;a=", b"5;a=;b", b"5;a b", b"5;a=b c", b"5;a ", b"5;a=b ",
    b"5;a,b", b"5;a=b=c", b"5;a:b", b'5;a="b', b'5;a=b"', b'5;a="b"c', b'5;a="b""c"', b'5;"a"=b', b'5;a="\\"',
    b"5;a='b c'", b"5;a=\xe9", b"5;\xe9", b"5;a\x00", b"5;a=\x00", b'5;a="\x00"', b'5;a="\x7f"', b'5;a="\\\x01"',
    b"5;a/b", b"5;(a)", b"5;a=(b)", b"5 a", b"5\x0b;a", b"5;a\x0b", b"5 ;", b"5;a;b;", b"5;<a>", b"5;a=[b]", b"5;{a}",
]  # fmt: skip

BAD = [
    *(Case("9112-7.1", f"size {line[:20]!r}{len(line)}", sized(line)) for line in BAD_SIZES),
    *(Case("9112-7.1.1", f"extension {line!r}", sized(line)) for line in BAD_EXTENSIONS),
    Case("9112-7.1", "the last size is malformed", b"5\r\nhello\r\n0x0\r\n\r\n"),
    Case("9112-7.1", "a minus before the last size", b"5\r\nhello\r\n-0\r\n\r\n"),
    Case("9112-7.1", "size line ends with bare LF", b"5\nhello\r\n0\r\n\r\n"),
    Case("9112-7.1", "size line ends with bare CR", b"5\rhello\r\n0\r\n\r\n"),
    Case("9112-7.1", "size line ends with CR CR LF", b"5\r\r\nhello\r\n0\r\n\r\n"),
    Case("9112-7.1", "size line ends with LF CR", b"5\n\rhello\r\n0\r\n\r\n"),
    Case("9112-7.1.1", "bare LF in an extension", b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
    Case("9112-7.1.1", "bare CR in an extension", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    Case("9112-7.1.1", "bare LF in a quoted extension", b'5;a="\n"\r\nhello\r\n0\r\n\r\n'),
    Case("9112-7.1.1", "line end in a quoted extension", b'5;a="\r\n"\r\nhello\r\n0\r\n\r\n'),
    Case("9112-7.1.1", "folded extension", b"5;a=\r\n b\r\nhello\r\n0\r\n\r\n"),
    Case("9112-7.1", "nothing after chunk data", b"5\r\nhello0\r\n\r\n"),
    Case("9112-7.1", "more chunk data than announced", b"5\r\nhello!\r\n0\r\n\r\n"),
    Case("9112-7.1", "less chunk data than announced", b"5\r\nhell\r\n0\r\n\r\n"),
    Case("9112-7.1", "bare LF after chunk data", b"5\r\nhello\n0\r\n\r\n"),
    Case("9112-7.1", "bare CR after chunk data", b"5\r\nhello\r0\r\n\r\n"),
    Case("9112-7.1", "LF CR after chunk data", b"5\r\nhello\n\r0\r\n\r\n"),
    Case("9112-7.1", "CR CR LF after chunk data", b"5\r\nhello\r\r\n0\r\n\r\n"),
    Case("9112-7.1", "space after chunk data", b"5\r\nhello \r\n0\r\n\r\n"),
    Case("9112-7.1", "an empty line more after chunk data", b"5\r\nhello\r\n\r\n0\r\n\r\n"),
    Case("9112-7.1", "no last chunk but an empty line", b"5\r\nhello\r\n\r\n"),
    Case("9112-7.1", "a new request instead of the last chunk", b"5\r\nhello\r\n" + NEXT),
    Case("9112-7.1", "a new request instead of the body", NEXT),
    Case("9112-7.1", "the body without coding", b"hello"[:4] + b" world, how are you?\r\n"),
    Case("9112-7.1.2", "last chunk's line end is bare LF", b"0\n\r\n"),
    Case("9112-7.1.2", "body ends with bare LF", b"0\r\n\n"),
    Case("9112-7.1.2", "body ends with bare CR", b"0\r\n\rX"),
    Case("9112-7.1.2", "body ends with CR CR LF", b"0\r\n\r\r\n"),
    Case("9112-7.1.2", "last chunk with content", b"0\r\nhello\r\n\r\n"),
    Case("9112-7.1.2", "a chunk after the last one", b"0\r\n5\r\nhello\r\n\r\n"),
    Case("9112-7.1.2", "trailer without colon", b"0\r\nX\r\n\r\n"),
    Case("9112-7.1.2", "a request as trailer", b"0\r\nGET / HTTP/1.1\r\n\r\n"),
    Case("9112-5.1", "trailer with space before the colon", b"0\r\nX : y\r\n\r\n"),
    Case("9110-5.1", "trailer without name", b"0\r\n: y\r\n\r\n"),
    Case("9110-5.6.2", "trailer with a bad name", b"0\r\nX(: y\r\n\r\n"),
    Case("9112-5.2", "trailer folded", b"0\r\nX: y\r\n z\r\n\r\n"),
    Case("9112-2.2", "white space before the first trailer", b"0\r\n X: y\r\n\r\n"),
    Case("9112-2.2", "trailer ends with bare LF", b"0\r\nX: y\n\r\n"),
    Case("9112-2.2", "bare LF in a trailer", b"0\r\nX: y\nz\r\n\r\n"),
    Case("9112-2.2", "bare CR in a trailer", b"0\r\nX: y\rz\r\n\r\n"),
    Case("9112-2.2", "bare CR in a trailer that ends with bare LF", b"0\r\nX: y\rz\n\r\n"),
    Case("9112-2.2", "bare CR in a size line that ends with bare LF", b"5;a\rb\nhello\r\n0\r\n\r\n"),
    *(Case("9110-5.5", f"control byte {c:#04x} in a trailer", b"0\r\nX: y%cz\r\n\r\n" % c) for c in
      (0, 1, 8, 11, 12, 31, 127)),
]  # fmt: skip


@pytest.mark.parametrize("case", BAD, ids=case_id)
def test_a_bad_chunked_body(case: Case) -> None:
    check_all_ways(chunked, case.wire, case.status)


@pytest.mark.parametrize("case", BAD, ids=case_id)
def test_a_refusal_says_the_same_in_whatever_pieces_the_body_comes(case: Case) -> None:
    ways = [[case.wire], small_pieces(case.wire), *splits(case.wire)]
    assert len({refusal(chunked(), pieces) for pieces in ways}) == 1


def refusal(body: Body, pieces: Iterable[bytes]) -> str:
    """The sentence with which a body is refused."""
    try:
        for piece in pieces:
            body.feed(piece, 0)
    except HTTPError as error:
        return error.reason
    pytest.fail("it is not refused")


def test_the_table_has_no_case_twice() -> None:
    assert len({case.wire for case in BAD}) == len({case_id(case) for case in BAD}) == len(BAD)


def test_content_alone_counts_as_received() -> None:
    """Framing does not keep up a body's rate: else extensions and trailers would feed a body for ever."""
    body = chunked()
    counts = []
    for piece in (b"5;a=b", b"\r\nhe", b"llo", b"\r", b"\n2\r\n", b"!", b"!\r\n", b"0\r\nX: y\r\n", b"\r\n"):
        body.feed(piece, 0)
        counts.append(body.received)
    assert counts == [0, 2, 5, 5, 5, 6, 7, 7, 7]


def test_a_control_byte_does_not_wait_for_the_end_of_its_line() -> None:
    assert feed(chunked(), [b"5;\x00"]) == 400
    assert feed(chunked(), [b"0\r\nX: \x00"]) == 400


# --- Limits. ---


def chunk(size: int, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (size, extension, b"x" * size)


@pytest.mark.parametrize("sizes", [[10], [5, 5], [1] * 10, [9, 1]], ids=str)
def test_content_is_bounded(sizes: list[int]) -> None:
    limits = Limits(body_bytes_max=10)
    wire = b"".join(map(chunk, sizes))
    check_all_ways(lambda: chunked(limits), wire + b"0\r\n\r\n", (b"x" * 10, len(wire) + 5))
    check_all_ways(lambda: chunked(limits), wire + b"1\r\n", 413)
    check_all_ways(lambda: chunked(limits), wire + b"fffffffffffffff\r\n", 413)


def test_content_of_default_bound() -> None:
    bound = LIMITS.body_bytes_max
    assert feed(chunked(), [b"%x\r\n" % bound]) is None
    assert feed(chunked(), [b"%x\r\n" % (bound + 1)]) == 413


def test_no_content_at_all_may_be_wanted() -> None:
    limits = Limits(body_bytes_max=0)
    check_all_ways(lambda: chunked(limits), b"0\r\n\r\n", (b"", 5))
    check_all_ways(lambda: chunked(limits), b"1\r\n", 413)


def extended(length: int) -> bytes:
    """A size line of this length, with its CR LF."""
    return b"1;" + b"a" * (length - 4) + b"\r\n"


def test_a_size_line_is_bounded() -> None:
    at_bound = extended(CHUNK_LINE_BYTES_MAX) + b"x\r\n0\r\n\r\n"
    check_all_ways(chunked, at_bound, (b"x", len(at_bound)))
    check_all_ways(chunked, extended(CHUNK_LINE_BYTES_MAX + 1), 400)
    check_all_ways(chunked, extended(CHUNK_LINE_BYTES_MAX * 20), 400)


@pytest.mark.parametrize("byte", [b"0", b"f", b"a", b";", b" ", b"\t"])
def test_a_size_line_without_end_is_refused_at_the_bound(byte: bytes) -> None:
    check_all_ways(chunked, byte * (CHUNK_LINE_BYTES_MAX - 1), None)
    check_all_ways(chunked, byte * CHUNK_LINE_BYTES_MAX, 400)
    check_all_ways(chunked, byte * (CHUNK_LINE_BYTES_MAX * 3), 400)


def with_extensions(total: int) -> bytes:
    """Chunks of a byte each whose extensions take this many bytes in all."""
    wire = b""
    while total:
        length = min(total, 1000) if total - 1000 not in range(1, 3) else 500
        wire += chunk(1, b";" + b"a" * (length - 1))
        total -= length
    return wire


def test_extensions_are_bounded_in_all() -> None:
    at_bound = with_extensions(EXTENSION_BYTES_MAX)
    content = b"x" * at_bound.count(b";")
    wire = at_bound + b"0\r\n\r\n"
    check_all_ways(chunked, wire, (content, len(wire)))
    check_all_ways(chunked, at_bound + b"0;a\r\n\r\n", 400)
    check_all_ways(chunked, with_extensions(EXTENSION_BYTES_MAX * 2), 400)


def trailers(total: int) -> bytes:
    """A last chunk and a trailer section of this many bytes, the empty line at its end included."""
    return b"0\r\nX: " + b"y" * (total - len(b"X: \r\n\r\n")) + b"\r\n\r\n"


@pytest.mark.slow
def test_trailers_are_bounded_in_bytes() -> None:
    at_bound = trailers(TRAILER_BYTES_MAX)
    assert len(at_bound) == TRAILER_BYTES_MAX + len(b"0\r\n")
    check_all_ways(chunked, at_bound, (b"", len(at_bound)))
    check_all_ways(chunked, trailers(TRAILER_BYTES_MAX + 1), 431)
    check_all_ways(chunked, trailers(TRAILER_BYTES_MAX + 2), 431)
    check_all_ways(chunked, trailers(TRAILER_BYTES_MAX + 3), 431)
    check_all_ways(chunked, trailers(TRAILER_BYTES_MAX * 4), 431)
    check_all_ways(chunked, b"0\r\n" + b"X: %b\r\n" % (b"y" * 1000) * 9, 431)


@pytest.mark.slow
@pytest.mark.parametrize("start", [b"X: ", b"X", b"X: y\r\nZ: "])
def test_a_trailer_without_end_is_refused_at_the_bound(start: bytes) -> None:
    section = start + b"y" * TRAILER_BYTES_MAX
    check_all_ways(chunked, b"0\r\n" + section[: TRAILER_BYTES_MAX - 1], None)
    check_all_ways(chunked, b"0\r\n" + section[:TRAILER_BYTES_MAX], 431)


@pytest.mark.parametrize("limits", [Limits(fields_max=3), LIMITS], ids=["small", "default"])
def test_trailers_are_bounded_in_number(limits: Limits) -> None:
    at_bound = b"0\r\n" + b"X: y\r\n" * limits.fields_max
    check_all_ways(lambda: chunked(limits), at_bound + b"\r\n", (b"", len(at_bound) + 2))
    check_all_ways(lambda: chunked(limits), at_bound + b"X: y\r\n", 431)


@pytest.mark.parametrize("offset", range(-4, 5))
@pytest.mark.parametrize("byte", [b"\x00", b"\r", b"\n"])
def test_a_forbidden_byte_around_a_bound_is_judged_alike_in_all_splits(byte: bytes, offset: int) -> None:
    for start, filling, bound in (
        (b"", b"1;" + b"a" * 2000, CHUNK_LINE_BYTES_MAX),
        (b"0\r\n", b"X: " + b"a" * 2 * TRAILER_BYTES_MAX, TRAILER_BYTES_MAX),
    ):
        place = bound + offset
        wire = start + filling[:place] + byte + filling[place:]
        expected = feed(chunked(), [wire])
        assert expected in (400, 431)
        check_all_ways(chunked, wire, expected)


# --- Cost. ---


def peak_bytes(make: Make, pieces: Iterable[bytes]) -> tuple[int, int]:
    """Content received, and the most memory that it took."""
    tracemalloc.start()
    try:
        body = make()
        for piece in pieces:
            feed_piece(body, piece)
        return body.received, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


SMALL_PIECES: dict[str, tuple[Make, Callable[[], list[bytes]]]] = {
    "tiny chunks": (chunked, lambda: [b"2\r\nxx\r\n" * 256] * 128),
    "tiny chunks in tiny pieces": (chunked, lambda: [b"2\r\nxx\r\n"] * 16_384),
    "a chunk in tiny pieces": (chunked, lambda: [b"ffff\r\n", *[b"xy"] * 30_000]),
    "a fixed body in tiny pieces": (lambda: ContentLengthDecoder(100_000, IN_MEMORY), lambda: [b"xy"] * 40_000),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL_PIECES)
def test_small_pieces_take_no_more_memory_than_their_content(name: str) -> None:
    """Else a body within its limit takes many times the limit."""
    make, pieces = SMALL_PIECES[name]
    received, peak = peak_bytes(make, pieces())
    assert received > 30_000
    assert peak < 4 * received


def test_chunks_end_a_turn() -> None:
    """Each costs the same time, however small it is."""
    body = chunked()
    assert body.feed(b"1\r\nx\r\n" * 1000, 0) is None
    # The line of the next chunk has been read.
    assert body.received == CHUNKS_A_TURN_MAX - 1
    assert body.paused_at == 6 * (CHUNKS_A_TURN_MAX - 1) + 3


@pytest.mark.parametrize(("size", "expected"), [(1, 400), (16, None)])
def test_a_long_body_that_is_mostly_framing_is_refused(size: int, expected: int | None) -> None:
    chunk = b"%x\r\n%b\r\n" % (size, b"x" * size)
    assert feed(chunked(), [chunk * 30_000]) == expected


def test_a_short_body_may_be_mostly_framing() -> None:
    assert feed(chunked(), [b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n"]) == (b"x" * 1000, 6005)


def seconds(*feeds: tuple[Make, list[bytes]]) -> list[float]:
    """CPU seconds for each way of feeding: the best of five, in turns. The machine may be slow for a while, to all."""
    best = [float("inf")] * len(feeds)
    for _ in range(5):
        for number, (make, pieces) in enumerate(feeds):
            body = make()
            begun = time.thread_time()
            feed(body, pieces)
            best[number] = min(best[number], time.thread_time() - begun)
    return best


def test_a_byte_of_a_fixed_body_costs_the_same_however_much_has_come_before() -> None:
    few, many = seconds(
        (lambda: ContentLengthDecoder(10**6, IN_MEMORY), [b"x" * 1000, *[b"yz"] * 3000]),
        (lambda: ContentLengthDecoder(10**9, IN_MEMORY), [b"x" * 10**6, *[b"yz"] * 3000]),
    )
    assert many < 4 * few + 0.002


def test_a_chunk_costs_the_same_however_many_have_come_before() -> None:
    pieces = [b"1\r\nx\r\n" * 100]
    few, many = seconds((chunked, pieces * 10), (chunked, pieces * 80))
    assert many < 8 * 4 * few


@pytest.mark.parametrize(
    "wire",
    [
        b"5" + b" " * 32_000,
        b"5" + b";a" * 16_000,
        b'5;a="' + b'\\"' * 16_000,
        b"0\r\nX: " + b" \t" * 16_000,
        b"0\r\n" + b"A:\r\n" * 8_000,
        (b'1;a="' + b'\\"' * 490 + b'\r\n') * 30,
    ],
    ids=lambda wire: repr(wire[:12]),
)  # fmt: skip
def test_no_framing_costs_more_than_its_bytes(wire: bytes) -> None:
    (cost,) = seconds((chunked, [wire]))
    assert cost < 0.05


def test_a_dropped_reader_leaves_nothing_to_the_collector() -> None:
    gc.collect()
    for make in (chunked, lambda: ContentLengthDecoder(9, IN_MEMORY)):
        for _ in range(100):
            make().feed(b"5\r\nhel", 0)
    assert gc.collect() == 0


# --- Chance. ---


def encode(rng: random.Random, content: bytes) -> bytes:
    """Content in chunks, extensions and trailers of chance."""
    wire, start = b"", 0
    while start < len(content):
        size = rng.randint(1, 40)
        part = content[start : start + size]
        digits = rng.choice([b"%x", b"%X", b"0%x", b"0000%X"]) % len(part)
        wire += digits + rng.choice([b"", b"", b";a", b" ; b=c", b';d="\\"e;"']) + b"\r\n" + part + b"\r\n"
        start += size
    return wire + b"0\r\n" + rng.choice([b"", b"X: y\r\n", b"A:\r\nB: c\r\n"]) + b"\r\n"


def cut(rng: random.Random, wire: bytes) -> list[bytes]:
    """A body in a handful of pieces."""
    places = sorted({0, len(wire), *(rng.randrange(len(wire) + 1) for _ in range(rng.randint(1, 8)))})
    return [wire[start:end] for start, end in pairwise(places)]


def test_generated_bodies_come_out_as_they_were_made() -> None:
    rng = random.Random(7)
    for _ in range(400):
        content = rng.randbytes(rng.randrange(300))
        wire = encode(rng, content)
        assert feed(chunked(), cut(rng, wire + NEXT)) == (content, len(wire))


SPICE = [b"\r", b"\n", b"\r\n", b"0\r\n\r\n", b"\x00", b" ", b";", b"=", b'"', b"\\", b"-", b"0x", b"\xff", b":", b"f"]


def mutate(rng: random.Random, wire: bytes) -> bytes:
    """A body with a few bytes changed, left out or put in."""
    message = bytearray(wire)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(message) + 1)
        match rng.randrange(3):
            case 0:
                message[place : place + 1] = bytes([rng.randrange(256)])
            case 1:
                del message[place : place + rng.randint(1, 4)]
            case 2:
                message[place:place] = rng.choice(SPICE)
    return bytes(message)


@pytest.mark.slow
def test_mutated_bodies_lead_to_the_same_however_they_come() -> None:
    rng = random.Random(20240613)
    limits = Limits(body_bytes_max=60, fields_max=2)
    seeds = [wire for wire, _ in GOOD.values() if len(wire) < 200] + [case.wire for case in BAD if len(case.wire) < 200]
    kinds = set()
    for _ in range(6000):
        wire = mutate(rng, rng.choice(seeds))
        expected = feed(chunked(limits), [wire])
        assert feed(chunked(limits), small_pieces(wire)) == expected, wire
        assert feed(chunked(limits), cut(rng, wire)) == expected, wire
        kinds.add(expected if isinstance(expected, int) else bool(expected))
    assert {True, False, 400, 413} <= kinds
