"""What reading heads costs in time, and heads made by chance."""

import random
import time

import pytest

from mreactor.http1.head_parser import Parser
from tests.http1.heads import BAD, GOOD, LIMITS, cut, get, post, read_pieces, read_whole, small_pieces

# --- Cost. ---


def seconds_for(reader_state: bytes, pieces: list[bytes]) -> float:
    """CPU seconds for reading pieces after what has come before."""
    reader = Parser(LIMITS).reader(0)
    assert reader.read(reader_state) is None
    begun = time.thread_time()
    for piece in pieces:
        reader.read(piece)
    return time.thread_time() - begun


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 90 + b"X: "])
def test_a_byte_costs_the_same_however_much_has_come_before(start: bytes) -> None:
    """Else a client that sends a long line byte by byte makes the server read it over and over."""
    best = {1000: float("inf"), 31_000: float("inf")}
    for _ in range(5):  # in turns: the machine may be slow for a while, to both
        for length in best:
            begun = start + b"a" * (length - len(start))
            pieces = [begun + b"a" * more for more in range(1, 301)]
            best[length] = min(best[length], seconds_for(begun, pieces))
    few, many = best.values()
    assert many < 4 * few + 0.001


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /" + b"%41" * 2700 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /" + b"/" * 8100 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /?" + b"?" * 8100 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://" + b"a" * 8000 + b"@ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET " + b"A" * 8000 + b"\r\nHost: a\r\n\r\n",
        get(b"/", b"X: " + b" \t" * 16_000 + b"y"),
        get(b"/", b"X: y" + b" \t" * 16_000),
        get(b"/", b"X" * 32_000),
        get(b"/", b"Connection: " + b"," * 32_000),
        get(b"/", b"Connection: " + b" ," * 16_000),
        get(b"/", b"Connection: " + b"a," * 16_000),
        get(b"/", b"Expect: " + b",a" * 16_000),
        get(b"/", b"Transfer-Encoding: " + b"a" * 32_000 + b"@"),
        post(b"Content-Length: " + b"9" * 32_000),
        get(host=b"Host: " + b"a" * 32_000 + b"@\r\n"),
        get(host=b"Host: a:" + b"9" * 32_000 + b"\r\n"),
        get(host=b"Host: [" + b":" * 32_000 + b"]\r\n"),
        get(host=b"Host: [" + b"0:" * 16_000 + b"]\r\n"),
        get(host=b"Host: [" + b"1." * 16_000 + b"]\r\n"),
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A:\r\n" * 8000 + b"\r\n",
        b"GET / HTTP/1.1\r\n" + b"A" * 32_000,
        b"\r\n" * 16_000,
    ],
    ids=lambda raw: repr(raw[:28])[2:-1],
)
def test_no_head_costs_more_than_its_bytes(raw: bytes) -> None:
    best = float("inf")
    for _ in range(5):
        begun = time.thread_time()
        read_whole(Parser(LIMITS), raw)
        best = min(best, time.thread_time() - begun)
    assert best < 0.05


# --- Chance. ---

SPICE = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\x00",
    b" ",
    b"\t",
    b":",
    b",",
    b"%",
    b"\xff",
    b"/",
    b"0",
    b"HTTP/1.1",
    b"Host: b\r\n",
]


def mutate(rng: random.Random, raw: bytes) -> bytes:
    """A message with a few bytes changed, left out, doubled or put in."""
    message = bytearray(raw)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(message) + 1)
        match rng.randrange(5):
            case 0:
                message[place : place + 1] = bytes([rng.randrange(256)])
            case 1:
                del message[place : place + rng.randint(1, 4)]
            case 2:
                message[place:place] = rng.choice(SPICE)
            case 3:
                message[place:place] = message[place : place + rng.randint(1, 30)]
            case 4:
                other = rng.randrange(len(message) + 1)
                message[place : place + 1] = message[other : other + 1]
    return bytes(message)


@pytest.mark.slow
def test_mutated_heads_lead_to_the_same_however_they_come() -> None:
    rng = random.Random(20240612)
    seeds = [raw for raw, _ in GOOD.values()] + [case.raw for case in BAD if len(case.raw) < 300]
    remembering = Parser(LIMITS)
    statuses = set()
    for _ in range(6000):
        raw = mutate(rng, rng.choice(seeds))
        expected = read_pieces(Parser(LIMITS), [raw])
        assert read_whole(remembering, raw) == expected, raw
        assert read_pieces(remembering, cut(rng, raw)) == expected, raw
        assert read_pieces(remembering, small_pieces(raw)) == expected, raw
        statuses.add(expected if isinstance(expected, int) else bool(expected))
    assert {True, False, 400, 501} <= statuses


def test_generated_heads_come_out_as_they_were_made() -> None:
    rng = random.Random(7230)
    names = ["Accept", "X-A", "x-b", "Cookie", "Accept-Language", "If-None-Match"]
    parser = Parser(LIMITS)
    for _ in range(500):
        path = "/" + "".join(rng.choice("abc/%.-_~") for _ in range(rng.randrange(20))).replace("%", "%41")
        fields = [(rng.choice(names), random_value(rng)) for _ in range(rng.randrange(10))]
        lines = [b"%b:%b" % (name.encode(), rng.choice([b"", b" ", b"\t "])) + value for name, value in fields]
        raw = get(path.encode(), *lines)
        head = parser.parse(raw)
        assert (head.raw_path, head.path) == (path, path.replace("%41", "A"))
        for name, _ in fields:
            values = [value.decode("latin-1").strip(" \t") for other, value in fields if other == name]
            assert head.headers.get_all(name) == values
            assert head.headers[name] == ("; " if name.lower() == "cookie" else ", ").join(values)


def random_value(rng: random.Random) -> bytes:
    return bytes(rng.choice([*range(0x20, 0x7F), 0x09, *range(0x80, 0x100)]) for _ in range(rng.randrange(30)))
