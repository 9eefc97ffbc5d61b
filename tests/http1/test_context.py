"""What the connections of a reactor share: the present second, what is known of it, and the encoding of responses."""

import gc
import time
import traceback
import tracemalloc
from collections.abc import Iterator
from math import inf
from typing import Any

import pytest

from mreactor.app.application import App
from mreactor.config import Limits
from mreactor.http.dates import format_date
from mreactor.http.request import Request
from mreactor.http.request_head import RequestHead
from mreactor.http.response import BINARY, HTML, JSON, TEXT, Response
from mreactor.http.status import HTTPError
from mreactor.http1.cache_entries import CacheTicket
from mreactor.http1.context import ReactorContext
from mreactor.http1.head_cache import HEADS_MAX, TYPE_BYTES_MAX, TYPES_MAX
from mreactor.http1.head_parser import Parser
from mreactor.http1.states import IDLE, READY, WAITING, State
from mreactor.protocol import FileBody
from tests.support.vectors import LIMITS, Talk, get


def head(line: str = "GET / HTTP/1.1") -> RequestHead:
    return Parser(Limits()).parse(f"{line}\r\nHost: a\r\n\r\n".encode())


def remember(context: ReactorContext) -> None:
    """Let a context cache a response and a route."""
    request = context.route(head())
    context.cache.store_response(b"a", b"response", request, 1, CacheTicket([0], None))
    context.cache.store_route(b"b", (*request.head.line.route, request.head))


@pytest.fixture
def context() -> ReactorContext:
    return ReactorContext(Limits(), ())


# --- Time. ---


def test_a_round_sets_the_time_and_the_idle_deadline() -> None:
    context = ReactorContext(Limits(keepalive_seconds=20.0), ())
    context.begin_round(500.0)
    assert (context.now, context.idle_deadline) == (500.0, 520.0)


@pytest.mark.parametrize(("wall", "rest"), [(1000.0, 1.0), (1000.25, 0.75), (1000.96875, 0.03125)])
def test_the_next_second_begins_with_the_clock_on_the_wall(
    context: ReactorContext, monkeypatch: pytest.MonkeyPatch, wall: float, rest: float
) -> None:
    """The Date of a response is then never more than a round late."""
    monkeypatch.setattr(time, "time", lambda: wall)
    context.begin_second(50.0)
    assert context.next_second == 50.0 + rest
    assert context.encoder.common_fields == b"Server: mreactor\r\nDate: %b\r\n" % format_date(wall).encode()


def test_a_new_context_knows_the_time() -> None:
    before = time.monotonic()
    context = ReactorContext(Limits(), ())
    assert before <= context.now <= time.monotonic()
    assert context.now < context.next_second <= context.now + 1.0
    assert context.idle_deadline == context.now + context.limits.keepalive_seconds


def test_a_new_second_forgets_the_responses_of_the_last(context: ReactorContext) -> None:
    remember(context)
    assert (list(context.cache.responses), list(context.cache.routes)) == ([b"a"], [b"b"])
    context.begin_second(context.now)
    assert not context.cache.responses
    assert not context.cache.routes


