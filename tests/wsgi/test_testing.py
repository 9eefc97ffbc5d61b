"""WSGI applications under `mreactor.testing.Client`."""

import logging
from collections.abc import Iterable
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import pytest

from mreactor import App
from mreactor.testing import Client
from tests.support.wsgi_applications import Closing, Environ

SOURCE = Path(__file__)


class Shop:
    """An application that does what it is asked for."""

    def __init__(self) -> None:
        self.closed: list[int] = []

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        method = getattr(self, environ["PATH_INFO"].strip("/"))
        found: Iterable[bytes] = method(environ, start_response)
        return found

    def echo(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", environ.get("CONTENT_TYPE", "")), ("Set-Cookie", "seen=yes")])
        return [environ["wsgi.input"].read(), environ.get("HTTP_COOKIE", "").encode()]

    def told(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        names = ("REQUEST_METHOD", "HTTP_HOST", "QUERY_STRING", "REMOTE_ADDR", "wsgi.url_scheme")
        return ["|".join(environ[name] for name in names).encode()]

    def parts(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return Closing((b"%d;" % number for number in range(5)), self.closed)

    def writes(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        write = start_response("200 OK", [])
        write(b"one ")
        write(b"two ")
        return [b"three"]

    def fails(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        raise KeyError("lost")

    def late(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", "99")])
        yield b"first"
        raise KeyError("late")

    def file(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](SOURCE.open("rb"))
        return wrapped


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture(params=["itself", "mounted", "inline"])
def client(request: pytest.FixtureRequest, shop: Shop) -> Client:
    if request.param == "itself":
        return Client(shop)
    app = App()
    app.mount_wsgi("/", shop, inline=request.param == "inline")
    return Client(app)


def test_content_and_cookies(client: Client) -> None:
    with client:
        assert client.post("/echo", json=[1]).json() == [1]
        assert client.cookies == {"seen": "yes"}
        assert client.put("/echo", form={"a": "b c"}).text == "a=b+cseen=yes"
        # It waits in a file.
        large = b"x" * 1_000_000
        assert client.post("/echo", body=large).body == large + b"seen=yes"
        assert client.head("/echo").body == b""


def test_what_the_application_is_told(client: Client) -> None:
    assert client.request("PROPFIND", "/told", query={"a": "b"}).text == "PROPFIND|testserver|a=b|127.0.0.1|http"


def test_streams_files_and_writes(client: Client, shop: Shop) -> None:
    assert client.get("/parts").text == "0;1;2;3;4;"
    assert shop.closed == [1]
    with client.stream("GET", "/parts") as response:
        assert next(response.parts).startswith(b"0;")
    assert shop.closed == [1, 1]
    assert client.get("/writes").text == "one two three"
    assert client.get("/file").body == SOURCE.read_bytes()


def test_failures(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "mreactor"):
        assert client.get("/fails").status == 500
        with pytest.raises(IncompleteRead):
            client.get("/late")
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["'lost'", "'late'"]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    pass


@pytest.mark.parametrize(
    ("app", "said"), [(asgi, "it is an ASGI application"), (len, "it is no App"), ("shop:app", "neither an App nor")]
)
def test_what_is_no_application(app: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        Client(app)
