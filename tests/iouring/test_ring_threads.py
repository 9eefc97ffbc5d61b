"""Rings and threads: messages between rings, wake-ups, and who may enter."""

import array
import errno
import os
import queue
import select
import struct
import threading
from collections.abc import Callable

import pytest

from mreactor.iouring import Memory, Ring, abi
from tests.iouring.rings import collect, count_descriptors

pytestmark = pytest.mark.usefixtures("io_uring")


class RingThread(threading.Thread):
    """A thread that waits in a ring of its own for one completion."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.ring_fds: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.seen: list[tuple[int, int, int]] = []

    def run(self) -> None:
        with Ring(8, cq_entries=16) as ring:
            self.ring_fds.put(ring.fd)
            self.seen = collect(ring, 1)


def test_a_message_reaches_a_ring_in_another_thread_and_wakes_it(ring: Ring) -> None:
    target = RingThread()
    target.start()
    ring.prepare_msg_ring(target.ring_fds.get(timeout=10), result=77, message=0xABCDEF0123456789, user_data=5)
    assert collect(ring, 1) == [(5, 0, 0)]
    target.join(10)
    assert target.seen == [(0xABCDEF0123456789, 77, 0)]


def test_messages_between_rings_of_one_thread_keep_their_order(ring: Ring) -> None:
    with Ring(8, cq_entries=64) as target:
        for number in range(50):
            ring.prepare_msg_ring(target.fd, number, 1000 + number, user_data=5, sqe_flags=abi.SQE_CQE_SKIP_SUCCESS)
        ring.submit_and_wait(0)
        assert collect(target, 50) == [(1000 + number, number, 0) for number in range(50)]
        assert list(ring.completions()) == []


def test_a_message_to_a_descriptor_that_is_no_ring_fails(ring: Ring) -> None:
    ring.prepare_msg_ring(0, 1, 2, user_data=5, sqe_flags=abi.SQE_CQE_SKIP_SUCCESS)
    [(user_data, res, _)] = collect(ring, 1)
    assert user_data == 5
    assert res in {-errno.EBADFD, -errno.EBADF}


def test_a_thread_without_a_ring_wakes_one_through_an_eventfd(ring: Ring) -> None:
    doorbell = os.eventfd(0, os.EFD_CLOEXEC)
    counter = Memory(8)
    ring.prepare_read(doorbell, counter.address, 8, user_data=1)
    ring.submit_and_wait(0)
    ringer = threading.Thread(target=os.eventfd_write, args=(doorbell, 3))
    ringer.start()
    assert collect(ring, 1) == [(1, 8, 0)]
    assert struct.unpack_from("<Q", counter.pages)[0] == 3
    ringer.join()
    counter.close()
    os.close(doorbell)


def test_a_polled_eventfd_wakes_repeatedly_without_a_read(ring: Ring) -> None:
    doorbell = os.eventfd(0, os.EFD_CLOEXEC)
    ring.prepare_poll_multishot(doorbell, select.POLLIN, user_data=1)
    ring.submit_and_wait(0)
    for _ in range(3):
        ringer = threading.Thread(target=os.eventfd_write, args=(doorbell, 1))
        ringer.start()
        [(user_data, events, flags)] = collect(ring, 1)
        assert (user_data, events) == (1, select.POLLIN)
        assert flags & abi.CQE_MORE
        ringer.join()
    os.close(doorbell)


def run_in_thread(work: Callable[[], object]) -> BaseException | None:
    """Return what `work` raised in a thread of its own."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised[0] if raised else None


def test_entering_from_another_thread_is_refused(ring: Ring) -> None:
    ring.prepare_nop(user_data=1)
    error = run_in_thread(lambda: ring.submit_and_wait(0))
    assert isinstance(error, OSError)
    assert error.errno == errno.EEXIST
    assert collect(ring, 1) == [(1, 0, 0)]


def test_entering_from_a_thread_with_its_own_ring_is_refused(ring: Ring) -> None:
    def enter() -> None:
        with Ring(4, cq_entries=4):
            ring.submit_and_wait(0)

    error = run_in_thread(enter)
    assert isinstance(error, OSError)
    assert error.errno == errno.EEXIST


def test_the_kernel_refuses_another_threads_registrations(ring: Ring) -> None:
    error = run_in_thread(lambda: ring.register(abi.REGISTER_PROBE, 0, 0))
    assert isinstance(error, OSError)
    assert error.errno == errno.EEXIST


def test_a_ring_of_an_ended_thread_can_be_closed_by_another() -> None:
    descriptors = count_descriptors()
    rings: list[Ring] = []
    assert run_in_thread(lambda: rings.append(Ring(8, cq_entries=16))) is None
    rings[0].close()
    assert count_descriptors() == descriptors


def test_many_threads_use_rings_of_their_own_at_the_same_time() -> None:
    def work() -> None:
        with Ring(16, cq_entries=64) as ring:
            for start in range(0, 16_000, 16):
                for user_data in range(start, start + 16):
                    ring.prepare_nop(user_data)
                ring.submit_and_wait(16)
                found = array.array("q", [user_data for user_data, _, _ in ring.completions()])
                assert found.tolist() == list(range(start, start + 16))

    outcomes: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    threads = [threading.Thread(target=lambda: outcomes.put(run_in_thread(work))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [outcomes.get() for _ in threads] == [None] * 4
