"""Clients of the unruly application: each request has a token, and each response has to carry it, whole.

A client is a thread with one connection. Some leave before the response, and some send two requests at once.
"""

import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from .server import Server, Sight
from .unruly_app import LARGE, ROWS

PATIENCE_SECONDS = 30.0
SETTLE_SECONDS = 60.0
TELL_SECONDS = 10.0
GROWTH_MAX = 1.25
POOL_THREADS = 16 + 256
READ_BYTES = 256 * 1024
LEAVE_NOW = struct.pack("ii", 1, 0)

# What the body of a whole response is, but for responses that are cut off or have no fixed text.
BODIES: dict[str, Callable[[str], str]] = {
    "plain": lambda token: f"{token}\n",
    "waits": lambda token: f"{token}\n",
    "forks": lambda token: f"{token}\n",
    "forks/blocking": lambda token: f"{token}\n",
    "echo": lambda token: f"{token}\n{token * 100}",
    "large": lambda token: f"{token}\n{token[-1] * LARGE}",
    "rows": lambda token: "".join(f"{token} {token} {number}\n" for number in range(ROWS)),
    "feed": lambda token: "".join(f"{token} {number}\n" for number in range(10)),
}
WEIGHTS = {
    "plain": 60, "waits": 20, "echo": 20, "large": 4, "rows": 10, "feed": 10, "shared": 20, "fails": 6, "cut": 3,
    "cut/blocking": 3,
}  # fmt: skip


@dataclass(slots=True)
class Outcome:
    """What the clients of a soak have seen.

    Attributes:
        done: whole and right responses, by what was asked for.
        left: requests whose client has left before their response.
        wrong: responses that are not what they have to be, or have not come.
        children: processes that are left of those that the application has forked.
    """

    done: Counter[str] = field(default_factory=Counter)
    left: int = 0
    wrong: list[str] = field(default_factory=list)
    start: Sight | None = None
    warm: Sight | None = None
    end: Sight | None = None
    complaints: list[str] = field(default_factory=list)
    children: int = 0

    def faults(self) -> list[str]:
        """What is not as it must be, for people."""
        found = [f"a response is wrong: {text}" for text in self.wrong[:10]]
        found += [f"the log complains: {line}" for line in self.complaints[:10]]
        if self.children:
            found.append(f"{self.children} children are left")
        if not (self.start and self.warm and self.end):
            return [*found, "the server was not looked at"]
        if self.end.resident > self.warm.resident * GROWTH_MAX:
            found.append(f"memory has grown from {self.warm.resident / 1e6:.1f} to {self.end.resident / 1e6:.1f} MB")
        if self.end.descriptors > self.start.descriptors:
            found.append(f"{self.end.descriptors} descriptors are open, {self.start.descriptors} were at the start")
        if self.end.threads > self.start.threads + POOL_THREADS:
            found.append(f"{self.end.threads} threads run, {self.start.threads} did at the start")
        return found


def harass(server: Server, seconds: float, clients: int, forks_a_second: float, tell: Callable[[str], None]) -> Outcome:
    """Keep the clients busy for so long. One more client has the server fork."""
    outcome, lock = Outcome(start=server.look()), threading.Lock()
    ends = time.monotonic() + seconds
    threads = [
        threading.Thread(target=_run, args=(Client(server.address, number), ends, outcome, lock))
        for number in range(clients)
    ]
    threads.append(threading.Thread(target=_fork, args=(server.address, ends, forks_a_second, outcome, lock)))
    for thread in threads:
        thread.start()
    warm_at = ends - seconds * 0.75
    while (now := time.monotonic()) < ends:
        sight = server.look()
        if outcome.warm is None and now >= warm_at:
            outcome.warm = sight
        tell(f"{outcome.done.total():>10,} responses, {len(outcome.wrong)} wrong, {outcome.left:,} left early, {sight}")
        time.sleep(min(TELL_SECONDS, max(0.0, ends - now)))
    for thread in threads:
        thread.join(2 * PATIENCE_SECONDS)
    limit = time.monotonic() + SETTLE_SECONDS
    start = outcome.start
    while (server.look().descriptors > start.descriptors or server.children()) and time.monotonic() < limit:
        time.sleep(0.1)
    outcome.children = server.children()
    outcome.end, outcome.complaints = server.look(), server.complaints()
    outcome.warm = outcome.warm or outcome.end
    return outcome


class Wrong(Exception):
    """A response is not what it has to be, or has not come."""


