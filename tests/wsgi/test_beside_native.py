"""WSGI applications mounted in an `App`, in memory: what the server adds for its own responses leaves them alone."""

import os
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from mreactor import App, Request
from mreactor.http1.context import ReactorContext
from mreactor.testing import Client
from tests.logs.access_lines import MemoryWriter, a_buffer
from tests.support.memory import Session
from tests.support.vectors import LIMITS, get

FILE_BYTES = 200_000
user: ContextVar[str] = ContextVar("user", default="none")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(FILE_BYTES))
    return path


def files(path: Path, *fields: tuple[str, str]) -> App:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "application/octet-stream"), ("ETag", '"v1"'), *fields])
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](path.open("rb"))
        return wrapped

    app = App()
    app.mount_wsgi("/", application)
    return app


@pytest.mark.parametrize("fields", [(), (("Content-Length", str(FILE_BYTES)),)], ids=["no length", "a length"])
@pytest.mark.parametrize(
    ("name", "value"), [("Range", "bytes=0-9"), ("If-Match", '"v1"'), ("If-Match", '"v2"'), ("If-None-Match", "*")]
)
def test_conditions_and_ranges_are_left_to_the_application(
    path: Path, fields: tuple[tuple[str, str], ...], name: str, value: str
) -> None:
    response = Client(files(path, *fields)).get("/", headers={name: value})
    assert (response.status, response.headers["etag"]) == (200, '"v1"')
    assert response.body == path.read_bytes()


def test_an_application_on_a_reactor_keeps_its_context_however_empty_it_is() -> None:
    """Another client's handler has set a variable on the same reactor meanwhile."""

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        for _ in range(3):
            yield user.get().encode() + b";"

    app = App()
    app.mount_wsgi("/", application, inline=True)

    @app.get("/login")
    def login(request: Request) -> str:
        user.set("another client")
        return "in"

    context = ReactorContext(LIMITS, app.routes)
    other = Session(context)
    other.arrive(get("/login"))
    other.drive()
    session = Session(context)
    session.arrive(get("/parts"))
    session.drive()
    assert session.sent.count(b"none;") == 3


def test_the_access_log_counts_the_first_part_of_a_stream() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "3000")])
        for _ in range(3):
            yield b"x" * 1000

    app = App()
    app.mount_wsgi("/", application)
    writer = MemoryWriter()
    buffer = a_buffer(writer, "common")
    session = Session(ReactorContext(LIMITS, app.routes, buffer))
    session.arrive(get("/"))
    session.drive()
    assert writer.take(buffer).rpartition('" ')[2].strip() == "200 3000"
