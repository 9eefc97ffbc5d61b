"""A server in this process with an admin listener, and requests to that listener."""

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mreactor import App, Config, Request, Response, Server
from tests.support.drivers import missing

BACKENDS = ("epoll", "io_uring")
LOOPBACK = "127.0.0.1:0"
SECONDS_MAX = 60.0


def make_app() -> App:
    app = App()

    @app.get("/", constant=True)
    def constant(request: Request) -> str:
        return "always the same"

    @app.get("/hello/{name}")
    def hello(request: Request, name: str) -> str:
        return f"Hello, {name}!"

    @app.post("/teapot")
    def teapot(request: Request) -> Response:
        return Response("short and stout", 418)

    return app


@contextmanager
def serving(app: App | None = None, **settings: Any) -> Iterator[Server]:
    if reason := missing(settings.get("backend", "epoll")):
        pytest.skip(reason)
    config = Config(**{"port": 0, "threads": 2, "admin": LOOPBACK, **settings})
    server = Server(config, app or make_app())
    server.start()
    try:
        yield server
    finally:
        server.stop()


def connect(server: Server) -> socket.socket:
    """Open a connection to the server itself."""
    return socket.create_connection(server.address, SECONDS_MAX)


def ask(server: Server, path: str, method: str = "GET", **fields: str) -> tuple[http.client.HTTPResponse, str]:
    """Send a request to the admin listener on a new connection; return the response and its text."""
    assert server.admin_address is not None
    connection = http.client.HTTPConnection(*server.admin_address, timeout=SECONDS_MAX)
    connection.request(method, path, headers=fields)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response, text


def stats(server: Server) -> Any:
    return json.loads(ask(server, "/stats.json")[1])


def wait_for(holds: Callable[[], bool]) -> None:
    """Poll until a condition holds."""
    deadline = time.monotonic() + SECONDS_MAX
    while not holds():
        assert time.monotonic() < deadline, "the condition never holds"
        time.sleep(0.05)
