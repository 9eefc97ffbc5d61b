"""The table of malformed and odd messages, against the connection and against both kinds of reactor.

In memory each entry is fed whole, cut at every offset (long ones at a sample of them), and byte by byte. Over sockets
each is fed once. What follows a message that ends its connection is never answered: a valid request is always there to
try.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from mreactor.app.application import App
from mreactor.config import Limits
from mreactor.http.request import Request
from mreactor.http.request_head import METHODS
from mreactor.http.response import Response
from tests.adversarial.case import FOLLOWING, Case
from tests.adversarial.table import CASES
from tests.support.drivers import KINDS, SOCKET_KINDS, Client, Driver, open_driver
from tests.support.responses import ReceivedResponse, read_responses
from tests.support.vectors import REPEATED

OFFSETS_MAX = 36  # a case is cut at so many places at most
BYTEWISE_MAX = 400  # longer ones are not fed byte by byte
TOGETHER = 50  # connections open at once over sockets


def make_app() -> App:
    """Responses with what it was asked: the content, whatever the method and the path."""
    app = App()
    app.route("/", METHODS)(echo)
    app.route("/{rest:path}", METHODS)(echo)
    return app


def echo(request: Request, rest: str = "") -> Response:
    return Response(request.body, headers={"X-Method": request.method})


@pytest.fixture(scope="module")
def memory() -> Iterator[Driver]:
    with open_driver("memory", make_app(), Limits()) as driver:
        yield driver


def offsets(size: int) -> list[int]:
    """Where to cut: everywhere, or the first and the last places and some between."""
    if size - 1 <= OFFSETS_MAX:
        return list(range(1, size))
    edge, step = OFFSETS_MAX // 3, 3 * size // OFFSETS_MAX
    return [*range(1, edge), *range(edge, size - edge, step), *range(size - edge, size)]


def splits(raw: bytes) -> Iterator[list[bytes]]:
    """The ways in which a message may arrive."""
    yield [raw]
    yield [raw, b""]
    yield from ([raw[:offset], raw[offset:]] for offset in offsets(len(raw)))
    if len(raw) <= BYTEWISE_MAX:
        yield [raw[place : place + 1] for place in range(len(raw))]


def outcome(client: Client, case: Case, pieces: Sequence[bytes]) -> list[ReceivedResponse]:
    """Bring a case through a connection, and a valid request with its last piece; returns the final responses."""
    *first, final = pieces
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may be refused before it is all there
        for piece in first:
            client.send(piece)
        client.send(final if case.is_cut else final + FOLLOWING)
        if case.is_cut:
            client.shutdown_write()
    methods = ["GET"] * (len(case.statuses) - 1) + [case.method]
    return [response for response in read_responses(client.receive_rest(), *methods) if response.status >= 200]


def check(case: Case, responses: Sequence[ReceivedResponse]) -> None:
    """Whether the responses are those that the case asks for."""
    statuses = tuple(response.status for response in responses)
    assert statuses == case.statuses + (200,) * case.is_open
    assert [response.says_close for response in responses] == [False] * (len(responses) - 1) + [True]
    if case.body is not None:
        assert responses[len(case.statuses) - 1].body == (b"" if case.method == "HEAD" else case.body)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_in_memory_however_it_is_split(memory: Driver, case: Case) -> None:
    for pieces in splits(case.raw):
        with memory.connect() as client:
            check(case, outcome(client, case, pieces))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_in_memory_from_the_first_time_to_the_last(case: Case) -> None:
    """With nothing remembered of it, with its lines and fields remembered, and with its route cached.

    Most of the ways above bring it in pieces or together with another request. Here it comes whole and alone.
    """
    with open_driver("memory", make_app(), Limits()) as driver:
        for _ in range(REPEATED + 1):
            with driver.connect() as client:
                check(case, outcome(client, case, [case.raw, b""]))


@pytest.mark.parametrize("kind", SOCKET_KINDS)
def test_over_sockets(kind: str) -> None:
    """The whole table, in one server: no entry harms the ones after it."""
    with open_driver(kind, make_app(), Limits()) as driver:
        for start in range(0, len(CASES), TOGETHER):
            with contextlib.ExitStack() as stack:
                for case in CASES[start : start + TOGETHER]:
                    client = stack.enter_context(driver.connect())
                    try:
                        check(case, outcome(client, case, [case.raw]))
                    except (AssertionError, OSError) as error:
                        raise AssertionError(f"{case.name}: {error}") from error


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_remembered_of_good_ones_lets_no_bad_one_pass(kind: str) -> None:
    """Connections share the caches: a refusal is a refusal, whatever was sent before."""
    good = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    bad = (
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n",
        b"\n" + good,
        good[:-2] + b"\x00\r\n",
    )
    with open_driver(kind, make_app(), Limits(), **({} if kind == "memory" else {"threads": 1})) as driver:
        for raw in bad:
            with driver.connect() as before, driver.connect() as client:
                assert [before.ask(good).status for _ in range(REPEATED + 1)] == [200] * (REPEATED + 1)
                client.send(raw + FOLLOWING)
                assert [response.status for response in client.receive_all()] == [400]


def test_the_table_is_large_and_its_names_are_unique() -> None:
    assert len(CASES) > 1500
    assert not [name for name, count in Counter(case.name for case in CASES).items() if count > 1]
    assert {status for case in CASES for status in case.statuses} >= {200, 400, 405, 413, 414, 417, 431, 501, 505}
