"""What the suites of faults share: an application, the kinds of reactors, and threads that look round often."""

import os
from pathlib import Path

import pytest

from mreactor.app.application import App
from mreactor.http.request import Request
from mreactor.http.response import Response
from mreactor.net.acceptor import base as acceptor_base
from mreactor.net.acceptor import io_uring as acceptor_uring
from mreactor.net.reactor import base, epoll
from mreactor.net.reactor import io_uring as uring
from mreactor.protocol import FileBody
from tests.support.drivers import SOCKET_KINDS, missing
from tests.support.faults import BIG

QUICK_SECONDS = 0.02


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have idle threads look round more often, or half of the time goes into stopping servers."""
    for module, name, value in (
        (epoll, "TICK_SECONDS", QUICK_SECONDS),
        (base, "TICK_SECONDS", QUICK_SECONDS),
        (base, "TICK_NANOSECONDS", int(QUICK_SECONDS * 1e9)),
        (uring, "TICK_NANOSECONDS", int(QUICK_SECONDS * 1e9)),
        (acceptor_base, "WAKE_SECONDS", QUICK_SECONDS),
        (acceptor_uring, "WAKE_SECONDS", QUICK_SECONDS),
    ):
        monkeypatch.setattr(module, name, value)


@pytest.fixture
def app(tmp_path: Path) -> App:
    app = App()
    file = tmp_path / "the file"
    file.write_bytes(BIG)

    @app.get("/hello/{name}")
    def hello(request: Request, name: str) -> str:
        return f"hello {name}"

    @app.get("/constant", constant=True)
    def constant(request: Request) -> str:
        return "constant"

    @app.post("/echo")
    def echo(request: Request) -> Response:
        return Response(request.body)

    @app.get("/big")
    def big(request: Request) -> bytes:
        return BIG

    @app.get("/file")
    def send_file(request: Request) -> Response:
        return Response(FileBody(os.open(file, os.O_RDONLY), 0, len(BIG)))

    @app.get("/blocking", blocking=True)
    def blocking(request: Request) -> str:
        return "done"

    return app


@pytest.fixture(params=SOCKET_KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if reason := missing(name):
        pytest.skip(reason)
    return name


@pytest.fixture
def ring_kind() -> str:
    if reason := missing("io_uring"):
        pytest.skip(reason)
    return "io_uring"
