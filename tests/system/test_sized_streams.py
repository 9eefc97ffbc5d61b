"""Streams whose length is known, and the media type of streams, on every backend alike."""

from collections.abc import Generator, Iterable, Iterator
from typing import Any

import pytest

from mreactor import App, Limits, Pause, Request, Response, redirect
from tests.support.drivers import KINDS, Driver, open_driver
from tests.support.vectors import get

CASES = {"exact": 10, "short": 12, "long": 9, "empty": 0}


def make_app() -> App:
    app = App()

    def parts(kind: str) -> Iterator[str]:
        if kind != "empty":
            yield "01234"
            yield ""
            yield "56789"

    for way, blocking in (("quick", False), ("slow", True)):

        @app.get(f"/{way}/{{kind}}", blocking=blocking)
        def sized(request: Request, kind: str) -> Response:
            return Response(parts(kind), content_length=CASES[kind], content_type="text/x")

    @app.get("/again")
    def again(request: Request) -> str:
        return "again"

    @app.get("/text")
    def text(request: Request) -> Iterator[str]:
        return iter(["a", "b"])

    @app.get("/text/generator")
    def text_generator(request: Request) -> Generator[str]:
        yield "a"

    @app.get("/text/iterable", blocking=True)
    def text_iterable(request: Request) -> "Iterable[str]":
        return iter(["a"])

    @app.get("/text/paused")
    def text_paused(request: Request) -> Iterator[str | Pause]:
        return iter(["a"])

    @app.get("/bytes")
    def some_bytes(request: Request) -> Iterator[bytes]:
        return iter([b"a"])

    @app.get("/unknown")
    def unknown(request):  # type: ignore[no-untyped-def]
        return iter(["a"])

    @app.get("/wrong")
    def wrong(request: Request) -> "Iterator[Missing]":  # type: ignore[name-defined]  # noqa: F821
        return iter(["a"])

    @app.get("/old")
    def old(request: Request) -> Response:
        return redirect("/n\xebw place?a=b%20c#d", 308)

    return app


@pytest.fixture(scope="module", params=KINDS)
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    with open_driver(request.param, make_app(), Limits()) as driver:
        yield driver


@pytest.mark.parametrize("way", ["quick", "slow"])
def test_a_sized_stream_has_its_length_and_leaves_the_connection(driver: Driver, way: str) -> None:
    with driver.connect() as client:
        response = client.ask(get(f"/{way}/exact"))
        assert (response.body, response.headers["content-length"]) == (b"0123456789", "10")
        assert "transfer-encoding" not in response.headers
        empty = client.ask(get(f"/{way}/empty"))
        assert (empty.body, empty.headers["content-length"]) == (b"", "0")
        head = client.ask(get(f"/{way}/exact", method="HEAD"), "HEAD")
        assert head.headers["content-length"] == "10"
        assert client.ask(get("/again")).text == "again"


@pytest.mark.parametrize("way", ["quick", "slow"])
def test_over_http_1_0_as_well(driver: Driver, way: str) -> None:
    request = f"GET /{way}/exact HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode("ascii")
    with driver.connect() as client:
        for _ in range(2):
            response = client.ask(request)
            assert (response.body, response.headers["connection"]) == (b"0123456789", "keep-alive")


@pytest.mark.parametrize("way", ["quick", "slow"])
@pytest.mark.parametrize(("kind", "received"), [("short", b"0123456789"), ("long", b"01234")])
def test_a_stream_of_another_length_is_cut_off(driver: Driver, way: str, kind: str, received: bytes) -> None:
    """The client can tell, and never takes the bytes of one response for those of the next."""
    with driver.connect() as client:
        client.send(get(f"/{way}/{kind}") + get("/again"))
        head, _, body = client.receive_rest().partition(b"\r\n\r\n")
        assert b"Content-Length: %d\r\n" % CASES[kind] in head + b"\r\n"
        assert body == received


@pytest.mark.parametrize(
    ("target", "content_type"),
    [
        ("/text", "text/plain; charset=utf-8"),
        ("/text/generator", "text/plain; charset=utf-8"),
        ("/text/iterable", "text/plain; charset=utf-8"),
        ("/text/paused", "text/plain; charset=utf-8"),
        ("/bytes", "application/octet-stream"),
        ("/unknown", "application/octet-stream"),
        ("/wrong", "application/octet-stream"),
    ],
)
def test_a_stream_of_str_is_text_if_its_handler_says_so(driver: Driver, target: str, content_type: str) -> None:
    with driver.connect() as client:
        assert client.ask(get(target)).headers["content-type"] == content_type


def test_a_redirection_s_location_is_encoded(driver: Driver) -> None:
    with driver.connect() as client:
        response = client.ask(get("/old"))
        assert (response.status, response.headers["location"]) == (308, "/n%C3%ABw%20place?a=b%20c#d")


@pytest.mark.parametrize(("location", "status"), [("/x", 200), ("/x", 304), ("/x\r\nX: y", 303), ("", 303)])
def test_a_wrong_redirection_is_refused(location: str, status: int) -> None:
    with pytest.raises(ValueError, match=r"not one of|cannot lead"):
        redirect(location, status)


@pytest.mark.parametrize(
    ("content", "length", "error"),
    [("x", 1, TypeError), (b"x", 9, TypeError), ([1], 1, TypeError), (iter("x"), -1, ValueError)],
)
def test_a_wrong_length_is_refused(content: Any, length: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        Response(content, content_length=length)
