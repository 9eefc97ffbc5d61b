"""The client for tests of applications: what it sends, what it returns, what it keeps."""

import http.client
import re
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from mreactor import App, Limits, Request, Response
from mreactor.protocol import FileBody
from mreactor.testing import Client, make_request


@pytest.fixture
def closed() -> list[str]:
    return []


@pytest.fixture
def app(closed: list[str], tmp_path: Path) -> App:
    app = App()

    @app.route("/show", ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
    def show(request: Request) -> dict[str, Any]:
        return {
            "method": request.method,
            "target": request.target,
            "headers": dict(request.headers),
            "body": request.body.decode("latin-1"),
            "peer": request.peer[0],
            "url": request.url,
        }

    @app.get("/stream/{count:int}", blocking=True)
    def slow(request: Request, count: int) -> Iterator[str]:
        return parts(count)

    @app.get("/parts/{count:int}")
    def quick(request: Request, count: int) -> Iterator[str]:
        return parts(count)

    def parts(count: int) -> Iterator[str]:
        try:
            for number in range(count):
                yield f"part {number};"
        finally:
            closed.append("closed")

    @app.get("/broken")
    def broken(request: Request) -> Iterator[str]:
        yield "a"
        raise KeyError("lost")

    @app.get("/set")
    def set_cookie(request: Request) -> Response:
        response = Response("set")
        response.set_cookie("session", "abc")
        response.set_cookie("admin", "1", path="/admin")
        return response

    @app.get("/unset")
    def unset(request: Request) -> Response:
        response = Response("unset")
        response.delete_cookie("session")
        return response

    @app.get("/file")
    def file(request: Request) -> FileBody:
        path = tmp_path / "file"
        path.write_bytes(bytes(200_000))
        return FileBody(__import__("os").open(path, 0), 0, 200_000)

    return app


def test_shows_a_response(app: App) -> None:
    response = Client(app).get("/show")
    assert (response.status, response.content_type) == (200, "application/json")
    assert response.headers["Content-Length"] == str(len(response.body)) == str(len(response.text))
    assert response.json()["headers"] == {"host": "testserver"}


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "options"])
def test_sends_each_method(app: App, method: str) -> None:
    assert getattr(Client(app), method)("/show").json()["method"] == method.upper()


def test_head_has_no_body(app: App) -> None:
    response = Client(app).head("/show")
    assert (response.status, response.body) == (200, b"")
    assert int(response.headers["content-length"]) > 0


@pytest.mark.parametrize(
    ("content", "kind", "body"),
    [
        ({"body": b"\xff"}, None, "\xff"),
        ({"body": "text"}, "text/plain; charset=utf-8", "text"),
        ({"json": [1, None]}, "application/json", "[1, null]"),
        ({"form": {"a": "b c", "d": "\xe9"}}, "application/x-www-form-urlencoded", "a=b+c&d=%C3%A9"),
        ({"form": [("a", "1"), ("a", "2")]}, "application/x-www-form-urlencoded", "a=1&a=2"),
        ({"body": b"x", "headers": {"content-type": "text/x"}}, "text/x", "x"),
        ({}, None, ""),
    ],
)
def test_sends_content(app: App, content: dict[str, Any], kind: str | None, body: str) -> None:
    shown = Client(app).post("/show", **content).json()
    assert (shown["headers"].get("content-type"), shown["body"]) == (kind, body)
    assert shown["headers"]["content-length"] == str(len(body))


def test_one_content_only(app: App) -> None:
    with pytest.raises(ValueError, match="one content"):
        Client(app).post("/show", body=b"x", json=1)


def test_sends_fields_and_parameters(app: App) -> None:
    client = Client(app, host="shop.example", peer=("192.0.2.7", 5))
    shown = client.get("/show?a=1", headers=[("X-A", "b")], query={"q": "x y", "z": "&"}).json()
    assert shown["target"] == "/show?a=1&q=x+y&z=%26"
    assert shown["url"] == "http://shop.example/show?a=1&q=x+y&z=%26"
    assert (shown["headers"]["x-a"], shown["peer"]) == ("b", "192.0.2.7")


def test_keeps_cookies(app: App) -> None:
    client = Client(app)
    client.get("/set")
    assert client.cookies == {"session": "abc", "admin": "1"}
    assert client.get("/show").json()["headers"]["cookie"] == "session=abc"
    client.get("/unset")
    assert client.cookies == {"admin": "1"}
    client.set_cookie("a", "b")
    assert client.get("/show").json()["headers"]["cookie"] == "a=b"
    assert Client(app).cookies == {}


