"""A ring: submit prepared operations, wait, read completions.

Owns one io_uring instance. One thread creates, uses and closes it; the kernel enforces that.

    with Ring(256, cq_entries=4096) as ring:
        ring.prepare_nop(user_data=7)
        ring.submit_and_wait(1)
        for user_data, res, flags in ring.completions():
            ...

A round costs much more than an operation, so queue many operations a round. See docs/decisions/034.
"""

import errno
import os
import struct
from collections.abc import Callable, Iterator
from functools import partial
from threading import get_ident
from types import TracebackType
from typing import Self

from ..runtime import hot, private_int
from . import abi
from .abi import CQE_SIZE, SQE_SIZE
from .errors import explain_refusal
from .mapping import Mapping
from .memory import Memory
from .operations import Operations, encode_timespec
from .syscalls import SystemCalls, pointer_argument, size_argument

ENTRIES_MAX = 32768
CQ_ENTRIES_MAX = 2 * ENTRIES_MAX

# Offsets in the page of arguments: two getevents_arg, the timespec of the second, the registration of the ring's fd.
_UNLIMITED = 0
_LIMITED = 32
_TIMESPEC = 64
_RING_FD = 96
_ARGUMENTS_SIZE = 128

_SUBMIT = abi.ENTER_REGISTERED_RING
_WAIT = abi.ENTER_REGISTERED_RING | abi.ENTER_EXT_ARG | abi.ENTER_GETEVENTS
_MEMORY_WAIT_NS = 1_000_000

# Failures of `enter` that leave the ring as it was. The caller reads its completions and enters again.
#   ETIME  the wait has timed out: the normal end of an idle round
#   EINTR  a signal
#   EBUSY  the kernel holds completions for which the CQ has no room: reading the CQ makes room
#   EBADR  the kernel had no memory and dropped completions. `dropped` counts them, also after a success.
_TRANSIENT_ERRORS = frozenset({errno.ETIME, errno.EINTR, errno.EBUSY, errno.EBADR})


