"""A Flask application on both backends."""

import hashlib
import random
import threading

import pytest

from tests.frameworks.conftest import Serve
from tests.frameworks.visitor import Visitor
from tests.support.drivers import SOCKET_KINDS
from tests.support.processes import ServerProcess

MIB = 1024 * 1024


@pytest.fixture(scope="module", params=SOCKET_KINDS)
def server(request: pytest.FixtureRequest, serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> ServerProcess:
    static = tmp_path_factory.mktemp("static")
    (static / "style.css").write_text("body { color: teal }")
    return serve(request.param, "tests.frameworks.shop:app", SHOP_STATIC=str(static))


def test_a_login_with_a_session_and_csrf(server: ServerProcess) -> None:
    with Visitor(server.address) as visitor, Visitor(server.address) as stranger:
        assert visitor.ask("/").text == "Hello, stranger!"
        token = visitor.ask("/login").hidden("csrf")
        assert visitor.fill("/login", csrf="forged", name="Ada", password="open sesame").status == 403
        wrong = visitor.fill("/login", csrf=token, name="Ada", password="guess")
        assert (wrong.status, wrong.headers["Location"]) == (302, "/login")
        again = visitor.ask("/login")
        assert "Wrong password." in again.text
        done = visitor.fill("/login", csrf=again.hidden("csrf"), name="Ada", password="open sesame")
        assert (done.status, done.headers["Location"]) == (302, "/")
        assert visitor.ask("/").text == "Hello, Ada!"
        assert stranger.ask("/").text == "Hello, stranger!"


@pytest.mark.parametrize("size", [0, 1000, 50 * MIB])
def test_an_upload(server: ServerProcess, size: int) -> None:
    content = random.Random(size).randbytes(size)
    with Visitor(server.address) as visitor:
        told = visitor.upload("/upload", content, comment="for you").json()
    sha256 = hashlib.sha256(content).hexdigest()
    assert told == {"name": "a.bin", "size": size, "sha256": sha256, "comment": "for you"}


def test_a_streamed_response(server: ServerProcess) -> None:
    with Visitor(server.address) as visitor:
        page = visitor.ask("/stream/500?word=part")
        assert page.text == "".join(f"part {number}\n" for number in range(500))
        assert page.headers["Transfer-Encoding"] == "chunked"
        assert visitor.ask("/").status == 200


def test_a_stream_that_is_left_is_closed(server: ServerProcess) -> None:
    with Visitor(server.address) as visitor:
        before = visitor.ask("/closed").json()["closed"]
        with server.connect() as client:
            client.send(b"GET /endless HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            client.receive_bytes(300_000)
            client.reset()
        while visitor.ask("/closed").json()["closed"] == before:
            pass


def test_static_files(server: ServerProcess) -> None:
    with Visitor(server.address) as visitor:
        page = visitor.ask("/static/style.css")
        assert (page.text, page.headers["Content-Type"]) == ("body { color: teal }", "text/css; charset=utf-8")
        assert visitor.ask("/static/none.css").status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_json_api(server: ServerProcess, method: str) -> None:
    with Visitor(server.address) as visitor:
        told = visitor.send_json("/api/echo?a=%C3%A4&b=", {"list": [1, None, "\u00e9"]}, method).json()
        assert told == {
            "got": {"list": [1, None, "\u00e9"]},
            "method": method,
            "path": "/api/echo",
            "query": {"a": "\u00e4", "b": ""},
        }
        assert visitor.ask("/api/echo", method, b"no json", "application/json").status == 400


def test_error_pages(server: ServerProcess) -> None:
    with Visitor(server.address) as visitor:
        missing = visitor.ask("/nothing")
        assert (missing.status, missing.text) == (404, "This shop has no such thing.")
        failed = visitor.ask("/boom")
        assert (failed.status, failed.text) == (500, "This shop is out of order.")
        assert visitor.ask("/login", "DELETE").status == 405
        assert "ZeroDivisionError: boom" in server.stderr


def test_many_visitors_at_once_stay_apart(server: ServerProcess) -> None:
    """Each has a session of its own, also while all of them ask at the same time."""
    failures: list[str] = []

    def visit(name: str) -> None:
        with Visitor(server.address) as visitor:
            token = visitor.ask("/login").hidden("csrf")
            visitor.fill("/login", csrf=token, name=name, password="open sesame")
            for _ in range(20):
                if visitor.ask("/").text != f"Hello, {name}!":
                    failures.append(name)
                word = visitor.ask(f"/stream/5?word={name}").text
                if word != "".join(f"{name} {number}\n" for number in range(5)):
                    failures.append(word)

    threads = [threading.Thread(target=visit, args=(f"visitor{number}",)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_gil_is_off(server: ServerProcess) -> None:
    with Visitor(server.address) as visitor:
        assert visitor.ask("/gil").json() == {"gil": False}
