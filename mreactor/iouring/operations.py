"""The operations of a ring: a method for each, and the queue in which they wait for submission. Ring's thread only.

An operation is 64 bytes in a list. At submission the ring joins the list and copies it into its slots in one step
(docs/decisions/034). The list is never full, so no operation is lost.

Common to all methods: the completion carries `user_data` (u64), and an error as a negative errno in `res`. The caller
keeps memory that it passes by address alive and unmoved until it has read the completion. `sqe_flags` takes SQE_LINK,
SQE_HARDLINK and SQE_CQE_SKIP_SUCCESS.
"""

import socket
import struct
from collections.abc import Callable

from ..runtime import private_int
from . import abi
from .abi import (
    ACCEPT_MULTISHOT,
    CANCEL_ALL,
    CANCEL_FD,
    OP_ACCEPT,
    OP_ASYNC_CANCEL,
    OP_CLOSE,
    OP_MSG_RING,
    OP_NOP,
    OP_POLL_ADD,
    OP_READ,
    OP_RECV,
    OP_SEND,
    OP_SPLICE,
    OP_TIMEOUT,
    POLL_MULTISHOT,
    RECV_MULTISHOT,
    SQE_BUFFER_SELECT,
)

# The offset of a pipe or a socket. For a file it means the current position.
NO_OFFSET = (1 << 64) - 1


