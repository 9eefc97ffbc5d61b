"""What surrounds handlers: hooks, error handlers, included applications, and the order in which they are called."""

import functools
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mreactor import App, ConfigError, HTTPError, Request, Response, RouteError, StaticFiles
from mreactor.config import Limits
from mreactor.http1 import ReactorContext, encode_overload, render_overload
from mreactor.testing import Client, ClientResponse
from tests.support.vectors import Talk, get


def failing(request: Request) -> Any:
    raise KeyError("lost")


@pytest.fixture
def app() -> App:
    app = App()
    app.get("/ok")(lambda request: "ok")
    app.get("/slow", blocking=True)(lambda request: "slow")
    app.get("/fails")(failing)
    app.get("/fails/slow", blocking=True)(failing)
    app.mount("/mounted", lambda: lambda request: "mounted")

    @app.get("/refused")
    def refused(request: Request) -> str:
        raise HTTPError(409, "Taken.", (("X-By", "ada"),))

    @app.get("/hello/{name}")
    def hello(request: Request, name: str) -> str:
        return f"hello {name}"

    return app


OKS = [("/ok", "ok"), ("/slow", "slow"), ("/mounted", "mounted"), ("/hello/you", "hello you")]


# --- Nothing declared. ---


def test_without_hooks_handlers_are_called_as_they_are(app: App) -> None:
    assert app.routes[2].endpoint.handler is failing
    assert app.errors is None


def test_an_included_application_without_hooks_has_its_handlers_called_as_they_are(app: App) -> None:
    outer = App()
    outer.include("/api", app)
    assert outer.routes[2].endpoint.handler is failing
    assert outer.errors is None


# --- Hooks. ---


@pytest.mark.parametrize(("path", "text"), OKS)
def test_hooks_are_called_in_order(app: App, path: str, text: str) -> None:
    calls: list[str] = []
    app.before(lambda request: calls.append("before 1"))
    app.before(lambda request: calls.append("before 2"))
    app.after(lambda request, response: calls.append("after 1"))
    app.after(lambda request, response: calls.append("after 2"))
    assert Client(app).get(path).text == text
    assert calls == ["before 1", "before 2", "after 2", "after 1"]


@pytest.mark.parametrize(("path", "text"), OKS)
def test_a_hook_before_may_respond(app: App, path: str, text: str) -> None:
    calls: list[str] = []

    @app.before
    def refuse(request: Request) -> Response | None:
        return Response({"error": "no"}, 401) if "authorization" not in request.headers else None

    app.before(lambda request: calls.append("second"))
    client = Client(app)
    assert (client.get(path).status, calls) == (401, [])
    assert (client.get(path, headers={"Authorization": "x"}).text, calls) == (text, ["second"])


@pytest.mark.parametrize(("path", "text"), OKS)
def test_a_hook_after_may_change_the_response(app: App, path: str, text: str) -> None:
    @app.after
    def stamp(request: Request, response: Response) -> None:
        response.headers["X-Path"] = request.path

    assert Client(app).get(path).headers["x-path"] == path


def test_a_hook_after_may_make_another_response(app: App) -> None:
    app.after(lambda request, response: "other" if response.body == b"ok" else None)
    client = Client(app)
    assert (client.get("/ok").text, client.get("/slow").text) == ("other", "slow")


def test_a_response_that_a_handler_returns_again_and_again_is_not_changed(app: App) -> None:
    shared = Response("shared")
    app.get("/shared")(lambda request: shared)
    app.after(lambda request, response: response.headers.add("X-A", "b"))
    client = Client(app)
    assert [client.get("/shared").headers.get_all("x-a") for _ in range(3)] == [["b"]] * 3
    assert shared.headers == ()


@pytest.mark.parametrize("path", ["/nothing", "/refused", "/fails", "/fails/slow"])
def test_hooks_after_are_called_for_errors(app: App, path: str) -> None:
    app.after(lambda request, response: response.headers.add("X-Status", str(response.status)))
    response = Client(app).get(path)
    assert response.headers["x-status"] == str(response.status)
    assert response.status in (404, 409, 500)