class Client:
    """A connection, opened again when it is over."""

    def __init__(self, address: tuple[str, int], number: int) -> None:
        self._address = address
        self._number = number
        self._random = Random(number)
        self._requests = 0
        self._sock: socket.socket | None = None

    def step(self) -> tuple[str, bool]:
        """Ask for something. Return what, and whether the response was waited for."""
        (what,) = self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))
        fate = self._random.random()
        if fate < 0.01:
            self._leave(what)
            return what, False
        version = "1.0" if fate < 0.05 else "1.1"
        self.ask(what, version=version, times=2 if 0.05 <= fate < 0.1 and not what.startswith("cut") else 1)
        return what, True

    def ask(self, what: str, *, version: str = "1.1", times: int = 1) -> None:
        """Send requests at once and check their responses; raises Wrong."""
        tokens = [self._token() for _ in range(times)]
        sock = self._connect()
        sock.sendall(b"".join(_request(what, token, version) for token in tokens))
        received = Received(sock)
        for token in tokens:
            check(what, token, received)
        if received.is_over:
            self.close()

    def _leave(self, what: str) -> None:
        sock = self._connect()
        sock.sendall(_request(what, self._token(), "1.1"))
        if self._random.random() < 0.5:
            with suppress(OSError):
                sock.recv(10)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LEAVE_NOW)
        self.close()

    def _token(self) -> str:
        self._requests += 1
        return f"c{self._number}r{self._requests}"

    def _connect(self) -> socket.socket:
        if self._sock is None:
            self._sock = socket.create_connection(self._address, PATIENCE_SECONDS)
        return self._sock

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None


class Received:
    """Responses from a socket, one after the other; `is_over` once the connection ends with one."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""
        self.is_over = False

    def next(self) -> tuple[int, str, bool]:
        """Read a response: its status, its content, and whether it is whole. Raises Wrong if none comes."""
        try:
            head = self._take(self._until(b"\r\n\r\n")).decode()
        except OSError as error:
            raise Wrong(f"no response: {error!r}") from error
        fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:-2])
        self.is_over = fields.get("connection") == "close"
        parts: list[bytes] = []
        try:
            self._read_content(fields, parts)
        except OSError:
            self.is_over = True
            return int(head[9:12]), b"".join(parts).decode(), False
        return int(head[9:12]), b"".join(parts).decode(), True

    def _read_content(self, fields: dict[str, str], parts: list[bytes]) -> None:
        if "content-length" in fields:
            self._fill(length := int(fields["content-length"]))
            parts.append(self._take(length))
        elif "transfer-encoding" in fields:
            while size := int(self._take(self._until(b"\r\n")), 16):
                self._fill(size + 2)
                parts.append(self._take(size + 2)[:-2])
            self._take(self._until(b"\r\n"))
        else:
            # The end of the connection is that of the content, but a reset is not.
            parts.append(self._take(len(self._buffer)))
            while data := self._sock.recv(READ_BYTES):
                parts.append(data)

    def _until(self, mark: bytes) -> int:
        """Receive up to a mark; return where it ends."""
        while (found := self._buffer.find(mark)) < 0:
            self._fill(len(self._buffer) + 1)
        return found + len(mark)

    def _fill(self, count: int) -> None:
        while len(self._buffer) < count:
            data = self._sock.recv(READ_BYTES)
            if not data:
                raise ConnectionAbortedError("the connection has ended")
            self._buffer += data

    def _take(self, count: int) -> bytes:
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken


def _request(what: str, token: str, version: str) -> bytes:
    body = (token * 100).encode() if what == "echo" else b""
    method = "POST" if body else "GET"
    return f"{method} /{what}/{token} HTTP/{version}\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def check(what: str, token: str, received: Received) -> None:
    """Check the next response; raises Wrong."""
    status, content, is_whole = received.next()
    story = f"{what} {token}: {status}, {len(content)} characters: {content[:100]!r}"
    if what.startswith("cut"):
        # The reset of HTTP/1.0 may destroy what was sent.
        is_right = status == 200 and not is_whole and content in ("", f"{token} the first half\n")
    elif what == "fails":
        is_right = (status == 409 and f"<p>{token} is " in content) or (status == 500 and token.endswith("0"))
    elif what == "shared":
        is_right = status == 200 and is_whole and content.startswith(f'{{"token":"{token}","shared":[')
    else:
        is_right = status == 200 and is_whole and content == BODIES[what](token)
    if not is_right:
        raise Wrong(story)


def _run(client: Client, ends: float, outcome: Outcome, lock: threading.Lock) -> None:
    while time.monotonic() < ends:
        try:
            what, is_waited_for = client.step()
        except (Wrong, OSError) as error:
            _note_wrong(client, error, outcome, lock)
            continue
        with lock:
            if is_waited_for:
                outcome.done[what] += 1
            else:
                outcome.left += 1
    client.close()


def _fork(address: tuple[str, int], ends: float, forks_a_second: float, outcome: Outcome, lock: threading.Lock) -> None:
    client, number = Client(address, 10_000), 0
    while time.monotonic() < ends:
        what = ("forks", "forks/blocking")[number % 2]
        number += 1
        try:
            client.ask(what)
        except (Wrong, OSError) as error:
            _note_wrong(client, error, outcome, lock)
        else:
            with lock:
                outcome.done[what] += 1
        time.sleep(1 / forks_a_second)
    client.close()


def _note_wrong(client: Client, error: Exception, outcome: Outcome, lock: threading.Lock) -> None:
    with lock:
        outcome.wrong.append(f"{type(error).__name__} {error}")
    client.close()
