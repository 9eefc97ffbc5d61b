"""Large request bodies: memory stays low, a full disk is a refusal, and nothing else suffers."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mreactor.app.application import App
from mreactor.config import Limits
from mreactor.http.request import Request
from tests.support.drivers import KINDS, PATIENCE_SECONDS, Driver, open_driver
from tests.support.vectors import get, post, post_chunked

MIB = 1024 * 1024
LIMITS = Limits(body_bytes_max=8 * MIB, body_memory_bytes_max=10_000, linger_seconds=PATIENCE_SECONDS)


def make_app() -> App:
    app = App()

    @app.post("/length")
    def length(request: Request) -> str:
        return str(len(request.body))

    @app.post("/blocking", blocking=True)
    def blocking(request: Request) -> str:
        first = request.stream.read(3)
        return f"{first.decode()} {len(request.stream.read())}"

    @app.post("/form")
    def form(request: Request) -> str:
        return str(len(request.form["a"]))

    @app.get("/")
    def root(request: Request) -> str:
        return "root"

    return app


@pytest.fixture(params=KINDS)
def driver(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with open_driver(request.param, make_app(), LIMITS, drains=False) as driver:
        yield driver


def spools() -> int:
    """Return how many files of the directory for temporary files this process holds."""
    count = 0
    for number in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{number}").startswith(f"{tempfile.gettempdir()}/")
        except OSError:
            pass
    return count


@pytest.mark.parametrize("size", [9_999, 10_000, 10_001, 300_000, 5 * MIB])
def test_a_handler_gets_the_body_wherever_it_lies(driver: Driver, size: int) -> None:
    body = b"a=" + b"x" * (size - 2)
    with driver.connect() as client:
        assert client.ask(post("/length", body)).text == str(size)
        assert client.ask(post("/blocking", body)).text == f"a=x {size - 3}"
        assert client.ask(post("/form", body, "Content-Type: application/x-www-form-urlencoded")).text == str(size - 2)
        wire = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body)
        assert client.ask(post_chunked("/length", wire)).text == str(size)
    driver.wait_until(lambda: spools() == 0)


def test_memory_is_not_held_while_a_body_arrives(driver: Driver) -> None:
    with driver.connect() as client, driver.connect() as other:
        client.send(post("/length", b"x" * (4 * MIB))[: 3 * MIB])
        driver.wait_until(lambda: spools() == 1)
        assert other.ask(get("/")).text == "root"
        assert sum(context.counters.buffered for context in driver.contexts()) <= 16 * 1024
        client.send(post("/length", b"x" * (4 * MIB))[3 * MIB :])
        assert client.receive().text == str(4 * MIB)


def test_a_client_that_leaves_takes_its_file_along(driver: Driver) -> None:
    with driver.connect() as client:
        client.send(post("/length", b"x" * MIB)[:500_000])
        driver.wait_until(lambda: spools() == 1)
        client.reset()
    driver.wait_until(lambda: spools() == 0)


def test_a_body_beyond_the_limit_is_refused_before_it_is_kept(driver: Driver) -> None:
    with driver.connect() as client:
        assert client.ask(get("/length", f"Content-Length: {9 * MIB}", method="POST")).status == 413
    assert spools() == 0


def test_a_full_disk_is_a_507_and_others_go_on(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/full is a disk without room."""
    real = tempfile.TemporaryFile

    def full(**_: Any) -> Any:
        return open("/dev/full", "wb", buffering=0)

    with driver.connect() as client, driver.connect() as other:
        assert other.ask(get("/")).text == "root"
        monkeypatch.setattr(tempfile, "TemporaryFile", full)
        response = client.ask(post("/length", b"x" * 200_000))
        assert response.status == 507
        assert response.says_close
        assert other.ask(get("/")).text == "root"
        assert other.ask(post("/length", b"x" * 5000)).text == "5000"
        monkeypatch.setattr(tempfile, "TemporaryFile", real)
        assert other.ask(post("/length", b"x" * 200_000)).text == "200000"
    assert sum(context.counters.buffered for context in driver.contexts()) == 0