@pytest.mark.parametrize(("path", "method", "status"), [("/nothing", "GET", 404), ("/ok", "DELETE", 405)])
def test_hooks_before_are_called_where_no_route_responds(app: App, path: str, method: str, status: int) -> None:
    calls: list[str] = []
    app.before(lambda request: calls.append("before"))
    app.after(lambda request, response: calls.append(f"after {response.status}"))
    app.error(HTTPError)(lambda request, error: calls.append("error"))
    assert Client(app).request(method, path).status == status
    assert calls == ["before", "error", f"after {status}"]


def test_a_hook_before_may_respond_where_no_route_does(app: App) -> None:
    app.before(lambda request: Response("Who are you?", 401))
    client = Client(app)
    assert [client.get("/nothing").status for _ in range(4)] == [401] * 4
    assert client.options("/nothing").status == 401


def test_a_hook_that_fails_where_no_route_responds_is_logged(app: App, caplog: pytest.LogCaptureFixture) -> None:
    app.before(failing)
    assert Client(app).get("/nothing").status == 500
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "lost" in str(record.exc_info[1])


@pytest.mark.parametrize("all_block", [True, False])
def test_hooks_may_wait_where_no_route_responds_if_all_routes_are_blocking(all_block: bool) -> None:
    waits: list[bool] = []
    app, part = App(), App()
    for one in (app, part):
        one.get("/slow", blocking=True)(lambda request: "slow")
    app.get("/other", blocking=all_block)(lambda request: "other")
    app.before(lambda request: waits.append(request.may_wait))
    app.include("/part", part)
    client = Client(app)
    assert [client.get(path).status for path in ("/nothing", "/part/nothing")] == [404, 404]
    assert waits == [all_block, True]


@pytest.mark.parametrize("path", ["/ok", "/slow", "/mounted", "/refused", "/fails", "/fails/slow", "/nothing"])
def test_hooks_and_handlers_of_a_request_share_its_state(app: App, path: str) -> None:
    @app.before
    def begin(request: Request) -> None:
        request.state.path = request.path

    @app.error(HTTPError)
    def show(request: Request, error: HTTPError) -> str:
        return str(request.state.path)

    @app.after
    def end(request: Request, response: Response) -> None:
        response.headers["X-Path"] = request.state.path

    response = Client(app).get(path)
    assert response.headers["x-path"] == path
    assert response.status == 200 or response.text == path


@pytest.mark.parametrize("path", ["/ok", "/slow"])
def test_a_hook_that_fails_gives_a_500_and_is_logged(app: App, path: str, caplog: pytest.LogCaptureFixture) -> None:
    @app.before
    def fail(request: Request) -> None:
        raise KeyError("from the hook")

    assert Client(app).get(path).status == 500
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "from the hook" in str(record.exc_info[1])


@pytest.mark.parametrize("path", ["/ok", "/slow", "/nothing", "/fails"])
def test_a_hook_after_that_fails_gives_a_500(app: App, path: str, caplog: pytest.LogCaptureFixture) -> None:
    @app.after
    def fail(request: Request, response: Response) -> None:
        raise RuntimeError("from the hook")

    assert Client(app).get(path).status == 500
    assert "from the hook" in caplog.text


def test_streams_pass_through_hooks(app: App) -> None:
    @app.get("/stream", blocking=True)
    def stream(request: Request) -> Iterator[str]:
        yield from ("a", "b")

    app.after(lambda request, response: response.headers.add("X-A", "b"))
    response = Client(app).get("/stream")
    assert (response.body, response.headers["x-a"]) == (b"ab", "b")


# --- Return values. ---


@pytest.mark.parametrize("hooked", [False, True])
def test_a_bad_return_value_leads_to_the_handler(app: App, hooked: bool, caplog: pytest.LogCaptureFixture) -> None:
    @app.get("/pair")
    def pair(request: Request) -> Any:
        return {"id": 1}, 201

    if hooked:
        app.before(lambda request: None)
        app.after(lambda request, response: None)
    assert Client(app).get("/pair").status == 500
    assert "write Response(content, status, headers)" in caplog.text
    assert f"pair ({__file__}, line {pair.__code__.co_firstlineno})" in caplog.text


