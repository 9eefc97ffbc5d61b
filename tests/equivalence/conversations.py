"""Conversations: what the behaviour suites check, as scripts whose bytes do not depend on time.

`CONVERSATIONS` go to a server with small limits, `HASTY` to one with short deadlines and little room, `FULL` to one
that takes four connections, and each of `ENDINGS` to a server of its own, which it ends.
"""

from itertools import chain, pairwise

from .script import END, PROBER, SETTLE, Await, AwaitEnd, AwaitInterim, Open, Reset, Script, Send, Step, Take, Terminate

CHUNKS = b'5\r\nhello\r\n6;a=b; c="d"\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n'
CHUNKED = b"Transfer-Encoding: chunked"
KEEP, CLOSE, EXPECT = b"Connection: keep-alive", b"Connection: close", b"Expect: 100-continue"


def request(
    target: bytes, *fields: bytes, method: bytes = b"GET", version: bytes = b"1.1", body: bytes | None = None
) -> bytes:
    """A request; with a body, its length is announced."""
    lines = [b"%b %b HTTP/%b" % (method, target, version), b"Host: a", *fields]
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


def post(target: bytes, body: bytes, *fields: bytes, method: bytes = b"POST") -> bytes:
    """A request with a body of announced length."""
    return request(target, *fields, method=method, body=body)


def post_chunked(target: bytes, body: bytes, *fields: bytes) -> bytes:
    """A request with a body in chunked coding, given as it goes over the wire."""
    return request(target, *fields, CHUNKED, method=b"POST") + body


def ask(*requests: bytes, client: int = 0) -> tuple[Step, ...]:
    """Send requests in one piece and await their responses."""
    methods = tuple(one.partition(b" ")[0] for one in requests)
    return Send(b"".join(requests), client), Await(methods, client)


def each(*requests: bytes) -> tuple[Step, ...]:
    """Send requests one by one, and await each response."""
    return tuple(chain.from_iterable(ask(one) for one in requests))


def pieces(message: bytes, *cuts: int) -> tuple[Step, ...]:
    """Send a message in pieces, each after the server has read the one before."""
    edges = (0, *cuts, len(message))
    return tuple(chain.from_iterable((Send(message[a:b]), *SETTLE) for a, b in pairwise(edges)))


def talk(name: str, *steps: Step) -> Script:
    """A conversation on one connection, or several; each is opened by its first step here."""
    clients = sorted({step.client for step in steps if not isinstance(step, Terminate)} - {PROBER})
    messages = sum(isinstance(step, Send) and step.client != PROBER for step in steps)
    return Script(name, (*(Open(client) for client in clients), *steps), messages)


HELLO, ROOT, BLOCKING = request(b"/hello/you"), request(b"/"), request(b"/blocking")
BAD = b"bad request\r\n\r\n"
FINE = ask(request(b"/hello/again"))
LARGE = request(b"/files/large.bin")
MIXED = (
    ROOT, post(b"/echo", b"a"), request(b"/nowhere"), BLOCKING, LARGE, request(b"/", method=b"HEAD"),
    request(b"/stream"), request(b"/blocking/stream"), post_chunked(b"/echo", CHUNKS), request(b"/broken"),
    request(b"/nothing"), request(b"/files/large.bin", method=b"HEAD"), request(b"/bytes/100096"), HELLO,
)  # fmt: skip

