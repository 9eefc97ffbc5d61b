"""The service-time histogram: each request counts once, however its response is made, and as long as it really took."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mreactor.app.application import App
from mreactor.app.static_files import StaticFiles
from mreactor.config import Limits
from mreactor.http.request import Request
from mreactor.metrics.counters import Histogram
from tests.support.drivers import SOCKET_KINDS, SocketDriver, open_driver
from tests.support.vectors import get, post, post_chunked

NAP_SECONDS = 0.1
# One request each, with what is special about it.
KINDS = {
    "constant": get("/"),
    "computed": get("/hello/a"),
    "HEAD": get("/hello/a", method="HEAD"),
    "not found": get("/nothing"),
    "last, constant": get("/", "Connection: close"),
    "last, computed": get("/hello/a", "Connection: close"),
    "with a body": post("/echo", b"body"),
    "in chunks": post_chunked("/echo", b"4\r\nbody\r\n0\r\n\r\n"),
    "stream": get("/stream"),
    "file": get("/file.bin"),
    "refused": b"bad\r\n\r\n",
    "blocking": get("/nap"),
    "blocking stream": get("/nap/stream"),
}


def make_app(folder: Path) -> App:
    (folder / "file.bin").write_bytes(bytes(300_000))
    app = App()
    app.get("/", constant=True)(lambda request: "constant")
    app.get("/hello/{name}")(lambda request, name: name)
    app.post("/echo")(lambda request: request.body)
    app.get("/stream")(lambda request: iter((b"a", b"b", b"c")))
    app.get("/nap", blocking=True)(nap)
    app.get("/nap/stream", blocking=True)(napping)
    app.mount("/", lambda: StaticFiles(folder), constant=True)
    return app


def nap(request: Request) -> str:
    time.sleep(NAP_SECONDS)
    return "well rested"


def napping(request: Request) -> Iterator[bytes]:
    time.sleep(NAP_SECONDS)
    return iter((b"a", b"b", b"c"))


@pytest.fixture(scope="module", params=SOCKET_KINDS)
def driver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SocketDriver]:
    with open_driver(request.param, make_app(tmp_path_factory.mktemp("root")), Limits(), threads=1) as driver:
        assert isinstance(driver, SocketDriver)
        yield driver


def service_time(driver: SocketDriver) -> Histogram:
    counters: Any = driver.server.reactors[0].context.counters
    return counters.service_time


@pytest.mark.parametrize("name", KINDS)
def test_each_answer_counts_once(driver: SocketDriver, name: str) -> None:
    before = service_time(driver).count
    for _ in range(3):  # the first goes the long way, the others the short one where there is one
        with driver.connect() as client:
            client.ask(KINDS[name], "HEAD" if name == "HEAD" else "GET")
    driver.wait_until(lambda: driver.open_connections() == 0)
    driver.wait_until(lambda: service_time(driver).count >= before + 3)  # the round has ended, too
    assert service_time(driver).count == before + 3


def test_a_blocking_handler_takes_as_long_as_it_takes(driver: SocketDriver) -> None:
    count, total = service_time(driver).count, service_time(driver).total
    with driver.connect() as client:
        for target in ("/nap", "/nap/stream"):
            assert client.ask(get(target)).status == 200
    driver.wait_until(lambda: service_time(driver).total - total >= 2 * NAP_SECONDS * 1e9)
    assert service_time(driver).count == count + 2
