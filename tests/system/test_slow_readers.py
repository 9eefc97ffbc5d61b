"""Slow readers, judged by what they have acknowledged; and what the kernel keeps of those that are given up."""

import fcntl
import socket
import struct
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mreactor import App, Limits, Request
from mreactor.protocol import memory_of
from tests.support.drivers import SOCKET_KINDS, SocketDriver, open_driver

pytestmark = pytest.mark.slow

WINDOW = 4096
STALL_SECONDS = 3.0
RATE_MIN = 8000
LIMITS = Limits(write_stall_seconds=STALL_SECONDS, write_rate_min=RATE_MIN)
# What the help promises may be late by so much.
LATE_SECONDS = 2.0
EARLY_SECONDS = 0.3


@pytest.fixture(params=SOCKET_KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


def make_app() -> App:
    app = App()

    @app.get("/bytes/{count:int}")
    def some(request: Request, count: int) -> bytes:
        return bytes(count)

    return app


@contextmanager
def serve(kind: str, limits: Limits = LIMITS) -> Iterator[SocketDriver]:
    with open_driver(kind, make_app(), limits, threads=1, drains=False) as driver:
        assert isinstance(driver, SocketDriver), "it has sockets"
        yield driver


class Reader:
    """A client that has asked for some bytes, takes `WINDOW` of them without reading, and reads when it is told to."""

    def __init__(self, driver: SocketDriver, count: int, *fields: str, window: int = WINDOW, mss: int = 1448) -> None:
        self._address = driver.server.address
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        if mss:
            # As in a network: over the loopback a segment would be larger than the window.
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)
        self.sock.settimeout(20.0)
        self.sock.connect(self._address)
        self.begun = self.progressed_at = time.monotonic()
        self.received = 0
        # How late this process was at most: the machine is busy.
        self.lag = 0.0
        request = [f"GET /bytes/{count} HTTP/1.1", "Host: a", *fields, "", ""]
        self.sock.sendall("\r\n".join(request).encode())

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    @property
    def seconds(self) -> float:
        """Since the request."""
        return time.monotonic() - self.begun

    def read(self, count: int) -> int:
        """Read so many bytes at most; returns how many there were."""
        data = self.sock.recv(count)
        self.received += len(data)
        return len(data)

    def acknowledged(self) -> int:
        """Count what the client's kernel has taken, read or not."""
        queued: int = struct.unpack("i", fcntl.ioctl(self.sock, termios.FIONREAD, bytes(4)))[0]
        return self.received + queued

    def is_held(self) -> bool:
        """Whether the kernel holds anything on the server's side, whichever process owns it."""
        server, client = f":{self._address[1]:04X}", f":{self.sock.getsockname()[1]:04X}"
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return any(here.endswith(server) and there.endswith(client) for _, here, there, *_ in lines)

    def seconds_until_given_up(self, rate: int = 0) -> float:
        """Read at a rate until nothing is left on the server's side; returns the seconds since the request."""
        due, looked_at = self.begun, time.monotonic()
        acknowledged = 0
        while self.is_held():
            assert self.seconds < 30, "it is given up"
            time.sleep(0.02)
            self.lag = max(self.lag, time.monotonic() - looked_at - 0.02)
            looked_at = time.monotonic()
            if self.acknowledged() > acknowledged:
                acknowledged, self.progressed_at = self.acknowledged(), looked_at
            while rate and due < time.monotonic():
                due += 0.1
                try:
                    self.read(rate // 10)
                except OSError:
                    break
        return self.seconds


def test_one_that_reads_nothing_is_reset_after_a_stall(kind: str) -> None:
    with serve(kind) as driver, Reader(driver, 8_000_000) as reader:
        reader.seconds_until_given_up()
        seconds = time.monotonic() - reader.progressed_at
        assert STALL_SECONDS - EARLY_SECONDS < seconds < STALL_SECONDS + LATE_SECONDS + reader.lag
        driver.wait_until(lambda: driver.open_connections() == 0)
        assert driver.timeouts() == {"write": 1}
        assert driver.contexts()[0].counters.unsent == 0


def test_one_that_stays_below_the_rate_is_reset_when_its_grace_is_used_up(kind: str) -> None:
    with serve(kind) as driver, Reader(driver, 8_000_000) as reader:
        seconds = reader.seconds_until_given_up(rate=RATE_MIN // 2)
        due = STALL_SECONDS + reader.acknowledged() / RATE_MIN
        assert due > STALL_SECONDS + 1, "it has read, so it had longer than one that does not"
        assert due - EARLY_SECONDS < seconds < due + LATE_SECONDS + reader.lag
        assert driver.timeouts() == {"write": 1}


def test_a_steady_reader_with_a_small_window_is_served(kind: str) -> None:
    """Its window never opens for a whole segment of the loopback, and no third of a send buffer falls free."""
    with serve(kind, Limits(write_stall_seconds=2.0, write_rate_min=500)) as driver:
        with Reader(driver, 8_000_000) as reader:
            while reader.seconds < 9:
                assert reader.read(800), "the server keeps sending"
                time.sleep(0.1)
            assert reader.received > 40_000
            assert reader.is_held()
        assert driver.timeouts() == {}


def test_one_that_leaves_a_whole_response_in_the_kernel_is_reset_after_two_stalls_at_most(kind: str) -> None:
    """The kernel took it all with the first send, so nothing was left to send: the connection is idle."""
    with serve(kind) as driver, Reader(driver, 120_000, mss=0) as reader:
        time.sleep(0.5)
        assert driver.contexts()[0].counters.unsent == 0
        seconds = reader.seconds_until_given_up()
        assert STALL_SECONDS - EARLY_SECONDS < seconds < 2 * STALL_SECONDS + LATE_SECONDS + reader.lag
        assert driver.timeouts() == {"write": 1}


def test_a_closed_connection_counts_until_its_reader_has_nearly_all(kind: str) -> None:
    """The kernel takes the end of the response long before its reader, and lingering is over long before that."""
    size = 600_000
    limits = Limits(write_stall_seconds=STALL_SECONDS, linger_seconds=0.3)
    with serve(kind, limits) as driver, Reader(driver, size, "Connection: close", window=32 * 1024) as reader:
        taken = -1
        while count := reader.read(20_000):
            taken += count
            if driver.timeouts()["linger"] and size - taken > 150_000:
                assert driver.open_connections() == 1, "what the kernel holds for a peer counts"
            time.sleep(0.2)
        assert reader.received > size
        assert driver.timeouts() == {"linger": 1}
        driver.wait_until(lambda: driver.open_connections() == 0)


def test_a_closed_connection_whose_reader_stops_is_reset(kind: str) -> None:
    limits = Limits(write_stall_seconds=2.0, linger_seconds=0.3)
    with serve(kind, limits) as driver, Reader(driver, 400_000, "Connection: close", window=16_384, mss=0) as reader:
        while not driver.timeouts()["linger"]:
            reader.read(4000)
            time.sleep(0.05)
        driver.wait_until(lambda: driver.open_connections() == 0)
        assert not reader.is_held()
        assert driver.timeouts() == {"linger": 1, "write": 1}


def test_a_closed_connection_whose_reader_resets_is_forgotten(kind: str) -> None:
    with serve(kind, Limits(write_stall_seconds=30.0, linger_seconds=0.3)) as driver:
        with Reader(driver, 400_000, "Connection: close", window=16 * 1024, mss=0) as reader:
            while not driver.timeouts()["linger"]:
                reader.read(4000)
                time.sleep(0.05)
            assert driver.open_connections() == 1
            reader.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        begun = driver.now()
        driver.wait_until(lambda: driver.open_connections() == 0)
        assert driver.now() - begun < LATE_SECONDS


def test_a_slow_client_is_served_on_when_it_has_caught_up(kind: str) -> None:
    """It leaves the fast path while it is slow, and comes back."""
    with serve(kind) as driver, driver.connect(window=WINDOW) as client:
        client.send(b"GET /bytes/900000 HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(1.0)
        assert len(client.receive().body) == 900_000
        for pause in (0.0, 0.0, 1.5, 0.0, 0.0):
            time.sleep(pause)
            assert len(client.ask(b"GET /bytes/10 HTTP/1.1\r\nHost: a\r\n\r\n").body) == 10
        assert driver.timeouts() == {}


# Memory.

SIZE = 2_000_000


def test_past_the_bound_the_one_that_stands_still_longest_is_reset(kind: str) -> None:
    limits = Limits(write_stall_seconds=60.0, unsent_bytes_max=2 * SIZE + 700_000)
    with serve(kind, limits) as driver:
        counters = driver.contexts()[0].counters
        with Reader(driver, SIZE, window=64 * 1024) as steady, Reader(driver, SIZE) as still:
            driver.wait_until(lambda: counters.unsent >= 2 * SIZE)
            while steady.seconds < 2.5:
                steady.read(20_000)
                time.sleep(0.1)
            assert still.is_held()
            with Reader(driver, SIZE) as late:
                driver.wait_until(lambda: not still.is_held())
                assert counters.errors == {"unsent": 1}
                assert counters.unsent <= limits.unsent_bytes_max
                assert late.is_held()
                while steady.received < SIZE:
                    assert steady.read(200_000), "the steady one gets all"
        driver.wait_until(lambda: driver.open_connections() == 0)
        assert counters.unsent == 0


def test_the_memory_of_a_response_counts_once(kind: str) -> None:
    """No backend keeps a copy of a piece."""
    with serve(kind) as driver, Reader(driver, SIZE):
        counters = driver.contexts()[0].counters
        driver.wait_until(lambda: counters.unsent > 0)
        assert SIZE <= counters.unsent <= memory_of(bytes(SIZE)) + 1000


def test_a_response_beyond_the_bound_is_sent_if_it_is_the_only_one(kind: str) -> None:
    with serve(kind, Limits(unsent_bytes_max=1024)) as driver, Reader(driver, SIZE, "Connection: close") as reader:
        time.sleep(1.5)
        while reader.read(200_000):
            pass
        assert reader.received > SIZE
