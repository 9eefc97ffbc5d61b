"""Each operation against the running kernel."""

import errno
import os
import resource
import select
import socket
import struct
import time

import pytest

from mreactor.iouring import Memory, Ring, abi, buffer_address, encode_timespec
from tests.iouring.rings import collect, results

pytestmark = pytest.mark.usefixtures("io_uring")


# --- layouts and sends --------------------------------------------------------------------------------------


def pack_nonblocking_send(ring: Ring, fd: int, address: int, length: int, user_data: int) -> bytes:
    """Return a nonblocking send, as `Operations` describes it."""
    skip, flags = abi.SQE_CQE_SKIP_SUCCESS, ring.nonblocking_flags
    return ring.pack_send(abi.OP_SEND, skip, fd, address, length, flags, user_data)


def test_a_nonblocking_send_is_silent_on_success_and_can_be_queued_again(
    ring: Ring, pair: tuple[socket.socket, socket.socket]
) -> None:
    near, far = pair
    payload = b"again "
    sqe = pack_nonblocking_send(ring, far.fileno(), buffer_address(payload), len(payload), 9)
    assert len(sqe) == abi.SQE_SIZE
    for _ in range(3):
        ring.put(sqe)
    ring.prepare_nop(1)
    assert collect(ring, 1) == [(1, 0, 0)]
    assert near.recv(100) == payload * 3


def test_a_nonblocking_send_reports_how_much_went_out(ring: Ring, pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    payload = bytes(range(256)) * 32 * 1024
    sqe = pack_nonblocking_send(ring, far.fileno(), buffer_address(payload), len(payload), 9)
    ring.put(sqe)
    ((user_data, count, _),) = collect(ring, 1)
    assert user_data == 9
    assert 0 < count < len(payload)
    ring.put(sqe)
    assert collect(ring, 1) == [(9, -errno.EAGAIN, 0)], "the socket is full, and the send does not wait"
    received = b""
    while len(received) < count:
        received += near.recv(1 << 20)
    assert received == payload[:count]
    near.close()
    ring.put(pack_nonblocking_send(ring, far.fileno(), buffer_address(payload), 1, 9))
    assert collect(ring, 1) == [(9, -errno.EPIPE, 0)]


def test_sends_are_laid_out_field_by_field(ring: Ring) -> None:
    prepared: list[bytes] = []
    ring.put = prepared.append
    fd, address, length, user_data = 5, 0x1122334455667788, 0x99AABBCC, 0xFEDCBA9876543210
    ring.prepare_send(fd, address, length, socket.MSG_MORE, user_data)
    nonblocking = pack_nonblocking_send(ring, fd, address, length, user_data)
    flags = socket.MSG_DONTWAIT | socket.MSG_WAITALL
    for sqe, sqe_flags, op_flags in ((prepared.pop(), 0, socket.MSG_MORE), (nonblocking, 64, flags)):
        fields = struct.unpack("<BBHiQQIIQHHIQQ", sqe)
        expected = (26, sqe_flags, 0, fd, 0, address, length, op_flags | socket.MSG_NOSIGNAL, user_data)
        assert fields == (*expected, 0, 0, 0, 0, 0)


# --- accept, send, files ------------------------------------------------------------------------------------


def test_multishot_accept_accepts_every_client(ring: Ring, listener: socket.socket) -> None:
    ring.prepare_accept_multishot(listener.fileno(), user_data=1, flags=socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    ring.submit_and_wait(0)
    clients = [socket.create_connection(listener.getsockname()) for _ in range(5)]
    accepted = collect(ring, 5)
    assert all(user_data == 1 and flags & abi.CQE_MORE for user_data, _, flags in accepted)
    served = [socket.socket(fileno=fd) for _, fd, _ in accepted]
    assert {each.getpeername() for each in served} == {each.getsockname() for each in clients}
    assert not any(each.get_inheritable() or os.get_blocking(each.fileno()) for each in served)
    for each in clients + served:
        each.close()


def test_a_cancel_ends_an_accept_and_closing_the_listener_does_not(ring: Ring) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    ring.prepare_accept_multishot(listener.fileno(), user_data=1)
    ring.submit_and_wait(0)
    listener.close()
    ring.submit_and_wait(1, 20_000_000)
    assert list(ring.completions()) == []
    ring.prepare_cancel_user_data(1, user_data=2)
    assert results(ring, 2) == {1: -errno.ECANCELED, 2: 1}


def test_an_accept_without_descriptors_ends_and_can_be_prepared_again(ring: Ring, listener: socket.socket) -> None:
    client = socket.socket()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        # The kernel reads the limit when it takes the operation.
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
            ring.prepare_send(far.fileno(), buffer_address(payload) + sent, len(payload) - sent, 0, user_data=1)
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


def test_a_send_to_a_closed_peer_fails_without_a_signal(ring: Ring, pair: tuple[socket.socket, socket.socket]) -> None:
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


# --- poll and time-out --------------------------------------------------------------------------------------


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


# --- cancel and close ---------------------------------------------------------------------------------------


def test_cancel_and_close_in_one_submission_show_the_peer_the_end(ring: Ring, listener: socket.socket) -> None:
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


def test_a_cancel_by_user_data_cancels_all_matches(ring: Ring, pair: tuple[socket.socket, socket.socket]) -> None:
    for each in pair:
        ring.prepare_poll_multishot(each.fileno(), select.POLLIN, user_data=1)
    ring.prepare_poll_multishot(pair[0].fileno(), select.POLLIN, user_data=2)
    ring.prepare_cancel_user_data(1, user_data=3)
    found = sorted((user_data, res) for user_data, res, _ in collect(ring, 3))
    assert found == [(1, -errno.ECANCELED), (1, -errno.ECANCELED), (3, 2)]


def test_a_cancel_without_a_match_succeeds(ring: Ring) -> None:
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


def test_successes_can_be_skipped(ring: Ring) -> None:
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