ROUTING = (
    talk("methods of a route", *each(*(post(b"/echo", b"body", method=m) for m in (b"POST", b"PUT", b"PATCH"))), *FINE),
    talk("DELETE without a body", *ask(request(b"/echo", method=b"DELETE")), *FINE),
    talk("paths that are not found", *each(request(b"/hello"), request(b"/hello/a/b"), request(b"/item/x")), *FINE),
    talk("escapes in a path", *each(request(b"/hello/%C3%A4%20b"), request(b"/hello/a+b"), request(b"/hello/%2F"))),
    talk("a method that is not allowed", *each(post(b"/hello/a", b"x"), request(b"/", method=b"DELETE")), *FINE),
    talk("a method that is not known", *ask(request(b"/", method=b"BREW")), *END),
    talk("TRACE", *ask(request(b"/", method=b"TRACE")), *END),
    talk("CONNECT", *ask(b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"), *END),
    talk("OPTIONS of a route and of *", *each(request(b"/echo", method=b"OPTIONS"), request(b"*", method=b"OPTIONS"))),
    talk("HEAD of everything", *each(*(request(t, method=b"HEAD") for t in (b"/", b"/hello/a", b"/bytes/512",
        b"/files/small.txt", b"/files/large.bin", b"/nowhere", b"/stream", b"/blocking", b"/broken"))), *FINE),
    talk("statuses without content", *each(request(b"/status/204"), request(b"/status/304"), request(b"/nothing"))),
    talk("statuses with content", *each(*(request(b"/status/%d" % s) for s in (200, 201, 206, 299, 302, 404, 503)))),
    talk("failures of handlers", *each(*map(request, (b"/broken", b"/exit", b"/refused", b"/blocking/broken",
        b"/blocking/exit"))), *FINE),
    talk("form, query and JSON", *each(
        post(b"/form", b"a=1&b=%C3%A4", b"Content-Type: application/x-www-form-urlencoded"),
        post(b"/form", b"a=1", b"Content-Type: text/plain"), request(b"/query?a=1&a=2&b"),
        post(b"/json", b'{"a": [1]}', b"Content-Type: application/json"), post(b"/json", b"{"),
    )),
    talk("absolute form", *each(request(b"http://other:81/report"), request(b"https://other/report?x"))),
)  # fmt: skip

BODIES = (
    talk("echo, twice each", *each(*(post(b"/echo", b"e" * n) for n in (0, 0, 1, 1, 4999, 4999, 5000, 5000))), *FINE),
    talk("a body at the limit and past it", *each(post(b"/echo", b"e" * 5000), post(b"/echo", b"e" * 5001)), *END),
    talk("chunks", *each(post_chunked(b"/echo", CHUNKS), post_chunked(b"/echo", b"0\r\n\r\n")), *FINE),
    talk("chunks past the limit", *ask(post_chunked(b"/echo", b"1388\r\n" + b"e" * 5000 + b"\r\n1\r\nx\r\n0\r\n\r\n")),
        *END),
    talk("a body in pieces", *pieces(post(b"/echo", b"hello world"), 10, 20, 50, 65), Await((b"POST",)), *FINE),
    talk("chunks in pieces", *pieces(post_chunked(b"/echo", CHUNKS), 70, 75, 80, 90), Await((b"POST",)), *FINE),
    talk("body behind its head", Send(post(b"/echo", b"e" * 3000)[:-3000]), *SETTLE, Take(), Send(b"e" * 3000),
        Await((b"POST",)), *FINE),
    talk("body and the next request", *pieces(post(b"/echo", b"hello") + HELLO, 60), Await((b"POST", b"GET")), *FINE),
    talk("a body of no interest", *ask(post(b"/hello/a", b"e" * 5000)), *FINE),
    talk("a body to a path that is not there", *ask(post(b"/nowhere", b"e" * 5000)), *FINE),
    talk("GET with a body", *ask(post(b"/report", b"body", method=b"GET")), *FINE),
    talk("a body for a blocking handler", *each(post(b"/blocking", b"e" * 100), post_chunked(b"/blocking", CHUNKS))),
    talk("the same upload, again and again", *each(*[post(b"/report", b"same")] * 5)),
    talk("uploads with one head", *each(*(post(b"/report", b"%05d" % n) for n in range(5)))),
    talk("expectation", Send(post(b"/echo", b"hello", EXPECT)[:-5]), AwaitInterim(), Send(b"hello"), Await((b"POST",)),
        *ask(post(b"/echo", b"hello", EXPECT)), *FINE),
    talk("expectation of chunks", Send(post_chunked(b"/echo", b"", EXPECT)), AwaitInterim(), Send(CHUNKS),
        Await((b"POST",)), *FINE),
    talk("a refused expectation", Send(post(b"/hello/a", b"hello", EXPECT)[:-5]), Await((b"POST",)), Send(b"hello"),
        AwaitEnd()),
    talk("an unknown expectation", *ask(post(b"/echo", b"x", b"Expect: magic")), *END),
    talk("length and coding", *ask(post(b"/echo", b"hello", CHUNKED)), *END),
    talk("unknown coding", *ask(request(b"/echo", b"Transfer-Encoding: gzip", method=b"POST")), *END),
)  # fmt: skip

PIPELINES = (
    talk("a hundred pipelined", *ask(*(request(b"/hello/%d" % n) for n in range(100))), *FINE),
    talk("a hundred constant ones", *ask(*[ROOT] * 100), *FINE),
    talk("mixed", *ask(*MIXED), *ask(*MIXED), *FINE),
    talk("mixed, one by one", *each(*MIXED), *each(*MIXED)),
    talk("mixed, in pieces", *pieces(b"".join(MIXED), *range(50, 1000, 50)), Await(tuple(
        one.partition(b" ")[0] for one in MIXED))),
    talk("large ones, pipelined", *ask(*[request(b"/bytes/300032")] * 6), *FINE),
    talk("streams, pipelined", *ask(*[request(b"/blocks/20"), request(b"/blocking/blocks/10")] * 3), *FINE),
    talk("a stream that fails, and a request behind it", Send(request(b"/broken/stream") + HELLO), AwaitEnd()),
    talk("a blocking stream that fails", Send(request(b"/blocking/broken/stream") + HELLO), AwaitEnd()),
    talk("nothing after a refusal", Send(HELLO + BAD + HELLO * 10), AwaitEnd()),
    talk("nothing after the last request", Send(HELLO + request(b"/", CLOSE) + HELLO), AwaitEnd()),
    talk("empty lines before a request", *ask(b"\r\n" + HELLO), Send(b"\r\n"), *SETTLE, *FINE),
    talk("the same request, again and again", *each(*[HELLO] * 5, *[BLOCKING] * 3, *[ROOT] * 5)),
    talk("half a request behind a whole one", *pieces(HELLO + HELLO, len(HELLO) + 9), Await((b"GET", b"GET")), *FINE),
    talk("HTTP/1.0 stream", Send(request(b"/blocks/30", version=b"1.0")), AwaitEnd()),
    talk("HTTP/1.0 stream, kept alive", Send(request(b"/stream", KEEP, version=b"1.0")), AwaitEnd()),
)  # fmt: skip

FILES = (
    talk("files, three times each", *each(*[request(b"/files/small.txt"), LARGE, request(b"/files/")] * 3)),
    talk("no way out of the root", *each(*map(request, (b"/files/../served.py", b"/files/%2e%2e/served.py",
        b"/files/..%2fserved.py", b"/files/nothing.txt", b"/files", b"/files/.hidden"))), *END),
    talk("conditions", *each(request(b"/files/small.txt", b"If-None-Match: *"), request(b"/files/small.txt",
        b"If-Modified-Since: Sun, 13 Sep 2020 12:26:40 GMT"), request(b"/files/small.txt", b"If-None-Match: W/\"x\""),
        request(b"/files/large.bin", b"If-Modified-Since: Sun, 13 Sep 2020 12:26:39 GMT"))),
    talk("a file and nothing more", Send(request(b"/files/large.bin", CLOSE)), AwaitEnd()),
    talk("late bytes behind a file", Send(request(b"/files/large.bin", CLOSE)), Send(HELLO * 20), AwaitEnd()),
)  # fmt: skip


def persistence(target: bytes) -> Script:
    """All ways to say how long a connection lives, on connections of their own."""
    steps: list[Step] = []
    for fields, version in (((CLOSE,), b"1.1"), ((b"Connection: x", b"Connection: y, Close"), b"1.1"), ((), b"1.0"),
                            ((KEEP,), b"1.0"), ((), b"1.1")):  # fmt: skip
        steps += [Open(), *ask(request(target, *fields, version=version)), Open(), *FINE]
    return talk(f"persistence of {target.decode()}", *steps)


ENDS = (
    *map(persistence, (b"/", b"/hello/a", b"/files/large.bin", b"/blocking", b"/nowhere", b"/stream")),
    *(talk(f"ask and half-close: {t.decode()}", Send(request(t)), *END) for t in (b"/", b"/hello/a", b"/blocking",
        b"/files/large.bin", b"/stream", b"/blocking/stream", b"/bytes/1000192")),
    talk("pipelined and half-close", Send(b"".join(MIXED) + ROOT[:10]), *END),
    *(talk(f"half-close after {data[-12:]!r}", Send(data), *SETTLE, Take(), *END) for data in (b"\r\n", HELLO[:20],
        post(b"/echo", b"hello")[:-2], post_chunked(b"/echo", CHUNKS)[:-9])),
    talk("half-close and nothing else", *END),
    talk("a refusal, then late bytes", Send(BAD), AwaitEnd(), Send(b"x" * 5000), *SETTLE, Take()),
    talk("still open and idle", *ask(HELLO), *SETTLE, Take()),
    talk("still open after nothing", *SETTLE, Take()),
    talk("still open within a head", Send(HELLO[:-2]), *SETTLE, Take()),
    *(talk(f"reset after {data[-12:]!r}", Send(data), *SETTLE, Reset()) for data in (HELLO[:9], HELLO, BAD,
        post(b"/echo", b"e" * 1000)[:-100])),
    talk("a blocking handler stalls nobody", Send(request(b"/wait")), *ask(request(b"/waiting"), client=1), *ask(HELLO,
        client=1), *ask(request(b"/open"), client=2), Await(), *FINE),
)  # fmt: skip

CONVERSATIONS = ROUTING + BODIES + PIPELINES + FILES + ENDS

UPLOAD = post(b"/echo", b"u" * 90_000)
HASTY = (
    talk("nothing at all", AwaitEnd()),
    *(talk(f"missed: {name}", Send(data), AwaitEnd()) for name, data in (
        ("half a head", HELLO[:-2]), ("one byte", b"G"), ("half a body", post(b"/echo", b"hello")[:-1]),
        ("half a chunked body", post_chunked(b"/echo", b"5\r\nhel")),
        ("a body that was asked for", post(b"/echo", b"hello", EXPECT)[:-5]), ("idle", HELLO), ("idle after memory",
        ROOT), ("idle after many", HELLO * 9), ("half a head after a response", HELLO + HELLO[:-2]),
        ("half a body after a response", HELLO + post(b"/echo", b"hello")[:-2]))),
    talk("no thread is free", Send(request(b"/wait")), *ask(request(b"/waiting"), client=3), Send(request(b"/wait"), 1),
        *SETTLE, *ask(request(b"/wait"), client=2), *ask(request(b"/open"), client=3), Await(),
        *ask(request(b"/waiting"), client=3), *ask(request(b"/open"), client=3), Await(client=1),
        *ask(HELLO, client=2)),
    talk("no room for a third body", Send(UPLOAD[:-10_000]), Send(UPLOAD[:-10_000], 1), *SETTLE * 20,
        Send(UPLOAD[:-10_000], 2), AwaitEnd(2), Send(UPLOAD[-10_000:]), Await((b"POST",)), Send(UPLOAD[-10_000:], 1),
        Await((b"POST",), 1), *ask(UPLOAD)),
)  # fmt: skip

FULL = (
    Script("a fifth connection", tuple(chain(
        chain.from_iterable((Open(n), *ask(HELLO, client=n)) for n in range(4)),
        chain.from_iterable((Open(n), AwaitEnd(n)) for n in (4, 5)), ask(HELLO),
    )), 5),
)  # fmt: skip

ENDINGS = (
    talk("SIGTERM: idle, half a head, half a body, a blocking handler",
        *ask(HELLO), Send(HELLO[:20], 1), Send(post(b"/echo", b"hello")[:-2], 2), Send(request(b"/wait"), 3),
        *ask(HELLO, client=4), *ask(request(b"/waiting"), client=4), Send(request(b"/open")[:20], 4), *SETTLE,
        Terminate(), AwaitEnd(), AwaitEnd(PROBER), Send(HELLO[20:], 1), AwaitEnd(1), Send(b"lo", 2), AwaitEnd(2),
        Send(request(b"/open")[20:], 4), AwaitEnd(4), AwaitEnd(3)),
    talk("SIGTERM: a response on its way", Send(request(b"/bytes/5000192")), Terminate(), AwaitEnd()),
)  # fmt: skip
