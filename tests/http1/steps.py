"""Steps that tests of the connection share."""

import os
from collections.abc import Callable
from typing import Any

from mreactor.app.application import App
from mreactor.concurrency.job import Job
from mreactor.http1.connection import Connection
from mreactor.http1.context import ReactorContext
from mreactor.http1.states import WAITING
from mreactor.protocol import FileBody
from tests.support.vectors import FILE, LIMITS, Calls, get, make_context, take

PEER = ("192.0.2.1", 1)


def connect(calls: Calls | None = None) -> Connection:
    return Connection(make_context(calls=calls), PEER)


def serve(handler: Callable[..., Any], *, blocking: bool = False, constant: bool = False) -> ReactorContext:
    """A context whose one route, `/`, is answered by `handler`."""
    app = App()
    app.get("/", blocking=blocking, constant=constant)(handler)
    context = ReactorContext(LIMITS, app.routes)
    context.begin_round(1000.0)
    return context


def start_job(connection: Connection, target: str = "/slow") -> Job:
    assert connection.receive_data(get(target)) is None
    assert connection.state == WAITING
    job = connection.next_job()
    assert job is not None
    return job


def clear_up(connection: Connection) -> None:
    """Closing a stream may take time as well, so it is a job."""
    if (job := connection.next_job()) is not None:
        job.run()


def take_all(connection: Connection, count: int = 1 << 30) -> bytes:
    """Take all data to send, `count` bytes at a time."""
    taken = b""
    while output := connection.data_to_send():
        taken += take(connection, output, count)
    return taken


def open_descriptor() -> tuple[int, FileBody]:
    fd = os.open(FILE, os.O_RDONLY | os.O_CLOEXEC)
    return fd, FileBody(fd, 10, 50)


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