@pytest.mark.parametrize("path", ["/stream", "/parts"])
def test_takes_a_stream_part_by_part(app: App, path: str, closed: list[str]) -> None:
    client = Client(app)
    with client.stream("GET", f"{path}/1000000000") as response:
        assert response.status == 200
        assert [next(response.parts), next(response.parts)] == [b"part 0;", b"part 1;"]
        assert closed == []
    assert closed == ["closed"]
    with client.stream("GET", f"{path}/3") as response:
        assert list(response.parts) == [b"part 0;", b"part 1;", b"part 2;"]
    assert client.get(f"{path}/2").body == b"part 0;part 1;"


def test_a_stream_that_fails_is_cut_off(app: App) -> None:
    with pytest.raises(http.client.IncompleteRead):
        Client(app).get("/broken")


def test_reads_files_and_sends_large_bodies(app: App) -> None:
    client = Client(app)
    assert client.get("/file").body == bytes(200_000)
    assert client.post("/show", body=b"x" * 300_000).json()["body"] == "x" * 300_000


def test_the_limits_hold(app: App) -> None:
    client = Client(app, limits=Limits(body_bytes_max=10))
    assert client.post("/show", body=b"x" * 10).status == 200
    assert client.post("/show", body=b"x" * 11).status == 413
    assert client.get("/show", headers={"X-A": "b" * 40_000}).status == 431


def test_sends_bytes_as_they_are(app: App) -> None:
    received = Client(app).send_bytes(b"GET /show HTTP/1.1\r\nHost: a\r\n\r\n" * 2 + b"?\r\n\r\n")
    assert received.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert received.count(b"HTTP/1.1 400 Bad Request\r\n") == 1


def test_expect_continue_is_answered(app: App) -> None:
    response = Client(app).post("/show", body=b"x", headers={"Expect": "100-continue"})
    assert response.json()["body"] == "x"


def test_a_request_made_by_hand() -> None:
    request = make_request("POST", "/a?b=c", json={"x": 1}, headers={"X-A": "b", "Host": "h"}, peer=("192.0.2.1", 7))
    assert (request.method, request.path, request.query["b"], request.json()) == ("POST", "/a", "c", {"x": 1})
    assert (request.headers["x-a"], request.host, request.peer) == ("b", "h", ("192.0.2.1", 7))
    assert make_request().body == b""
    assert dict(make_request("POST", form={"a": "b"}).form) == {"a": "b"}


latest: ContextVar[str] = ContextVar("latest", default="nothing")


@pytest.mark.parametrize("path", ["/plain", "/blocking", "/nowhere"])
def test_what_a_request_sets_in_its_context_does_not_reach_the_next(path: str) -> None:
    app = App()

    @app.route("/plain")
    @app.route("/blocking", blocking=True)
    def note(request: Request) -> str:
        before = latest.get()
        latest.set(request.path)
        return before

    app.error(404)(lambda request, error: note(request))
    latest_here = latest.set("the test")
    try:
        client = Client(app)
        assert [client.get(path).text for _ in range(3)] == ["nothing"] * 3
        # Nor does it reach the test, or the test it.
        assert latest.get() == "the test"
    finally:
        latest.reset(latest_here)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("none", "the path 'none' does not begin with a slash"),
        ("", "the path '' does not begin with a slash"),
        ("/a b?c=d e", "write '/a%20b?c=d%20e'"),
        ("/\xfc", "write '/%C3%BC'"),
        ("/\r\nX: y", "needs percent-encoding"),
    ],
)
def test_a_path_that_cannot_be_sent_is_a_slip_of_the_test(app: App, path: str, said: str) -> None:
    client = Client(app)
    with pytest.raises(ValueError, match=re.escape(said)):
        client.get(path)
    with pytest.raises(ValueError, match=re.escape(said)), client.stream("GET", path):
        pass


def test_targets_of_other_forms_are_sent(app: App) -> None:
    client = Client(app)
    assert client.options("*").status == 204
    assert client.get("http://testserver/show").status == 200
    assert client.get("/show?a=%20").json()["target"] == "/show?a=%20"


@pytest.mark.parametrize("upload", [b"abc", "abc", ("a.txt", "abc"), ("a.txt",), ("a", b"b", "c", "d"), [b"a", b"b"]])
def test_a_file_of_a_wrong_form_is_named(app: App, upload: Any) -> None:
    with pytest.raises(TypeError, match="the file 'a' must be a tuple of file name and bytes"):
        Client(app).post("/show", files={"a": upload})
