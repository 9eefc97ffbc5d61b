"""A ring: submit what was prepared, wait, read what completed.

Owns one io_uring instance. Made, used and closed by one thread, which the kernel enforces. Knows no socket,
no protocol and no policy: what an operation means is its caller's business.

    with Ring(256, cq_entries=4096) as ring:
        ring.prepare_nop(user_data=7)
        ring.submit_and_wait(1)
        for user_data, res, flags in ring.completions():
            ...

What a round costs, measured on 3.13t with nops: 1.3 µs for submitting and waiting alone, of which 0.85 µs is
the system call through ctypes. With reading the completions: 3.5 µs for one operation, 0.4 µs each for 16,
0.25 µs each for 64. So: many operations a round, one round a wake-up.
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
from .errors import refusal
from .mapping import Mapping
from .memory import Memory
from .operations import Operations, encode_timespec
from .syscalls import SystemCalls, pointer, size

ENTRIES_MAX = 32768
CQ_ENTRIES_MAX = 2 * ENTRIES_MAX

# Where things lie in the page of arguments: two getevents_arg, the second's timespec, the ring's own fd.
_FOREVER = 0
_LIMITED = 32
_TIMESPEC = 64
_RING_FD = 96
_ARGUMENTS_SIZE = 128

_SUBMIT = abi.ENTER_REGISTERED_RING
_WAIT = abi.ENTER_REGISTERED_RING | abi.ENTER_EXT_ARG | abi.ENTER_GETEVENTS
_BREATH_NS = 1_000_000


@hot("submit_and_wait", "completions", "_fill", "prepare_recv_multishot")
class Ring(Operations):
    """One io_uring instance of the thread that made it.

    `fd` is its descriptor, by which other rings post to it; `sq_entries` and `cq_entries` what the kernel
    granted (powers of two); `features` and `flags` as the kernel reported them.
    """

    __slots__ = (
        "_arguments",
        "_calls",
        "_cq",
        "_enter_args",
        "_index",
        "_mapping",
        "_owner",
        "_pending",
        "_sq",
        "_sq_offset",
        "_timeout_ns",
        "closed",
        "cq_entries",
        "fd",
        "features",
        "flags",
        "sq_entries",
    )

    def __init__(self, entries: int, *, cq_entries: int, calls: SystemCalls | None = None) -> None:
        """Set up a ring with at least `entries` slots and at least `cq_entries` completions, both rounded up.

        Size the CQ for everything that may complete in one round: an overflow ends the multishot requests it
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
        # The call's number and the ring's index are bound in C: cheaper than reading two more attributes.
        enter = partial(calls.syscall, private_int(abi.NR_ENTER), self._index)
        self._enter_args = (self._queue, self._owner, enter, *waits)

    def _copy_hot_fields(self, mapping: Mapping) -> None:
        """What each round reads and does not change lies in tuples: an attribute costs 0.04 µs (see `typecache`)."""
        self.fd = mapping.fd
        self.flags = mapping.flags
        self.features = mapping.features
        self.sq_entries = mapping.sq_entries
        self.cq_entries = mapping.cq_entries
        self._sq_offset = 0  # where in the SQ the next entry goes, in bytes
        self._pending = 0  # entries in the SQ that the kernel has not taken
        sq_size = mapping.sq_entries * SQE_SIZE
        self._sq = (
            self._queue,
            mapping.sq_entries,
            mapping.sqes,
            sq_size,
            mapping.sq_tail,
            private_int(0xFFFFFFFF),
        )
        unpack: Callable[[bytes], Iterator[tuple[int, int, int]]] = struct.Struct(abi.CQE_LAYOUT).iter_unpack
        cq_mask = mapping.cq_entries - 1
        self._cq = (mapping.cq_head, mapping.cq_tail, mapping.cqes, cq_mask, mapping.rings, unpack)

    def _lay_out_arguments(self) -> tuple[object, object, object]:
        """The arguments of `enter`, made once: a wait without limit, one limited by `_TIMESPEC`, their size."""
        pages, address = self._arguments.pages, self._arguments.address
        struct.pack_into(abi.GETEVENTS_LAYOUT, pages, _FOREVER, 0, 0, 0, 0)
        struct.pack_into(abi.GETEVENTS_LAYOUT, pages, _LIMITED, 0, 0, 0, address + _TIMESPEC)
        self._timeout_ns = 0
        return pointer(address + _FOREVER), pointer(address + _LIMITED), size(abi.GETEVENTS_SIZE)

    def _register_descriptor(self) -> int:
        """The ring's index among this thread's registered rings, which saves `enter` the shared fd table."""
        pages, argument = self._arguments.pages, self._arguments.address + _RING_FD
        struct.pack_into(abi.RING_FD_LAYOUT, pages, _RING_FD, abi.RING_FD_ANY, 0, self.fd)
        try:
            self.register(abi.REGISTER_RING_FDS, argument, 1)
        except OSError as error:
            self._release()
            raise refusal(error.errno or errno.EINVAL, "IORING_REGISTER_RING_FDS") from error
        index: int = struct.unpack_from(abi.RING_FD_LAYOUT, pages, _RING_FD)[0]
        return index

    def register(self, opcode: int, address: int, count: int) -> int:
        """io_uring_register(2) on this ring. Returns its result; raises OSError."""
        return self._calls.call(abi.NR_REGISTER, self.fd, opcode, pointer(address), count)

    def submit_and_wait(self, min_complete: int, timeout_ns: int | None = None) -> bool:
        """Submit all that is queued and wait for `min_complete` completions, up to `timeout_ns` (None: ever).

        Returns whether the kernel has taken all of it.

        One system call, unless more is queued than the SQ has slots. It may return early, with fewer: after a
        signal, and where the kernel could take only part of the queue, whose rest stays for the next call. A
        time-out is no error either: look at `completions()`. With min_complete 0 it submits, collects what is
        done and does not wait. Raises OSError: EEXIST from another thread than the ring's maker.
        """
        queue, owner, enter, forever, argument, argument_size = self._enter_args
        if get_ident() != owner:
            # The kernel's own check needs the real descriptor. The registered index would mean, in another
            # thread, that thread's own ring.
            raise OSError(errno.EEXIST, "a ring is entered by the thread that made it, and by no other")
        if queue and not self._fill() and not self._submit_backlog():
            min_complete = 0  # no sleep while operations wait for a slot
        if timeout_ns is None:
            argument = forever
        elif timeout_ns != self._timeout_ns:
            self._set_timeout(timeout_ns)
        pending = self._pending
        taken = enter(pending, min_complete, _WAIT, argument, argument_size)
        if taken == pending:
            self._pending = 0
            return not queue
        self._settle(taken)
        return not self._pending and not queue

    def completions(self) -> Iterator[tuple[int, int, int]]:
        """What has completed since the last call, as (user_data, res, flags) in the order of completion.

        The entries are copied out and their slots given back before the first is seen, so the caller may
        submit while it iterates. `iter_unpack` over the copy: 0.08 µs an entry, a third of unpacking each
        from its slot.
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
        """Whether completions wait outside the full CQ. The next `submit_and_wait` brings them.

        None is lost, but every multishot request that met the full CQ has ended: its last completion has no
        CQE_MORE, whatever its `res`.
        """
        return bool(self._mapping.sq_flags[0] & abi.SQ_CQ_OVERFLOW)

    @property
    def dropped(self) -> int:
        """How many completions the kernel threw away, having no memory to keep them. Normally 0.

        More than 0 means that some operation's end will never be seen.
        """
        count: int = self._mapping.cq_overflow[0]
        return count

    def _fill(self) -> bool:
        """Copy as much of the queue as fits into the SQ's free slots. True if that was all of it."""
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
        else:  # around the end
            before = sq_size - start
            self._sq_offset = after = len(batch) - before
            sqes[start:] = batch[:before]
            sqes[:after] = batch[before:]
        self._pending = pending + count
        tail_word[0] = (tail_word[0] + count) & tail_mask
        return not queue

    def _submit_backlog(self) -> bool:
        """Submit full rings until the rest of the queue fits. False if the kernel takes no more for now."""
        queue, _, enter, forever, _, argument_size = self._enter_args
        while queue:
            pending = self._pending
            taken = enter(pending, 0, _SUBMIT, forever, argument_size)
            if taken <= 0:
                return False
            self._pending = pending - taken
            self._fill()
        return True

    def _settle(self, taken: int) -> None:
        """After an `enter` that did not take all that was pending, or failed."""
        if taken >= 0:
            # Out of memory in the middle of the batch. The rest is in the SQ and goes with the next call.
            self._pending -= taken
            return
        error = self._calls.errno()
        if error == errno.EAGAIN:
            self._wait_for_memory()
        elif error not in _TRANSIENT_ERRORS:
            raise OSError(error, f"io_uring_enter: {os.strerror(error)}")

    def _wait_for_memory(self) -> None:
        """The kernel had no memory for one more request: submit nothing, and give completions a moment.

        They free some. Without the pause the caller, who calls again at once, would make a busy loop of it.
        """
        self._set_timeout(_BREATH_NS)
        _, _, enter, _, limited, argument_size = self._enter_args
        enter(0, 1, _WAIT, limited, argument_size)

    def _set_timeout(self, timeout_ns: int) -> None:
        self._arguments.pages[_TIMESPEC : _TIMESPEC + 16] = encode_timespec(max(0, timeout_ns))
        self._timeout_ns = timeout_ns

    def close(self) -> None:
        """Cancel what is in flight, give the ring back. By its thread, or after that has ended. Idempotent.

        The kernel cancels in the background: memory handed to operations in flight should be let go only
        after their completions, so cancel them and wait first.
        """
        if self.closed:
            return
        try:
            if get_ident() == self._owner:
                self._unregister_descriptor()
        finally:
            self._release()

    def _unregister_descriptor(self) -> None:
        """Without this the ring would live as long as the thread. In another thread the index is not ours."""
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


# Failures of `enter` that leave the ring as it was: the caller reads its completions and enters again.
#   ETIME  the wait's limit has passed: the normal end of an idle round
#   EINTR  a signal
#   EBUSY  completions wait outside the full CQ and could not all be moved in: reading the CQ makes room
#   EBADR  completions had to be dropped for want of memory; `dropped` counts them, also where this errno is
#          hidden behind a successful submission
_TRANSIENT_ERRORS = frozenset({errno.ETIME, errno.EINTR, errno.EBUSY, errno.EBADR})
