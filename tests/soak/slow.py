"""Slow clients: heads and bodies that come byte by byte, and responses that are not read, all at once.

Each has a deadline that it misses on purpose, and is to be closed soon after it; a normal client is not to notice.

The deadline of a reader that does not read runs from the last bytes that its kernel has taken, which takes a few now
and then, for tens of seconds: so its receive queue is watched. And it hears nothing of its end, which is behind bytes
that it does not read: so that is looked up in the kernel's table of sockets.
"""

import fcntl
import select
import struct
import termios
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from mreactor.config import Limits

from .clients import Address, connect, control_client, normal_client, raise_descriptor_limit
from .server import Server

DRIP_SECONDS = 1.0
TOO_LATE_SECONDS = 5.0
TOO_EARLY_SECONDS = 0.3
P99_SECONDS_MAX = 0.100
WINDOW = 4096
READ_BYTES = 64 * 1024
WATCH_SECONDS = 0.2
RENEWALS_MAX = 4  # by how many times its patience a reader's deadline may have moved before we lose ours,
RENEWAL_SECONDS_MAX = 60.0  # or by how many seconds, whichever is more
ESTABLISHED = "01"  # in proc_net_tcp(5)
END_SECONDS = 60.0
REQUESTS_MIN = 500
CONTROL_FACTOR = 4  # so many times what a client waits for a server without slow clients is added to the bound above

HEAD = b"GET /hello/slow HTTP/1.1\r\nHost: a\r\nX-Slow: "
BODY = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
FLOOD = b"GET /flood HTTP/1.1\r\nHost: a\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Slowness:
    """How many clients of each kind, and the limits that the server keeps."""

    heads: int
    bodies: int
    readers: int
    limits: Limits = field(default_factory=Limits)

    def options(self) -> list[str]:
        """The server's command line for these limits."""
        limits = self.limits
        return [
            f"--head-seconds={limits.head_seconds}",
            f"--body-grace-seconds={limits.body_grace_seconds}",
            f"--write-stall-seconds={limits.write_stall_seconds}",
        ]


@dataclass(slots=True)
class Beset:
    """What came of it.

    Attributes:
        lateness: for each kind, by how many seconds each client was closed after its deadline.
        left: for each kind, how many were not closed at all.
        latencies: p50, p99 and maximum of the normal client, in seconds, and how often it asked.
        control: p50 and p99 of another one, whose server has no load.
        failure: of the normal client.
        descriptors: of the server, more than before.
    """

    lateness: dict[str, list[float]] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    latencies: tuple[float, float, float, int] = (0.0, 0.0, 0.0, 0)
    control: tuple[float, float] = (0.0, 0.0)
    failure: str = ""
    descriptors: int = 0

    def __str__(self) -> str:
        lines = [
            f"slow {kind}: {len(late)} closed, {min(late):+.2f} to {max(late):+.2f} s after the deadline"
            for kind, late in self.lateness.items()
            if late
        ]
        p50, p99, longest, count = (*(1000 * seconds for seconds in self.latencies[:3]), self.latencies[3])
        lines.append(
            f"normal client: {count} requests, p50 {p50:.1f}, p99 {p99:.1f}, longest {longest:.1f} ms; without slow"
            f" ones p50 {1000 * self.control[0]:.1f}, p99 {1000 * self.control[1]:.1f} ms"
        )
        return "\n".join(lines)

    def faults(self) -> list[str]:
        """What is not as it must be, for people."""
        found = [f"{count} slow {kind} were not closed" for kind, count in self.left.items() if count]
        for kind, late in self.lateness.items():
            if late and (max(late) > TOO_LATE_SECONDS or min(late) < -TOO_EARLY_SECONDS):
                found.append(f"slow {kind} were closed {min(late):+.2f} to {max(late):+.2f} s after the deadline")
        # Of few requests the slowest is the 99th percentile, and tells of a machine with other work: then the middle.
        # Such a machine is slow to all: what the control waits for is no fault of the server's.
        which = 1 if self.latencies[3] >= REQUESTS_MIN else 0
        share, control = self.latencies[which], self.control[which]
        if share > P99_SECONDS_MAX + CONTROL_FACTOR * control:
            found.append(
                f"the normal client's {('p50', 'p99')[which]} is {share * 1000:.0f} ms, where it is"
                f" {control * 1000:.0f} ms without slow ones"
            )
        if self.failure:
            found.append(f"the normal client failed: {self.failure}")
        if self.descriptors > 0:
            found.append(f"{self.descriptors} descriptors are left open")
        return found


