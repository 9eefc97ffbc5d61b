"""The ring against the running kernel: how rounds end, overflows, failures, and the life of a ring."""

import errno
import os
import select
import signal
import socket
import struct
import time

import pytest

from mreactor.iouring import Ring, SystemCalls, abi, buffer_address, encode_timespec
from tests.iouring.rings import PATIENCE_NS, SECOND_NS, ScriptedCalls, collect, count_descriptors, results

pytestmark = pytest.mark.usefixtures("io_uring")


# --- submit and complete ------------------------------------------------------------------------------------


def test_a_nop_completes_with_its_user_data(ring: Ring) -> None:
    ring.prepare_nop(user_data=(1 << 64) - 1)
    ring.submit_and_wait(1)
    assert list(ring.completions()) == [((1 << 64) - 1, 0, 0)]
    assert list(ring.completions()) == []


def test_operations_of_a_batch_complete_in_order(ring: Ring) -> None:
    for user_data in range(40):
        ring.prepare_nop(user_data)
    ring.submit_and_wait(40)
    assert [user_data for user_data, _, _ in ring.completions()] == list(range(40))


def test_batches_of_every_size_wrap_around_both_rings() -> None:
    with Ring(8, cq_entries=16) as ring:
        assert (ring.sq_entries, ring.cq_entries) == (8, 16)
        expected = 0
        for size in [*range(1, 17), *range(16, 0, -1)] * 3:
            for user_data in range(expected, expected + size):
                ring.prepare_nop(user_data)
            ring.submit_and_wait(size)
            got = [user_data for user_data, _, _ in ring.completions()]
            assert got == list(range(expected, expected + size))
            expected += size


def test_more_operations_than_slots_are_all_submitted() -> None:
    calls = ScriptedCalls([])
    with Ring(4, cq_entries=256, calls=calls) as ring:
        for user_data in range(101):
            ring.prepare_nop(user_data)
        ring.submit_and_wait(101)
        assert [user_data for user_data, _, _ in ring.completions()] == list(range(101))
        assert calls.entered == 26


def test_a_batch_that_fits_costs_one_system_call() -> None:
    calls = ScriptedCalls([])
    with Ring(64, cq_entries=256, calls=calls) as ring:
        for user_data in range(64):
            ring.prepare_nop(user_data)
        ring.submit_and_wait(64, SECOND_NS)
        assert len(list(ring.completions())) == 64
        assert calls.entered == 1


def test_layouts_have_the_sizes_of_the_abi() -> None:
    assert struct.calcsize(abi.SQE_LAYOUT) == struct.calcsize(abi.SQE_SEND_LAYOUT) == abi.SQE_SIZE == 64
    assert struct.calcsize(abi.CQE_LAYOUT) == abi.CQE_SIZE == 16
    assert struct.calcsize(abi.GETEVENTS_LAYOUT) == abi.GETEVENTS_SIZE == 24
    assert struct.calcsize(abi.TIMESPEC_LAYOUT) == struct.calcsize(abi.RING_FD_LAYOUT) == 16
    assert struct.calcsize(abi.BUFFER_REGISTRATION_LAYOUT) == 40
    assert struct.calcsize(abi.BUFFER_LAYOUT) == abi.BUFFER_TAIL_OFFSET == abi.BUFFER_SIZE - 2


def test_completions_may_be_read_while_more_is_submitted() -> None:
    with Ring(4, cq_entries=4) as ring:
        for user_data in range(4):
            ring.prepare_nop(user_data)
        ring.submit_and_wait(4)
        seen = []
        for user_data, _, _ in ring.completions():
            seen.append(user_data)
            ring.prepare_nop(user_data + 100)
            ring.submit_and_wait(0)
        assert seen == [0, 1, 2, 3]
        assert [user_data for user_data, _, _ in collect(ring, 4)] == [100, 101, 102, 103]


# --- wait ---------------------------------------------------------------------------------------------------


