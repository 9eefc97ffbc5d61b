"""Clients that leave, in each state of their connection, by reset, by half-close, and by closing for good.

Whatever they do, the reactor forgets them, gives back what they held, and logs no error; and who half-closes gets all
that is due to it.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from mreactor.app.application import App
from mreactor.config import Limits
from mreactor.http.request import Request
from mreactor.http.response import Response
from mreactor.protocol import FileBody
from tests.support.drivers import SOCKET_KINDS, Client, SocketDriver, open_driver
from tests.support.responses import read_responses

LARGE = 3 << 20
UPLOADERS, BODY_METHODS_AFTER = 20, 20
WINDOW = 4096
EVENT_SECONDS = 20.0  # less than a client that says nothing more is waited for
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Gate:
    """Where blocking handlers wait until a test lets them go on."""

    def __init__(self) -> None:
        self._come = threading.Semaphore(0)
        self._open = threading.Semaphore(0)

    def wait(self) -> None:
        """For handlers: say that it is there, and wait."""
        self._come.release()
        assert self._open.acquire(timeout=EVENT_SECONDS)

    def await_one(self) -> None:
        """For tests: wait until a handler is there."""
        assert self._come.acquire(timeout=EVENT_SECONDS)

    def let_go(self) -> None:
        self._open.release()


GATE = Gate()


class State(NamedTuple):
    """How a client comes into a state, and what is due to it when it then half-closes.

    Attributes:
        name: of the state, with what is special about it.
        enter: does what leads there.
        due: status and size of the content of each response that it still gets.
        waits: handlers wait at the gate.
    """

    name: str
    enter: Callable[[Client], None]
    due: tuple[tuple[int, int | None], ...]
    waits: bool = False


def sends(data: bytes) -> Callable[[Client], None]:
    return lambda client: client.send(data)


def asks_and_sends(data: bytes) -> Callable[[Client], None]:
    def enter(client: Client) -> None:
        assert client.ask(GET).status == 200
        client.send(data)

    return enter


def waits_and_sends(data: bytes) -> Callable[[Client], None]:
    def enter(client: Client) -> None:
        client.send(data)
        GATE.await_one()

    return enter


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


HALF_BODY = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf"
LONG_HALF_BODY = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n" + bytes(200_000)
HALF_CHUNK = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf"
EXPECTS = b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
REFUSED = b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"
CUT_OFF = ((400, None),)

STATES = (
    State("IDLE, fresh", sends(b""), ()),
    State("IDLE", asks_and_sends(b""), ()),
    State("HEAD", sends(GET[:20]), CUT_OFF),
    State("HEAD, the second", asks_and_sends(GET[:20]), CUT_OFF),
    State("BODY", sends(HALF_BODY), CUT_OFF),
    State("BODY, chunked", sends(HALF_CHUNK), CUT_OFF),
    State("BODY, awaiting 100", sends(EXPECTS), CUT_OFF),
    State("WAITING", waits_and_sends(get("/wait")), ((200, 4),), waits=True),
    State("WAITING, more behind", waits_and_sends(get("/wait") + GET), ((200, 4), (200, 2)), waits=True),
    State("WAITING, for a part", waits_and_sends(get("/wait/stream")), ((200, 8),), waits=True),
    State("SENDING", sends(get("/large")), ((200, LARGE),)),
    State("SENDING, more behind", sends(get("/large") * 3 + GET), ((200, LARGE),) * 3 + ((200, 2),)),
    State("SENDING, a file", sends(get("/file")), ((200, LARGE),)),
    State("SENDING, a stream", sends(get("/stream")), ((200, LARGE),)),
    State("SENDING, the last", sends(GET[:-2] + b"Connection: close\r\n\r\n"), ((200, 2),)),
    State("READY", sends(GET * 500), ((200, 2),) * 500),
    State("LINGERING", sends(REFUSED), CUT_OFF),
    State("LINGERING, more behind", sends(REFUSED + GET * 50), CUT_OFF),
)


def make_app() -> App:
    app = App()
    content = bytes(LARGE)
    app.get("/")(lambda request: "ok")
    app.post("/echo")(lambda request: request.body)
    app.get("/large")(lambda request: content)

    @app.get("/file")
    def file(request: Request) -> Response:
        fd = os.memfd_create("departures")
        os.truncate(fd, LARGE)
        return Response(FileBody(fd, 0, LARGE))

    @app.get("/stream")
    def stream(request: Request) -> Iterator[bytes]:
        yield from (bytes(LARGE // 16) for _ in range(16))

    @app.get("/wait", blocking=True)
    def wait(request: Request) -> str:
        GATE.wait()
        return "done"

    @app.get("/wait/stream", blocking=True)
    def wait_stream(request: Request) -> Iterator[str]:
        yield "done"
        GATE.wait()
        yield "done"

    return app


@pytest.fixture(scope="module", params=SOCKET_KINDS)
def driver(request: pytest.FixtureRequest) -> Iterator[SocketDriver]:
    with open_driver(request.param, make_app(), Limits(), threads=1) as driver:
        yield driver


@pytest.fixture
def client(driver: SocketDriver, caplog: pytest.LogCaptureFixture) -> Iterator[Client]:
    """A client that takes little without reading. In the end nothing of it is left, and nothing was logged."""
    with driver.connect(window=WINDOW) as client:
        yield client
    await_closed(driver)
    assert not open_files()
    assert not [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    with driver.connect() as other:
        assert other.ask(GET).text == "ok"


def await_closed(driver: Any) -> None:
    deadline = time.monotonic() + EVENT_SECONDS
    while driver.open_connections() or open_files():
        assert time.monotonic() < deadline, f"{driver.open_connections()} connections are never closed"
        time.sleep(0.005)


def open_files() -> list[str]:
    """The files of responses that are still open."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            pass  # closed while we looked
    return [target for target in found if "departures" in target]


def each_state() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)


@each_state()
def test_reset(client: Client, state: State) -> None:
    state.enter(client)
    client.reset()
    if state.waits:
        GATE.let_go()


@each_state()
def test_close(client: Client, state: State) -> None:
    state.enter(client)
    client.close()
    if state.waits:
        GATE.let_go()


@pytest.mark.parametrize("state", [state for state in STATES if state.waits], ids=lambda state: state.name)
def test_close_after_the_handler(client: Client, state: State) -> None:
    """The response is under way, or arrives, when the client is no longer there."""
    state.enter(client)
    GATE.let_go()
    client.close()


@each_state()
def test_half_close(client: Client, state: State) -> None:
    state.enter(client)
    client.shutdown_write()
    if state.waits:
        GATE.let_go()
    responses = [response for response in read_responses(client.receive_rest()) if response.status >= 200]
    assert [response.status for response in responses] == [status for status, _ in state.due]
    sizes = [size for _, size in state.due if size is not None]
    assert [len(response.body) for response in responses if response.status == 200] == sizes


@each_state()
def test_half_close_and_then_reset(client: Client, state: State) -> None:
    state.enter(client)
    client.shutdown_write()
    client.reset()
    if state.waits:
        GATE.let_go()


def test_resets_in_the_middle_of_uploads(driver: SocketDriver) -> None:
    """Where bytes and a reset come together, an event may tell of the bytes alone; and the deadline is far away."""

    def upload_and_leave() -> None:
        for _ in range(BODY_METHODS_AFTER):
            with driver.connect() as client:
                client.sock.sendall(GET + LONG_HALF_BODY)
                client.close()  # over the unread response to GET: that is a reset

    threads = [threading.Thread(target=upload_and_leave) for _ in range(UPLOADERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    await_closed(driver)
