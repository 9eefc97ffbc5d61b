"""How a connection gets into each of its states."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from mreactor.http1.connection import Connection
from mreactor.http1.context import ReactorContext
from mreactor.http1.states import BODY, CLOSED, HEAD, IDLE, LINGERING, READY, SENDING, WAITING, State
from mreactor.protocol import FileBody
from tests.support.responses import ReceivedResponse, read_responses
from tests.support.vectors import LIMITS, Calls, get, make_context, post

PEER = ("192.0.2.1", 1)
NOW = 1000.0
TIMES = replace(
    LIMITS,
    head_seconds=10.0,
    body_grace_seconds=5.0,
    body_stall_seconds=20.0,
    body_rate_min=10,
    keepalive_seconds=75.0,
    write_stall_seconds=30.0,
    write_rate_min=1000,
    linger_seconds=2.0,
    linger_bytes_max=1000,
)

HALF_HEAD = get("/hello/a")[:20]
HALF_BODY = post("/echo", b"0123456789")[:-6]
HUNDRED = b"".join(get(f"/hello/{n}") for n in range(100))
REFUSED = b"bad\r\n\r\n"


def start(calls: Calls | None = None) -> tuple[ReactorContext, Connection]:
    context = make_context(TIMES, calls)
    return context, Connection(context, PEER)


def say_all(connection: Connection) -> list[ReceivedResponse]:
    """Take what the connection has to say, up to where it waits for something else."""
    said = b""
    while output := connection.data_to_send():
        assert not isinstance(output, FileBody)
        said += output
        connection.data_sent(len(output))
    return read_responses(said)


def get_response(connection: Connection, data: bytes) -> bytes:
    response = connection.receive_data(data)
    assert response is not None
    return response


# How a connection gets into each of its states. (A fresh one is IDLE too, and treated apart below.)


def idle(connection: Connection) -> None:
    get_response(connection, get("/hello/a"))


def head(connection: Connection) -> None:
    connection.receive_data(HALF_HEAD)


def body(connection: Connection) -> None:
    connection.receive_data(HALF_BODY)


def waiting(connection: Connection) -> None:
    connection.receive_data(get("/slow"))


def sending(connection: Connection) -> None:
    connection.queue_remainder(get_response(connection, get("/hello/a")), 7)


def ready(connection: Connection) -> None:
    connection.receive_data(HUNDRED)
    connection.data_sent(len(connection.data_to_send()))


def lingering(connection: Connection) -> None:
    connection.receive_data(REFUSED)
    connection.data_sent(len(connection.data_to_send()))


def closed(connection: Connection) -> None:
    connection.abort()


WAYS: dict[int, Callable[[Connection], None]] = {
    IDLE: idle,
    HEAD: head,
    BODY: body,
    WAITING: waiting,
    SENDING: sending,
    READY: ready,
    LINGERING: lingering,
    CLOSED: closed,
}


def in_state(state: int) -> tuple[ReactorContext, Connection]:
    context, connection = start()
    WAYS[state](connection)
    assert connection.state == state
    return context, connection


each_state = pytest.mark.parametrize("state", WAYS, ids=lambda state: State(state).name)
