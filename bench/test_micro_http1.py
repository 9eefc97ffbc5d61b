"""Microbenchmarks of the way of a request without sockets: parser, router, encoding, connection.

    python -m pytest bench/test_micro_http1.py --benchmark-only

One round of each is a single call, or a single pass over inputs that are all different. No second passes while they run
(`ReactorContext.begin_second` is the reactor's to call), so what is kept for a second is kept throughout.
"""

import random
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from bench import kinds
from mreactor.app.router import Router
from mreactor.config import Config, Limits
from mreactor.demo import make_demo
from mreactor.http.memo import ENTRIES_MAX
from mreactor.http.request_head import RequestHead
from mreactor.http.response import TEXT, Response
from mreactor.http1.connection import Connection
from mreactor.http1.context import ReactorContext
from mreactor.http1.head_parser import Parser
from mreactor.protocol import READY

PEER = ("127.0.0.1", 50_000)

# What a browser sends, and what a load generator sends.
BROWSER = (
    b"Host: localhost:8080\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: en-US,en;q=0.5\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Connection: keep-alive\r\n"
    b"Upgrade-Insecure-Requests: 1\r\n"
    b"Priority: u=0, i\r\n"
)
SHORT = b"Host: localhost:8080\r\n"
# What the cases of the race send that repeat no head: nine fields, two of them new each time.
TRACED = "\r\n".join((*kinds.BROWSER, *kinds.TRACED, "")).encode()

# More of them than the parser remembers: by the time that one comes again, it has been forgotten.
DIFFERENT = 4 * ENTRIES_MAX


def get(target: bytes, fields: bytes = SHORT) -> bytes:
    return b"GET %b HTTP/1.1\r\n%b\r\n" % (target, fields)


def renewed(template: bytes, count: int) -> list[bytes]:
    """So many copies of a request, with other digits in its slots each time."""
    return [kinds.SLOT.sub(lambda slot: b"%016x" % random.getrandbits(64), template) for _ in range(count)]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ReactorContext:
    """The demo application's, with an empty static directory."""
    root: Path = tmp_path_factory.mktemp("static")
    return ReactorContext(Limits(), make_demo(Config(static=str(root))).freeze())


@pytest.fixture
def connection(context: ReactorContext) -> Connection:
    return Connection(context, PEER)


def each_of[Input](inputs: list[Input], call: Callable[[Input], Any]) -> Callable[[], Any]:
    """A call with another input each time."""
    supply: Iterator[Input] = cycle(inputs)
    return lambda: call(next(supply))


# --- Parser. ---


@pytest.mark.parametrize(
    "fields", [SHORT, BROWSER, kinds.filled(TRACED)], ids=["1 field", "8 fields", "9 fields, traced"]
)
def test_parse_known(benchmark: Any, fields: bytes) -> None:
    """A client repeats its request."""
    parser, raw = Parser(Limits()), get(b"/hello/world", fields)
    for _ in range(3):
        parser.parse(raw)
    head = benchmark(parser.parse, raw)
    assert head.path == "/hello/world"


@pytest.mark.parametrize("fields", [SHORT, BROWSER], ids=["1 field", "8 fields"])
def test_parse_block_known(benchmark: Any, fields: bytes) -> None:
    """The memo of header blocks: a client asks for something else."""
    parser = Parser(Limits())
    raws = [get(b"/hello/%d" % number, fields) for number in range(DIFFERENT)]
    known = [parser.parse(raw).headers for raw in raws[:3]][-1]
    head = benchmark(each_of(raws, parser.parse))
    assert head.headers is known


@pytest.mark.parametrize("fields", [SHORT, BROWSER], ids=["1 field", "8 fields"])
def test_parse_head_new(benchmark: Any, fields: bytes) -> None:
    """No memo helps: each head has a field of its own."""
    parser = Parser(Limits())
    raws = [get(b"/hello/world", b"%bX-Request-Id: %d\r\n" % (fields, number)) for number in range(DIFFERENT)]
    head = benchmark(each_of(raws, parser.parse))
    assert head.headers["x-request-id"].isdigit()


def test_parse_head_traced(benchmark: Any) -> None:
    """Seven known fields, and two that no request had before, as behind a balancer and a tracer."""
    parser = Parser(Limits())
    head = benchmark(each_of(renewed(get(b"/hello/world", TRACED), DIFFERENT), parser.parse))
    assert len(head.headers["x-request-id"]) == 32


def test_read_head_in_pieces(benchmark: Any) -> None:
    """A head that comes in two segments: read without any memo."""
    parser, raw = Parser(Limits()), get(b"/hello/world", BROWSER)
    first = raw[:100]

    def read() -> RequestHead:
        reader = parser.reader(0)
        assert reader.read(first) is None
        read = reader.read(raw)
        assert read is not None
        return parser.finish(read[0], read[1])

    assert benchmark(read).path == "/hello/world"


# --- Router. ---


@pytest.mark.parametrize("target", ["/", "/hello/world", "/style/site.css"])
def test_match(benchmark: Any, context: ReactorContext, target: str) -> None:
    line = context.parser.parse(get(target.encode())).line
    match = benchmark(context.router.match, line)
    assert callable(match.handler)


def test_match_new_path(benchmark: Any, context: ReactorContext) -> None:
    """Another path each time, which leads to the same handler."""
    lines = [context.parser.parse(get(b"/hello/%d" % number)).line for number in range(DIFFERENT)]
    match = benchmark(each_of(lines, context.router.match))
    assert callable(match.handler)


