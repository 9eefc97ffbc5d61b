"""An end under load: SIGTERM while hundreds of clients ask without pause. No request may be lost.

A request counts as received when the client has handed it over in full. It is lost if its whole response does not come.
A client goes on until a response says `Connection: close`. Where this process, on a busy machine, comes to ask so late
that the server may have taken the connection for idle, and rightly, the request is not lost but late.
"""

import select
import time
from dataclasses import dataclass
from random import Random

from mreactor.http1.context import DRAIN_GRACE_SECONDS
from tests.support.responses import Malformed, read_response

from .clients import Address, connect, raise_descriptor_limit
from .kinds import get, post
from .server import Server

DRAIN_SECONDS = 60.0
OPTIONS = (f"--drain-seconds={DRAIN_SECONDS:g}",)  # of the server: a busy machine may need them
END_SECONDS = DRAIN_SECONDS + 30.0
BUSY_SECONDS = (0.2, 0.6)
READ_BYTES = 64 * 1024

COMPUTED, CONSTANT, WAIT, ECHO = get(b"/hello/drain"), get(b"/"), get(b"/wait"), post(b"e" * 1000)
# What clients send, and how many requests that is. What is in two pieces is sent in two turns.
REQUESTS: tuple[tuple[tuple[bytes, ...], int], ...] = (
    ((COMPUTED,), 1), ((COMPUTED,), 1), ((CONSTANT,), 1), ((ECHO,), 1), ((WAIT,), 1), ((COMPUTED * 3,), 3),
    ((CONSTANT + ECHO + WAIT,), 3),
    ((COMPUTED[:10], COMPUTED[10:]), 1), ((ECHO[:-500], ECHO[-500:]), 1), ((get(b"/files/large.bin"),), 1),
    ((get(b"/stream"),), 1),
)  # fmt: skip


@dataclass(slots=True)
class Drained:
    """What came of an end: requests answered, of them after the signal, lost, late; and how the server ended."""

    connections: int
    answered: int = 0
    answered_late: int = 0
    lost: int = 0
    losses: tuple[str, ...] = ()
    late: int = 0
    undecided: int = 0
    seconds: float = 0.0
    exit_code: int | None = None

    def __str__(self) -> str:
        return (
            f"{self.connections} connections, {self.answered} requests answered, {self.answered_late} of them after"
            f" SIGTERM, {self.lost} lost, {self.late} late; ended with {self.exit_code} after {self.seconds:.2f} s"
        )

    def faults(self) -> list[str]:
        """What is not as it must be, for people."""
        found = [f"{self.lost} requests were lost: {'; '.join(self.losses[:5])}"] * bool(self.lost)
        if self.exit_code != 0:
            found.append(f"the server ended with {self.exit_code}")
        if self.undecided:
            found.append(f"{self.undecided} connections did not end")
        if self.answered_late < self.connections / 2:
            found.append(f"only {self.answered_late} requests were answered after SIGTERM: the test has missed it")
        return found


def drain(server: Server, connections: int, seed: int) -> Drained:
    """Keep a server busy, end it, and see what came of all requests."""
    raise_descriptor_limit()
    random = Random(seed)
    clients = {client.fd: client for client in (Client(server.address, random) for _ in range(connections))}
    everybody, result = list(clients.values()), Drained(connections)
    with select.epoll() as poll:
        for fd in clients:
            poll.register(fd, select.EPOLLIN)
        signal_at = time.monotonic() + random.uniform(*BUSY_SECONDS)
        _converse(poll, clients, signal_at)
        answered = sum(client.answered for client in everybody)
        server.terminate()
        begun = time.monotonic()
        _converse(poll, clients, begun + END_SECONDS)
    result.exit_code = server.wait()
    result.seconds = time.monotonic() - begun
    result.answered = sum(client.answered for client in everybody)
    result.answered_late = result.answered - answered
    losers = [client for client in everybody if client.outstanding and not client.is_late]
    result.late = sum(client.outstanding for client in everybody if client.is_late)
    result.lost = sum(client.outstanding for client in losers)
    result.losses = tuple(client.story(begun) for client in losers)
    result.undecided = len(clients)
    for client in clients.values():
        client.sock.close()
    return result


def _converse(poll: select.epoll, clients: "dict[int, Client]", end: float) -> None:
    """Let clients ask and listen, until all have ended or time is over."""
    while clients and time.monotonic() < end:
        for client in clients.values():
            client.ask()
        for fd, _ in poll.poll(0.005, 512):
            if not clients[fd].listen():
                clients.pop(fd).sock.close()


class Client:
    """A client that asks without pause.

    Attributes:
        outstanding: requests that were sent in full and not answered yet.
        answered: requests that were.
        is_late: the last of them came so late that the connection may have been closed as idle.
    """

    def __init__(self, address: Address, random: Random) -> None:
        self.sock = connect(address)
        self.fd = self.sock.fileno()
        self._random = random
        self._received = b""
        self._left: list[bytes] = []  # pieces to be sent, the last one first
        self._count = 0  # requests that they are
        self._is_last = False
        self._begun = self._sent = self._heard = time.monotonic()
        self.outstanding = 0
        self.answered = 0
        self.is_late = False

    def ask(self) -> None:
        """Send the next piece of a request, if it is time to."""
        if self._is_last or (self.outstanding and not self._left):
            return
        before = None
        if not self._left:
            pieces, self._count = self._random.choice(REQUESTS)
            self._left = list(reversed(pieces))
            before, self._begun = self._begun, time.monotonic()
        piece = self._left.pop()
        try:
            sent = self.sock.send(piece)
        except OSError:
            self._left = []
            return  # it was not taken, so it is not lost: `listen` hears of the end
        assert sent == len(piece), "so little always fits"
        # The connection has been idle since its last response, which was after the request before this one had begun.
        if before is not None:
            self.is_late = time.monotonic() - before > DRAIN_GRACE_SECONDS
        if not self._left:
            self.outstanding += self._count
            self._sent = time.monotonic()

    def story(self, signal_at: float) -> str:
        """When it was that a request was lost, for people; all in seconds after the signal."""
        begun, sent, heard = (moment - signal_at for moment in (self._begun, self._sent, self._heard))
        return (
            f"{self.outstanding} of {self._count} outstanding, begun {begun:+.3f}, sent in full {sent:+.3f}, heard of"
            f" the server {heard:+.3f}, {self.answered} answered before, received so far {self._received[:60]!r}"
        )

    def listen(self) -> bool:
        """Take in responses; False where the connection has ended."""
        try:
            data = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            # A record of TLS is not there in full, or holds no content.
            return True
        except OSError:
            return False
        self._received += data
        self._heard = time.monotonic()
        try:
            while read := read_response(self._received):
                response, end = read
                self._received = self._received[end:]
                self._is_last = self._is_last or response.says_close
                self.outstanding -= 1
                self.answered += 1
        except Malformed:
            return False
        return bool(data)
