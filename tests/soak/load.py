"""The load: clients on non-blocking sockets in one thread, each doing one kind of thing after the other.

Every response is compared, byte for byte but for the Date, with the first one to the same requests,
and that one was read by
a strict reader.
"""

import re
import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Self

from tests.support.responses import read_responses

from .kinds import KINDS, Kind

READ_BYTES = 256 * 1024
LEARN_SECONDS = 60.0
STALL_SECONDS = 60.0
DATE = re.compile(rb"\r\nDate: [^\r]++")

type Address = tuple[str, int]


class Unexpected(Exception):
    """A server that does not do what it has to; the text says what, for people."""


def learn(address: Address) -> dict[Kind, bytes]:
    """Have each kind done once, read its responses strictly, and keep them without their Dates."""
    return {kind: _learn(address, kind) for kind in KINDS if kind.statuses}


def _learn(address: Address, kind: Kind) -> bytes:
    with socket.create_connection(address, timeout=LEARN_SECONDS) as sock:
        for piece in kind.pieces:
            sock.sendall(piece)
        if not kind.ends:
            sock.sendall(b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        if kind.half_closes:
            sock.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: sock.recv(READ_BYTES), b""))
    responses = [response for response in read_responses(received, *kind.methods) if response.status >= 200]
    statuses = tuple(response.status for response in responses)
    if statuses != (kind.statuses if kind.ends else (*kind.statuses, 404)):
        raise Unexpected(f"{kind.name}: the responses are {statuses}")
    return without_dates(received if kind.ends else received[: received.rindex(b"HTTP/1.1 404")])


def without_dates(responses: bytes) -> bytes:
    """Responses as they would be at any time; and without `100 Continue`, which comes or not as the bytes come."""
    return DATE.sub(b"", responses).replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")


class Load:
    """Clients that keep a server busy.

    Args:
        address: the server's.
        clients: how many connections at once.
        seed: for the order in which things are done.
    """

    def __init__(self, address: Address, clients: int, seed: int = 1) -> None:
        self._address = address
        self._random = Random(seed)
        self._order = [kind for kind in KINDS for _ in range(kind.weight)]
        self._references = learn(address)
        self._epoll = select.epoll()
        self._clients: dict[int, Client] = {}
        self._wanted = clients
        self.requests = 0
        self.done: Counter[str] = Counter()

    def run(self, requests: int, seconds: float, tell: Callable[[int], None]) -> None:
        """Go on until so many requests were answered, or time is over; then let clients finish what they do.

        Args:
            tell: called with the number of requests answered so far, now and then.
        """
        end = time.monotonic() + seconds
        while self.requests < requests and time.monotonic() < end:
            while len(self._clients) < self._wanted:
                self._open()
            self._round()
            tell(self.requests)
        self._wanted = 0
        while self._clients:
            self._round()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients.values():
            client.sock.close()
        self._epoll.close()

    def _open(self) -> None:
        client = Client(self._address)
        fd = client.sock.fileno()
        self._clients[fd] = client
        self._epoll.register(fd, select.EPOLLIN)
        self._begin(fd, client)

    def _begin(self, fd: int, client: "Client") -> None:
        client.begin(self._random.choice(self._order))
        self._advance(fd, client)

    def _round(self) -> None:
        events = self._epoll.poll(1.0, 512)
        for fd, _ in events:
            self._advance(fd, self._clients[fd])
        if not events:
            self._complain_of_stalls()

    def _advance(self, fd: int, client: "Client") -> None:
        if not client.advance(self._references.get(client.kind, b"")):
            wanted = select.EPOLLIN | (select.EPOLLOUT if client.is_sending else 0)
            if wanted != client.armed:
                client.armed = wanted
                self._epoll.modify(fd, wanted)
            return
        self.requests += client.kind.requests
        self.done[client.kind.name] += 1
        if not client.kind.ends and self._wanted:
            self._begin(fd, client)
            return
        del self._clients[fd]
        client.leave()

    def _complain_of_stalls(self) -> None:
        limit = time.monotonic() - STALL_SECONDS
        for client in self._clients.values():
            if client.began < limit:
                raise Unexpected(
                    f"{client.kind.name}: no response within {STALL_SECONDS:g} s; {client.received[-300:]!r}"
                )


class Client:
    """One connection of a load."""

    def __init__(self, address: Address) -> None:
        self.sock = socket.create_connection(address)
        self.sock.setblocking(False)
        self.armed = select.EPOLLIN
        self.is_sending = False
        self.received = b""

    def begin(self, kind: Kind) -> None:
        """Start with another kind of thing."""
        self.kind = kind
        self.began = time.monotonic()
        self.received = b""
        self._left = list(reversed(kind.pieces))
        self._piece = b""
        self._has_ended = False
        self._is_shut = False

    def advance(self, reference: bytes) -> bool:
        """Go on as far as it goes; True where it is done.

        Raises:
            Unexpected: a response is not what it has to be.
        """
        self._send()
        self._receive()
        kind = self.kind
        if kind.resets is not None:
            return not self.is_sending and (len(self.received) >= kind.resets or self._has_ended)
        if self._has_ended and not kind.ends:
            raise Unexpected(f"{kind.name}: the connection has ended; {self.received[-300:]!r}")
        if kind.ends and not self._has_ended:
            return False
        if len(self.received) < len(reference):
            if self._has_ended:
                raise Unexpected(f"{kind.name}: the response is cut off; {self.received[-300:]!r}")
            return False
        return self._compare(reference)

    def leave(self) -> None:
        """Close, or reset."""
        if self.kind.resets is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _compare(self, reference: bytes) -> bool:
        responses = without_dates(self.received)
        if len(responses) < len(reference) and not self._has_ended:
            return False
        if responses != reference:
            raise Unexpected(f"{self.kind.name}: {responses[:500]!r} instead of {reference[:500]!r}")
        return True

    def _send(self) -> None:
        if self._piece or self._left:
            piece = self._piece or self._left.pop()
            try:
                self._piece = piece[self.sock.send(piece) :]
            except BlockingIOError:
                self._piece = piece
            except (BrokenPipeError, ConnectionResetError):
                self._piece, self._left = b"", []  # it was refused before it was all there
        self.is_sending = bool(self._piece or self._left)
        if self.kind.half_closes and not self.is_sending and not self._is_shut:
            self._is_shut = True
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_WR)

    def _receive(self) -> None:
        try:
            data = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionResetError as error:
            raise Unexpected(f"{self.kind.name}: reset after {self.received[-300:]!r}") from error
        self.received += data
        self._has_ended = not data