def test_build_router(benchmark: Any) -> None:
    """What each reactor does once, for a hundred routes."""
    app_routes = make_demo(Config()).freeze()
    many = [
        type(route)(route.method, f"/{number}{route.pattern}", route.endpoint, mount=route.mount)
        for number in range(20)
        for route in app_routes
    ]
    assert isinstance(benchmark(Router, many), Router)


# --- Encoding. ---


def test_encode_plain(benchmark: Any, context: ReactorContext) -> None:
    content = b"Hello, world!"
    answer = benchmark(lambda: context.head_cache[TEXT][len(content)] + content)
    assert answer.endswith(b"\r\n\r\nHello, world!")


def test_encode(benchmark: Any, context: ReactorContext) -> None:
    """The general way, with two fields; `Response` is made again each time, as handlers do."""
    head = context.parser.parse(get(b"/"))

    def encode() -> bytes:
        response = Response("Hello, world!", headers={"Cache-Control": "no-store", "X-Frame-Options": "DENY"})
        return context.encoder.encode(response, head, keep_alive=True)

    assert benchmark(encode).endswith(b"\r\n\r\nHello, world!")


# --- Connection. ---


def answered(benchmark: Any, connection: Connection, raw: bytes) -> bytes:
    """Benchmark the same request in one piece again and again, on an idle connection; returns the last answer."""
    assert connection.receive_data(raw) is not None
    answer: bytes = benchmark(connection.receive_data, raw)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    return answer


def test_receive_constant(benchmark: Any, connection: Connection) -> None:
    """`/`, from the reply cache."""
    assert answered(benchmark, connection, get(b"/")).endswith(b"Welcome to mreactor")


def test_receive_computed(benchmark: Any, connection: Connection) -> None:
    """`/hello/{name}`, the same name each time: the way is remembered, the handler runs."""
    assert answered(benchmark, connection, get(b"/hello/world")).endswith(b"Hello, world!")


def test_receive_computed_another_each_time(benchmark: Any, context: ReactorContext, connection: Connection) -> None:
    """`/hello/{name}`, another name each time: parsed and routed again, over a known header block."""
    names = cycle(get(b"/hello/%d" % number, BROWSER) for number in range(DIFFERENT))

    def forget() -> tuple[tuple[bytes], dict[str, Any]]:
        context.cache.begin_second()
        return (next(names),), {}

    answer = benchmark.pedantic(connection.receive_data, setup=forget, rounds=2 * DIFFERENT)
    assert b"\r\n\r\nHello, " in answer


def test_receive_traced(benchmark: Any, connection: Connection) -> None:
    """A computed response to a head with two new values, all the way."""
    raws = renewed(get(b"/hello/world", TRACED), DIFFERENT)
    assert benchmark(each_of(raws, connection.receive_data)).endswith(b"\r\n\r\nHello, world!")


@pytest.mark.parametrize("size", [13, 8192])
def test_receive_echo(benchmark: Any, connection: Connection, size: int) -> None:
    """POST /echo with Content-Length."""
    raw = b"POST /echo HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n" % (SHORT, size) + b"x" * size
    assert answered(benchmark, connection, raw).endswith(b"\r\n\r\n" + b"x" * size)


def test_receive_echo_chunked(benchmark: Any, connection: Connection) -> None:
    """POST /echo, 8 KiB in eight chunks."""
    body = (b"400\r\n" + b"x" * 1024 + b"\r\n") * 8 + b"0\r\n\r\n"
    raw = b"POST /echo HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n" % SHORT + body
    assert answered(benchmark, connection, raw).endswith(b"\r\n\r\n" + b"x" * 8192)


def test_receive_echo_in_small_chunks(benchmark: Any, connection: Connection) -> None:
    """POST /echo, 8 KiB in chunks of one byte, received 16 KiB at a time. Far more of them are refused."""
    head = b"POST /echo HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n" % SHORT
    raw = head + b"1\r\nx\r\n" * 8192 + b"0\r\n\r\n"
    pieces = [raw[start : start + 16_384] for start in range(0, len(raw), 16_384)]
    assert benchmark(receive_all, connection, pieces).endswith(b"\r\n\r\n" + b"x" * 8192)


def receive_all(connection: Connection, pieces: list[bytes]) -> bytes:
    """Receive a request in pieces as a reactor does, and return the response."""
    for piece in pieces:
        answer = connection.receive_data(piece)
        while connection.state == READY:
            connection.resume()
    if answer is None:
        answer = bytes(connection.data_to_send())  # type: ignore[arg-type]
        connection.data_sent(len(answer))
    return answer


@pytest.mark.parametrize("target", [b"/", b"/hello/world"], ids=["constant", "computed"])
def test_receive_pipelined(benchmark: Any, connection: Connection, target: bytes) -> None:
    """Sixteen requests in one piece."""
    answer = answered(benchmark, connection, get(target) * 16)
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 16


def test_receive_refused(benchmark: Any, context: ReactorContext) -> None:
    """A malformed request, on a connection of its own: what an attacker's attempt costs."""
    raw = b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"

    def refuse() -> Connection:
        connection = Connection(context, PEER)
        connection.receive_data(raw)
        return connection

    assert bytes(benchmark(refuse).data_to_send()).startswith(b"HTTP/1.1 400 Bad Request\r\n")
