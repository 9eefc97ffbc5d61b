"""What the access log says of responses that may not arrive whole: it is said when they are sent, or cut off."""

import os
from collections.abc import Iterator

import pytest

from mreactor.addresses import TrustedProxies
from mreactor.app.application import App
from mreactor.http.request import Request
from mreactor.http1.context import ReactorContext
from mreactor.http1.encoded_response import LOGGED_AT_ONCE_MAX
from mreactor.logs import AccessBuffer
from mreactor.protocol import FileBody
from mreactor.proxy import Forwarding
from tests.logs.access_lines import MemoryWriter, a_buffer
from tests.support.memory import PEER, UNLIMITED, Session
from tests.support.vectors import FILE, LIMITS, get

LONG = LOGGED_AT_ONCE_MAX + 1
FILE_BYTES = 5000


class Logged:
    """An application's context and what its access log has got."""

    def __init__(self, form: str = "common", forwarding: Forwarding | None = None) -> None:
        self._writer = MemoryWriter()
        self._buffer: AccessBuffer = a_buffer(self._writer, form)
        self.context = ReactorContext(LIMITS, make_app().routes, self._buffer, forwarding=forwarding)

    def session(self, *, window: int = UNLIMITED, send_max: int = UNLIMITED) -> Session:
        return Session(self.context, window=window, send_max=send_max)

    def outcomes(self) -> list[str]:
        """Return what stands behind the request in each line since the last call."""
        return [line.rpartition('" ')[2] for line in self._writer.take(self._buffer).splitlines()]

    def text(self) -> str:
        return self._writer.take(self._buffer)


def make_app() -> App:
    app = App()

    @app.get("/small")
    def small(request: Request) -> str:
        return "small"

    @app.get("/long")
    def long(request: Request) -> bytes:
        return b"x" * LONG

    @app.get("/long/blocking", blocking=True)
    def long_blocking(request: Request) -> bytes:
        return b"x" * LONG

    @app.get("/long/constant", constant=True)
    def long_constant(request: Request) -> bytes:
        return b"x" * LONG

    @app.get("/parts")
    def parts(request: Request) -> Iterator[str]:
        yield "12345"
        yield "678"

    @app.get("/failing")
    def failing(request: Request) -> Iterator[str]:
        yield "12345"
        raise RuntimeError("the database is gone")

    @app.get("/failing/blocking", blocking=True)
    def failing_blocking(request: Request) -> Iterator[str]:
        yield "12345"
        raise RuntimeError("the database is gone")

    @app.get("/file")
    def file(request: Request) -> FileBody:
        return FileBody(os.open(FILE, os.O_RDONLY | os.O_CLOEXEC), 0, FILE_BYTES)

    return app


@pytest.mark.parametrize(
    ("target", "length"),
    [
        ("/small", 5),
        ("/long", LONG),
        ("/long/blocking", LONG),
        ("/long/constant", LONG),
        ("/file", FILE_BYTES),
        # Chunks with their framing, as they are sent.
        ("/parts", len("5\r\n12345\r\n3\r\n678\r\n0\r\n\r\n")),
    ],
)
@pytest.mark.parametrize("send_max", [1000, UNLIMITED])
def test_a_whole_response_is_logged_once_with_its_size(target: str, length: int, send_max: int) -> None:
    logged = Logged()
    session = logged.session(send_max=send_max)
    for _ in range(3):
        session.arrive(get(target))
        session.drive()
        assert logged.outcomes() == [f"200 {length}"]
    session.reset()
    assert logged.outcomes() == []


@pytest.mark.parametrize("target", ["/long", "/long/blocking", "/long/constant", "/file"])
@pytest.mark.parametrize("before", [b"", get("/small") * 2])
def test_a_response_that_is_cut_off_is_logged_with_what_was_sent_of_it(target: str, before: bytes) -> None:
    logged = Logged()
    session = logged.session(window=3000)
    session.arrive(before + get(target))
    session.drive()
    head = bytes(session.sent).rindex(b"\r\n\r\n") + 4
    assert logged.outcomes() == ["200 5"] * (2 if before else 0)
    session.reset()
    assert logged.outcomes() == [f"200 {3000 - head} incomplete"]


def test_what_is_cut_off_is_logged_with_the_client_of_the_proxy() -> None:
    logged = Logged(forwarding=Forwarding(TrustedProxies([PEER[0]]), "x-forwarded"))
    session = logged.session(window=3000)
    session.arrive(get("/long", "X-Forwarded-For: 198.51.100.7"))
    session.drive()
    session.reset()
    assert logged.text().startswith("198.51.100.7 ")


@pytest.mark.parametrize("target", ["/failing", "/failing/blocking"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_stream_that_fails_is_logged_as_incomplete(target: str, version: str) -> None:
    logged = Logged()
    session = logged.session()
    session.arrive(f"GET {target} HTTP/{version}\r\nHost: a\r\n\r\n".encode())
    session.drive()
    assert logged.outcomes() == [f"200 {10 if version == '1.1' else 5} incomplete"]


def test_nothing_is_sent_of_a_response_that_waits_behind_others() -> None:
    logged = Logged()
    session = logged.session(window=10)
    session.arrive(get("/small") + get("/long"))
    session.drive()
    session.reset()
    assert logged.outcomes() == ["200 5", "200 0 incomplete"]


@pytest.mark.parametrize("target", ["/long", "/file", "/failing"])
def test_head_has_no_content_and_is_logged_at_once(target: str) -> None:
    logged = Logged()
    session = logged.session()
    session.arrive(get(target).replace(b"GET", b"HEAD"))
    session.drive()
    assert logged.outcomes() == ["200 0"]


def test_json_has_a_member_for_it() -> None:
    logged = Logged("json")
    session = logged.session()
    session.arrive(get("/parts"))
    session.drive()
    assert "incomplete" not in logged.text()
    session.arrive(get("/failing"))
    session.drive()
    line = logged.text()
    assert '"bytes":10,' in line
    assert line.endswith(',"incomplete":true}\n')
