"""The ring against the running kernel: every operation, every way a round can end, and who may enter."""

import array
import errno
import os
import queue
import resource
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from mreactor.iouring import Memory, Ring, SystemCalls, abi, buffer_address, encode_timespec, probe

SECOND_NS = 1_000_000_000
PATIENCE_NS = 60 * SECOND_NS


@pytest.fixture(scope="module", autouse=True)
def _kernel_has_io_uring() -> None:
    support = probe()
    if not support.usable:
        pytest.skip(f"io_uring: {support.cause}")


@pytest.fixture
def ring() -> Iterator[Ring]:
    with Ring(64, cq_entries=256) as ring:
        yield ring


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    near.settimeout(10)
    with near, far:
        yield near, far


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener


def collect(ring: Ring, count: int) -> list[tuple[int, int, int]]:
    """At least `count` completions, or what came until patience ended."""
    found = list(ring.completions())
    deadline = time.monotonic_ns() + PATIENCE_NS
    while len(found) < count and time.monotonic_ns() < deadline:
        ring.submit_and_wait(1, SECOND_NS)
        found += ring.completions()
    return found


def results(ring: Ring, count: int) -> dict[int, int]:
    """user_data to res of `count` completions with different user_data."""
    found = {user_data: res for user_data, res, _ in collect(ring, count)}
    assert len(found) == count
    return found


def count_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class ScriptedCalls(SystemCalls):
    """Real calls, except that each `enter` first asks `script`: an errno to fail with, or None to go
    through."""

    def __init__(self, script: list[int | None]) -> None:
        super().__init__()
        self.script: list[int | None] = []
        self.entered = 0
        self._error = 0
        real_syscall, real_errno = self.syscall, self.errno

        def syscall(number: int, *arguments: object) -> int:
            self._error = 0
            if number == abi.NR_ENTER:
                self.entered += 1
                self._error = (self.script.pop(0) if self.script else None) or 0
            return -1 if self._error else real_syscall(number, *arguments)

        self.syscall = syscall
        self.errno = lambda: self._error or real_errno()
        self.script = script


# --- submitting and completing ------------------------------------------------------------------------------


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


def encode_attempt(ring: Ring, fd: int, address: int, length: int, user_data: int) -> bytes:
    """An attempt, as `Operations` describes it."""
    skip, flags = abi.SQE_CQE_SKIP_SUCCESS, ring.attempt_flags
    return ring.pack_send(abi.OP_SEND, skip, fd, address, length, flags, user_data)


def test_an_attempt_is_silent_where_all_went_out_and_can_be_put_again(
    ring: Ring, pair: tuple[socket.socket, socket.socket]
) -> None:
    near, far = pair
    payload = b"again "
    sqe = encode_attempt(ring, far.fileno(), buffer_address(payload), len(payload), 9)
    assert len(sqe) == abi.SQE_SIZE
    for _ in range(3):
        ring.put(sqe)
    ring.prepare_nop(1)
    assert collect(ring, 1) == [(1, 0, 0)]
    assert near.recv(100) == payload * 3


def test_an_attempt_tells_what_went_out_where_that_is_not_all(
    ring: Ring, pair: tuple[socket.socket, socket.socket]
) -> None:
    near, far = pair
    payload = bytes(range(256)) * 32 * 1024
    sqe = encode_attempt(ring, far.fileno(), buffer_address(payload), len(payload), 9)
    ring.put(sqe)
    ((user_data, count, _),) = collect(ring, 1)
    assert user_data == 9
    assert 0 < count < len(payload)
    ring.put(sqe)
    assert collect(ring, 1) == [(9, -errno.EAGAIN, 0)], "the socket is full, and an attempt does not wait"
    received = b""
    while len(received) < count:
        received += near.recv(1 << 20)
    assert received == payload[:count]
    near.close()
    ring.put(encode_attempt(ring, far.fileno(), buffer_address(payload), 1, 9))
    assert collect(ring, 1) == [(9, -errno.EPIPE, 0)]


def test_sends_are_laid_out_field_by_field(ring: Ring) -> None:
    fd, address, length, user_data = 5, 0x1122334455667788, 0x99AABBCC, 0xFEDCBA9876543210
    ring.prepare_send(fd, address, length, socket.MSG_MORE, user_data)
    attempt = encode_attempt(ring, fd, address, length, user_data)
    flags = socket.MSG_DONTWAIT | socket.MSG_WAITALL
    for sqe, sqe_flags, op_flags in ((ring._queue.pop(), 0, socket.MSG_MORE), (attempt, 64, flags)):
        fields = struct.unpack("<BBHiQQIIQHHIQQ", sqe)
        expected = (26, sqe_flags, 0, fd, 0, address, length, op_flags | socket.MSG_NOSIGNAL, user_data)
        assert fields == (*expected, 0, 0, 0, 0, 0)


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


