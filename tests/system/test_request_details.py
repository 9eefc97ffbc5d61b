"""Ids, durations and routes of single requests, in memory and over sockets, with and without TLS."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mreactor import App, Limits, Request
from tests.support.drivers import (
    KINDS,
    PATIENCE_SECONDS,
    SOCKET_KINDS,
    TLS_KINDS,
    TLS_SOCKET_KINDS,
    Driver,
    open_driver,
)
from tests.support.vectors import get, post

pytestmark = pytest.mark.slow

MADE = re.compile(r"[0-9a-f]{32}")
# Of the sockets and of the memory driver.
PEERS = ("127.0.0.0/8", "192.0.2.0/24")
NAME = "X-Request-Id"


def make_app() -> App:
    app = App()

    @app.get("/hello/{name}")
    def hello(request: Request, name: str) -> str:
        return request.id

    @app.get("/constant", constant=True)
    def constant(request: Request) -> str:
        return request.id

    @app.get("/slow", blocking=True)
    def slow(request: Request) -> str:
        time.sleep(0.1)
        return request.id

    @app.post("/body")
    def body(request: Request) -> str:
        return request.id

    @app.get("/parts")
    def parts(request: Request) -> Iterator[str]:
        yield request.id
        yield ""

    @app.get("/large")
    def large(request: Request) -> bytes:
        return request.id.encode() + b"x" * 3_000_000

    return app


REQUESTS = {
    "/hello/{name}": get("/hello/a"), "/constant": get("/constant"), "/slow": get("/slow"), "/parts": get("/parts"),
    "/body": post("/body", b"x" * 40_000), "/large": get("/large"),
}  # fmt: skip


@pytest.fixture(params=KINDS + TLS_KINDS)
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """A server whose clients are trusted."""
    with open_driver(request.param, make_app(), Limits(), request_id_header=NAME, trusted_proxies=PEERS) as driver:
        yield driver


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
def test_each_request_has_an_id(driver: Driver, request_: bytes) -> None:
    seen = set()
    with driver.connect() as client:
        for _ in range(4):
            response = client.ask(request_)
            made = response.headers[NAME.lower()]
            assert MADE.fullmatch(made)
            assert response.text.startswith(made)
            seen.add(made)
        assert len(seen) == 4
        with_id = request_.replace(b"\r\n", b"\r\nX-Request-Id: the/proxy's\r\n", 1)
        for _ in range(3):
            response = client.ask(with_id)
            assert response.headers[NAME.lower()] == "the/proxy's"
            assert response.text.startswith("the/proxy's")


def test_a_burst(driver: Driver) -> None:
    with driver.connect() as client:
        client.send(get("/hello/a") * 200 + get("/constant") * 200)
        found = [client.receive() for _ in range(400)]
    assert [response.headers[NAME.lower()] for response in found] == [response.text for response in found]
    assert len({response.text for response in found}) == 400


@pytest.fixture(params=SOCKET_KINDS + TLS_SOCKET_KINDS)
def logged(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Driver, Path]]:
    """A server that trusts no one, and its access log."""
    log = tmp_path / "log"
    settings = {
        "access_log": f"json:{log}", "access_log_fields": "duration,route,request-id", "request_id_header": NAME,
    }  # fmt: skip
    with open_driver(request.param, make_app(), Limits(), **settings) as driver:
        yield driver, log


def lines(log: Path, count: int) -> list[dict[str, Any]]:
    """So many lines."""
    end = time.monotonic() + PATIENCE_SECONDS
    while (text := log.read_text()).count("\n") < count:
        assert time.monotonic() < end, text
        time.sleep(0.02)
    return [json.loads(line) for line in text.splitlines()]


def test_the_lines_say_what_was_asked_for(logged: tuple[Driver, Path]) -> None:
    driver, log = logged
    ids = []
    with driver.connect() as client:
        for request in REQUESTS.values():
            for _ in range(3):
                response = client.ask(request.replace(b"\r\n", b"\r\nX-Request-Id: mine\r\n", 1))
                ids.append(response.headers[NAME.lower()])
        client.send(b"nonsense\r\n\r\n")
        ids.append(client.receive().headers[NAME.lower()])
    found = lines(log, len(ids))
    assert [line["request_id"] for line in found] == ids
    assert len(set(ids)) == len(ids)
    assert "mine" not in ids
    assert [line["route"] for line in found] == [route for route in REQUESTS for _ in range(3)] + [None]
    assert all(0 <= line["duration"] < PATIENCE_SECONDS for line in found)
    assert all(line["duration"] >= 0.1 for line in found if line["route"] == "/slow")
    assert {line["status"] for line in found[:-1]} == {200}
    assert {line["bytes"] for line in found if line["route"] == "/large"} == {3_000_032}


def test_the_time_ends_with_the_last_byte(logged: tuple[Driver, Path]) -> None:
    driver, log = logged
    with driver.connect(window=4096) as client:
        for _ in range(5):
            client.send(get("/large"))
        # From here on the server has begun with the first one.
        client.await_bytes(1)
        time.sleep(0.3)
        for _ in range(5):
            client.receive()
    found = lines(log, 5)
    assert max(line["duration"] for line in found) >= 0.25
    assert "incomplete" not in log.read_text()


def test_a_client_that_leaves(logged: tuple[Driver, Path]) -> None:
    driver, log = logged
    with driver.connect(window=4096) as client:
        client.send(get("/large") * 3)
        client.receive_bytes(1000)
        client.reset()
    last = lines(log, 1)[-1]
    assert (last["route"], last["incomplete"]) == ("/large", True)
    assert last["bytes"] < 3_000_000
