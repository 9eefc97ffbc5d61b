"""What the suites of the connection share: an application, byte streams with the responses expected, and `Talk`.

`Talk` leads a `Connection` through a stream as a patient peer with a perfect network would.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from mreactor.app.application import App
from mreactor.config import Limits
from mreactor.http.request import Request
from mreactor.http.response import Response
from mreactor.http.status import HTTPError
from mreactor.http1.connection import Connection
from mreactor.http1.context import ReactorContext
from mreactor.protocol import FileBody
from tests.support.memory import PEER, UNLIMITED, Session
from tests.support.responses import ReceivedResponse, read_responses

FILE = os.path.abspath(__file__)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

# A request that comes for so many times is known: its line and its fields are remembered from their second sight on,
# and what it leads to is cached at the third.
REPEATED = 3

# Small enough that a vector can reach each limit.
LIMITS = Limits(
    request_line_bytes_max=100, head_bytes_max=400, fields_max=8, body_bytes_max=1000, pipelined_per_turn_max=4
)


@dataclass
class Calls:
    """What handlers were called for, and which generators have ended."""

    paths: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)


def make_app(calls: Calls | None = None) -> App:
    """One route of each kind that a connection treats in its own way."""
    calls = calls if calls is not None else Calls()
    app = App()

    @app.get("/", constant=True)
    def root(request: Request) -> str:
        calls.paths.append(request.path)
        return "root"

    @app.get("/hello/{name}")
    def hello(request: Request, name: str) -> str:
        calls.paths.append(request.path)
        return f"Hello, {name}!"

    @app.route("/json", ("GET", "PUT", "PATCH", "DELETE"))
    def json(request: Request) -> dict[str, object]:
        return {"method": request.method, "query": dict(request.query), "host": request.host}

    @app.post("/echo")
    def echo(request: Request) -> Response:
        calls.paths.append(request.path)
        return Response(request.body, content_type=request.headers.get("content-type", "text/plain"))

    @app.get("/boom")
    def boom(request: Request) -> str:
        raise ZeroDivisionError("boom")

    @app.get("/teapot")
    def teapot(request: Request) -> str:
        raise HTTPError(418, "Short and stout.", (("X-Pot", "tea"),))

    @app.get("/status/{status:int}")
    def status(request: Request, status: int) -> Response:
        return Response("content", status)

    @app.get("/file")
    def file(request: Request) -> Response:
        return Response(open_file(), content_type="text/x-python")

    add_streams(app, calls)
    add_blocking(app, calls)
    return app


def add_streams(app: App, calls: Calls) -> None:
    """Routes whose responses are streamed."""

    @app.get("/stream/{count:int}")
    def stream(request: Request, count: int) -> Iterator[str]:
        return parts(count, calls)

    @app.get("/stream/fails")
    def failing(request: Request) -> Iterator[str]:
        return failing_parts(calls)

    @app.get("/stream/odd")
    def odd(request: Request) -> Iterator[object]:
        yield "before"
        yield 5


def add_blocking(app: App, calls: Calls) -> None:
    """Routes whose handlers run in another thread."""

    @app.route("/slow", ("GET", "POST"), blocking=True)
    def slow(request: Request) -> bytes:
        calls.paths.append(request.path)
        return request.body or b"slow"

    @app.get("/slow/boom", blocking=True)
    def slow_boom(request: Request) -> str:
        raise ZeroDivisionError("slow boom")

    @app.get("/slow/exit", blocking=True)
    def slow_exit(request: Request) -> str:
        raise SystemExit(3)

    @app.get("/slow/file", blocking=True)
    def slow_file(request: Request) -> FileBody:
        return open_file()

    @app.get("/slow/stream/{count:int}", blocking=True)
    def slow_stream(request: Request, count: int) -> Iterator[str]:
        return parts(count, calls)

    @app.get("/slow/stream/fails", blocking=True)
    def slow_failing(request: Request) -> Iterator[str]:
        return failing_parts(calls)


def parts(count: int, calls: Calls) -> Iterator[str]:
    """`count` parts, an empty one among them."""
    try:
        for number in range(count):
            yield f"part {number};" if number != 1 else ""
    finally:
        calls.ended.append("parts")


def failing_parts(calls: Calls) -> Iterator[str]:
    """Two parts, and then no more."""
    try:
        yield "first;"
        yield "second;"
        raise ZeroDivisionError("in the middle of a stream")
    finally:
        calls.ended.append("failing parts")


def open_file() -> FileBody:
    """This file, open."""
    fd = os.open(FILE, os.O_RDONLY | os.O_CLOEXEC)
    return FileBody(fd, 0, os.fstat(fd).st_size)


def get(target: str, *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    """A request without body."""
    lines = [f"{method} {target} HTTP/{version}", *(["Host: a"] if version == "1.1" else []), *fields]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


def post(target: str, body: bytes, *fields: str, method: str = "POST") -> bytes:
    """A request with a body of announced length."""
    return get(target, *fields, f"Content-Length: {len(body)}", method=method) + body


def post_chunked(target: str, body: bytes, *fields: str) -> bytes:
    """A request with a body in chunked coding, as it comes."""
    return get(target, *fields, "Transfer-Encoding: chunked", method="POST") + body


def make_context(limits: Limits = LIMITS, calls: Calls | None = None) -> ReactorContext:
    """A context of `make_app`, at the time 1000."""
    context = ReactorContext(limits, make_app(calls).routes)
    context.begin_round(1000.0)
    return context


class Talk(Session):
    """An HTTP session whose peer reads everything at once.

    Args:
        context: makes the connection.
        pieces: what is sent, in pieces.
        write_max: bytes that one send takes at most.
    """

    def __init__(self, context: ReactorContext, pieces: Iterable[bytes] = (), write_max: int = UNLIMITED) -> None:
        super().__init__(context, PEER, send_max=write_max)
        for piece in pieces:
            self.send(piece)

    @property
    def output(self) -> bytes:
        """Everything that the connection has sent."""
        return bytes(self.sent)

    @output.setter
    def output(self, output: bytes) -> None:
        self.sent[:] = output

    def send(self, data: bytes) -> bytes:
        """Send a piece, or the end of the stream if it is empty; returns what comes back."""
        begun = len(self.sent)
        if self.connection.wants_read:
            self.receive(data)
        self.settle()
        return self.output[begun:]

    def end(self) -> bytes:
        """Shut the write side."""
        return self.send(b"")

    def responses(self, *methods: str) -> list[ReceivedResponse]:
        """The responses, read strictly."""
        return read_responses(self.output, *methods)


def take(connection: Connection, output: bytes | memoryview | FileBody, count: int) -> bytes:
    """Take at most `count` bytes of the data to send, as the kernel does."""
    if isinstance(output, FileBody):
        taken = os.pread(output.fd, min(count, len(output)), output.offset)
    else:
        taken = bytes(output[:count])
    connection.data_sent(len(taken))
    return taken


@dataclass(frozen=True)
class Vector:
    """A stream of bytes, the statuses of its responses, and whether the connection ends with it."""

    name: str
    data: bytes
    statuses: tuple[int, ...]
    ends: bool = False
    methods: tuple[str, ...] = ()


CHUNKS = b'5\r\nhello\r\n6;a=b; c="d"\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n'

GOOD = (
    Vector("get", get("/"), (200,)),
    Vector("empty line first", b"\r\n" + get("/"), (200,)),
    Vector("computed", get("/hello/world"), (200,)),
    Vector("query", get("/json?a=1&b=%20x"), (200,)),
    Vector("absolute form", get("http://example.org:8080/json"), (200,)),
    Vector("head", get("/", method="HEAD"), (200,), methods=("HEAD",)),
    Vector("options", get("/json", method="OPTIONS"), (204,)),
    Vector("options *", get("*", method="OPTIONS"), (204,)),
    Vector(
        "put, patch, delete", b"".join(post("/json", b"{}", method=m) for m in ("PUT", "PATCH", "DELETE")), (200,) * 3
    ),
    Vector("white space", b"GET / HTTP/1.1\r\nHost:\t a \t\r\nX:\r\nY: \t\r\n\r\n", (200,)),
    Vector("minor version 9", get("/").replace(b"HTTP/1.1", b"HTTP/1.9"), (200,)),
    Vector("not found", get("/nothing"), (404,)),
    Vector("not allowed", get("/echo"), (405,)),
    Vector("not found, with a body", post("/nothing", b"body") + get("/"), (404, 200)),
    Vector("length", post("/echo", b"hello world"), (200,)),
    Vector("length 0", post("/echo", b""), (200,)),
    Vector("length, twice the same", post("/echo", b"again") * 2, (200, 200)),
    Vector("chunked", post_chunked("/echo", CHUNKS), (200,)),
    Vector("chunked, empty", post_chunked("/echo", b"0\r\n\r\n"), (200,)),
    Vector("chunked, then more", post_chunked("/echo", CHUNKS) + get("/hello/b"), (200, 200)),
    Vector("get with a body", post("/", b"body", method="GET") + get("/hello/b"), (200, 200)),
    Vector("no content", get("/status/204") + get("/"), (204, 200)),
    Vector("not modified", get("/status/304") + get("/"), (304, 200)),
    Vector("handler fails", get("/boom") + get("/"), (500, 200)),
    Vector("handler refuses", get("/teapot") + get("/"), (418, 200)),
    Vector("stream", get("/stream/3") + get("/"), (200, 200)),
    Vector("stream of nothing", get("/stream/0") + get("/"), (200, 200)),
    Vector("head of a stream", get("/stream/3", method="HEAD") + get("/"), (200, 200), methods=("HEAD", "GET")),
    Vector("file", get("/file") + get("/"), (200, 200)),
    Vector("head of a file", get("/file", method="HEAD") + get("/"), (200, 200), methods=("HEAD", "GET")),
    Vector("blocking", get("/slow") + get("/"), (200, 200)),
    Vector("blocking with a body", post("/slow", b"body") + get("/"), (200, 200)),
    Vector("after a blocking one", get("/") + get("/slow") + get("/hello/b") + get("/slow"), (200,) * 4),
    Vector("blocking fails", get("/slow/boom") + get("/"), (500, 200)),
    Vector("blocking exits", get("/slow/exit") + get("/"), (500, 200)),
    Vector("blocking stream", get("/slow/stream/3") + get("/"), (200, 200)),
    Vector("blocking file", get("/slow/file") + get("/"), (200, 200)),
    Vector("expectation", post("/echo", b"hello", "Expect: 100-continue") + get("/"), (200, 200)),
    Vector("three constant", get("/") * 3, (200,) * 3),
    Vector("more than a turn", b"".join(get(f"/hello/{n}") for n in range(11)), (200,) * 11),
    Vector("more constant ones than a turn", get("/") * 11, (200,) * 11),
    Vector("mixed", get("/") + post("/echo", b"x") + get("/nothing") + get("/hello/b") * 2, (200, 200, 404, 200, 200)),
    Vector("1.0 keep-alive", get("/", "Connection: keep-alive", version="1.0") + get("/hello/b"), (200, 200)),
)

LAST = (
    Vector("1.0", get("/", version="1.0"), (200,), True),
    Vector("close", get("/", "Connection: close"), (200,), True),
    Vector("close in a list", get("/", "Connection: foo", "Connection: bar , CLOSE"), (200,), True),
    Vector("close after others", get("/") + get("/hello/b") + get("/", "Connection: close"), (200,) * 3, True),
    Vector("1.0 stream", get("/stream/3", version="1.0"), (200,), True),
    Vector("1.0 stream, kept alive", get("/stream/3", "Connection: keep-alive", version="1.0"), (200,), True),
    Vector("close after a body", post("/echo", b"hello", "Connection: close"), (200,), True),
    Vector("close after a stream", get("/stream/3", "Connection: close"), (200,), True),
    Vector("close after a file", get("/file", "Connection: close"), (200,), True),
    Vector("close after a blocking one", get("/slow", "Connection: close"), (200,), True),
)

BAD = (
    Vector("no request line", b"hello\r\n\r\n", (400,), True),
    Vector("two spaces", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", (400,), True),
    Vector("bare LF", b"GET / HTTP/1.1\nHost: a\n\n", (400,), True),
    Vector("bare CR", b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", (400,), True),
    Vector("NUL", b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", (400,), True),
    Vector("two empty lines first", b"\r\n\r\n" + get("/"), (400,), True),
    Vector("folded line", b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", (400,), True),
    Vector("space before the colon", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", (400,), True),
    Vector("no host", b"GET / HTTP/1.1\r\n\r\n", (400,), True),
    Vector("two hosts", get("/", "Host: a"), (400,), True),
    Vector("malformed host", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", (400,), True),
    Vector("length and coding", post("/echo", b"x", "Transfer-Encoding: chunked"), (400,), True),
    Vector("two lengths", get("/echo", "Content-Length: 1", "Content-Length: 2", method="POST") + b"x", (400,), True),
    Vector("signed length", get("/echo", "Content-Length: +1", method="POST") + b"x", (400,), True),
    Vector("endless length", get("/echo", "Content-Length: " + "9" * 200, method="POST"), (400,), True),
    Vector("coding in 1.0", get("/echo", "Transfer-Encoding: chunked", method="POST", version="1.0"), (400,), True),
    Vector("unknown coding", get("/echo", "Transfer-Encoding: gzip", method="POST"), (501,), True),
    Vector("odd coding", get("/echo", "Transfer-Encoding: chunked, chunked", method="POST"), (400,), True),
    Vector("chunk size", post_chunked("/echo", b"5\r\nhello\r\n0x1\r\nx\r\n0\r\n\r\n"), (400,), True),
    Vector("chunk too long", post_chunked("/echo", b"5\r\nhelloo\r\n0\r\n\r\n"), (400,), True),
    Vector("chunk with LF", post_chunked("/echo", b"5\nhello\r\n0\r\n\r\n"), (400,), True),
    Vector("trailer", post_chunked("/echo", b"0\r\nno trailer\r\n\r\n"), (400,), True),
    Vector("method", get("/", method="FROB"), (501,), True),
    Vector("connect", b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", (405,), True),
    Vector("version", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", (505,), True),
    Vector("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400,), True),
    Vector("TLS", bytes.fromhex("16030100f8010000f40303") + bytes(range(60)), (400,), True),
    Vector("expectation", get("/", "Expect: 200-ok"), (417,), True),
    Vector("refused expectation", post("/nothing", b"hello", "Expect: 100-continue"), (404,), True),
    Vector("expectation, wrong method", post("/", b"hello", "Expect: 100-continue"), (405,), True),
    Vector("long line", b"GET /" + b"a" * 200 + b" HTTP/1.1\r\nHost: a\r\n\r\n", (414,), True),
    Vector("long head", get("/", *(f"X-{n}: {'x' * 80}" for n in range(6))), (431,), True),
    Vector("many fields", get("/", *(f"X-{n}: x" for n in range(8))), (431,), True),
    Vector("long body", get("/echo", "Content-Length: 1001", method="POST"), (413,), True),
    Vector("long chunked body", post_chunked("/echo", b"3e9\r\n"), (413,), True),
    Vector("after good ones", get("/") + get("/hello/b") + b"bad\r\n\r\n", (200, 200, 400), True),
    Vector("after a blocking one", get("/slow") + b"bad\r\n\r\n", (200, 400), True),
    Vector("after a stream", get("/stream/3") + b"bad\r\n\r\n", (200, 400), True),
    Vector("after a body", post("/echo", b"x") + b"bad\r\n\r\n", (200, 400), True),
)

VECTORS = (*GOOD, *LAST, *BAD)