def test_a_bad_return_value_of_an_object_leads_to_its_call(app: App, caplog: pytest.LogCaptureFixture) -> None:
    class Pair:
        def __call__(self, request: Request) -> Any:
            return 1, 2

    app.get("/pair")(Pair())
    app.before(lambda request: None)
    assert Client(app).get("/pair").status == 500
    assert f"Pair.__call__ ({__file__}, line" in caplog.text


# --- Error handlers. ---


def as_json(request: Request, error: HTTPError) -> dict[str, Any]:
    return {"error": error.reason, "path": request.path}


def problem(response: ClientResponse) -> tuple[int, str]:
    return response.status, response.json()["error"]


def test_by_status(app: App) -> None:
    app.error(404, 405)(as_json)
    client = Client(app)
    missing = client.get("/nothing")
    assert problem(missing) == (404, "There is nothing at this address.")
    assert missing.json()["path"] == "/nothing"
    not_allowed = client.post("/ok")
    assert problem(not_allowed) == (405, "POST is not possible here.")
    assert not_allowed.headers["allow"] == "GET, HEAD, OPTIONS"
    assert client.get("/refused").content_type == "text/html"


@pytest.mark.parametrize("path", ["/refused", "/nothing", "/fails", "/fails/slow"])
def test_by_httperror_all_that_is_refused_and_by_status_what_fails(app: App, path: str) -> None:
    app.error(HTTPError)(as_json)
    response = Client(app).get(path)
    assert response.content_type == "application/json"
    assert response.status in (404, 409, 500)


@pytest.mark.parametrize("path", ["/fails", "/fails/slow"])
def test_by_exception(app: App, path: str, caplog: pytest.LogCaptureFixture) -> None:
    @app.error(LookupError)
    def missing(request: Request, error: LookupError) -> Response:
        return Response({"error": str(error)}, 404)

    assert problem(Client(app).get(path)) == (404, "'lost'")
    assert not caplog.records, "it is handled"


@pytest.mark.parametrize("path", ["/fails", "/fails/slow"])
def test_a_failure_is_logged_even_if_the_application_responds(
    app: App, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    app.error(Exception)(lambda request, error: {"error": "sorry"})
    client = Client(app)
    assert problem(client.get(path)) == (500, "sorry")
    assert client._context.counters.errors["handler"] == 1
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], KeyError)
    assert client.get("/refused").content_type == "text/html", "Exception takes no refusals"


def test_the_closest_class_wins_whatever_the_order(app: App) -> None:
    app.error(Exception)(lambda request, error: {"error": "exception"})
    app.error(KeyError)(lambda request, error: {"error": "key"})
    app.error(LookupError)(lambda request, error: {"error": "lookup"})
    assert Client(app).get("/fails").json() == {"error": "key"}


def test_the_status_wins_over_the_class(app: App) -> None:
    app.error(HTTPError)(lambda request, error: {"error": "any"})
    app.error(409)(lambda request, error: {"error": "conflict"})
    response = Client(app).get("/refused")
    assert response.json() == {"error": "conflict"}
    assert response.headers["x-by"] == "ada", "the fields of the error are sent"


def test_a_response_of_an_error_handler_keeps_its_status_and_its_fields(app: App) -> None:
    app.error(409)(lambda request, error: Response("x", 202, {"X-By": "me"}))
    response = Client(app).get("/refused")
    assert (response.status, response.headers.get_all("x-by")) == (202, ["me"])


def test_an_error_handler_may_raise_a_refusal_that_another_one_handles(app: App) -> None:
    @app.error(KeyError)
    def missing(request: Request, error: KeyError) -> None:
        raise HTTPError(404, "No such key.")

    app.error(404)(as_json)
    assert problem(Client(app).get("/fails")) == (404, "No such key.")


def test_an_error_handler_that_raises_its_own_error_does_not_loop(app: App) -> None:
    @app.error(404)
    def again(request: Request, error: HTTPError) -> None:
        raise HTTPError(404, "Again.")

    response = Client(app).get("/nothing")
    assert (response.status, response.content_type) == (404, "text/html")
    assert "Again." in response.text


