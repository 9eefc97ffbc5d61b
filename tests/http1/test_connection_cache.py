"""The response cache and the cached routes, seen from the connection."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mreactor.app.application import App
from mreactor.config import Limits
from mreactor.http.request import Request
from mreactor.http.response import Response
from mreactor.http1 import response_cache as cache
from mreactor.http1.context import ReactorContext
from mreactor.http1.states import CLOSED, IDLE
from mreactor.logs.access import AccessLog
from tests.http1.steps import is_open, open_descriptor, serve
from tests.support.responses import ReceivedResponse, read_response, read_responses, without_dates
from tests.support.vectors import GOOD, LIMITS, REPEATED, Calls, Talk, Vector, get, make_app, make_context, post


def constant_service(made: list[str], status: int = 200) -> ReactorContext:
    """Its one route is constant, and says how often it was called."""

    def handler(request: Request) -> Response:
        made.append(request.target)
        return Response(f"call {len(made)}", status)

    return serve(handler, constant=True)


@pytest.mark.parametrize("vector", GOOD, ids=lambda vector: vector.name)
def test_every_path_gives_the_same_bytes(vector: Vector) -> None:
    context = make_context()
    outputs = [without_dates(Talk(context, [vector.data]).output) for _ in range(REPEATED + 2)]
    context.cache.close()  # from here on nothing comes from memory
    outputs.append(without_dates(Talk(context, [vector.data]).output))
    assert set(outputs) == {outputs[0]}


def by_name(request: Request, *, name: str) -> str:
    return f"{name!r}"


def by_position(request: Request, name: object) -> str:
    return f"{name!r}"


def two(request: Request, name: str, other: str = "none") -> str:
    return f"{name!r} {other!r}"


@pytest.mark.parametrize(
    ("pattern", "target", "handler", "text"),
    [
        ("/{name}", "/a", by_position, b"'a'"),
        ("/{name:int}", "/0", by_position, b"0"),
        ("/{name:float}", "/0", by_position, b"0.0"),
        ("/{name}", "/a", by_name, b"'a'"),
        ("/{name}", "/a", two, b"'a' 'none'"),
        ("/{name}/{other}", "/a/b", two, b"'a' 'b'"),
        ("/{other}/{name}", "/a/b", two, b"'b' 'a'"),
    ],
)
def test_every_path_calls_a_handler_with_its_parameters(
    pattern: str, target: str, handler: Callable[..., str], text: bytes
) -> None:
    app = App()
    app.get(pattern)(handler)
    app.post(pattern)(handler)
    context = ReactorContext(LIMITS, app.routes)
    context.begin_round(1000.0)
    talk = Talk(context)
    for _ in range(REPEATED):
        talk.send(get(target))
        talk.send(post(target, b"body"))
    assert get(target) in context.cache.routes
    assert post(target, b"body")[:-4] in context.cache.body_routes
    talk.send(get(target))
    talk.send(post(target, b"body"))
    assert [response.body for response in talk.responses()] == [text] * 2 * (REPEATED + 1)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_response_is_cached_for_a_second(count: int) -> None:
    made: list[str] = []
    context = constant_service(made)
    request = get("/") * count
    outputs = [Talk(context, [request]).output for _ in range(REPEATED + 2)]
    assert len(made) == REPEATED * count
    assert len(set(outputs)) == REPEATED
    assert len(set(outputs[REPEATED - 1 :])) == 1
    assert len(read_responses(outputs[-1])) == count
    context.begin_second(context.now)
    for _ in range(2):
        Talk(context, [request])
    assert len(made) == (REPEATED + 1) * count, "the request is still known, so one new response is enough"


def test_a_request_that_never_comes_again_is_not_cached() -> None:
    """Else the requests of one client that never repeats itself would fill the cache for a second."""
    context = make_context()
    talk = Talk(context)
    for number in range(100):
        talk.send(get("/", f"X: {number}"))
        talk.send(get(f"/hello/{number}"))
        talk.send(post(f"/echo?{number}", b"12345"))
        talk.send(post("/echo", b"12345", f"X: {number}"))
        Talk(context, [get("/", f"X: {number}", "Connection: close")])
    for table in (
        context.cache.responses,
        context.cache.closing_responses,
        context.cache.routes,
        context.cache.body_routes,
    ):
        assert not table


def test_other_bytes_are_another_request() -> None:
    made: list[str] = []
    context = constant_service(made)
    requests = [get("/"), get("/", "X: 1"), get("/?"), get("/", "x: 1"), b"\r\n" + get("/"), get("/", method="HEAD")]
    outputs: dict[bytes, set[bytes]] = {request: set() for request in requests}
    for _ in range(REPEATED + 1):
        for request in requests:
            outputs[request].add(Talk(context, [request]).output)
    assert sum(map(len, outputs.values())) == len(set().union(*outputs.values())), "two requests share an output"
    # A request behind an empty line is read line by line, and not remembered.
    assert context.cache.responses.keys() == set(requests) - {b"\r\n" + get("/")}


def test_a_handler_that_computes_is_called_each_time() -> None:
    calls = Calls()
    talk = Talk(make_context(calls=calls))
    for _ in range(REPEATED + 2):
        talk.send(get("/hello/a"))
        talk.send(post("/echo", b"x"))
    assert calls.paths == ["/hello/a", "/echo"] * (REPEATED + 2)


@pytest.mark.parametrize(
    "before",
    [
        [get("/") + get("/hello/a")[:9]],
        [get("/") + get("/slow")],
        [post("/", b"body", method="GET")[:-2], b"dy"],
        [get("/") + get("/nothing")],
        [get("/") + get("/boom")],
    ],
)
def test_a_constant_response_leaves_nothing_to_a_computed_one_behind_it(before: list[bytes]) -> None:
    calls = Calls()
    context = make_context(calls=calls)
    rest = get("/hello/a")[9:] if before[0].endswith(get("/hello/a")[:9]) else get("/hello/a")
    for _ in range(REPEATED + 1):
        Talk(context, [*before, rest, get("/hello/a"), get("/hello/a")])
    assert calls.paths.count("/hello/a") == 3 * (REPEATED + 1)
    assert get("/hello/a") not in context.cache.responses


@pytest.mark.parametrize("status", [404, 500, 503])
def test_only_good_responses_are_cached(status: int) -> None:
    made: list[str] = []
    context = constant_service(made, status)
    for _ in range(REPEATED + 1):
        Talk(context, [get("/")])
    assert len(made) == REPEATED + 1
    assert not context.cache.responses


@pytest.mark.parametrize("data", [get("/", "Connection: close"), get("/", version="1.0")])
def test_the_last_response_of_a_connection_is_cached_apart(data: bytes) -> None:
    """It is given by the way that ends the connection, and never by the one that leaves it open."""
    made: list[str] = []
    context = constant_service(made)
    talks = [Talk(context, [data]) for _ in range(REPEATED + 2)]
    assert all(talk.has_ended for talk in talks)
    assert len({talk.output for talk in talks}) == len(made) == REPEATED
    assert len({talk.output for talk in talks[REPEATED - 1 :]}) == 1
    assert not context.cache.responses
    context.begin_second(context.now)
    assert sum(counter[0] for counter in context.counters.requests.values()) == len(talks)


def test_a_cached_last_response_ends_the_connection_as_the_first_did() -> None:
    """At once: it has no body of which more could come, whatever the request before it had."""
    context = make_context()
    for body in (b"a", b"of another length") * REPEATED:
        talk = Talk(context, [post("/echo", body), get("/", "Connection: close")])
        assert len(talk.responses()) == 2
        assert talk.connection.state == CLOSED
    assert context.cache.closing_responses


def test_a_refusal_behind_a_cached_response_is_not_cached_with_it() -> None:
    context = constant_service([])
    data = get("/") + b"bad\r\n\r\n"
    for _ in range(REPEATED + 1):
        assert [response.status for response in Talk(context, [data]).responses()] == [200, 400]
    assert not context.cache.responses
    assert not context.cache.closing_responses


def test_the_body_of_a_known_head_may_come_later() -> None:
    context = make_context()
    whole = post("/echo", b"first")
    head = whole[: -len(b"first")]
    sent = [whole] * (REPEATED + 1)
    assert [response.body for response in Talk(context, sent).responses()] == [b"first"] * len(sent)
    assert head in context.cache.body_routes
    for pieces in (
        [head, b"later"],
        [head + b"l", b"ater"],
        [head + b"later" + get("/hello/a")],
        [head[:9], head[9:], b"later"],
    ):
        assert Talk(context, pieces).responses()[0].body == b"later"
    assert not Talk(context, [head]).output


def test_a_known_head_differs_from_a_longer_one() -> None:
    """What is compared is all up to the empty line, not what the head happens to begin with."""
    context = make_context()
    Talk(context, [post("/echo", b"12345")] * REPEATED)
    known = next(iter(context.cache.body_routes))
    assert [response.status for response in Talk(context, [known[:-2] + b"Host: b\r\n\r\n12345"]).responses()] == [400]


def test_the_bytes_of_a_known_request_may_be_a_body() -> None:
    context = make_context()
    Talk(context, [get("/"), get("/hello/a")] * REPEATED)
    assert (list(context.cache.responses), list(context.cache.routes)) == ([get("/")], [get("/hello/a")])
    for known in (get("/"), get("/hello/a")):
        whole = post("/echo", known)
        talk = Talk(context, [whole[: -len(known)], known])
        assert [response.body for response in talk.responses()] == [known]


def test_the_bytes_of_a_known_request_may_be_the_rest_of_a_head() -> None:
    context = make_context()
    Talk(context, [get("/"), get("/hello/a")] * REPEATED)
    assert (list(context.cache.responses), list(context.cache.routes)) == ([get("/")], [get("/hello/a")])
    for known in (get("/"), get("/hello/a")):
        talk = Talk(context, [b"GET /nothing HTTP/1.1\r\nHost: b\r\nX: ", known])
        assert [response.status for response in talk.responses()] == [400]  # "Host: a" is its second Host


def test_the_cache_is_bounded_in_entries() -> None:
    context = make_context()
    for number in range(cache.ENTRIES_MAX + 10):
        Talk(context, [get("/", f"X: {number}"), get(f"/hello/{number}")] * REPEATED)
    assert len(context.cache.responses) == len(context.cache.routes) == cache.ENTRIES_MAX
    talk = Talk(context)
    for _ in range(REPEATED + 1):
        assert talk.send(get("/", "X: new")).endswith(b"root")
        assert talk.send(get("/hello/new")).endswith(b"new!")
    assert len(context.cache.responses) == len(context.cache.routes) == cache.ENTRIES_MAX


def test_the_cache_is_bounded_in_bytes() -> None:
    context = serve(lambda request: "x" * 60_000, constant=True)
    for number in range(200):
        Talk(context, [get("/", f"X: {number}")] * REPEATED)
    kept = sum(len(key) + len(reply[0]) for key, reply in context.cache.responses.items())
    assert cache.BYTES_MAX - 100_000 < kept <= cache.BYTES_MAX


@pytest.mark.parametrize(
    ("size", "padding", "is_kept"),
    [(10, 10, True), (10, cache.KEY_BYTES_MAX, False), (cache.RESPONSE_BYTES_MAX, 10, False)],
)
def test_large_responses_are_not_cached(size: int, padding: int, is_kept: bool) -> None:
    app = App()
    app.get("/", constant=True)(lambda request: "x" * size)
    context = ReactorContext(Limits(), app.routes)
    Talk(context, [get("/", f"X: {'x' * padding}")] * REPEATED)
    assert bool(context.cache.responses) == is_kept


def test_a_draining_server_caches_nothing() -> None:
    calls = Calls()
    context = make_context(calls=calls)
    talk = Talk(context, [get("/"), get("/hello/a")] * REPEATED)
    assert context.cache.responses
    assert context.cache.routes
    before = calls.paths.count("/")
    context.drain()
    talk.connection.drain()
    assert not context.cache.responses
    assert not context.cache.routes
    assert read_responses(talk.send(get("/")))[0].says_close
    for _ in range(2):
        assert read_responses(Talk(context, [get("/")]).output)[0].says_close
        assert read_responses(Talk(context, [get("/hello/a")]).output)[0].says_close
    assert calls.paths.count("/") == before + 3
    assert not context.cache.responses


def test_a_cached_route_may_give_another_result(caplog: pytest.LogCaptureFixture) -> None:
    fd, file = open_descriptor()
    results: list[Any] = [
        *["first"] * REPEATED, "second", {"a": 1}, Response("no", 403), None, iter(["a", "b"]), file,
        ZeroDivisionError(), "last",
    ]  # fmt: skip

    def handler(request: Request) -> Any:
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    context = serve(handler)
    talk = Talk(context)
    responses: list[ReceivedResponse] = []
    for _ in range(len(results)):
        read = read_response(talk.send(get("/")))
        assert read is not None
        responses.append(read[0])
    cached = responses[REPEATED:]
    assert [a.status for a in cached] == [200, 200, 403, 200, 200, 200, 500, 200]
    assert [a.text for a in cached[:5]] == ["second", '{"a":1}', "no", "", "ab"]
    assert responses[-1].text == "last"
    assert not is_open(fd)
    assert context.cache.routes
    assert talk.connection.state == IDLE


def test_a_cached_route_gets_a_new_request_each_time() -> None:
    seen: list[Request] = []

    def handler(request: Request) -> str:
        seen.append(request)
        return str(request.peer)

    context = serve(handler)
    for _ in range(REPEATED + 2):
        Talk(context, [get("/?a=1")])
    assert len({id(request) for request in seen}) == REPEATED + 2
    assert [dict(request.query) for request in seen] == [{"a": "1"}] * (REPEATED + 2)


@pytest.mark.parametrize("count", [1, 3])
def test_requests_from_memory_are_counted(count: int) -> None:
    context = make_context()
    talk = Talk(context, [get("/") * count, get("/hello/a")] * REPEATED)
    for _ in range(2):
        context.begin_second(context.now)
        before = context.counters.counter("GET", 200)[0], context.counters.cache_hits[0]
        for _ in range(5):
            talk.send(get("/") * count)
            talk.send(get("/hello/a"))
        context.begin_second(context.now)
        after = context.counters.counter("GET", 200)[0], context.counters.cache_hits[0]
        assert (after[0] - before[0], after[1] - before[1]) == (5 * count + 5, 4 * count)


def test_requests_from_memory_are_in_the_access_log(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(f"common:{path}")
    log.open()
    log.start()
    buffer = log.buffer()
    context = ReactorContext(LIMITS, make_app().routes, buffer)
    times = REPEATED + 2
    for _ in range(times):
        Talk(context, [get("/") * 2, get("/hello/a"), get("/nothing"), get("/slow")])
    assert context.cache.responses
    assert context.cache.routes
    buffer.flush()
    log.close()
    lines = path.read_text().splitlines()
    assert len(lines) == 5 * times
    assert sum('"GET / HTTP/1.1" 200 4' in line for line in lines) == 2 * times
    assert sum('"GET /hello/a HTTP/1.1" 200 9' in line for line in lines) == times


class Restless(Response):
    """A response that somebody is changing all the time: each look finds another body."""

    looks = 0

    @property
    def parts(self) -> tuple[Any, ...]:  # type: ignore[override]
        self.looks += 1
        return b"x" * self.looks, "", 201, (), None

    @parts.setter
    def parts(self, parts: tuple[Any, ...]) -> None:
        """What the constructor sets does not matter."""


@pytest.mark.parametrize("blocking", [False, True])
def test_length_and_content_agree_whatever_becomes_of_a_response(blocking: bool) -> None:
    """What would be left of a longer body would be taken for the beginning of the next response."""
    talk = Talk(serve(lambda request: Restless(b"", 201), blocking=blocking), [get("/")] * (REPEATED + 1))
    bodies = [response.body for response in talk.responses()]
    assert len(bodies) == REPEATED + 1
    assert set(b"".join(bodies)) == set(b"x")


@pytest.mark.parametrize("blocking", [False, True])
def test_a_response_may_be_changed_after_it_was_made(blocking: bool) -> None:
    def handler(request: Request) -> Response:
        response = Response("gone")
        response.status = 410
        response.headers = (("X-Why", "sold"),)
        return response

    context = serve(handler, blocking=blocking)
    for _ in range(REPEATED + 1):  # the long way, and a known call
        (answer,) = Talk(context, [get("/")]).responses()
        assert (answer.status, answer.headers["x-why"]) == (410, "sold")