def test_a_new_second_changes_the_date_of_all_responses(
    context: ReactorContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wall in (1000.0, 1001.0, 2000.0):
        monkeypatch.setattr(time, "time", lambda wall=wall: wall)
        context.begin_second(context.now)
        date = f"\r\nDate: {format_date(wall)}\r\n".encode()
        assert date in plain(context, b"a", TEXT)
        assert date in context.encoder.encode(Response("a"), head(), keep_alive=True)


def test_the_access_log_turns_with_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    class Access:
        seconds: list[float] = []  # noqa: RUF012
        details = ()

        def begin_second(self, wall: float) -> None:
            self.seconds.append(wall)

        def log_request(self, *request: object) -> None:
            raise AssertionError("no request was answered")

    monkeypatch.setattr(time, "time", lambda: 1000.5)
    ReactorContext(Limits(), (), Access())  # type: ignore[arg-type]
    assert Access.seconds == [1000.5]


def test_a_draining_server_sends_nothing_from_memory(context: ReactorContext) -> None:
    """Each response then says that it is the last."""
    remember(context)
    responses, calls = context.cache.responses, context.cache.routes
    context.drain()
    remember(context)
    assert context.draining
    assert not responses
    assert not calls
    assert not context.cache.responses
    assert not context.cache.routes


# --- Encoding. ---


def plain(context: ReactorContext, content: bytes, content_type: str) -> bytes:
    """A response by the head cache, as connections write it."""
    return context.head_cache[content_type][len(content)] + content


def lines(response: bytes) -> list[bytes]:
    """The lines of a response's head, but for those that every response has."""
    found = response.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert found[1] == b"Server: mreactor"
    assert found[2].startswith(b"Date: ")
    return found[:1] + found[3:]


@pytest.mark.parametrize("content", [b"", b"a", "h\xe9".encode(), b"x" * 100_000, b"\r\n\r\n%d%b"])
@pytest.mark.parametrize("content_type", [TEXT, HTML, JSON, BINARY, "", 'text/plain; charset="\xe9%s%d"'])
def test_head_cache_and_encoder_give_the_same_bytes(context: ReactorContext, content: bytes, content_type: str) -> None:
    response = Response(content or None, content_type=content_type)
    expected = context.encoder.encode(response, head(), keep_alive=True)
    for _ in range(2):
        assert plain(context, content, response.content_type) == expected


def test_a_head_is_kept_for_each_type_and_length(context: ReactorContext) -> None:
    for _ in range(2):
        for content_type in (TEXT, HTML, TEXT):
            for content in (b"a", b"abc"):
                response = plain(context, content, content_type)
                assert f"\r\nContent-Type: {content_type}\r\n".encode() in response
                assert response.endswith(b"\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "lengths"),
    [("text/x-{}", 1), ("text/x", 50_000), ("text/x-{}", 50_000), ("text/x-{}" + "y" * TYPE_BYTES_MAX, 1)],
    ids=["types", "lengths", "types and lengths", "huge types"],
)
def test_heads_are_bounded(context: ReactorContext, kind: str, lengths: int) -> None:
    """Handlers may make up content types and lengths, even out of what the client sent."""
    content = b"a" * lengths
    tracemalloc.start()
    try:
        for number in range(HEADS_MAX * 5):
            content_type, body = kind.format(number), content[: number % lengths + 1]
            response = plain(context, body, content_type)
            assert f"\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n".encode() in response
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < HEADS_MAX * 500 + TYPES_MAX * 2000


@pytest.mark.slow
def test_a_seconds_heads_leave_no_cycle_behind(context: ReactorContext) -> None:
    """The collector would have to find it, second after second."""
    gc.collect()
    for second in range(10):
        plain(context, b"a", TEXT)
        context.begin_second(context.now + second)
    assert gc.collect() == 0


def test_a_type_that_cannot_be_sent_is_refused(context: ReactorContext) -> None:
    for _ in range(2):
        with pytest.raises(ValueError):
            plain(context, b"a", "text/plain\r\nX: y")


@pytest.mark.parametrize(
    ("line", "keep_alive", "connection"),
    [
        ("GET / HTTP/1.1", True, []),
        ("GET / HTTP/1.1", False, [b"Connection: close"]),
        ("GET / HTTP/1.0", True, [b"Connection: keep-alive"]),
        ("GET / HTTP/1.0", False, [b"Connection: close"]),
        (None, False, [b"Connection: close"]),
    ],
)
def test_a_response_says_whether_the_connection_persists(
    context: ReactorContext, line: str | None, keep_alive: bool, connection: list[bytes]
) -> None:
    response = context.encoder.encode(Response("ab", 404), head(line) if line else None, keep_alive=keep_alive)
    expected = [b"HTTP/1.1 404 Not Found", b"Content-Type: " + TEXT.encode(), b"Content-Length: 2", *connection]
    assert lines(response) == expected
    assert response.endswith(b"\r\n\r\nab")


def test_fields_stand_in_the_head(context: ReactorContext) -> None:
    response = context.encoder.encode(Response("a", headers=[("X", "y"), ("X", "z")]), head(), keep_alive=True)
    assert lines(response)[1:3] == [b"X: y", b"X: z"]


@pytest.mark.parametrize("response", [Response("ab"), Response({}), Response(b"x" * 1000, 404), Response(None)])
def test_a_response_to_head_is_that_to_get_without_its_content(context: ReactorContext, response: Response) -> None:
    encoded = context.encoder.encode(response, head("HEAD / HTTP/1.1"), keep_alive=True)
    assert encoded + response.body == context.encoder.encode(response, head("GET / HTTP/1.1"), keep_alive=True)  # type: ignore[operator]


@pytest.mark.parametrize(("status", "framing"), [(204, []), (304, []), (205, [b"Content-Length: 0"])])
def test_a_response_without_content_sends_none(context: ReactorContext, status: int, framing: list[bytes]) -> None:
    response = context.encoder.encode(Response("ab", status), head(), keep_alive=True)
    assert lines(response)[1:] == framing
    assert response.endswith(b"\r\n\r\n")


def parts() -> Iterator[bytes]:
    yield b"a"


@pytest.mark.parametrize(
    ("line", "response", "framing"),
    [
        ("GET / HTTP/1.1", Response(parts()), [b"Transfer-Encoding: chunked"]),
        ("HEAD / HTTP/1.1", Response(parts()), [b"Transfer-Encoding: chunked"]),
        ("GET / HTTP/1.0", Response(parts()), []),
        ("GET / HTTP/1.1", Response(FileBody(-1, 0, 5)), [b"Content-Length: 5"]),
        ("GET / HTTP/1.0", Response(FileBody(-1, 0, 5)), [b"Content-Length: 5"]),
    ],
)
def test_only_the_head_of_a_stream_or_file_is_encoded(
    context: ReactorContext, line: str, response: Response, framing: list[bytes]
) -> None:
    encoded = context.encoder.encode(response, head(line), keep_alive=False)
    assert lines(encoded)[2:] == [*framing, b"Connection: close"]
    assert encoded.endswith(b"\r\n\r\n")


# --- Routing and counting. ---


def served(app: App, access: Any = None) -> ReactorContext:
    return ReactorContext(Limits(), app.freeze(), access)


def test_where_a_line_leads_is_kept_with_it() -> None:
    app = App()

    @app.get("/{name}")
    def hello(request: Request, name: str) -> str:
        return name

    context, asked = served(app), head("GET /you HTTP/1.1")
    request = context.route(asked)
    assert request.head is asked
    assert request.match.handler is hello
    assert request.match.params == {"name": "you"}
    assert request.match.refusal is None
    assert request.counter is context.counters.counter("GET", 200)
    assert (asked.line.match, asked.line.counter) == (request.match, request.counter)
    assert context.route(asked).match is request.match


@pytest.mark.parametrize(("line", "status"), [("GET /b HTTP/1.1", 404), ("POST /a HTTP/1.1", 405)])
def test_a_refusal_is_raised_as_a_new_error_each_time(line: str, status: int) -> None:
    app = App()
    app.get("/a")(lambda request: "")
    context = served(app)
    request = context.route(head(line))
    assert request.match.refusal is not None
    assert request.match.refusal.status == status
    assert request.match.refusal.__traceback__ is None, "it would keep the frames of the router"
    assert context.route(request.head).match is request.match
    depths = []
    for _ in range(3):
        with pytest.raises(HTTPError) as caught:
            request.match.handler(Request(request.head, b"", ()), **request.match.params)
        assert caught.value.status == status
        depths.append(len(traceback.extract_tb(caught.value.__traceback__)))
    assert len(set(depths)) == 1, "the traceback grows"


@pytest.mark.parametrize(
    ("line", "is_plain"),
    [
        ("GET /a HTTP/1.1", True),
        ("HEAD /a HTTP/1.1", False),
        ("GET /a HTTP/1.0", False),
        ("GET /constant HTTP/1.1", False),
        ("GET /blocking HTTP/1.1", True),
    ],
)
def test_which_requests_are_fast_encodable(line: str, is_plain: bool) -> None:
    app = App()
    app.get("/a")(lambda request: "")
    app.get("/constant", constant=True)(lambda request: "")
    app.get("/blocking", blocking=True)(lambda request: "")
    assert served(app).route(head(line)).fast_encodable is is_plain


def test_each_state_has_its_timeout(context: ReactorContext) -> None:
    assert set(context.state_timeouts) == set(map(int, State))
    assert all(seconds > 0 for seconds in context.state_timeouts.values())
    assert context.state_timeouts[IDLE] == context.limits.keepalive_seconds
    assert context.state_timeouts[WAITING] == context.state_timeouts[READY] == inf


def test_each_deadline_has_a_name(context: ReactorContext) -> None:
    missable = [state for state, seconds in context.state_timeouts.items() if seconds < inf]
    for state in missable:
        context.count_timeout(state)
    context.count_write_timeout()
    assert sorted(context.counters.timeouts) == ["body", "head", "keepalive", "linger", "write"]
    assert set(context.counters.timeouts.values()) == {1}


def test_the_traceback_page_names_the_error_and_not_a_note() -> None:
    app = App()
    app.get("/")(lambda request: ("a", 201))
    output = Talk(ReactorContext(LIMITS, app.routes, debug=True), [get("/")]).output
    assert b"<h1>TypeError: a handler cannot return a tuple; " in output