class Operations:
    """The queue of operations and the methods that fill it. The base of `Ring`.

    A *nonblocking send* ends with its submission. Its bytes may be queued again and again:

        sqe = ring.pack_send(OP_SEND, SQE_CQE_SKIP_SUCCESS, fd, address, length, ring.nonblocking_flags, user_data)
        ring.put(sqe)

    It completes only if not all bytes went out: `res` is their count, -EAGAIN for none, or an error. MSG_DONTWAIT ends
    the send where it would wait. MSG_WAITALL makes a short send a failure. SQE_CQE_SKIP_SUCCESS posts failures only.

    A nonblocking send cannot overtake an earlier one, because none is in flight after its submission. Queue only one
    send a socket and submission: a second may succeed where the first failed. See docs/decisions/031.
    """

    __slots__ = ("_nosignal", "_pack", "_queue", "nonblocking_flags", "pack_send", "put")

    def __init__(self) -> None:
        self._queue: list[bytes] = []
        # Each ring has its own: threads would count references to shared ints and Structs (docs/decisions/004).
        self._nosignal = private_int(abi.MSG_NOSIGNAL)
        self.nonblocking_flags = private_int(abi.MSG_NOSIGNAL | socket.MSG_DONTWAIT | socket.MSG_WAITALL)
        self._pack = struct.Struct(abi.SQE_LAYOUT).pack
        #: pack_send(OP_SEND, sqe_flags, fd, address, length, flags, user_data) returns a send for `put`.
        self.pack_send = struct.Struct(abi.SQE_SEND_LAYOUT).pack
        #: put(sqe) queues a packed 64-byte operation.
        self.put: Callable[[bytes], None] = self._queue.append

    def prepare_send(self, fd: int, address: int, length: int, flags: int, user_data: int) -> None:
        """Send `length` bytes from `address`. Wait for room in the socket.

        `flags` are MSG_* of send(2); MSG_NOSIGNAL is added. A short send is a success, and `res` is the number of bytes
        sent. Never have two sends to one socket in flight: the later may overtake.
        """
        self.put(self.pack_send(OP_SEND, 0, fd, address, length, flags | self._nosignal, user_data))

    def prepare_recv_multishot(self, fd: int, group: int, user_data: int) -> None:
        """Receive repeatedly into buffers of `group`, until a completion without CQE_MORE.

        `res` is the length, and 0 at the end of the stream. With CQE_BUFFER, flags >> CQE_BUFFER_SHIFT is the buffer.
        An empty group ends the operation with -ENOBUFS. Recycle buffers and prepare it again; no bytes are lost.
        """
        flags, ioprio = SQE_BUFFER_SELECT, RECV_MULTISHOT
        self.put(self._pack(OP_RECV, flags, ioprio, fd, 0, 0, 0, 0, user_data, group, 0))

    def prepare_accept_multishot(self, fd: int, user_data: int, flags: int = socket.SOCK_CLOEXEC) -> None:
        """Accept repeatedly. `res` is the new descriptor. `flags` as in accept4(2).

        An error such as -EMFILE ends the operation: its completion has no CQE_MORE. The limit of open files counts as
        it was when the operation was prepared. Closing the listener does not end it; cancel it.
        """
        self.put(self._pack(OP_ACCEPT, 0, ACCEPT_MULTISHOT, fd, 0, 0, 0, flags, user_data, 0, 0))

    def prepare_cancel_fd(self, fd: int, user_data: int, sqe_flags: int = 0) -> None:
        """Cancel all operations on `fd`. `res` is their number. Their completions may come later.

        Follow it by `prepare_close` in the same submission. A close alone does not show the peer the end of the stream
        as long as a receive is in flight.
        """
        op_flags = CANCEL_FD | CANCEL_ALL
        self.put(self._pack(OP_ASYNC_CANCEL, sqe_flags, 0, fd, 0, 0, 0, op_flags, user_data, 0, 0))

    def prepare_cancel_user_data(self, target: int, user_data: int, sqe_flags: int = 0) -> None:
        """Cancel all operations whose user_data is `target`. `res` is their number."""
        op_flags = CANCEL_ALL
        self.put(self._pack(OP_ASYNC_CANCEL, sqe_flags, 0, -1, 0, target, 0, op_flags, user_data, 0, 0))

    def prepare_close(self, fd: int, user_data: int, sqe_flags: int = 0) -> None:
        """Close `fd`."""
        self.put(self._pack(OP_CLOSE, sqe_flags, 0, fd, 0, 0, 0, 0, user_data, 0, 0))

    def prepare_read(self, fd: int, address: int, length: int, user_data: int, offset: int = NO_OFFSET) -> None:
        """Read up to `length` bytes to `address`, from `offset` or from the file's position.

        A thread without a ring wakes one by an eventfd from which the ring reads 8 bytes. The eventfd must be blocking.
        """
        self.put(self._pack(OP_READ, 0, 0, fd, offset, address, length, 0, user_data, 0, 0))

    def prepare_splice(self, source: int, offset: int, target: int, length: int, user_data: int) -> None:
        """Move up to `length` bytes from `offset` of file `source` (or from a pipe, NO_OFFSET) into `target`.

        One of the two must be a pipe. The kernel always splices in a worker thread.
        """
        self.put(self._pack(OP_SPLICE, 0, 0, target, NO_OFFSET, offset, length, 0, user_data, 0, source))

    def prepare_poll_multishot(self, fd: int, events: int, user_data: int) -> None:
        """Complete each time one of `events` (such as select.POLLIN) occurs. `res` is the events that occurred."""
        self.put(self._pack(OP_POLL_ADD, 0, 0, fd, 0, 0, POLL_MULTISHOT, events, user_data, 0, 0))

    def prepare_poll(self, fd: int, events: int, user_data: int) -> None:
        """Complete once when one of `events` is present. `res` is the events that are present."""
        self.put(self._pack(OP_POLL_ADD, 0, 0, fd, 0, 0, 0, events, user_data, 0, 0))

    def prepare_timeout(self, address: int, user_data: int, flags: int = 0) -> None:
        """Complete with -ETIME after the timespec at `address`. With flags TIMEOUT_ABS, complete at that time.

        `encode_timespec` returns a timespec. Keep it alive until the submission, when the kernel copies it.
        """
        self.put(self._pack(OP_TIMEOUT, 0, 0, -1, 0, address, 1, flags, user_data, 0, 0))

    def prepare_msg_ring(self, ring_fd: int, result: int, message: int, user_data: int, sqe_flags: int = 0) -> None:
        """Post a completion with user_data `message` and res `result` (u31) into the ring behind `ring_fd`.

        It wakes that ring's thread. The sender's own completion has `user_data`, and res -EBADFD or -EBADF if the ring
        is gone, -EOVERFLOW or -ENOMEM if the kernel could not deliver. SQE_CQE_SKIP_SUCCESS leaves only these.
        """
        self.put(self._pack(OP_MSG_RING, sqe_flags, 0, ring_fd, message, 0, result, 0, user_data, 0, 0))

    def prepare_nop(self, user_data: int) -> None:
        """Complete immediately with res 0."""
        self.put(self._pack(OP_NOP, 0, 0, -1, 0, 0, 0, 0, user_data, 0, 0))


def encode_timespec(nanoseconds: int) -> bytes:
    """Return a timespec of the kernel, for `prepare_timeout`."""
    return struct.pack(abi.TIMESPEC_LAYOUT, *divmod(nanoseconds, 1_000_000_000))
