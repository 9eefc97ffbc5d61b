"""A server inside another program: as a context manager, started once, with the application's hooks around it."""

import threading
from typing import Any
from urllib.request import urlopen

import pytest

from mreactor import App, Config, Server, StartError

pytestmark = pytest.mark.slow


def make_app(calls: list[str]) -> App:
    app = App()
    app.on_start(lambda: calls.append("start"))
    app.on_stop(lambda: calls.append("stop"))
    app.get("/")(lambda request: ",".join(calls))
    return app


def test_a_server_is_a_context_manager() -> None:
    calls: list[str] = []
    with Server(Config(port=0, threads=1), make_app(calls)) as server:
        host, port = server.address
        with urlopen(f"http://{host}:{port}/") as response:
            assert response.read() == b"start"
    assert calls == ["start", "stop"]
    server.stop()
    server.abort()
    assert calls == ["start", "stop"], "stopping is idempotent"


@pytest.mark.parametrize(("inline", "thread"), [(False, b"blocking-1"), (True, b"reactor-0")])
def test_a_wsgi_application_is_mounted(inline: bool, thread: bytes) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [threading.current_thread().name.encode()]

    with Server(Config(port=0, threads=1, wsgi_inline=inline), application) as server:
        host, port = server.address
        with urlopen(f"http://{host}:{port}/") as response:
            assert response.read() == thread


def test_what_is_no_application_is_refused() -> None:
    with pytest.raises(TypeError, match="'shop:app' is neither an App nor a WSGI application"):
        Server(Config(port=0), "shop:app")  # type: ignore[arg-type]


def test_a_server_starts_once() -> None:
    with Server(Config(port=0, threads=1), App()) as server, pytest.raises(StartError, match="make a new Server"):
        server.start()
    with pytest.raises(StartError, match="make a new Server"):
        server.start()


def test_one_application_may_be_served_again() -> None:
    calls: list[str] = []
    app = make_app(calls)
    for _ in range(2):
        with Server(Config(port=0, threads=1), app):
            pass
    assert calls == ["start", "stop"] * 2


def test_a_hook_that_fails_ends_the_start() -> None:
    app, calls = App(), list[str]()
    app.on_stop(lambda: calls.append("stop"))

    @app.on_start
    def fail() -> None:
        raise KeyError("no database")

    with pytest.raises(KeyError, match="no database"):
        Server(Config(port=0, threads=1), app).start()
    assert calls == [], "what has not started does not stop"


def test_a_start_that_fails_later_calls_the_hooks_for_the_end() -> None:
    calls: list[str] = []
    with Server(Config(port=0, threads=1), App()) as other:
        server = Server(Config(port=0, threads=1, admin=f"127.0.0.1:{other.address[1]}"), make_app(calls))
        with pytest.raises(StartError):
            server.start()
    assert calls == ["start", "stop"]
