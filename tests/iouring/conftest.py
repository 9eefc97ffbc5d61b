"""Fixtures of the io_uring tests."""

import socket
from collections.abc import Iterator

import pytest

from mreactor.iouring import Ring, probe


@pytest.fixture(scope="module")
def io_uring() -> None:
    """Skip where the kernel refuses io_uring. The suite's own conftest turns a wrong skip into a failure."""
    result = probe()
    if not result.usable:
        pytest.skip(f"io_uring: {result.cause}")


@pytest.fixture
def ring(io_uring: None) -> Iterator[Ring]:
    with Ring(64, cq_entries=256) as ring:
        yield ring


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected sockets. The first has a time-out."""
    near, far = socket.socketpair()
    near.settimeout(10)
    with near, far:
        yield near, far


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener
