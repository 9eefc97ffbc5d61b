"""What a client sends while the thread pool computes its response: it is neither lost nor answered too early."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mreactor.config import Limits
from tests.support.applications import Gate, make_costly_app
from tests.support.drivers import PATIENCE_SECONDS, SOCKET_KINDS, TLS_SOCKET_KINDS, Client, missing, open_driver
from tests.support.vectors import get, post

# So long the reactor has to notice what came.
MOMENT_SECONDS = 0.1
# A reactor that has overlooked a client's bytes finds them when the client is due: write_stall_seconds later.
PROMPT_SECONDS = 10.0
BODY = bytes(range(256)) * 400

LATE: dict[str, tuple[bytes, bytes, list[bytes]]] = {
    "nothing": (b"", get("/"), [b"root"]),
    "a whole request": (get("/"), b"", [b"root"]),
    "a part of one": (get("/")[:9], get("/")[9:], [b"root"]),
    "another for the pool": (get("/wait"), get("/"), [b"waited", b"root"]),
    "many": (get("/") * 100, get("/wait"), [b"root"] * 100 + [b"waited"]),
    "a long body": (post("/echo", BODY), get("/"), [BODY, b"root"]),
    "an empty line": (b"\r\n", get("/"), [b"root"]),
}


@pytest.fixture(params=SOCKET_KINDS + TLS_SOCKET_KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    if reason := missing(request.param):
        pytest.skip(reason)
    return str(request.param)


@contextmanager
def waiting(kind: str) -> Iterator[tuple[Client, Gate]]:
    """A client whose response the pool computes until the gate opens."""
    gate = Gate()
    with open_driver(kind, make_costly_app(gate), Limits(), threads=1) as driver, driver.connect() as client:
        # The first response made the connection known to the fast path.
        assert client.ask(get("/")).body == b"root"
        client.send(get("/wait"))
        assert gate.entered.acquire(timeout=PATIENCE_SECONDS)
        yield client, gate


@pytest.mark.parametrize("late", LATE)
def test_requests_that_come_while_the_pool_computes(kind: str, late: str) -> None:
    meanwhile, afterwards, bodies = LATE[late]
    with waiting(kind) as (client, gate):
        client.send(meanwhile)
        assert not client.pass_time(MOMENT_SECONDS), "nothing is answered yet"
        opened = time.monotonic()
        gate.event.set()
        assert client.receive().body == b"waited"
        client.send(afterwards)
        assert [client.receive().body for _ in bodies] == bodies
        assert time.monotonic() - opened < PROMPT_SECONDS


def test_an_end_that_comes_while_the_pool_computes(kind: str) -> None:
    with waiting(kind) as (client, gate):
        client.send(get("/"))
        client.shutdown_write()
        assert not client.pass_time(MOMENT_SECONDS), "nothing is answered yet"
        gate.event.set()
        assert [response.body for response in client.receive_all()] == [b"waited", b"root"]


def test_request_after_request_for_the_pool(kind: str) -> None:
    with waiting(kind) as (client, gate):
        gate.event.set()
        assert client.receive().body == b"waited"
        for _ in range(50):
            assert client.ask(get("/wait")).body == b"waited"
            assert client.ask(get("/")).body == b"root"