# --- waiting ------------------------------------------------------------------------------------------------


def test_a_wait_ends_at_its_limit(ring: Ring) -> None:
    for limit in (20_000_000, 20_000_000, 5_000_000):
        started = time.monotonic_ns()
        ring.submit_and_wait(1, limit)
        assert limit <= time.monotonic_ns() - started < PATIENCE_NS
        assert list(ring.completions()) == []


@pytest.mark.parametrize("limit", [0, -5])
def test_a_limit_that_has_passed_does_not_wait(ring: Ring, limit: int) -> None:
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


def test_a_single_poll_reports_once(ring: Ring, pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    ring.prepare_poll(far.fileno(), select.POLLOUT, user_data=1)
    assert collect(ring, 1) == [(1, select.POLLOUT, 0)]
    ring.prepare_poll(far.fileno(), select.POLLIN, user_data=2)
    ring.submit_and_wait(0)
    near.send(b"x")
    assert collect(ring, 1) == [(2, select.POLLIN, 0)]
    near.send(b"y")
    ring.submit_and_wait(0)
    assert list(ring.completions()) == []


def test_a_relative_and_an_absolute_timeout_complete(ring: Ring) -> None:
    begun = time.monotonic_ns()
    relative, absolute = encode_timespec(10_000_000), encode_timespec(begun + 20_000_000)
    ring.prepare_timeout(buffer_address(absolute), user_data=2, flags=abi.TIMEOUT_ABS)
    ring.prepare_timeout(buffer_address(relative), user_data=1)
    assert results(ring, 2) == {1: -errno.ETIME, 2: -errno.ETIME}
    assert time.monotonic_ns() >= begun + 20_000_000


def test_a_signal_ends_the_wait_without_an_error(ring: Ring) -> None:
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: rung.append(number))
    try:
        signal.setitimer(
            signal.ITIMER_REAL, 0.02, 0.02
        )  # again and again: the first may come before the wait
        started = time.monotonic_ns()
        ring.submit_and_wait(1, PATIENCE_NS)
        assert time.monotonic_ns() - started < PATIENCE_NS
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert set(rung) == {signal.SIGALRM}
    assert list(ring.completions()) == []


# --- accept, receive, send, files ---------------------------------------------------------------------------


def test_multishot_accept_brings_every_client(ring: Ring, listener: socket.socket) -> None:
    ring.prepare_accept_multishot(
        listener.fileno(), user_data=1, flags=socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    )
    ring.submit_and_wait(0)
    clients = [socket.create_connection(listener.getsockname()) for _ in range(5)]
    accepted = collect(ring, 5)
    assert all(user_data == 1 and flags & abi.CQE_MORE for user_data, _, flags in accepted)
    served = [socket.socket(fileno=fd) for _, fd, _ in accepted]
    assert {each.getpeername() for each in served} == {each.getsockname() for each in clients}
    assert not any(each.get_inheritable() or os.get_blocking(each.fileno()) for each in served)
    for each in clients + served:
        each.close()


def test_closing_the_listener_ends_nothing_but_a_cancel_does(ring: Ring) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    ring.prepare_accept_multishot(listener.fileno(), user_data=1)
    ring.submit_and_wait(0)
    listener.close()
    ring.submit_and_wait(1, 20_000_000)
    assert list(ring.completions()) == []
    ring.prepare_cancel_user_data(1, user_data=2)
    assert results(ring, 2) == {1: -errno.ECANCELED, 2: 1}


