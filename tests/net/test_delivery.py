"""The watch over a slow peer: what it has acknowledged, and until when it must acknowledge more."""

import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from mreactor import Limits
from mreactor.net.reactor.base import Reactor
from mreactor.net.reactor.delivery import Delivery, delivered_segments, unacknowledged
from mreactor.protocol import FileBody, memory_of
from mreactor.runtime import IS_FREE_THREADED

NOW = 1000.0
LIMITS = Limits(write_stall_seconds=30.0, write_rate_min=500)


def test_who_acknowledges_nothing_has_a_stall() -> None:
    delivery = Delivery(NOW, 100_000)
    delivery.note(NOW + 20, 100_000)
    assert delivery.deadline(LIMITS) == NOW + 30


def test_what_only_the_kernel_has_taken_gains_nothing() -> None:
    delivery = Delivery(NOW, 100_000)
    delivery.sent += 50_000
    delivery.note(NOW + 20, 150_000)
    assert delivery.deadline(LIMITS) == NOW + 30


@pytest.mark.parametrize(
    ("at", "acknowledged", "deadline"),
    [
        (1, 10_000, 31),  # fast, so far: no more than a stall from now
        (20, 5_000, 40),  # at the least rate: the grace, and the time that so many bytes may take
        (29, 1, 30.002),
    ],
)
def test_a_peer_must_keep_up_its_rate(at: float, acknowledged: int, deadline: float) -> None:
    delivery = Delivery(NOW, 100_000)
    delivery.sent += 3_000
    delivery.note(NOW + at, 103_000 - acknowledged)
    assert delivery.deadline(LIMITS) == pytest.approx(NOW + deadline)


def test_a_steady_reader_goes_on_for_hours() -> None:
    delivery = Delivery(NOW, 100_000)
    for second in range(1, 10_000):
        delivery.sent += 600
        delivery.note(NOW + second, 100_000)
        assert delivery.deadline(LIMITS) > NOW + second + 1


def test_a_slower_one_is_late_at_the_moment_that_the_rate_tells() -> None:
    """At 400 of 500 bytes a second the grace of 30 s is used up after 150 s."""
    delivery, second = Delivery(NOW, 100_000), 0
    while NOW + second < delivery.deadline(LIMITS):
        second += 1
        delivery.sent += 400
        delivery.note(NOW + second, 100_000)
    assert second == 150


def test_bytes_that_are_counted_late_do_not_take_progress_back() -> None:
    """On io_uring the kernel may hold bytes whose completion has not been handled."""
    delivery = Delivery(NOW, 1_000)
    delivery.note(NOW + 5, 0)
    delivery.note(NOW + 10, 50_000)
    assert delivery.progressed_at == NOW + 5
    delivery.sent += 50_000
    delivery.note(NOW + 15, 50_000)
    assert delivery.progressed_at == NOW + 5


def test_segments_behind_a_lost_one_are_progress() -> None:
    delivery = Delivery(NOW, 100_000, 10)
    delivery.note(NOW + 20, 100_000, 11)
    assert delivery.deadline(LIMITS) == NOW + 30, "but they do not count for the rate"
    delivery.note(NOW + 21, 90_000, 11)
    delivery.note(NOW + 40, 90_000, 12)
    delivery.note(NOW + 45, 90_000, 12)
    assert delivery.deadline(LIMITS) == NOW + 30 + 20


def test_the_memory_of_output() -> None:
    content = bytes(5_000)
    assert memory_of(content) == 5_000
    assert memory_of(memoryview(content)[4_000:]) == 5_000, "a view keeps all of it"
    assert memory_of(memoryview(memoryview(content)[10:])[10:]) == 5_000
    assert memory_of(b"") == 0
    assert memory_of(FileBody(-1, 0, 5_000)) == 0


@pytest.mark.skipif(not IS_FREE_THREADED, reason="other builds have another allocator")
def test_large_output_counts_with_its_page() -> None:
    kib = 1024
    assert memory_of(bytes(100_000)) == 100_000
    assert memory_of(bytes(128 * kib)) == 192 * kib
    assert memory_of(bytes(500 * kib)) == 512 * kib
    assert memory_of(bytes(512 * kib)) == 1024 * kib
    assert memory_of(memoryview(bytes(1024 * kib))[1000:]) == 1536 * kib


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
    with server, client:
        server.setblocking(False)
        yield server, client


def test_the_kernel_tells_what_is_not_acknowledged(pair: tuple[socket.socket, socket.socket]) -> None:
    server, client = pair
    assert unacknowledged(server.fileno()) == 0
    before = delivered_segments(server)
    sent = server.send(bytes(1_000_000))
    assert 0 < sent - unacknowledged(server.fileno()) < 100_000, "the peer's kernel has taken what its buffer holds"
    taken = 0
    while taken < sent:
        taken += len(client.recv(1_000_000))
    end = time.monotonic() + 10
    while unacknowledged(server.fileno()) and time.monotonic() < end:
        time.sleep(0.01)
    assert unacknowledged(server.fileno()) == 0
    assert delivered_segments(server) > before


def test_other_sockets_have_no_segments() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert delivered_segments(one) == 0
        assert one.send(bytes(1000)) == 1000
        assert unacknowledged(one.fileno()) >= 1000


class Suspect:
    """A slow client, as a reactor sees it."""

    def __init__(self, queued: int, *, is_gone: bool = False) -> None:
        self.delivery = Delivery(NOW, 100_000)
        self._queued, self._is_gone = queued, is_gone

    def unacknowledged(self) -> int:
        if self._is_gone:
            raise ConnectionResetError
        return self._queued

    def note_delivery(self, delivery: Delivery, now: float, queued: int) -> None:
        delivery.note(now, queued)


STILL, STEADY, GONE = (100_000, False), (60_000, False), (100_000, True)


@pytest.mark.parametrize(
    ("kinds", "found"), [([STILL, STEADY], 0), ([STEADY, STILL], 1), ([STEADY, GONE, STILL], 1), ([STEADY, STEADY], 0)]
)
def test_the_one_to_be_reset_is_looked_at_again(kinds: list[tuple[int, bool]], found: int) -> None:
    """The last look at a steady one may be older than that at one that stands still."""
    suspects = [Suspect(queued, is_gone=is_gone) for queued, is_gone in kinds]
    reactor = SimpleNamespace(context=SimpleNamespace(now=NOW + 1))
    assert Reactor._find_slowest(reactor, suspects) is suspects[found]  # type: ignore[arg-type]
    assert [suspect.delivery.progressed_at > NOW for suspect in suspects[:found]] == [True] * found