def test_a_wait_ends_at_its_limit(ring: Ring) -> None:
    for limit in (20_000_000, 20_000_000, 5_000_000):
        started = time.monotonic_ns()
        ring.submit_and_wait(1, limit)
        assert limit <= time.monotonic_ns() - started < PATIENCE_NS
        assert list(ring.completions()) == []


@pytest.mark.parametrize("limit", [0, -5])
def test_an_expired_limit_does_not_wait(ring: Ring, limit: int) -> None:
    ring.submit_and_wait(1, limit)
    assert list(ring.completions()) == []


def test_a_limit_does_not_outlive_its_wait(ring: Ring) -> None:
    ring.submit_and_wait(1, 1_000)
    timespec = encode_timespec(30_000_000)
    ring.prepare_timeout(buffer_address(timespec), user_data=3)
    ring.submit_and_wait(1)
    assert list(ring.completions()) == [(3, -errno.ETIME, 0)]


def test_waiting_for_nothing_only_collects(ring: Ring, pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    ring.prepare_poll_multishot(far.fileno(), select.POLLIN, user_data=4)
    ring.submit_and_wait(0)
    assert list(ring.completions()) == []
    near.send(b"x")
    ring.submit_and_wait(0)
    [(user_data, events, flags)] = ring.completions()
    assert (user_data, events & select.POLLIN) == (4, select.POLLIN)
    assert flags & abi.CQE_MORE


def test_a_signal_ends_a_wait_without_an_error(ring: Ring) -> None:
    caught: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: caught.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)  # again and again: the first may come before the wait
        started = time.monotonic_ns()
        ring.submit_and_wait(1, PATIENCE_NS)
        assert time.monotonic_ns() - started < PATIENCE_NS
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert set(caught) == {signal.SIGALRM}
    assert list(ring.completions()) == []


# --- overflow of the CQ -------------------------------------------------------------------------------------


def test_an_overflow_is_visible_and_loses_nothing() -> None:
    with Ring(64, cq_entries=64) as ring:
        for user_data in range(300):
            ring.prepare_nop(user_data)
        ring.submit_and_wait(0)
        found: list[tuple[int, int, int]] = []
        rounds_overflowed = 0
        while ring.overflowed:
            rounds_overflowed += 1
            found += ring.completions()
            assert len(found) == 64 * rounds_overflowed
            ring.submit_and_wait(0)
        found += ring.completions()
        assert rounds_overflowed == 4
        assert [user_data for user_data, _, _ in found] == list(range(300))
        assert ring.dropped == 0


def test_overflowed_completions_satisfy_a_wait() -> None:
    with Ring(4, cq_entries=4) as ring:
        for user_data in range(6):
            ring.prepare_nop(user_data)
        ring.submit_and_wait(6, 1_000_000)
        assert [user_data for user_data, _, _ in ring.completions()] == [0, 1, 2, 3]
        ring.submit_and_wait(1)
        assert [user_data for user_data, _, _ in ring.completions()] == [4, 5]
        assert not ring.overflowed


def test_an_overflow_ends_a_multishot_operation_that_succeeds(listener: socket.socket) -> None:
    with Ring(4, cq_entries=4) as ring:
        ring.prepare_accept_multishot(listener.fileno(), user_data=1)
        ring.submit_and_wait(0)
        clients = [socket.create_connection(listener.getsockname()) for _ in range(8)]
        served: list[int] = []
        rearmed = 0
        while len(served) < len(clients):
            ring.submit_and_wait(1, SECOND_NS)
            for _, fd, flags in list(ring.completions()):
                assert fd >= 0
                served.append(fd)
                if not flags & abi.CQE_MORE:
                    rearmed += 1
                    ring.prepare_accept_multishot(listener.fileno(), user_data=1)
        assert len(set(served)) == 8
        assert rearmed > 0
        for fd in served:
            os.close(fd)
        for client in clients:
            client.close()


