"""Multishot receives into provided buffers are complete and in order, also after shortages and overflows."""

import ctypes
import errno
import mmap
import os
import random
import resource
import socket
from collections.abc import Iterator

import pytest

from mreactor.iouring import BASE_OFFSET, BufferRing, Memory, Ring, abi, buffer_address, object_address
from mreactor.iouring import memory as memory_module
from tests.iouring.rings import PATIENCE_NS, SECOND_NS

pytestmark = pytest.mark.usefixtures("io_uring")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname(), timeout=10)
        far, _ = listener.accept()
    with near, far:
        yield near, far


class Receiver:
    """Receives from sockets as a reactor does: take, recycle once a round, prepare receives that ended again."""

    def __init__(self, ring: Ring, buffers: BufferRing, sockets: list[socket.socket]) -> None:
        self.ring, self.buffers = ring, buffers
        self.received = {each.fileno(): bytearray() for each in sockets}
        self.ended: list[int] = []
        self.shortages = 0
        for fd in self.received:
            ring.prepare_recv_multishot(fd, buffers.group, user_data=fd)

    def turn(self) -> None:
        self.ring.submit_and_wait(1, SECOND_NS)
        used, rearm = 0, []
        for fd, res, flags in self.ring.completions():
            if flags & abi.CQE_BUFFER:
                used += 1
                self.received[fd] += self.buffers.take(flags >> abi.CQE_BUFFER_SHIFT, res)
            if res == 0:
                self.ended.append(fd)
            elif not flags & abi.CQE_MORE:
                assert res > 0 or res == -errno.ENOBUFS
                self.shortages += res < 0
                rearm.append(fd)
        self.buffers.recycle(used)
        for fd in rearm:
            self.ring.prepare_recv_multishot(fd, self.buffers.group, user_data=fd)


def receive_all(receiver: Receiver, turns: int = 100_000) -> None:
    while len(receiver.ended) < len(receiver.received) and turns:
        receiver.turn()
        turns -= 1
    assert sorted(receiver.ended) == sorted(receiver.received)


# --- receive ------------------------------------------------------------------------------------------------