@pytest.mark.parametrize("path", ["/refused", "/nothing"])
@pytest.mark.parametrize("result", [(1, 2), failing])
def test_an_error_handler_that_fails_gives_a_500(
    app: App, path: str, result: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app.error(HTTPError)(lambda request, error: result(request) if callable(result) else result)
    assert Client(app).get(path).status == 500
    assert len(caplog.records) == 1


# --- The server's own refusals. ---


@pytest.mark.parametrize(
    ("data", "status", "path"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400, ""),
        (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501, ""),
        (b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 9000), 414, ""),
        (b"POST /ok HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", 413, "/ok"),
        (b"GET /ok HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "/ok"),
    ],
)
def test_refusals_of_messages_are_handled(app: App, data: bytes, status: int, path: str) -> None:
    app.error(HTTPError)(as_json)
    app.after(lambda request, response: response.headers.add("X-A", "no hook is called"))
    head, _, body = Client(app).send_bytes(data).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"Content-Type: application/json\r\n" in head
    assert head.endswith(b"Connection: close")
    assert b"X-A" not in head
    assert json.loads(body)["path"] == path


def test_a_full_server_responds_by_the_error_handler(app: App, caplog: pytest.LogCaptureFixture) -> None:
    assert encode_overload(None) == render_overload()
    app.error(503)(as_json)
    head, _, body = encode_overload(app.errors).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert (lines[0], lines[1]) == (b"HTTP/1.1 503 Service Unavailable", b"Server: mreactor")
    assert {b"Content-Type: application/json", b"Retry-After: 1", b"Connection: close"} <= {*lines}
    assert b"Content-Length: %d" % len(body) in lines
    assert json.loads(body)["error"] == "This server has too many connections."
    broken, streaming = App(), App()
    broken.error(503)(lambda request, error: failing(request))
    streaming.error(503)(lambda request, error: iter(["x"]))
    assert encode_overload(broken.errors) == encode_overload(streaming.errors) == render_overload()
    assert "lost" in caplog.text


