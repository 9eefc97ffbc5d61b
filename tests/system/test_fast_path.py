"""The fast path that the reactors write out: it sends what the connection by itself sends, byte for byte.

Three places look up known bytes: `Connection.receive_data` and the event loops of both reactors. Here every good vector
goes to each of them three times, whole: the first time nothing is known, then the response or the route is.
"""

import ast
import inspect
import itertools
import re
import textwrap
from collections.abc import Iterator
from types import ModuleType

import pytest

from mreactor.http1.connection import Connection
from mreactor.http1.context import ReactorContext
from mreactor.net.reactor import epoll, io_uring
from tests.support.drivers import SOCKET_KINDS, Driver, open_driver
from tests.support.memory import MemoryReactor
from tests.support.responses import read_responses
from tests.support.vectors import GOOD, LIMITS, Vector, get, make_app, post

TIMES = 3
END = get("/hello/the-end")
DATE = re.compile(rb"\r\nDate: [^\r]+")

each_good = pytest.mark.parametrize("vector", GOOD, ids=[vector.name for vector in GOOD])


def same_date(output: bytes) -> bytes:
    """Put one date, of the same length, in the place of all."""
    return DATE.sub(b"\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT", output)


def expected_outputs(vector: Vector) -> list[bytes]:
    """What a bare connection sends for the vector, each time, with the interim responses."""
    reactor = MemoryReactor(lambda: ReactorContext(LIMITS, make_app().routes), uses_fast_path=False)
    session = reactor.connect()
    outputs = []
    for _ in range(TIMES):
        session.arrive(vector.data)
        session.drive()
        outputs.append(same_date(session.take_sent()))
    reactor.close()
    return outputs


# --- The same bytes. ---


@each_good
def test_the_vector_has_the_same_output_each_time(vector: Vector) -> None:
    outputs = expected_outputs(vector)
    assert outputs == outputs[:1] * TIMES
    methods = vector.methods or ("GET",) * len(vector.statuses)
    statuses = [response.status for response in read_responses(outputs[0], *methods)]
    assert [status for status in statuses if status != 100] == list(vector.statuses)


@each_good
def test_in_memory(vector: Vector) -> None:
    """`Session` looks up as the reactors do."""
    reactor = MemoryReactor(lambda: ReactorContext(LIMITS, make_app().routes))
    session = reactor.connect()
    for expected in expected_outputs(vector):
        session.arrive(vector.data)
        session.drive()
        assert same_date(session.take_sent()) == expected
    reactor.close()


@pytest.fixture(scope="module", params=SOCKET_KINDS)
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    with open_driver(request.param, make_app(), LIMITS, drains=False, threads=1) as driver:
        yield driver


@each_good
def test_over_sockets(driver: Driver, vector: Vector) -> None:
    """The vector is the first thing on its connection, and one segment: it meets an idle client, as a whole."""
    with driver.connect() as client:
        for expected in expected_outputs(vector):
            client.send(vector.data)
            assert same_date(client.receive_bytes(len(expected))) == expected
        # Nothing else was sent, and the connection goes on.
        client.send(END)
        assert client.receive().body == b"Hello, the-end!"


@each_good
def test_over_sockets_each_time_on_another_connection(driver: Driver, vector: Vector) -> None:
    """What one connection has the reactor remember, the next one uses."""
    for expected in expected_outputs(vector):
        with driver.connect() as client:
            client.send(vector.data)
            assert same_date(client.receive_bytes(len(expected))) == expected


KNOWN = {
    "cached response": get("/", "X-Known: 1"),
    "cached route": get("/hello/known"),
    "cached route with a body": post("/echo", b"known"),
}


@pytest.mark.parametrize("request_", KNOWN.values(), ids=KNOWN)
def test_the_fast_path_is_taken(driver: Driver, request_: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the tests above would compare the slow path with itself.

    The reactor forgets what it knows each second, so the request may be read in full a few times.
    """
    uncached: list[bytes] = []
    receive_uncached = Connection.receive_uncached

    def note(connection: Connection, data: bytes) -> bytes | None:
        uncached.append(data)
        return receive_uncached(connection, data)

    monkeypatch.setattr(Connection, "receive_uncached", note)
    with driver.connect() as client:
        for _ in range(50):
            assert client.ask(request_).status == 200
    assert 1 <= uncached.count(request_) <= 10


# --- The same code. ---

# Where the copies may differ: epoll alone knows whether a read was full, and the kernel tells io_uring the length.
EPOLL_ONLY = {"is_full = False", "is_full = size >= read_bytes"}
LENGTHS = {"size = length(data)", "size = res"}
BEGIN, END_MARK = "# fast path: begin", "# fast path: end"


def marked_block(module: ModuleType) -> str:
    """Return the source between a module's two marks, as a block of its own."""
    lines = inspect.getsource(module).splitlines()
    (begin,) = (number for number, line in enumerate(lines) if line.strip().startswith(BEGIN))
    (end,) = (number for number, line in enumerate(lines) if line.strip().startswith(END_MARK))
    return textwrap.dedent("\n".join(lines[begin + 1 : end]))


def statements(block: str) -> list[str]:
    """Return a block line by line, without comments and formatting, and without what may differ."""
    lines = [line for line in ast.unparse(ast.parse(block)).splitlines() if line.strip() not in EPOLL_ONLY]
    return ["size = ..." if line.strip() in LENGTHS else line for line in lines]


def test_both_reactors_write_out_the_same_fast_path() -> None:
    first, second = (statements(marked_block(module)) for module in (epoll, io_uring))
    assert len(first) > 15, "the marks enclose the whole of it"
    for one, other in itertools.zip_longest(first, second):
        assert one == other
