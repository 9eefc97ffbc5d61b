"""The kinds of requests that a soak is made of, and what each has to lead to."""

from dataclasses import dataclass

from .app import LARGE

HOST = b"Host: soak\r\n"


@dataclass(frozen=True, slots=True, eq=False)  # one of a kind: compared and hashed by identity
class Kind:
    """What a client does, from a request or several to their responses.

    Attributes:
        name: for the report.
        weight: how often it is done, compared with the others.
        pieces: the bytes, piece by piece; the next one goes out when the one before it has.
        statuses: of the responses; none where the client does not wait for any.
        methods: of the requests, GET where there are no more.
        ends: the connection is over afterwards.
        half_closes: the client shuts its write side after the last piece.
        resets: the client leaves with a reset, once so many bytes have come (0: at once); None: it does not.
    """

    name: str
    weight: int
    pieces: tuple[bytes, ...]
    statuses: tuple[int, ...] = (200,)
    methods: tuple[str, ...] = ()
    ends: bool = False
    half_closes: bool = False
    resets: int | None = None

    @property
    def requests(self) -> int:
        """The requests that are answered."""
        return len(self.statuses)


def get(target: bytes, *fields: bytes, method: bytes = b"GET", version: bytes = b"HTTP/1.1") -> bytes:
    lines = b"".join(field + b"\r\n" for field in fields)
    return method + b" " + target + b" " + version + b"\r\n" + HOST + lines + b"\r\n"


def post(body: bytes, *fields: bytes) -> bytes:
    return get(b"/echo", *fields, b"Content-Length: %d" % len(body), method=b"POST") + body


def bytewise(data: bytes, size: int) -> tuple[bytes, ...]:
    return tuple(data[start : start + size] for start in range(0, len(data), size))


CHUNKS = b"".join(b"%x;x=y\r\n" % size + b"c" * size + b"\r\n" for size in (1, 15, 16, 400))
CHUNKED = get(b"/echo", b"Transfer-Encoding: chunked", method=b"POST") + CHUNKS + b"0\r\nTrailer: x\r\n\r\n"
LARGE_BODY = bytes(range(256)) * 400

KINDS = (
    Kind("constant", 8, (get(b"/"),)),
    Kind("computed", 8, (get(b"/hello/you"),)),
    Kind("pipelined, constant", 6, (get(b"/") * 16,), (200,) * 16),
    Kind("pipelined, computed", 6, (get(b"/hello/a") * 15 + get(b"/hello/b"),), (200,) * 16),
    Kind("pipelined, mixed", 6, (
        get(b"/") + post(b"x" * 20) + get(b"/json?a=1&b=2") + get(b"/nowhere") + get(b"/blocking") + get(b"/stream")
        + get(b"/files/small.txt") + CHUNKED + get(b"/", method=b"HEAD") + get(b"/hello/c"),
    ), (200, 200, 200, 404, 200, 200, 200, 200, 200, 200), ("GET",) * 8 + ("HEAD",)),
    Kind("pipelined past a turn", 1, (get(b"/hello/many") * 150,), (200,) * 150),
    Kind("json", 3, (get(b"/json?a=1"),)),
    Kind("post", 4, (post(b"p" * 1000),)),
    Kind("post, large", 1, (post(LARGE_BODY),)),
    Kind("post, chunked", 3, (CHUNKED,)),
    Kind("post, expected", 1, (post(b"expected", b"Expect: 100-continue"),)),
    Kind("head in pieces", 2, bytewise(get(b"/hello/pieces"), 9)),
    Kind("body in pieces", 2, bytewise(post(b"b" * 300), 50)),
    Kind("chunks in pieces", 1, bytewise(CHUNKED, 37)),
    Kind("HEAD", 1, (get(b"/files/large.bin", method=b"HEAD"),), methods=("HEAD",)),
    Kind("OPTIONS", 1, (get(b"*", method=b"OPTIONS"),), (204,)),
    Kind("static, small", 4, (get(b"/files/small.txt"),)),
    Kind("static, large", 2, (get(b"/files/large.bin"),)),
    Kind("static, known", 2, (get(b"/files/small.txt", b"If-None-Match: *"),), (304,)),
    Kind("stream", 2, (get(b"/stream"),)),
    Kind("blocking", 2, (get(b"/blocking"),)),
    Kind("blocking stream", 1, (get(b"/blocking/stream"),)),
    Kind("not found", 1, (get(b"/nowhere"),), (404,)),
    Kind("not allowed", 1, (get(b"/hello/x", method=b"DELETE"),), (405,)),
    Kind("broken handler", 1, (get(b"/broken"),), (500,)),
    Kind("close", 2, (get(b"/", b"Connection: close"),), ends=True),
    Kind("HTTP/1.0", 1, (get(b"/hello/old", version=b"HTTP/1.0"),), ends=True),
    Kind("HTTP/1.0, stream", 1, (get(b"/stream", version=b"HTTP/1.0"),), ends=True),
    Kind("half-close", 1, (get(b"/files/large.bin"),), ends=True, half_closes=True),
    Kind("half-close in a head", 1, (get(b"/")[:-9],), (400,), ends=True, half_closes=True),
    Kind("malformed", 1, (get(b"/", b"Content-Length: x"),), (400,), ends=True),
    Kind("smuggling", 1, (
        get(b"/echo", b"Content-Length: 6", b"Transfer-Encoding: chunked", method=b"POST") + b"0\r\n\r\n" + get(b"/"),
    ), (400,), ends=True),
    Kind("too large", 1, (get(b"/echo", b"Content-Length: 99999999", method=b"POST") + b"x" * 2000,), (413,),
        ends=True),
    Kind("http/2", 1, (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",), (400,), ends=True),
    Kind("reset at once", 1, (), (), ends=True, resets=0),
    Kind("reset in a head", 1, (get(b"/")[:-5],), (), ends=True, resets=0),
    Kind("reset in a body", 1, (post(b"x" * 500)[:-100],), (), ends=True, resets=0),
    Kind("reset in a response", 1, (get(b"/files/large.bin") * 4,), (), ends=True, resets=LARGE // 2),
    Kind("reset in a stream", 1, (get(b"/flood"),), (), ends=True, resets=100_000),
    Kind("reset while it waits", 1, (get(b"/wait"),), (), ends=True, resets=0),
)  # fmt: skip
