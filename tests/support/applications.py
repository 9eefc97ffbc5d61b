"""The applications that the behaviour suite and the limits suite serve."""

import functools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mreactor.app.application import App
from mreactor.app.static_files import StaticFiles
from mreactor.http.request import Request
from mreactor.http.response import Response
from mreactor.http.status import HTTPError
from mreactor.protocol import FileBody
from tests.support.drivers import PATIENCE_SECONDS
from tests.support.vectors import Calls, add_blocking, add_streams, open_file

MIB = 1024 * 1024
BIG_BYTES = 9 * MIB + 12345  # past every buffer on the way: the kernel's take some 7 MiB
LARGE_BYTES = 9 * 1024 * 1024
HUGE_BYTES = 32 * 1024 * 1024  # several times what all buffers hold


def make_behaviour_app(root: Path) -> App:
    app = App()
    gate = threading.Event()
    add_content(app)
    add_sizes(app)
    add_streams(app, Calls())
    add_blocking(app, Calls())
    add_values(app)

    @app.get("/wait", blocking=True)
    def wait(request: Request) -> str:
        opened = gate.wait(PATIENCE_SECONDS)
        gate.clear()
        return "opened" if opened else "still shut"

    @app.get("/open")
    def open_gate(request: Request) -> str:
        gate.set()
        return "open"

    app.mount("/", functools.partial(StaticFiles, root), constant=True)
    return app


def add_values(app: App) -> None:
    @app.get("/query")
    def query(request: Request) -> Any:
        return request.query

    @app.get("/cookie")
    def cookie(request: Request) -> str:
        return str(request.headers["Cookie"])

    @app.post("/json")
    def json(request: Request) -> Any:
        return request.json()

    @app.get("/tuple")
    def a_tuple(request: Request) -> Any:
        return "there is no such thing", 404

    @app.get("/set", blocking=True)
    def a_set(request: Request) -> Any:
        return {1, 2}


def add_content(app: App) -> None:
    @app.get("/", constant=True)
    def welcome(request: Request) -> str:
        return "Welcome"

    @app.get("/hello/{name}")
    def hello(request: Request, name: str) -> str:
        return f"Hello, {name}!"

    @app.get("/square/{number:int}")
    def square(request: Request, number: int) -> dict[str, int]:
        return {"square": number * number}

    @app.route("/echo", ("POST", "PUT", "PATCH", "DELETE"))
    def echo(request: Request) -> Response:
        return Response(request.body, headers={"X-Method": request.method}, content_type="text/plain")

    @app.post("/form")
    def form(request: Request) -> dict[str, str]:
        return dict(request.form)

    @app.get("/boom")
    def boom(request: Request) -> str:
        raise ZeroDivisionError("boom")

    @app.get("/status/{status:int}")
    def status(request: Request, status: int) -> Response:
        if status >= 400:
            raise HTTPError(status)
        return Response("content", status)


def add_sizes(app: App) -> None:
    @app.get("/bytes/{count:int}")
    def some_bytes(request: Request, count: int) -> bytes:
        return pattern(count)

    @app.post("/sum")
    def total(request: Request) -> dict[str, int]:
        return {"length": len(request.body), "sum": sum(request.body)}

    @app.get("/big/stream")
    def big_stream(request: Request) -> Iterator[bytes]:
        block = pattern(64 * 1024)
        return (block for _ in range(BIG_BYTES // len(block)))

    @app.get("/big/slow", blocking=True)
    def big_slow(request: Request) -> Iterator[bytes]:
        block = pattern(512 * 1024)
        return (block for _ in range(BIG_BYTES // len(block)))


def pattern(count: int) -> bytes:
    """Bytes that show where they belong."""
    block = b"".join(b"%07d\n" % number for number in range(8 * 1024))
    return (block * (count // len(block) + 1))[:count]


class Gate:
    """What blocking handlers wait for."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.entered = threading.Semaphore(0)
        self.left: list[bool] = []

    def wait(self) -> None:
        self.entered.release()
        self.event.wait(PATIENCE_SECONDS)
        self.left.append(True)


def make_costly_app(gate: Gate) -> App:
    app = App()
    add_streams(app, Calls())
    block = bytes(64 * 1024)

    @app.get("/")
    def root(request: Request) -> str:
        return "root"

    @app.get("/constant", constant=True)
    def constant(request: Request) -> str:
        return "constant"

    @app.post("/echo")
    def echo(request: Request) -> bytes:
        return request.body

    @app.get("/big")
    def big(request: Request) -> bytes:
        return bytes(LARGE_BYTES)

    @app.get("/huge")
    def huge(request: Request) -> bytes:
        return bytes(HUGE_BYTES)

    @app.get("/endless")
    def endless(request: Request) -> Iterator[bytes]:
        while True:
            yield block

    @app.get("/wait", blocking=True)
    def wait(request: Request) -> str:
        gate.wait()
        return "waited"

    @app.get("/wait/file", blocking=True)
    def wait_for_file(request: Request) -> FileBody:
        file = open_file()
        gate.wait()
        return file

    @app.get("/wait/stream", blocking=True)
    def wait_for_stream(request: Request) -> Iterator[bytes]:
        file = open_file()
        try:
            gate.wait()
            yield b"x"
        finally:
            file.close()

    @app.get("/slow/stream", blocking=True)
    def slow_stream(request: Request) -> Iterator[bytes]:
        while True:
            yield block

    @app.get("/exit")
    def leave(request: Request) -> str:
        raise SystemExit(1)

    return app
