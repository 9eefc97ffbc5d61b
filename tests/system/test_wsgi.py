"""WSGI applications as clients see them: in memory, over epoll and over io_uring."""

import threading
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any
from wsgiref.validate import validator

import pytest

from mreactor.app.application import App
from mreactor.app.static_files import StaticFiles
from mreactor.config import Limits
from tests.support.drivers import KINDS, PATIENCE_SECONDS, SOCKET_KINDS, Driver, open_driver
from tests.support.responses import Malformed, read_response
from tests.support.vectors import get, post, post_chunked
from tests.support.wsgi_applications import CASES, TEXT, Application, Case, Closing, Environ, a_list

MIB = 1024 * 1024
LIMITS = Limits(body_bytes_max=4 * MIB, blocking_threads=4, linger_seconds=PATIENCE_SECONDS)


def make_app(applications: dict[str, Application], *, inline: bool = False, hooked: bool = False) -> App:
    """Mount applications by name; with hooks around them, which set a field."""
    app = App()
    if hooked:
        app.before(lambda request: None)
        app.after(lambda request, response: response.headers.add("X-Frame-Options", "DENY"))
    for name, application in applications.items():
        app.mount_wsgi(f"/{name}", application, inline=inline)
    return app


@pytest.fixture(scope="module", params=[*KINDS, "inline", "hooked", "hooked inline"])
def corpus(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """All applications of the corpus, as they are, behind the validator and hooks; in the pool and in a reactor."""
    plain = {f"plain/{number}": case.application for number, case in enumerate(CASES.values())}
    valid = {f"valid/{number}": validator(case.application) for number, case in enumerate(CASES.values())}
    inline, hooked = "inline" in request.param, "hooked" in request.param
    app = make_app(plain | valid, inline=inline, hooked=hooked)
    with open_driver("epoll" if inline or hooked else request.param, app, LIMITS) as driver:
        yield driver


def check(driver: Driver, target: str, case: Case) -> None:
    """Ask for a case and compare the response. Unless it is cut, the connection stays open."""
    with driver.connect() as client:
        client.send(get(target, method=case.method))
        if case.is_cut:
            received = client.receive_rest()
            with pytest.raises(Malformed):
                read_response(received, at_end=True)
            assert case.body in received
            return
        response = client.receive(case.method)
        assert (response.status, response.reason) == (case.status, case.reason)
        assert case.body in response.body if case.is_page else response.body == case.body
        assert {name: response.headers.get(name) for name in case.fields} == case.fields
        assert client.ask(get("/nothing")).status == 404


@pytest.mark.parametrize("name", CASES)
def test_the_corpus(corpus: Driver, name: str, caplog: pytest.LogCaptureFixture) -> None:
    case = CASES[name]
    check(corpus, f"/plain/{list(CASES).index(name)}", case)
    assert case.logs in caplog.text
    assert bool(case.logs) == bool(caplog.records)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.is_valid])