class Slow:
    """One slow client.

    Attributes:
        earliest, deadline: monotonic seconds between which the server has to lose patience.
        ended: when the server closed; None as long as it has not.
    """

    def __init__(self, address: Address, first: bytes, patience: float, window: int = 0) -> None:
        begun = time.monotonic()
        self.sock = connect(address, window)
        self.port: int = self.sock.getsockname()[1]
        self.sock.send(first)
        self._patience = patience
        self._queued = 0
        self._felt = time.monotonic()
        self.earliest, self.deadline = begun + patience, self._felt + patience
        self.ended: float | None = None

    def feel(self) -> None:
        """Put off the deadline if bytes have come, although the client does not read them."""
        queued: int = struct.unpack("i", fcntl.ioctl(self.sock, termios.FIONREAD, bytes(4)))[0]
        now = time.monotonic()
        if queued != self._queued:
            self._queued = queued
            self.earliest, self.deadline = self._felt + self._patience, now + self._patience
        self._felt = now

    @property
    def lateness(self) -> float:
        """By how many seconds it was closed after its deadline; negative: before it."""
        assert self.ended is not None, "it has been closed"
        return max(0.0, self.ended - self.deadline) or min(0.0, self.ended - self.earliest)

    def drip(self) -> None:
        """Send one more byte."""
        try:
            self.sock.send(b"x")
        except OSError:
            pass  # it is closed, of which `listen` will hear

    def listen(self) -> None:
        """Take what has come, and note the end."""
        try:
            while self.sock.recv(READ_BYTES):
                pass
        except BlockingIOError:
            return
        except OSError:
            pass  # reset: what we did not read has met a closed socket
        self.ended = time.monotonic()


def beset(server: Server, slowness: Slowness) -> Beset:
    """Have all slow clients at once, until each should have been closed."""
    raise_descriptor_limit()
    result, limits = Beset(), slowness.limits
    before = server.look().descriptors
    with control_client() as control, normal_client(server.address) as normal:
        heads = _gather(server.address, slowness.heads, HEAD, limits.head_seconds)
        bodies = _gather(server.address, slowness.bodies, BODY, limits.body_grace_seconds)
        readers: list[Slow] = []
        watcher = threading.Thread(target=_watch, args=(readers, slowness, server.address[1]), name="watcher")
        watcher.start()
        for _ in range(slowness.readers):
            readers.append(Slow(server.address, FLOOD, limits.write_stall_seconds, WINDOW))  # noqa: PERF401
        _drip(heads + bodies)
        watcher.join()
    groups = {"heads": heads, "bodies": bodies, "readers": readers}
    for kind, clients in groups.items():
        result.lateness[kind] = [client.lateness for client in clients if client.ended is not None]
        result.left[kind] = sum(client.ended is None for client in clients)
        for client in clients:
            client.sock.close()
    result.latencies = (normal.quantile(0.5), normal.quantile(0.99), max(normal.latencies), len(normal.latencies))
    result.control = (control.quantile(0.5), control.quantile(0.99))
    result.failure = str(normal.failure or control.failure or "")
    result.descriptors = _descriptors_left(server, before)
    return result


def _gather(address: Address, count: int, first: bytes, patience: float) -> list[Slow]:
    return [Slow(address, first, patience) for _ in range(count)]


def _drip(clients: list[Slow]) -> None:
    """Send a byte of each now and then, until all are closed, or should have been."""
    by_fd = {client.sock.fileno(): client for client in clients}
    with select.epoll() as poll:
        for fd in by_fd:
            poll.register(fd, select.EPOLLIN | select.EPOLLRDHUP)
        end = max((client.deadline for client in clients), default=0.0) + TOO_LATE_SECONDS + 1.0
        turns = _turns(clients)
        while by_fd and time.monotonic() < end:
            next(turns)
            for fd, _ in poll.poll(0.01, 512):
                by_fd[fd].listen()
                if by_fd[fd].ended is not None:
                    poll.unregister(fd)
                    del by_fd[fd]


def _turns(clients: list[Slow]) -> Iterator[None]:
    """Each step sends the bytes that are due: those of all clients, spread over `DRIP_SECONDS`."""
    begun, sent = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - begun) / DRIP_SECONDS * len(clients))
        for number in range(sent, due):
            client = clients[number % len(clients)]
            if client.ended is None:
                client.drip()
        sent = due
        yield


def _watch(readers: list[Slow], slowness: Slowness, port: int) -> None:
    """Note when each reader is closed, until all are, or should have been. Runs beside the thread that adds them."""
    end = time.monotonic() + max(RENEWALS_MAX * slowness.limits.write_stall_seconds, RENEWAL_SECONDS_MAX)
    while sum(reader.ended is not None for reader in readers) < slowness.readers and time.monotonic() < end:
        time.sleep(WATCH_SECONDS)
        waiting = [reader for reader in readers if reader.ended is None]
        for reader in waiting:
            reader.feel()
        now, served = time.monotonic(), _served(port)
        for reader in waiting:
            if reader.port not in served:
                reader.ended = now
            elif now > reader.deadline + TOO_LATE_SECONDS + 1.0:
                end = now  # it is not closed: there is nothing more to wait for


def _served(port: int) -> set[int]:
    """The ports of the clients that the server on a port has not closed, as the kernel's table shows them."""
    local = f":{port:04X}"
    found = set()
    with open("/proc/net/tcp") as table:
        for line in table:
            _, here, there, state, *_ = line.split(maxsplit=4)
            if state == ESTABLISHED and here.endswith(local):
                found.add(int(there[-4:], 16))
    return found


def _descriptors_left(server: Server, before: int) -> int:
    limit = time.monotonic() + END_SECONDS
    while (left := server.look().descriptors - before) > 0 and time.monotonic() < limit:
        time.sleep(0.05)
    return left
