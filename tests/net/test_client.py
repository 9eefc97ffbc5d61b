"""What a reactor's client sees when it looks into its socket."""

import select
import socket
import struct
from collections.abc import Iterator

import pytest

from mreactor.http1.connection import Connection
from mreactor.net.reactor.client import Client
from tests.support.vectors import make_context

PATIENCE_SECONDS = 5.0


@pytest.fixture
def ends() -> Iterator[tuple[Client, socket.socket, socket.socket]]:
    """A client, its socket, and its peer's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname(), timeout=PATIENCE_SECONDS)
        own, address = listener.accept()
    own.setblocking(False)
    with own, peer:
        yield Client(own.fileno(), Connection(make_context(), address)), own, peer


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def await_event(own: socket.socket) -> None:
    poll = select.poll()
    poll.register(own, select.POLLIN)
    assert poll.poll(PATIENCE_SECONDS * 1000)


def test_unread_bytes_are_seen_and_left(ends: tuple[Client, socket.socket, socket.socket]) -> None:
    client, own, peer = ends
    assert not client.has_unread()
    peer.sendall(b"x")
    await_event(own)
    assert client.has_unread()
    assert own.recv(9) == b"x"
    assert not client.has_unread()


def test_who_looks_for_unread_bytes_is_told_of_a_failure(ends: tuple[Client, socket.socket, socket.socket]) -> None:
    """The look takes the error away, and its event may have been missed: then a drain waited its whole time."""
    client, own, peer = ends
    reset(peer)
    await_event(own)
    with pytest.raises(ConnectionResetError):
        client.has_unread()
    assert client.take_error() == 0


def test_an_error_is_taken_once(ends: tuple[Client, socket.socket, socket.socket]) -> None:
    client, own, peer = ends
    assert client.take_error() == 0
    reset(peer)
    await_event(own)
    assert client.take_error() != 0
    assert client.take_error() == 0