def test_one_operation_receives_everything_until_the_end(ring: Ring, pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    with_buffers = BufferRing(ring, group=7, count=8, size=1024)
    ring.prepare_recv_multishot(far.fileno(), group=7, user_data=far.fileno())
    for text in (b"first", b"second", b"third"):
        near.sendall(text)
        ring.submit_and_wait(1, PATIENCE_NS)
        [(user_data, res, flags)] = ring.completions()
        assert (user_data, res) == (far.fileno(), len(text))
        assert flags & abi.CQE_BUFFER
        assert flags & abi.CQE_MORE
        assert with_buffers.take(flags >> abi.CQE_BUFFER_SHIFT, res) == text
        with_buffers.recycle(1)
    near.close()
    ring.submit_and_wait(1, PATIENCE_NS)
    [(_, res, flags)] = ring.completions()
    assert res == 0
    assert not flags & (abi.CQE_MORE | abi.CQE_BUFFER)
    with_buffers.close()


def test_one_large_arrival_fills_several_buffers(ring: Ring, pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    buffers = BufferRing(ring, group=0, count=16, size=100)
    payload = os.urandom(950)
    near.sendall(payload)
    ring.prepare_recv_multishot(far.fileno(), group=0, user_data=1)
    ring.submit_and_wait(10, PATIENCE_NS)
    found = list(ring.completions())
    assert [res for _, res, _ in found] == [100] * 9 + [50]
    assert [flags >> abi.CQE_BUFFER_SHIFT for _, _, flags in found] == list(range(10))
    assert b"".join(buffers.take(flags >> abi.CQE_BUFFER_SHIFT, res) for _, res, flags in found) == payload
    buffers.close()


def test_buffers_come_back_in_ring_order_past_the_tails_wrap(
    ring: Ring, pair: tuple[socket.socket, socket.socket]
) -> None:
    near, far = pair
    buffers = BufferRing(ring, group=0, count=4, size=8)
    ring.prepare_recv_multishot(far.fileno(), group=0, user_data=1)
    expected = 0
    for number in range(70_000):  # the tail has 16 bits
        near.send(b"%08d" % number)
        ring.submit_and_wait(1, PATIENCE_NS)
        [(_, res, flags)] = ring.completions()
        buffer_id = flags >> abi.CQE_BUFFER_SHIFT
        assert buffer_id == expected
        assert buffers.take(buffer_id, res) == b"%08d" % number
        buffers.recycle(1)
        expected = (expected + 1) % 4
    buffers.close()


def test_a_shortage_ends_the_receive_and_loses_nothing(ring: Ring, pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    buffers = BufferRing(ring, group=0, count=4, size=64)
    payload = os.urandom(4096)
    near.sendall(payload)
    near.shutdown(socket.SHUT_WR)
    receiver = Receiver(ring, buffers, [far])
    receive_all(receiver)
    assert receiver.shortages > 0
    assert receiver.received[far.fileno()] == payload
    buffers.close()


def test_a_receive_with_an_empty_pool_fails_at_once_even_on_a_silent_socket(
    ring: Ring, pair: tuple[socket.socket, socket.socket]
) -> None:
    near, far = pair
    buffers = BufferRing(ring, group=0, count=1, size=64)
    near.sendall(b"f" * 64 + b"rest")
    ring.prepare_recv_multishot(far.fileno(), group=0, user_data=1)
    ring.submit_and_wait(2, PATIENCE_NS)
    (_, length, flags), (_, shortage, _) = ring.completions()
    assert (length, shortage) == (64, -errno.ENOBUFS)
    ring.prepare_recv_multishot(near.fileno(), group=0, user_data=2)
    ring.submit_and_wait(1, PATIENCE_NS)
    assert [(user_data, res) for user_data, res, _ in ring.completions()] == [(2, -errno.ENOBUFS)]
    assert buffers.take(flags >> abi.CQE_BUFFER_SHIFT, length) == b"f" * 64
    buffers.recycle(1)
    ring.prepare_recv_multishot(far.fileno(), group=0, user_data=3)
    ring.submit_and_wait(1, PATIENCE_NS)
    [(user_data, length, flags)] = ring.completions()
    assert user_data == 3
    assert buffers.take(flags >> abi.CQE_BUFFER_SHIFT, length) == b"rest"
    buffers.close()


def test_a_completion_queue_that_overflows_loses_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    with Ring(4, cq_entries=4) as ring:
        buffers = BufferRing(ring, group=0, count=64, size=16)
        payload = os.urandom(3000)
        near.sendall(payload)
        near.shutdown(socket.SHUT_WR)
        receiver = Receiver(ring, buffers, [far])
        receive_all(receiver)
        assert receiver.received[far.fileno()] == payload
        assert ring.dropped == 0
        buffers.close()


@pytest.mark.parametrize(("count", "cq_entries"), [(2, 64), (8, 64), (32, 64), (8, 8), (64, 8)])
def test_many_sockets_share_a_small_pool_without_mixing_bytes(count: int, cq_entries: int) -> None:
    chance = random.Random(count * 1000 + cq_entries)
    pairs = [socket.socketpair() for _ in range(6)]
    sent = {far.fileno(): b"" for _, far in pairs}
    with Ring(8, cq_entries=cq_entries) as ring:
        buffers = BufferRing(ring, group=0, count=count, size=16)
        receiver = Receiver(ring, buffers, [far for _, far in pairs])
        for _ in range(400):
            for near, far in chance.sample(pairs, 3):
                data = chance.randbytes(chance.randrange(1, 60))
                near.send(data)
                sent[far.fileno()] += data
            receiver.turn()
        for near, _ in pairs:
            near.close()
        receive_all(receiver)
        assert {fd: bytes(data) for fd, data in receiver.received.items()} == sent
        buffers.close()
    for _, far in pairs:
        far.close()


def test_a_cancelled_receive_lets_the_peer_see_the_end(ring: Ring, pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    buffers = BufferRing(ring, group=0, count=4, size=64)
    fd = far.detach()
    ring.prepare_recv_multishot(fd, group=0, user_data=1)
    ring.submit_and_wait(0)
    ring.prepare_cancel_fd(fd, user_data=2)
    ring.prepare_close(fd, user_data=3)
    found: dict[int, int] = {}
    while len(found) < 3:
        ring.submit_and_wait(1, PATIENCE_NS)
        found |= {user_data: res for user_data, res, _ in ring.completions()}
    assert found == {1: -errno.ECANCELED, 2: 1, 3: 0}
    assert near.recv(1) == b""
    buffers.close()


# --- create and close ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "count", "size"), [(0, 0, 64), (0, 3, 64), (0, 65536, 64), (-1, 4, 64), (65536, 4, 64), (0, 4, 0)]
)
def test_invalid_shapes_are_refused(ring: Ring, group: int, count: int, size: int) -> None:
    with pytest.raises(ValueError):
        BufferRing(ring, group, count, size)


def test_the_largest_ring_of_buffers_works(ring: Ring, pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    buffers = BufferRing(ring, group=65535, count=32768, size=16)
    near.sendall(b"hello")
    ring.prepare_recv_multishot(far.fileno(), group=65535, user_data=1)
    ring.submit_and_wait(1, PATIENCE_NS)
    [(_, res, flags)] = ring.completions()
    assert buffers.take(flags >> abi.CQE_BUFFER_SHIFT, res) == b"hello"
    buffers.close()


def test_a_group_can_be_registered_once_and_again_after_close(ring: Ring) -> None:
    first = BufferRing(ring, group=1, count=4, size=64)
    with pytest.raises(OSError, match="File exists") as raised:
        BufferRing(ring, group=1, count=4, size=64)
    assert raised.value.errno == errno.EEXIST
    first.close()
    first.close()
    BufferRing(ring, group=1, count=4, size=64).close()


def test_buffers_may_be_closed_after_their_ring() -> None:
    ring = Ring(4, cq_entries=8)
    buffers = BufferRing(ring, group=0, count=4, size=64)
    ring.close()
    buffers.close()
    assert buffers.pool.closed


def test_the_pool_is_present_from_the_start(ring: Ring) -> None:
    buffers = BufferRing(ring, group=0, count=256, size=8192)
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    for buffer_id in range(256):
        buffers.take(buffer_id, 1)
    assert resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before < 64
    buffers.close()


# --- memory and addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"\0", b"a", b"some bytes", bytes(range(256)) * 5000])
def test_the_address_of_bytes_leads_to_the_bytes(data: bytes) -> None:
    address = buffer_address(data)
    assert ctypes.string_at(address, len(data)) == data
    assert address == ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value


def test_both_ways_to_an_address_agree() -> None:
    data = os.urandom(100)
    assert memory_module.address_by_ctypes(data) == object_address(data) + BASE_OFFSET == buffer_address(data)
    assert object_address is id, "the cheaper way"


def test_memory_is_zeroed_and_aligned_at_its_address() -> None:
    memory = Memory(10_000)
    assert memory.address % mmap.PAGESIZE == 0
    assert memory.pages[:] == bytes(10_000)
    memory.pages[9_990:] = b"0123456789"
    assert ctypes.string_at(memory.address + 9_990, 10) == b"0123456789"
    memory.close()
    assert memory.pages.closed
