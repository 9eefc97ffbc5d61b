"""Hooks and error handlers around WSGI applications: they see and change what they would of a native handler."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from mreactor import App, HTTPError, Request, Response
from mreactor.http1 import ReactorContext
from mreactor.testing import Client, ClientResponse
from tests.support.drivers import SOCKET_KINDS, missing, open_driver
from tests.support.memory import Session
from tests.support.vectors import LIMITS, get
from tests.support.wsgi_applications import Application, Closing, Environ

FIELDS = [
    ("Content-Type", "text/plain"),
    ("X-Frame-Options", "SAMEORIGIN"),
    ("Set-Cookie", "a=1"),
    ("Set-Cookie", "b=2"),
]


def whole(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 Fine", FIELDS)
    return [b"content"]


def streamed(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 Fine", FIELDS)
    yield b"con"
    yield b"tent"


def announced(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 Fine", [*FIELDS, ("Content-Length", "7")])
    yield b"con"
    yield b"tent"


@pytest.fixture(params=[False, True], ids=["pool", "inline"])
def app(request: pytest.FixtureRequest) -> App:
    app = App()
    app.name = "inline" if request.param else ""
    return app


def ask(app: App, application: Application, method: str = "GET", **content: Any) -> ClientResponse:
    """Mount an application and ask it."""
    app.mount_wsgi("/", application, inline=app.name == "inline")
    return Client(app).request(method, "/", **content)


@pytest.mark.parametrize("application", [whole, streamed, announced])
def test_fields_that_a_hook_sets_reach_the_client(app: App, application: Application) -> None:
    @app.after
    def protect(request: Request, response: Response) -> None:
        assert (response.status, response.content_type, response.headers["x-frame-options"]) == (
            200,
            "text/plain",
            "SAMEORIGIN",
        )
        response.headers["X-Frame-Options"] = "DENY"
        response.headers.add("X-Content-Type-Options", "nosniff")
        response.set_cookie("c", "3")

    response = ask(app, application)
    assert (response.status, response.text, response.content_type) == (200, "content", "text/plain")
    assert response.headers.get_all("x-frame-options") == ["DENY"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert [cookie[:3] for cookie in response.headers.get_all("set-cookie")] == ["a=1", "b=2", "c=3"]
    if application is not streamed:
        assert response.headers["content-length"] == "7"
    head = Client(app).head("/")
    assert (head.headers.get_all("x-frame-options"), head.body) == (["DENY"], b"")


def test_a_hook_that_only_looks_changes_no_byte(app: App) -> None:
    def respond(app: App) -> bytes:
        app.mount_wsgi("/", whole, inline=app.name == "inline")
        session = Session(ReactorContext(LIMITS, app.freeze()))
        session.arrive(get("/"))
        session.drive()
        return session.take_sent()

    plain, looked_at = App(app.name), app
    seen: list[str] = []
    looked_at.after(lambda request, response: seen.append(response.headers["X-Frame-Options"]))
    assert respond(plain).split(b"\r\n")[2:] == respond(looked_at).split(b"\r\n")[2:]
    assert seen == ["SAMEORIGIN"]


def test_the_application_keeps_its_server_date_and_reason(app: App) -> None:
    def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 Fine", [("Server", "mine"), ("Date", "today"), ("X-Mine", "1")])
        return [b""]

    @app.after
    def protect(request: Request, response: Response) -> None:
        assert [*response.headers] == [("X-Mine", "1")]
        del response.headers["X-Mine"]

    app.mount_wsgi("/", application, inline=app.name == "inline")
    head = Client(app).send_bytes(get("/"))
    assert head == b"HTTP/1.1 200 Fine\r\nServer: mine\r\nDate: today\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("application", [whole, streamed, announced])
def test_a_hook_may_change_status_and_content(app: App, application: Application) -> None:
    @app.after
    def replace(request: Request, response: Response) -> None:
        response.status = 404
        response.content_type = "text/html"
        response.body = "other content"

    response = ask(app, application)
    assert (response.status, response.text, response.content_type) == (404, "other content", "text/html")
    assert response.headers["content-length"] == "13"


@pytest.mark.parametrize("status", [204, 304])
def test_a_hook_may_take_the_content_away(app: App, status: int) -> None:
    def empty(request: Request, response: Response) -> None:
        response.status = status

    app.after(empty)
    response = ask(app, streamed)
    assert (response.status, response.body) == (status, b"")


@pytest.mark.parametrize("application", [streamed, announced])
def test_a_hook_may_wrap_a_stream(app: App, application: Application) -> None:
    """It gets all parts, and the iterable is closed when its own stream is."""
    closed: list[bool] = []

    def upper(parts: Any) -> Iterator[bytes]:
        try:
            for part in parts:
                yield part.upper()
        finally:
            parts.close()
            closed.append(True)

    @app.after
    def wrap(request: Request, response: Response) -> Response:
        return Response(upper(response.body), response.status, tuple(response.headers))

    assert ask(app, application).text == "CONTENT"
    assert closed == [True]


@pytest.mark.parametrize("fails", [False, True])
def test_a_hook_that_drops_a_stream_has_it_closed(app: App, fails: bool) -> None:
    closed: list[int] = []

    def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return Closing([b"con", b"tent"], closed)

    @app.after
    def drop(request: Request, response: Response) -> str | None:
        if fails and response.status != 500:
            raise KeyError("of the hook")
        return None if fails else "instead"

    response = ask(app, application)
    assert (response.status, closed) == (500 if fails else 200, [1])


def test_a_hook_before_it_responds_itself_or_reads_the_body(app: App) -> None:
    def echo(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [environ["wsgi.input"].read()]

    @app.before
    def check(request: Request) -> None:
        if request.body == b"wrong":
            raise HTTPError(401, "Who?")

    app.mount_wsgi("/", echo, inline=app.name == "inline")
    client = Client(app)
    assert client.post("/", body=b"right").text == "right"
    assert client.post("/", body=b"wrong").status == 401
    long = b"x" * 1_000_000
    assert client.post("/", body=long).body == long


def test_error_handlers_take_what_it_raises_and_not_its_own_pages(app: App) -> None:
    def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/fails":
            raise LookupError("nothing")
        start_response("404 Not Found", [])
        return [b"its own page"]

    app.error(LookupError)(lambda request, error: Response(f"handled {error}", 503))
    app.error(404)(lambda request, error: "the server's page")
    app.after(_mark)
    app.mount_wsgi("/", application, inline=app.name == "inline")
    client = Client(app)
    for path, status, text in (("/fails", 503, "handled nothing"), ("/else", 404, "its own page")):
        response = client.get(path)
        assert (response.status, response.text, response.headers["x-marked"]) == (status, text, "yes")


def _mark(request: Request, response: Response) -> None:
    response.headers["X-Marked"] = "yes"


def test_hooks_of_an_application_that_includes_it(app: App) -> None:
    inner, outer = app, App()
    inner.mount_wsgi("/", whole, inline=app.name == "inline")
    order: list[str] = []

    def note(name: str) -> Callable[[Request, Response], None]:
        def hook(request: Request, response: Response) -> None:
            order.append(f"{name} {response.headers.get('x-marked')}")
            _mark(request, response)

        return hook

    inner.after(note("inner"))
    outer.after(note("outer"))
    outer.include("/in", inner)
    assert Client(outer).get("/in/").headers["x-marked"] == "yes"
    assert order == ["inner None", "outer yes"]


def writing(environ: Environ, start_response: Any) -> Iterable[bytes]:
    write = start_response("200 Fine", FIELDS)
    write(b"con")
    write(b"te")
    return [b"nt"]


@pytest.mark.parametrize("kind", SOCKET_KINDS)
def test_a_response_that_write_begins(kind: str) -> None:
    if reason := missing(kind):
        pytest.skip(reason)
    app, calls = App(), list[int]()

    @app.after
    def protect(request: Request, response: Response) -> Response | None:
        calls.append(response.status)
        _mark(request, response)
        if response.status == 200 and request.path == "/fails":
            raise KeyError("of the hook")
        return Response("instead") if request.path == "/replaced" and response.status == 200 else None

    app.mount_wsgi("/", writing)
    with open_driver(kind, app, LIMITS) as driver, driver.connect() as client:
        for _ in range(2):
            response = client.ask(get("/"))
            assert (response.status, response.text, response.headers["x-marked"]) == (200, "content", "yes")
        assert calls == [200, 200]
        head = client.ask(get("/", method="HEAD"), "HEAD")
        assert (head.body, head.headers["x-marked"]) == (b"", "yes")
        # Its content is on its way in pieces, and another one cannot take its place.
        for path in ("/replaced", "/fails"):
            calls.clear()
            response = client.ask(get(path))
            assert (response.status, response.headers["x-marked"], calls) == (500, "yes", [200, 500])
            assert client.ask(get("/")).text == "content"


def test_copies_can_be_changed_apart(app: App) -> None:
    @app.after
    def copy(request: Request, response: Response) -> Response:
        copied = response.copy()
        _mark(request, response)
        copied.headers["X-Copied"] = "yes"
        return copied

    response = ask(app, announced)
    assert (response.text, response.headers["x-copied"], response.headers.get("x-marked")) == ("content", "yes", None)