# --- failures of enter --------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [errno.EINTR, errno.EBUSY, errno.EBADR, errno.EAGAIN])
def test_a_transient_failure_loses_no_operation(error: int) -> None:
    with Ring(8, cq_entries=16, calls=ScriptedCalls([error])) as ring:
        ring.prepare_nop(user_data=1)
        ring.submit_and_wait(1, 1_000)
        ring.prepare_nop(user_data=2)
        assert results(ring, 2) == {1: 0, 2: 0}


def test_a_failure_in_a_backlog_loses_no_operation() -> None:
    with Ring(4, cq_entries=64, calls=ScriptedCalls([None, errno.EBUSY, errno.EBUSY])) as ring:
        for user_data in range(21):
            ring.prepare_nop(user_data)
        ring.submit_and_wait(1, 1_000)
        assert [user_data for user_data, _, _ in collect(ring, 21)] == list(range(21))


def test_the_next_call_completes_a_partial_submission() -> None:
    calls = SystemCalls()
    real, limits = calls.syscall, [2, 0, 3]

    def stingy(number: int, *arguments: int) -> int:
        if number != abi.NR_ENTER or not limits:
            return real(number, *arguments)
        index, pending, *rest = arguments
        return real(number, index, min(pending, limits.pop(0)), 0, *rest[1:])

    calls.syscall = stingy
    with Ring(8, cq_entries=16, calls=calls) as ring:
        for user_data in range(8):
            ring.prepare_nop(user_data)
        assert [user_data for user_data, _, _ in collect(ring, 8)] == list(range(8))
        assert limits == []


def test_a_shortage_of_memory_pauses_instead_of_spinning() -> None:
    calls = ScriptedCalls([errno.EAGAIN])
    with Ring(8, cq_entries=16, calls=calls) as ring:
        ring.prepare_nop(user_data=1)
        started = time.monotonic_ns()
        ring.submit_and_wait(1)
        assert time.monotonic_ns() - started >= 1_000_000
        assert calls.entered == 2
        assert collect(ring, 1) == [(1, 0, 0)]


def test_any_other_failure_is_raised() -> None:
    with Ring(8, cq_entries=16, calls=ScriptedCalls([errno.EFAULT])) as ring:
        with pytest.raises(OSError, match="io_uring_enter: Bad address") as raised:
            ring.submit_and_wait(0)
        assert raised.value.errno == errno.EFAULT


# --- create and close ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("entries", "cq_entries"), [(0, 8), (8, 4), (40_000, 65_536), (8, 100_000)])
def test_invalid_sizes_are_refused(entries: int, cq_entries: int) -> None:
    with pytest.raises(ValueError, match="do not make a ring"):
        Ring(entries, cq_entries=cq_entries)


def test_close_is_idempotent() -> None:
    ring = Ring(8, cq_entries=16)
    assert not ring.closed
    ring.close()
    ring.close()
    assert ring.closed


def test_rings_leave_no_descriptor_and_no_mapping_behind() -> None:
    def count_mappings() -> int:
        with open("/proc/self/maps", encoding="ascii", errors="replace") as maps:
            return sum("io_uring" in line or "/dev/zero" in line for line in maps)

    descriptors, mappings = count_descriptors(), count_mappings()
    for _ in range(40):  # more than the 16 rings that a thread can have registered at a time
        with Ring(8, cq_entries=16) as ring:
            ring.prepare_nop(user_data=1)
            ring.submit_and_wait(1)
            assert count_descriptors() == descriptors + 1
    assert (count_descriptors(), count_mappings()) == (descriptors, mappings)


def test_closing_ends_what_is_in_flight(listener: socket.socket) -> None:
    with socket.create_connection(listener.getsockname(), timeout=10) as client:
        served, _ = listener.accept()
        with Ring(8, cq_entries=16) as ring:
            ring.prepare_poll_multishot(served.fileno(), select.POLLIN, user_data=1)
            ring.submit_and_wait(0)
            served.close()
        assert client.recv(1) == b""