@hot("submit_and_wait", "completions", "_fill", "prepare_recv_multishot")
class Ring(Operations):
    """One io_uring instance of the thread that created it.

    Attributes:
        fd: the descriptor, to which other rings post.
        sq_entries, cq_entries: the sizes that the kernel granted, powers of two.
        features, flags: as the kernel reported them.
    """

    __slots__ = (
        "_arguments", "_calls", "_cq", "_enter_args", "_index", "_mapping", "_owner", "_pending", "_sq",
        "_sq_offset", "_timeout_ns", "closed", "cq_entries", "fd", "features", "flags", "sq_entries",
    )  # fmt: skip

    def __init__(self, entries: int, *, cq_entries: int, calls: SystemCalls | None = None) -> None:
        """Set up a ring with at least `entries` slots and room for `cq_entries` completions, both rounded up.

        Make the CQ large enough for all completions of one round. An overflow ends the multishot operations that it
        meets. Raises RingUnavailable, or ValueError for sizes out of range.
        """
        if not 1 <= entries <= ENTRIES_MAX or not entries <= cq_entries <= CQ_ENTRIES_MAX:
            raise ValueError(f"entries {entries} and cq_entries {cq_entries} do not make a ring")
        super().__init__()
        self._calls = calls = calls or SystemCalls()
        self._mapping = mapping = Mapping(calls, entries, cq_entries)
        self._arguments = Memory(_ARGUMENTS_SIZE)
        self._owner = get_ident()
        self.closed = False
        self._copy_hot_fields(mapping)
        waits = self._lay_out_arguments()
        self._index = self._register_descriptor()
        # `partial` binds two arguments in C, which is cheaper than reading two attributes a call.
        enter = partial(calls.syscall, private_int(abi.NR_ENTER), self._index)
        self._enter_args = (self._queue, self._owner, enter, *waits)

    def _copy_hot_fields(self, mapping: Mapping) -> None:
        """Put what each round reads and never changes into tuples. See docs/decisions/009."""
        self.fd = mapping.fd
        self.flags = mapping.flags
        self.features = mapping.features
        self.sq_entries = mapping.sq_entries
        self.cq_entries = mapping.cq_entries
        # The offset of the next entry in the SQ, in bytes, and how many entries the kernel has not yet taken.
        self._sq_offset = self._pending = 0
        sq_size = mapping.sq_entries * SQE_SIZE
        self._sq = (self._queue, mapping.sq_entries, mapping.sqes, sq_size, mapping.sq_tail, private_int(0xFFFFFFFF))
        unpack: Callable[[bytes], Iterator[tuple[int, int, int]]] = struct.Struct(abi.CQE_LAYOUT).iter_unpack
        cq_mask = mapping.cq_entries - 1
        self._cq = (mapping.cq_head, mapping.cq_tail, mapping.cqes, cq_mask, mapping.rings, unpack)

    def _lay_out_arguments(self) -> tuple[object, object, object]:
        """Return the arguments of `enter`: a wait without a limit, a wait limited by `_TIMESPEC`, and their size."""
        pages, address = self._arguments.pages, self._arguments.address
        struct.pack_into(abi.GETEVENTS_LAYOUT, pages, _UNLIMITED, 0, 0, 0, 0)
        struct.pack_into(abi.GETEVENTS_LAYOUT, pages, _LIMITED, 0, 0, 0, address + _TIMESPEC)
        self._timeout_ns = 0
        limits = pointer_argument(address + _UNLIMITED), pointer_argument(address + _LIMITED)
        return *limits, size_argument(abi.GETEVENTS_SIZE)

    def _register_descriptor(self) -> int:
        """Register the descriptor, so that `enter` does not use the shared table of files. Return its index."""
        pages, argument = self._arguments.pages, self._arguments.address + _RING_FD
        struct.pack_into(abi.RING_FD_LAYOUT, pages, _RING_FD, abi.RING_FD_ANY, 0, self.fd)
        try:
            self.register(abi.REGISTER_RING_FDS, argument, 1)
        except OSError as error:
            self._release()
            raise explain_refusal(error.errno or errno.EINVAL, "IORING_REGISTER_RING_FDS") from error
        index: int = struct.unpack_from(abi.RING_FD_LAYOUT, pages, _RING_FD)[0]
        return index

    def register(self, opcode: int, address: int, count: int) -> int:
        """Call io_uring_register(2) on this ring and return its result. Raises OSError."""
        return self._calls.call(abi.NR_REGISTER, self.fd, opcode, pointer_argument(address), count)

    def submit_and_wait(self, min_complete: int, timeout_ns: int | None = None) -> bool:
        """Submit the queue and wait for `min_complete` completions, or for `timeout_ns` (None: without a limit).

        This is one system call, unless the queue is longer than the SQ. With min_complete 0 it does not wait. It
        returns early after a signal, after a time-out, and if the kernel could take only part of the queue. The rest
        goes with the next call. Read `completions()` in all cases.

        Returns:
            whether the kernel has taken the whole queue.

        Raises:
            OSError: EEXIST in another thread than the ring's.
        """
        queue, owner, enter, no_limit, argument, argument_size = self._enter_args
        if get_ident() != owner:
            # The kernel would not notice: the index is that of the calling thread's own ring.
            raise OSError(errno.EEXIST, "only the thread that created a ring may enter it")
        if queue and not self._fill() and not self._submit_backlog():
            # Operations wait for a slot.
            min_complete = 0
        if timeout_ns is None:
            argument = no_limit
        elif timeout_ns != self._timeout_ns:
            self._set_timeout(timeout_ns)
        pending = self._pending
        taken = enter(pending, min_complete, _WAIT, argument, argument_size)
        if taken == pending:
            self._pending = 0
            return not queue
        self._handle_shortfall(taken)
        return not self._pending and not queue

    def completions(self) -> Iterator[tuple[int, int, int]]:
        """Return the completions since the last call, as (user_data, res, flags) in the order of completion.

        The entries are a copy whose slots are already free, so the caller may submit while it iterates.
        """
        head_word, tail_word, base, mask, rings, unpack = self._cq
        head, tail = head_word[0], tail_word[0]
        start = base + (head & mask) * CQE_SIZE
        stop = base + (tail & mask) * CQE_SIZE
        if start < stop or head == tail:
            entries = rings[start:stop]
        else:
            end = base + self.cq_entries * CQE_SIZE
            entries = rings[start:end] + rings[base:stop]
        head_word[0] = tail
        return unpack(entries)

    @property
    def overflowed(self) -> bool:
        """Whether the kernel holds completions for which the CQ had no room. The next `submit_and_wait` posts them.

        None is lost. But each multishot operation that met the full CQ has ended: its last completion has no CQE_MORE,
        whatever its `res`.
        """
        return bool(self._mapping.sq_flags[0] & abi.SQ_CQ_OVERFLOW)

    @property
    def dropped(self) -> int:
        """How many completions the kernel has dropped for lack of memory. Normally 0."""
        count: int = self._mapping.cq_overflow[0]
        return count

    def _fill(self) -> bool:
        """Copy as much of the queue as fits into the SQ's free slots. Return whether the queue is empty."""
        queue, sq_entries, sqes, sq_size, tail_word, tail_mask = self._sq
        count = len(queue)
        pending = self._pending
        room = sq_entries - pending
        if count <= room:
            batch = b"".join(queue)
            queue.clear()
        else:
            count = room
            batch = b"".join(queue[:room])
            del queue[:room]
        start = self._sq_offset
        self._sq_offset = stop = start + count * SQE_SIZE
        if stop <= sq_size:
            sqes[start:stop] = batch
        else:
            # The batch wraps around the end.
            before = sq_size - start
            self._sq_offset = after = len(batch) - before
            sqes[start:] = batch[:before]
            sqes[:after] = batch[before:]
        self._pending = pending + count
        tail_word[0] = (tail_word[0] + count) & tail_mask
        return not queue

    def _submit_backlog(self) -> bool:
        """Submit full rings until the rest of the queue fits. Return False if the kernel takes no more for now."""
        queue, _, enter, no_limit, _, argument_size = self._enter_args
        while queue:
            pending = self._pending
            taken = enter(pending, 0, _SUBMIT, no_limit, argument_size)
            if taken <= 0:
                return False
            self._pending = pending - taken
            self._fill()
        return True

    def _handle_shortfall(self, taken: int) -> None:
        """Handle an `enter` that failed, or that did not take all pending entries."""
        if taken >= 0:
            # The kernel ran out of memory within the batch. The next call submits the rest of the SQ.
            self._pending -= taken
            return
        error = self._calls.errno()
        if error == errno.EAGAIN:
            self._wait_for_memory()
        elif error not in _TRANSIENT_ERRORS:
            raise OSError(error, f"io_uring_enter: {os.strerror(error)}")

    def _wait_for_memory(self) -> None:
        """Wait for a completion, which frees memory of the kernel. Otherwise the caller would retry in a busy loop."""
        self._set_timeout(_MEMORY_WAIT_NS)
        _, _, enter, _, limited, argument_size = self._enter_args
        enter(0, 1, _WAIT, limited, argument_size)

    def _set_timeout(self, timeout_ns: int) -> None:
        self._arguments.pages[_TIMESPEC : _TIMESPEC + 16] = encode_timespec(max(0, timeout_ns))
        self._timeout_ns = timeout_ns

    def close(self) -> None:
        """Close the ring, in its thread or after the thread has ended. Idempotent.

        The kernel cancels operations in the background and may still use their memory. So cancel them first, and wait
        for their completions.
        """
        if self.closed:
            return
        try:
            if get_ident() == self._owner:
                self._unregister_descriptor()
        finally:
            self._release()

    def _unregister_descriptor(self) -> None:
        """Unregister the descriptor, or the ring would live as long as its thread."""
        struct.pack_into(abi.RING_FD_LAYOUT, self._arguments.pages, _RING_FD, self._index, 0, 0)
        self.register(abi.UNREGISTER_RING_FDS, self._arguments.address + _RING_FD, 1)

    def _release(self) -> None:
        self.closed = True
        self._mapping.close()
        self._arguments.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