def test_an_error_handler_that_fails_for_a_refusal_is_logged(app: App, caplog: pytest.LogCaptureFixture) -> None:
    app.error(400)(lambda request, error: failing(request))
    app.error(501)(lambda request, error: iter(["stream"]))
    assert Client(app).send_bytes(b"?\r\n\r\n").startswith(b"HTTP/1.1 500 ")
    assert "lost" in caplog.text
    assert Client(app).send_bytes(b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n").startswith(b"HTTP/1.1 501 ")
    assert "returned a stream" in caplog.text


@pytest.mark.parametrize("debug", [False, True])
def test_what_a_refusal_cannot_send_is_closed(debug: bool) -> None:
    """Else each malformed message would leave a file open."""
    closed: list[str] = []
    held: list[Iterator[str]] = []

    def parts(name: str) -> Iterator[str]:
        try:
            yield name
        finally:
            closed.append(name)

    def begun(request: Request, error: BaseException) -> Iterator[str]:
        made = parts(str(request.method))
        next(made)
        held.append(made)
        return made

    app = App()
    app.error(501)(begun)
    app.error(500)(begun)
    app.get("/fails")(failing)
    Client(app).send_bytes(b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert len(closed) == 1
    assert encode_overload(app.errors)
    context = ReactorContext(Limits(), app.routes, errors=app.errors, debug=debug)
    Talk(context, [get("/fails")])
    assert len(closed) == 2


# --- Included applications. ---


def make_api() -> App:
    api = App()
    api.get("/items")(lambda request: ["a"])
    api.get("/fails")(failing)
    api.error(HTTPError)(as_json)
    return api


def test_an_included_application_serves_below_its_prefix(app: App) -> None:
    app.include("/api/", make_api())
    client = Client(app)
    assert client.get("/api/items").json() == ["a"]
    assert client.get("/items").status == 404
    assert client.get("/ok").text == "ok"
    assert [route.pattern for route in app.routes][-2:] == ["/api/items", "/api/fails"]


@pytest.mark.parametrize("path", ["/api/nothing", "/api", "/api/fails"])
def test_its_error_handlers_are_those_of_its_paths(app: App, path: str) -> None:
    app.include("/api", make_api())
    client = Client(app)
    assert client.get(path).content_type == "application/json"
    assert client.get("/nothing").content_type == "text/html"
    assert client.get("/apiary").content_type == "text/html"


def test_its_hooks_lie_inside_those_of_the_including_one(app: App) -> None:
    calls: list[str] = []
    api = make_api()
    api.before(lambda request: calls.append("inner before"))
    api.after(lambda request, response: calls.append("inner after"))
    app.include("/api", api)
    app.before(lambda request: calls.append("outer before"))
    app.after(lambda request, response: calls.append("outer after"))
    client = Client(app)
    client.get("/api/items")
    assert calls == ["outer before", "inner before", "inner after", "outer after"]
    calls.clear()
    client.get("/ok")
    assert calls == ["outer before", "outer after"]


def test_outer_error_handlers_are_for_what_inner_ones_leave(app: App) -> None:
    app.include("/api", make_api())
    app.error(KeyError)(lambda request, error: Response("outer", 410))
    client = Client(app)
    assert client.get("/api/fails").status == 410
    assert client.get("/api/nothing").content_type == "application/json"


def test_applications_nest(app: App) -> None:
    middle = App()
    middle.include("/v1", make_api())
    app.include("/api", middle)
    client = Client(app)
    assert client.get("/api/v1/items").json() == ["a"]
    assert client.get("/api/v1/nothing").content_type == "application/json"
    assert client.get("/api/nothing").content_type == "text/html"


def test_one_application_may_be_included_twice(app: App) -> None:
    api = make_api()
    app.include("/a", api)
    app.include("/b", api)
    client = Client(app)
    assert client.get("/a/items").json() == client.get("/b/items").json() == ["a"]


def shown(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    names = ("SCRIPT_NAME", "PATH_INFO", "SERVER_NAME", "SERVER_PORT")
    return [" ".join(environ[name] or "-" for name in names).encode()]


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_wsgi_application_is_told_all_prefixes_and_the_address(app: App, slash: str) -> None:
    middle, inner = App(), App()
    inner.mount_wsgi("/shop" + slash, shown)
    inner.mount_wsgi("/", shown, inline=True)
    middle.include("/v1", inner)
    middle.include("/v2", inner)
    app.include("/api", middle)
    other = App()
    other.include("/old", inner)
    app.address, other.address = ("192.0.2.1", 8080), ("192.0.2.2", 8081)
    client = Client(app)
    assert client.get("/api/v1/shop/a/b").text == "/api/v1/shop /a/b 192.0.2.1 8080"
    assert client.get("/api/v2/shop").text == "/api/v2/shop - 192.0.2.1 8080"
    assert client.get("/api/v2/x").text == "/api/v2 /x 192.0.2.1 8080"
    assert client.get("/api/v2/").text == "/api/v2 / 192.0.2.1 8080"
    assert Client(other).get("/old/shop/x").text == "/old/shop /x 192.0.2.2 8081"
    assert Client(inner).get("/shop/x").text == "/shop /x localhost 80"


# --- Many routes. ---


def test_declaring_many_routes_takes_time_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook makes routes costly to freeze, and no declaration freezes those before it."""
    wrapped: list[Any] = []
    monkeypatch.setattr(functools, "update_wrapper", lambda *args, **kwargs: wrapped.append(args))
    app, api = App(), App()
    for one in (app, api):
        one.before(lambda request: None)
        for number in range(300):
            one.get(f"/{number}")(lambda request: "")
    app.include("/api", api)
    for number in range(300, 600):
        app.get(f"/{number}")(lambda request: "")
    assert len(app.freeze()) == 900
    # Those of the included application are frozen twice: by themselves, and inside the hooks of the other one.
    assert len(wrapped) == 1200


# --- Start and stop. ---


def test_hooks_for_start_and_stop() -> None:
    app, calls = App(), list[str]()
    for number in (1, 2):
        app.on_start(functools.partial(calls.append, f"start {number}"))
        app.on_stop(functools.partial(calls.append, f"stop {number}"))
    with Client(app):
        assert calls == ["start 1", "start 2"]
    assert calls[2:] == ["stop 2", "stop 1"]


def test_hooks_of_included_applications_start_first_and_stop_last() -> None:
    app, api, calls = App(), App(), list[str]()
    api.on_start(lambda: calls.append("inner start"))
    api.on_stop(lambda: calls.append("inner stop"))
    app.include("/api", api)
    app.on_start(lambda: calls.append("outer start"))
    app.on_stop(lambda: calls.append("outer stop"))
    with Client(app):
        pass
    assert calls == ["inner start", "outer start", "outer stop", "inner stop"]


def test_an_application_that_is_included_twice_starts_and_stops_once() -> None:
    """However deep, and beside an application that includes it as well."""
    app, middle, api, calls = App(), App(), App(), list[str]()
    for one, name in ((app, "app"), (middle, "middle"), (api, "api")):
        one.on_start(functools.partial(calls.append, f"start {name}"))
        one.on_stop(functools.partial(calls.append, f"stop {name}"))
    middle.include("/one", api)
    middle.include("/two", api)
    app.include("/middle", middle)
    app.include("/api", api)
    for _ in range(2):
        with Client(app):
            pass
    starts, stops = ["start api", "start middle", "start app"], ["stop app", "stop middle", "stop api"]
    assert calls == [*starts, *stops] * 2


def test_a_hook_for_the_start_that_fails_is_named() -> None:
    app = App()
    app.on_start(functools.partial(failing, None))
    with pytest.raises(KeyError, match="lost") as caught, Client(app):
        pass
    assert caught.value.__notes__ == [f"It was raised by the hook for the start failing ({__file__}, line 19)."]


def test_a_hook_for_the_end_that_fails_does_not_keep_the_others(caplog: pytest.LogCaptureFixture) -> None:
    app, calls = App(), list[int]()

    @app.on_stop
    def last() -> None:
        calls.append(1)

    @app.on_stop
    def first() -> None:
        raise KeyError("lost")

    with caplog.at_level(logging.ERROR), Client(app):
        pass
    assert calls == [1]
    assert "first failed" in caplog.text


# --- Wrong declarations. ---


async def asynchronous(request: Request) -> None:
    pass


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda app: app.before(lambda: None), "called with the request:"),
        (lambda app: app.after(lambda request: None), "called with the request and the response:"),
        (lambda app: app.before(asynchronous), "async"),
        (lambda app: app.before(1), "not a function"),
        (lambda app: app.on_start(lambda request: None), "called without arguments:"),
        (lambda app: app.error()(failing), "name what the error handler is for"),
        (lambda app: app.error(200)(as_json), "200 is neither"),
        (lambda app: app.error("404")(as_json), "'404' is neither"),
        (lambda app: app.error(int)(as_json), "neither the status"),
        (
            lambda app: app.error(404)(lambda request: None),
            "the error handler .* is called with the request and the exception:",
        ),
        (lambda app: (app.error(404)(as_json), app.error(404)(as_json)), "404 has an error handler already"),
        (lambda app: app.mount("/a/{id}", lambda: failing), "'/a/{id}' of a mount has a parameter"),
        (lambda app: app.mount_wsgi("/a/{id}", shown), "'/a/{id}' of a mount has a parameter"),
        (
            lambda app: app.mount("/a", "static"),
            r"makes a handler; for the files of a directory write StaticFiles\('static'\)",
        ),
        (lambda app: app.include("api", App()), "'api' is not a path"),
        (lambda app: app.include("", App()), "'' is not a path such as /api, or / for none"),
        (lambda app: app.include("/{id}", App()), "not a path"),
        (lambda app: app.include("/api", app), "include itself"),
        (lambda app: (app.get("/api/items")(failing), app.include("/api", make_api())), "declared twice"),
        (lambda app: (app.include("/api", make_api()), app.include("/api", make_api())), "declared twice"),
        (lambda app: (app.include("/api", make_api()), app.get("/api/items")(failing)), "declared twice"),
    ],
)
def test_a_wrong_declaration_is_refused_at_once(declare: Callable[[App], Any], message: str) -> None:
    with pytest.raises(RouteError, match=message):
        declare(App())


def test_nothing_is_declared_once_an_application_is_included_or_started() -> None:
    api = make_api()
    App().include("/api", api)
    for declare in (api.before, api.get("/late"), api.error(404), api.on_start):
        with pytest.raises(RouteError, match="another application includes this one"):
            declare(lambda *_: None)


def test_a_decorator_without_parentheses_is_told_at_once() -> None:
    app: Any = App()
    for declare in (app.route, app.get, app.post, app.put, app.patch, app.delete):
        with pytest.raises(TypeError, match=r"the pattern is missing, as in @app.get\('/'\)"):
            declare(lambda request: "")
    with pytest.raises(TypeError, match=r"name what the error handler is for, such as @app.error\(404\)"):
        app.error(lambda request, error: "")


def test_a_group_of_routes_has_hooks_of_its_own_without_a_prefix(app: App) -> None:
    members = App()
    members.before(lambda request: Response("Who are you?", 401))
    members.get("/account")(lambda request: "yours")
    members.error(404)(as_json)
    app.include("/", members)
    client = Client(app)
    assert [client.get(path).status for path in ("/account", "/ok", "/nothing")] == [401, 200, 404]
    # Paths that no route takes are the outer application's.
    assert client.get("/nothing").content_type == "text/html"


# --- Static files. ---


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("content")
    return tmp_path


@pytest.mark.parametrize("prefix", ["/", "/assets", "/assets/", "/a/b/"])
def test_static_files_are_mounted_as_they_are(folder: Path, prefix: str) -> None:
    app = App()
    app.mount(prefix, StaticFiles(folder), constant=True)
    app.after(lambda request, response: response.headers.add("X-A", "b"))
    response = Client(app).get(prefix.rstrip("/") + "/a.txt")
    assert (response.text, response.headers["x-a"]) == ("content", "b")


def test_static_files_of_an_included_application_lie_below_its_prefix(folder: Path) -> None:
    app, inner = App(), App()
    inner.mount("/files/", StaticFiles(folder))
    app.include("/api", inner)
    assert Client(app).get("/api/files/a.txt").text == "content"


def test_each_reactor_has_a_copy_of_its_own(folder: Path) -> None:
    app = App()
    files = StaticFiles(folder, sendfile_bytes_min=7)
    app.mount("/files/", files)
    (route,) = app.routes
    copies = [route.endpoint.handler() for _ in range(2)]
    assert copies[0] is not copies[1]
    assert files not in copies
    assert {copy._sendfile_bytes_min for copy in copies} == {7}


def test_a_missing_directory_and_a_wrong_prefix_are_refused_at_once(folder: Path) -> None:
    app = App()
    with pytest.raises(ConfigError, match="no such file or directory"):
        StaticFiles(folder / "missing")
    with pytest.raises(ConfigError, match="not a directory"):
        StaticFiles(folder / "a.txt")
    with pytest.raises(RouteError, match="'/wrong/' is mounted at '/files/'; pass StaticFiles itself"):
        app.mount("/files/", StaticFiles(folder, prefix="/wrong/"))


@pytest.mark.parametrize("mounted", ["/assets", "/assets/"])
@pytest.mark.parametrize("expected", ["/assets", "/assets/"])
def test_a_final_slash_makes_no_other_prefix(folder: Path, mounted: str, expected: str) -> None:
    app, other = App(), App()
    app.mount(mounted, StaticFiles(folder, prefix=expected))
    other.mount(mounted, lambda: StaticFiles(folder, prefix=expected))
    assert Client(app).get("/assets/a.txt").text == Client(other).get("/assets/a.txt").text == "content"


def test_a_factory_with_a_wrong_prefix_is_refused_when_the_server_starts(folder: Path) -> None:
    app = App()
    app.mount("/files/", lambda: StaticFiles(folder))
    with pytest.raises(RouteError, match="'/' is mounted at '/files/'; pass StaticFiles itself"):
        Client(app)