def test_accept_without_descriptors_ends_and_can_be_armed_again(ring: Ring, listener: socket.socket) -> None:
    client = socket.socket()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        # The kernel takes note of the limit when the accept is armed.
        ring.prepare_accept_multishot(listener.fileno(), user_data=1)
        ring.submit_and_wait(0)
        client.connect(listener.getsockname())
        [(_, res, flags)] = collect(ring, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert res == -errno.EMFILE
    assert not flags & abi.CQE_MORE
    with client, socket.create_connection(listener.getsockname()) as second:
        ring.prepare_accept_multishot(listener.fileno(), user_data=1)
        with socket.socket(fileno=collect(ring, 1)[0][1]) as served:
            assert served.getpeername() in {client.getsockname(), second.getsockname()}


def test_a_short_send_is_a_success_and_can_be_continued(ring: Ring) -> None:
    payload = os.urandom(8 << 20)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    received = bytearray()
    sent, sends = 0, 0
    with near, far:
        while sent < len(payload):
            ring.prepare_send(
                far.fileno(), buffer_address(payload) + sent, len(payload) - sent, 0, user_data=1
            )
            ring.submit_and_wait(0)
            outcomes = list(ring.completions())
            while not outcomes:
                received += near.recv(1 << 20)
                ring.submit_and_wait(0)
                outcomes = list(ring.completions())
            [(_, res, _)] = outcomes
            assert res > 0
            sent, sends = sent + res, sends + 1
        far.shutdown(socket.SHUT_WR)
        while chunk := near.recv(1 << 20):
            received += chunk
    assert sends > 1
    assert received == payload


def test_a_send_to_a_closed_peer_fails_without_a_signal(
    ring: Ring, pair: tuple[socket.socket, socket.socket]
) -> None:
    near, far = pair
    near.close()
    payload = b"late"
    ring.prepare_send(far.fileno(), buffer_address(payload), len(payload), 0, user_data=1)
    assert collect(ring, 1) == [(1, -errno.EPIPE, 0)]


def test_a_file_is_read_at_an_offset_and_in_sequence(ring: Ring, tmp_path: object) -> None:
    path = os.path.join(str(tmp_path), "file")
    with open(path, "wb") as out:
        out.write(bytes(range(200)))
    memory = Memory(64)
    with open(path, "rb", buffering=0) as file:
        ring.prepare_read(file.fileno(), memory.address, 10, user_data=1, offset=150)
        ring.prepare_read(file.fileno(), memory.address + 16, 10, user_data=2)
        assert results(ring, 2) == {1: 10, 2: 10}
        assert memory.pages[:10] == bytes(range(150, 160))
        assert memory.pages[16:26] == bytes(range(10))
        ring.prepare_read(file.fileno(), memory.address, 10, user_data=3)
        assert results(ring, 1) == {3: 10}
        assert memory.pages[:10] == bytes(range(10, 20))
    memory.close()


def test_a_file_is_spliced_through_a_pipe_into_a_socket(
    ring: Ring, pair: tuple[socket.socket, socket.socket], tmp_path: object
) -> None:
    near, far = pair
    path = os.path.join(str(tmp_path), "file")
    content = os.urandom(20_000)
    with open(path, "wb") as out:
        out.write(content)
    source = os.open(path, os.O_RDONLY)
    pipe_out, pipe_in = os.pipe()
    ring.prepare_splice(source, 5_000, pipe_in, 12_000, user_data=1)
    assert results(ring, 1) == {1: 12_000}
    ring.prepare_splice(pipe_out, (1 << 64) - 1, far.fileno(), 12_000, user_data=2)
    assert results(ring, 1) == {2: 12_000}
    assert near.recv(20_000, socket.MSG_WAITALL | socket.MSG_DONTWAIT) == content[5_000:17_000]
    for fd in (source, pipe_out, pipe_in):
        os.close(fd)


# --- cancel and close ---------------------------------------------------------------------------------------


def test_cancel_and_close_in_one_submission_show_the_peer_the_end(
    ring: Ring, listener: socket.socket
) -> None:
    with socket.create_connection(listener.getsockname(), timeout=10) as client:
        served, _ = listener.accept()
        fd = served.detach()
        ring.prepare_poll_multishot(fd, select.POLLIN, user_data=1)
        ring.submit_and_wait(0)
        ring.prepare_cancel_fd(fd, user_data=2)
        ring.prepare_close(fd, user_data=3)
        assert results(ring, 3) == {1: -errno.ECANCELED, 2: 1, 3: 0}
        assert client.recv(1) == b""
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_everything_with_one_user_data_is_cancelled_at_once(
    ring: Ring, pair: tuple[socket.socket, socket.socket]
) -> None:
    for each in pair:
        ring.prepare_poll_multishot(each.fileno(), select.POLLIN, user_data=1)
    ring.prepare_poll_multishot(pair[0].fileno(), select.POLLIN, user_data=2)
    ring.prepare_cancel_user_data(1, user_data=3)
    found = sorted((user_data, res) for user_data, res, _ in collect(ring, 3))
    assert found == [(1, -errno.ECANCELED), (1, -errno.ECANCELED), (3, 2)]


def test_cancelling_nothing_is_no_failure(ring: Ring) -> None:
    ring.prepare_cancel_fd(0, user_data=1)
    ring.prepare_cancel_user_data(99, user_data=2)
    assert results(ring, 2) == {1: 0, 2: 0}


def test_linked_operations_run_one_after_the_other(ring: Ring) -> None:
    fd = os.dup(0)
    ring.prepare_close(fd, user_data=1, sqe_flags=abi.SQE_LINK)
    ring.prepare_close(fd, user_data=2, sqe_flags=abi.SQE_HARDLINK)
    ring.prepare_nop(user_data=3)
    assert [(user_data, res) for user_data, res, _ in collect(ring, 3)] == [(1, 0), (2, -errno.EBADF), (3, 0)]


def test_an_operation_of_the_wrong_size_is_refused(ring: Ring) -> None:
    ring.put(b"short")
    with pytest.raises(ValueError, match="different structures"):
        ring.submit_and_wait(0)


def test_successes_can_be_left_unreported(ring: Ring) -> None:
    fd = os.dup(0)
    ring.prepare_close(fd, user_data=1, sqe_flags=abi.SQE_CQE_SKIP_SUCCESS)
    ring.prepare_close(fd, user_data=2, sqe_flags=abi.SQE_CQE_SKIP_SUCCESS)
    ring.prepare_nop(user_data=3)
    assert results(ring, 2) == {2: -errno.EBADF, 3: 0}


def test_a_failing_operation_does_not_stop_its_batch(ring: Ring) -> None:
    ring.prepare_nop(user_data=1)
    ring.put(struct.pack("<B31xQ24x", 255, 2))
    ring.prepare_nop(user_data=3)
    assert results(ring, 3) == {1: 0, 2: -errno.EINVAL, 3: 0}


# --- from other threads -------------------------------------------------------------------------------------


class RingThread(threading.Thread):
    """A thread with a ring of its own, waiting in it for one completion."""

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
            ring.prepare_msg_ring(
                target.fd, number, 1000 + number, user_data=5, sqe_flags=abi.SQE_CQE_SKIP_SUCCESS
            )
        ring.submit_and_wait(0)
        assert collect(target, 50) == [(1000 + number, number, 0) for number in range(50)]
        assert list(ring.completions()) == []


def test_a_message_to_no_ring_fails(ring: Ring) -> None:
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


def test_a_polled_eventfd_wakes_again_and_again_without_being_read(ring: Ring) -> None:
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
    """What `work` raised in a thread of its own."""
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


# --- when the CQ is full ------------------------------------------------------------------------------------


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


def test_a_wait_is_satisfied_by_what_had_overflowed() -> None:
    with Ring(4, cq_entries=4) as ring:
        for user_data in range(6):
            ring.prepare_nop(user_data)
        ring.submit_and_wait(6, 1_000_000)
        assert [user_data for user_data, _, _ in ring.completions()] == [0, 1, 2, 3]
        ring.submit_and_wait(1)
        assert [user_data for user_data, _, _ in ring.completions()] == [4, 5]
        assert not ring.overflowed


def test_an_overflow_ends_a_multishot_request_that_otherwise_succeeds(listener: socket.socket) -> None:
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
def test_a_passing_failure_loses_no_operation(error: int) -> None:
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


def test_a_submission_taken_in_part_is_completed_by_the_next() -> None:
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


# --- life and death -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("entries", "cq_entries"), [(0, 8), (8, 4), (40_000, 65_536), (8, 100_000)])
def test_sizes_that_make_no_ring_are_refused(entries: int, cq_entries: int) -> None:
    with pytest.raises(ValueError, match="do not make a ring"):
        Ring(entries, cq_entries=cq_entries)


def test_closing_twice_is_closing_once() -> None:
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


def test_a_ring_of_an_ended_thread_can_be_closed_by_another() -> None:
    descriptors = count_descriptors()
    rings: list[Ring] = []
    assert run_in_thread(lambda: rings.append(Ring(8, cq_entries=16))) is None
    rings[0].close()
    assert count_descriptors() == descriptors


def test_closing_ends_what_is_in_flight(listener: socket.socket) -> None:
    with socket.create_connection(listener.getsockname(), timeout=10) as client:
        served, _ = listener.accept()
        with Ring(8, cq_entries=16) as ring:
            ring.prepare_poll_multishot(served.fileno(), select.POLLIN, user_data=1)
            ring.submit_and_wait(0)
            served.close()
        assert client.recv(1) == b""


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
