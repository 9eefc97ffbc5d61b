"""What can be asked of a ring: a method for each operation, and the queue in which they wait for submission.

Owns the queue; the ring that inherits it owns the memory and the system calls. One thread: the ring's.

An operation is 64 bytes, made by `struct` and put into a list. At submission the list is joined and copied
into the ring's slots in one step: 0.075 µs an operation, where a copy of its own for each costs 0.12 µs and a
method call more. And a list is never full, so no operation is lost and none has to submit the ones before it.

Common to all methods: `user_data` (u64) comes back in the completion. Memory named by address stays the
caller's, who keeps it alive and unmoved until the completion has been read. `sqe_flags` takes SQE_LINK,
SQE_HARDLINK and SQE_CQE_SKIP_SUCCESS. Errors arrive as negative errno in the completion.
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

# Offset of a pipe or a socket, or "where the file's position is".
NO_OFFSET = (1 << 64) - 1


class Operations:
    """The queue of operations and the methods that fill it. The base of `Ring`.

    An *attempt* is a send that is over when the submission returns, and may be put again and again:

        attempt = ring.pack_send(OP_SEND, SQE_CQE_SKIP_SUCCESS, fd, address, length, ring.attempt_flags, user_data)
        ring.put(attempt)

    It completes only where not everything went out: `res` is then the bytes that did, or -EAGAIN for none, or the
    error. MSG_WAITALL makes a short send a failure, which SQE_CQE_SKIP_SUCCESS lets through; MSG_DONTWAIT makes it end
    where it would wait. So nothing is in flight afterwards, and the memory is free. Do not queue another send to the
    same socket in the same submission: it may succeed where this one has failed. It has no method, which a loop would
    pay for with each answer.
    """

    __slots__ = ("_nosignal", "_pack", "_queue", "attempt_flags", "pack_send", "put")

    def __init__(self) -> None:
        self._queue: list[bytes] = []
        # This ring's own: to a Struct shared by all reactors every core would count references.
        self._nosignal = private_int(abi.MSG_NOSIGNAL)
        self.attempt_flags = private_int(abi.MSG_NOSIGNAL | socket.MSG_DONTWAIT | socket.MSG_WAITALL)
        self._pack = struct.Struct(abi.SQE_LAYOUT).pack
        #: pack_send(OP_SEND, sqe_flags, fd, address, length, flags, user_data): a send as bytes for `put`.
        self.pack_send = struct.Struct(abi.SQE_SEND_LAYOUT).pack
        #: put(sqe): queue a ready-made 64-byte operation, such as `pack_send` makes. The list's own method.
        self.put: Callable[[bytes], None] = self._queue.append

    def prepare_send(self, fd: int, address: int, length: int, flags: int, user_data: int) -> None:
        """Send `length` bytes from `address`, waiting for room.

        `flags` are MSG_* of send(2); MSG_NOSIGNAL is added. A short send is a success: the completion's `res`
        says how much went out. Never have two sends to one socket in flight: the later may overtake.
        """
        self.put(self.pack_send(OP_SEND, 0, fd, address, length, flags | self._nosignal, user_data))

    def prepare_recv_multishot(self, fd: int, group: int, user_data: int) -> None:
        """Receive again and again, into buffers of `group`, until a completion comes without CQE_MORE.

        `res` is the length, 0 the end of the stream; with CQE_BUFFER the buffer's id is flags >> 16. Ends
        with -ENOBUFS when the group is empty: return the buffers and arm again, nothing is lost.
        """
        flags, ioprio = SQE_BUFFER_SELECT, RECV_MULTISHOT
        self.put(self._pack(OP_RECV, flags, ioprio, fd, 0, 0, 0, 0, user_data, group, 0))

    def prepare_accept_multishot(self, fd: int, user_data: int, flags: int = socket.SOCK_CLOEXEC) -> None:
        """Accept again and again; `res` is the new descriptor. `flags` as in accept4(2).

        Ends, without CQE_MORE, with -EMFILE among others. A limit of open files that is raised later counts
        only for what is armed after that. Closing the listener does not end it: cancel it.
        """
        self.put(self._pack(OP_ACCEPT, 0, ACCEPT_MULTISHOT, fd, 0, 0, 0, flags, user_data, 0, 0))

    def prepare_cancel_fd(self, fd: int, user_data: int, sqe_flags: int = 0) -> None:
        """Cancel all that is in flight on `fd`; `res` is how many. Their own completions may come later.

        Followed by `prepare_close` in the same submission this lets the peer see the end of the stream; a
        close alone would not, as long as a receive is armed.
        """
        op_flags = CANCEL_FD | CANCEL_ALL
        self.put(self._pack(OP_ASYNC_CANCEL, sqe_flags, 0, fd, 0, 0, 0, op_flags, user_data, 0, 0))

    def prepare_cancel_user_data(self, target: int, user_data: int, sqe_flags: int = 0) -> None:
        """Cancel everything in flight whose user_data is `target`; `res` is how many."""
        op_flags = CANCEL_ALL
        self.put(self._pack(OP_ASYNC_CANCEL, sqe_flags, 0, -1, 0, target, 0, op_flags, user_data, 0, 0))

    def prepare_close(self, fd: int, user_data: int, sqe_flags: int = 0) -> None:
        """Close `fd`."""
        self.put(self._pack(OP_CLOSE, sqe_flags, 0, fd, 0, 0, 0, 0, user_data, 0, 0))

    def prepare_read(
        self, fd: int, address: int, length: int, user_data: int, offset: int = NO_OFFSET
    ) -> None:
        """Read up to `length` bytes to `address`, from `offset`, or from the file's position by default.

        On an eventfd (made blocking, or it fails with EAGAIN), with 8 bytes, this is how a thread without a
        ring wakes one.
        """
        self.put(self._pack(OP_READ, 0, 0, fd, offset, address, length, 0, user_data, 0, 0))

    def prepare_splice(self, source: int, offset: int, target: int, length: int, user_data: int) -> None:
        """Move up to `length` bytes from `offset` of file `source` (or from a pipe, NO_OFFSET) into `target`.

        One of the two must be a pipe. The kernel always does this in a worker thread of its own.
        """
        self.put(self._pack(OP_SPLICE, 0, 0, target, NO_OFFSET, offset, length, 0, user_data, 0, source))

    def prepare_poll_multishot(self, fd: int, events: int, user_data: int) -> None:
        """Report each time one of `events` (select.POLLIN and so on) comes up; `res` is what came up."""
        self.put(self._pack(OP_POLL_ADD, 0, 0, fd, 0, 0, POLL_MULTISHOT, events, user_data, 0, 0))

    def prepare_poll(self, fd: int, events: int, user_data: int) -> None:
        """Report once that one of `events` is up; `res` is what is up."""
        self.put(self._pack(OP_POLL_ADD, 0, 0, fd, 0, 0, 0, events, user_data, 0, 0))

    def prepare_timeout(self, address: int, user_data: int, flags: int = 0) -> None:
        """Complete with -ETIME after the timespec at `address` or, with flags TIMEOUT_ABS, at that time.

        `encode_timespec` makes one. The kernel copies it at submission: until then its bytes must live.
        """
        self.put(self._pack(OP_TIMEOUT, 0, 0, -1, 0, address, 1, flags, user_data, 0, 0))

    def prepare_msg_ring(
        self, ring_fd: int, result: int, message: int, user_data: int, sqe_flags: int = 0
    ) -> None:
        """Post a completion into the ring behind `ring_fd`: user_data `message`, res `result` (u31).

        It is delivered when that ring's thread next enters the kernel, and wakes it if it waits. The sender's
        own completion has `user_data`: -EBADFD or -EBADF if there is no such ring any more, -EOVERFLOW or
        -ENOMEM if it could not be delivered. SQE_CQE_SKIP_SUCCESS leaves only those.
        """
        self.put(self._pack(OP_MSG_RING, sqe_flags, 0, ring_fd, message, 0, result, 0, user_data, 0, 0))

    def prepare_nop(self, user_data: int) -> None:
        """Complete at once with res 0."""
        self.put(self._pack(OP_NOP, 0, 0, -1, 0, 0, 0, 0, user_data, 0, 0))


def encode_timespec(nanoseconds: int) -> bytes:
    """The kernel's timespec, for `prepare_timeout`: keep it until the submission."""
    return struct.pack(abi.TIMESPEC_LAYOUT, *divmod(nanoseconds, 1_000_000_000))