def test_the_validator_finds_nothing(corpus: Driver, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """What the validator finds is an AssertionError, which would be a 500 and a line in the log."""
    case = CASES[name]
    check(corpus, f"/valid/{list(CASES).index(name)}", case.behind_validator())
    assert "AssertionError" not in caplog.text
    assert case.logs in caplog.text
    assert bool(case.logs) == bool(caplog.records)


# What the application is told.


def show(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Show the environ, a line each, and the body."""
    body = environ["wsgi.input"].read(-1)
    start_response("200 OK", TEXT)
    lines = [f"{name}={value}" for name, value in sorted(environ.items()) if isinstance(value, str)]
    flags = [f"{name}={value}" for name, value in sorted(environ.items()) if isinstance(value, bool | tuple)]
    return ["\n".join([*lines, *flags, "", ""]).encode("latin-1"), body]


@pytest.fixture(scope="module", params=KINDS)
def shown(request: pytest.FixtureRequest) -> Iterator[Driver]:
    app = App()
    app.mount_wsgi("/", show)
    app.mount_wsgi("/deep/down", validator(show))

    @app.get("/native")
    def native(request_: Any) -> str:
        return "native"

    with open_driver(request.param, app, LIMITS) as driver:
        yield driver


def environ_of(driver: Driver, request: bytes, method: str = "GET") -> dict[str, str]:
    with driver.connect() as client:
        text = client.ask(request, method).body.decode("latin-1")
    return dict(line.split("=", 1) for line in text.split("\n\n")[0].splitlines())


def test_the_environ_of_a_request(shown: Driver) -> None:
    environ = environ_of(shown, get("/a%20b/%C3%A4?x=1&y=%20", "X-One: 1", "Content-Type: text/x", "Cookie: a=b"))
    assert (
        environ.items()
        >= {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/a b/\xc3\xa4",
            "QUERY_STRING": "x=1&y=%20",
            "RAW_URI": "/a%20b/%C3%A4?x=1&y=%20",
            "REQUEST_URI": "/a%20b/%C3%A4?x=1&y=%20",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_SOFTWARE": "mreactor",
            "HTTP_HOST": "a",
            "HTTP_X_ONE": "1",
            "HTTP_COOKIE": "a=b",
            "CONTENT_TYPE": "text/x",
            "wsgi.url_scheme": "http",
            "wsgi.version": "(1, 0)",
            "wsgi.multithread": "True",
            "wsgi.multiprocess": "False",
            "wsgi.run_once": "False",
            "wsgi.input_terminated": "True",
        }.items()
    )
    assert "HTTP_CONTENT_TYPE" not in environ
    assert "CONTENT_LENGTH" not in environ
    assert environ["REMOTE_ADDR"] in ("127.0.0.1", "192.0.2.1")
    assert environ["REMOTE_PORT"].isdigit()
    assert environ["SERVER_NAME"]
    assert environ["SERVER_PORT"].isdigit()


def test_the_address_is_the_servers_and_not_the_clients(shown: Driver) -> None:
    environ = environ_of(shown, get("/"))
    assert environ["HTTP_HOST"] == "a"
    assert environ["SERVER_NAME"] in ("127.0.0.1", "localhost")


@pytest.mark.parametrize(
    "field", ["X_One: 2", "Content_Type: text/evil", "Content_Length: 3", "Script_Name: /x", "Remote_User: root"]
)
def test_a_name_with_an_underscore_is_dropped(shown: Driver, field: str) -> None:
    plain = environ_of(shown, get("/", "X-One: 1"))
    plain.pop("REMOTE_PORT")
    environ = environ_of(shown, get("/", "X-One: 1", field))
    environ.pop("REMOTE_PORT")
    assert environ == plain


def test_repeated_fields_are_joined(shown: Driver) -> None:
    environ = environ_of(shown, get("/", "X-A: 1", "x-a: 2", "Cookie: a=1", "Cookie: b=2"))
    assert (environ["HTTP_X_A"], environ["HTTP_COOKIE"]) == ("1, 2", "a=1; b=2")


@pytest.mark.parametrize(
    "method", ["GET", "POST", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get", "M-SEARCH", "X" * 90]
)
def test_any_token_is_a_method(shown: Driver, method: str) -> None:
    assert environ_of(shown, get("/x", method=method), method)["REQUEST_METHOD"] == method


def test_methods_of_clients_do_not_fill_the_metrics(shown: Driver) -> None:
    for number in range(20):
        environ_of(shown, get("/", method=f"METHOD{number}"))
    methods = {method for context in shown.contexts() for method, _ in context.counters.requests.copy()}
    assert "other" in methods
    assert not any(method.startswith("METHOD") for method in methods)


def test_connect_is_refused(shown: Driver) -> None:
    with shown.connect() as client:
        assert client.ask(b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n").status == 405


def test_a_mounted_application_has_a_script_name(shown: Driver) -> None:
    for target, path in (("/deep/down/a/b", "/a/b"), ("/deep/down/", "/"), ("/deep/down", "")):
        environ = environ_of(shown, get(target))
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/deep/down", path)


def test_native_routes_come_first(shown: Driver) -> None:
    with shown.connect() as client:
        assert client.ask(get("/native")).text == "native"
        assert client.ask(get("/native", method="PUT")).status == 405
        assert b"PATH_INFO=/natives" in client.ask(get("/natives")).body


@pytest.mark.parametrize("send", ["whole", "chunked", "in pieces"])
@pytest.mark.parametrize("size", [0, 1, 5000, 300_000, 3 * MIB])
def test_the_body_is_there_and_ends(shown: Driver, send: str, size: int) -> None:
    body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    with shown.connect() as client:
        if send == "chunked":
            wire = post_chunked("/x", (b"%x\r\n%b\r\n" % (size, body) if size else b"") + b"0\r\n\r\n")
        else:
            wire = post("/x", body)
        if send == "in pieces":
            for start in range(0, len(wire), 50_000):
                client.send(wire[start : start + 50_000])
        else:
            client.send(wire)
        response = client.receive()
        assert response.body.split(b"\n\n", 1)[1] == body
        told = b"CONTENT_LENGTH=%d\n" % size in response.body
        assert told == (send != "chunked")
        assert client.ask(get("/native")).text == "native"


def lines(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Read the body by lines, and then past its end."""
    stream = environ["wsgi.input"]
    first = stream.readline()
    rest = list(stream)
    start_response("200 OK", TEXT)
    return [b"%d,%d,%d" % (len(first), len(rest), len(stream.read(10) + stream.read() + stream.readline()))]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("repeats", [3, 30_000])
def test_the_body_is_read_by_lines(kind: str, repeats: int) -> None:
    app = make_app({"lines": lines})
    with open_driver(kind, app, LIMITS, drains=False) as driver, driver.connect() as client:
        assert client.ask(post("/lines", b"first\n" + b"a line of text\n" * repeats)).text == f"6,{repeats},0"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("kind", KINDS)
def test_older_clients_get_lengths_or_the_end(kind: str, version: str) -> None:
    app = make_app({"a": CASES["a generator"].application, "b": CASES["a list"].application})
    app.mount_wsgi("/c", CASES["a generator with a length"].application)
    with open_driver(kind, app, LIMITS, drains=False) as driver:
        with driver.connect() as client:
            assert client.ask(get("/b", "Connection: keep-alive", version=version)).body == b"hello"
            assert client.ask(get("/c", "Connection: keep-alive", version=version)).body == b"abcdef"
            client.send(get("/a", "Connection: close", version=version))
            response = client.receive_all()[0]
        assert response.body == b"one two three"
        assert ("transfer-encoding" in response.headers) == (version == "1.1")


def test_what_the_validator_would_say_of_the_environ(shown: Driver) -> None:
    with shown.connect() as client:
        assert client.ask(post("/deep/down/x?a=b", b"body")).status == 200
        assert client.ask(post_chunked("/deep/down/x?a=b", b"1\r\nx\r\n0\r\n\r\n")).status == 200


# One thread, one context, and `close` whatever happens.

variable: ContextVar[str] = ContextVar("variable", default="unset")


class Watched:
    """An application that streams, and what its thread and context were at each step."""

    def __init__(self, parts: int, size: int = 10) -> None:
        self.seen: list[tuple[int, str]] = []
        self.closed: list[int] = []
        self.computed = 0
        self._parts, self._size = parts, size
        self._local = threading.local()

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        self.look()
        variable.set(environ["PATH_INFO"])
        self._local.path = environ["PATH_INFO"]
        start_response("200 OK", TEXT)
        return Closing(self.parts(), self.closed)

    def look(self) -> None:
        self.seen.append((threading.get_ident(), variable.get() + getattr(self._local, "path", "")))

    def parts(self) -> Iterator[bytes]:
        for _ in range(self._parts):
            self.look()
            self.computed += 1
            yield b"x" * self._size
        self.look()


@pytest.mark.parametrize("kind", KINDS)
def test_a_response_is_iterated_in_one_thread_and_context(kind: str) -> None:
    watched = Watched(5)
    with open_driver(kind, make_app({"w": watched}), LIMITS) as driver, driver.connect() as client:
        assert client.ask(get("/w/one")).body == b"x" * 50
        driver.wait_until(lambda: bool(watched.closed))
    assert len({thread for thread, _ in watched.seen}) == 1
    assert [value for _, value in watched.seen] == ["unset", *["/one/one"] * 6]
    assert watched.closed == [1]


@pytest.mark.parametrize("kind", KINDS)
def test_an_application_in_a_reactor_has_a_context_of_its_own(kind: str) -> None:
    watched = Watched(5)
    app = make_app({"w": watched}, inline=True)
    with open_driver(kind, app, LIMITS, threads=1) as driver, driver.connect() as client:
        for name in ("one", "two"):
            assert client.ask(get(f"/w/{name}")).body == b"x" * 50
    values = ["unset" if value.startswith("unset") else value.split("/")[1] for _, value in watched.seen]
    assert values == ["unset", *["one"] * 6, "unset", *["two"] * 6]
    assert watched.closed == [1, 1]
    assert len({thread for thread, _ in watched.seen}) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_slow_reader_holds_the_stream_back_and_its_end_closes_it(kind: str) -> None:
    watched = Watched(1000, 100_000)
    with open_driver(kind, make_app({"w": watched}), LIMITS) as driver:
        with driver.connect(window=4096) as client:
            client.send(get("/w/x"))
            client.receive_bytes(10)
            driver.wait_until(lambda: watched.computed > 0)
            for _ in range(20):
                driver.tick()
            assert watched.computed < 200, "the rest waits for the client"
            assert not watched.closed
            client.reset()
        driver.wait_until(lambda: bool(watched.closed))
    assert watched.closed == [1]


@pytest.mark.parametrize("kind", SOCKET_KINDS)
def test_write_waits_for_the_client(kind: str) -> None:
    written, ended = [], []

    def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
        write = start_response("200 OK", TEXT)
        try:
            for number in range(1000):
                write(b"x" * 100_000)
                written.append(number)
        except ConnectionError as error:
            ended.append(error)
            raise
        return []

    with open_driver(kind, make_app({"w": application}), LIMITS) as driver:
        with driver.connect(window=4096) as client:
            client.send(get("/w"))
            client.receive_bytes(10)
            for _ in range(20):
                driver.tick()
            assert len(written) < 200
            client.reset()
        driver.wait_until(lambda: bool(ended))
        with driver.connect() as client:
            assert client.ask(get("/nothing")).status == 404


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_close_is_called_once_for_each_iterable(kind: str, method: str) -> None:
    closed: list[int] = []

    def fails() -> Iterator[bytes]:
        yield b"begun"
        raise ZeroDivisionError("in the middle")

    def ends(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", TEXT)
        return Closing([b"a", b"b"], closed)

    def breaks(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", TEXT)
        return Closing(fails(), closed)

    def never(environ: Environ, start_response: Any) -> Iterable[bytes]:
        return Closing([b"a"], closed)

    with open_driver(kind, make_app({"ends": ends, "breaks": breaks, "never": never}), LIMITS) as driver:
        for number, target in enumerate(("/ends", "/breaks", "/never"), start=1):
            with driver.connect() as client:
                client.send(get(target, "Connection: close", method=method))
                client.receive_rest()
            driver.wait_until(lambda number=number: len(closed) >= number)
    assert closed == [1, 1, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_failing_close_does_not_harm_the_response(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    class Fails(Closing):
        def close(self) -> None:
            raise ZeroDivisionError("in close")

    def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [*TEXT, ("Content-Length", "1")])
        return Fails([b"a"], [])

    with open_driver(kind, make_app({"f": application}), LIMITS) as driver, driver.connect() as client:
        assert client.ask(get("/f")).body == b"a"
        assert client.ask(get("/f")).body == b"a"
    assert "in close" in caplog.text


# Threads of the pool.


@pytest.mark.parametrize("kind", SOCKET_KINDS)
def test_slow_uploads_hold_no_thread(kind: str) -> None:
    limits = Limits(blocking_threads=2, body_memory_bytes_max=1000)
    with open_driver(kind, make_app({"echo": CASES["reads everything"].application}), limits) as driver:
        slow = [driver.connect() for _ in range(30)]
        for client in slow:
            client.send(post("/echo", b"x" * 20_000)[:10_000])
        with driver.connect() as client:
            for _ in range(20):
                assert client.ask(post("/echo", b"hello")).body == b"read hello"
        for client in slow:
            client.send(post("/echo", b"x" * 20_000)[10_000:])
        for client in slow:
            assert client.receive().body == b"read " + b"x" * 20_000


@pytest.mark.parametrize("kind", SOCKET_KINDS)
def test_applications_run_at_the_same_time(kind: str) -> None:
    barrier = threading.Barrier(4)

    def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
        barrier.wait(PATIENCE_SECONDS)
        return a_list(environ, start_response)

    with open_driver(kind, make_app({"b": application}), LIMITS) as driver:
        clients = [driver.connect() for _ in range(4)]
        for client in clients:
            client.send(get("/b"))
        assert [client.receive().status for client in clients] == [200] * 4


def test_static_files_beside_an_application(tmp_path: Any) -> None:
    (tmp_path / "style.css").write_text("body {}")
    app = App()
    app.mount("/static/", lambda: StaticFiles(tmp_path, prefix="/static/"), constant=True)
    app.mount_wsgi("/", a_list)
    with open_driver("memory", app, LIMITS) as driver, driver.connect() as client:
        assert client.ask(get("/static/style.css")).text == "body {}"
        assert client.ask(get("/other")).body == b"hello"
