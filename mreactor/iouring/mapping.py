"""The memory that a ring shares with the kernel. Owns the ring's descriptor and its two mappings.

Create it in the thread that uses the ring: with SINGLE_ISSUER the kernel ties the ring to that thread.
"""

import errno
import mmap
import os
import struct

from . import abi
from .errors import RingUnavailable, explain_refusal
from .memory import Memory
from .syscalls import SystemCalls, pointer_argument

SETUP_FLAGS = abi.SETUP_CQSIZE | abi.SETUP_SUBMIT_ALL | abi.SETUP_SINGLE_ISSUER | abi.SETUP_DEFER_TASKRUN
FEATURES_NEEDED = abi.FEAT_SINGLE_MMAP | abi.FEAT_NODROP | abi.FEAT_EXT_ARG | abi.FEAT_CQE_SKIP


class Mapping:
    """One ring's shared memory.

    `sqes` holds the submission entries, 64 bytes each. In `rings` the completions start at offset `cqes`. The shared
    words (`sq_tail`, `sq_flags`, `cq_head`, `cq_tail`, `cq_overflow`) are u32 views of one item. Plain loads and stores
    suffice: with DEFER_TASKRUN the kernel touches them only during this thread's own system calls.
    """

    __slots__ = (
        "_sqes_pages", "cq_entries", "cq_head", "cq_overflow", "cq_tail", "cqes", "fd", "features", "flags",
        "rings", "sq_entries", "sq_flags", "sq_tail", "sqes",
    )  # fmt: skip

    def __init__(self, calls: SystemCalls, entries: int, cq_entries: int) -> None:
        """Set up a ring with at least `entries` submission slots. Raises RingUnavailable."""
        parameters = Memory(abi.PARAMS_SIZE)
        try:
            self.fd = _set_up(calls, parameters, entries, cq_entries)
            self._map_reply(parameters.pages)
        finally:
            parameters.close()

    def _map_reply(self, parameters: mmap.mmap) -> None:
        """Map what the kernel's reply describes. Close the descriptor on failure."""
        reply = struct.unpack_from(abi.PARAMS_REPLY, parameters, 0)
        self.sq_entries, self.cq_entries, self.flags, self.features = reply
        try:
            self._require_features()
            self._map(
                struct.unpack_from(abi.RING_OFFSETS, parameters, abi.PARAMS_SQ_OFF),
                struct.unpack_from(abi.RING_OFFSETS, parameters, abi.PARAMS_CQ_OFF),
            )
        except RingUnavailable:
            os.close(self.fd)
            raise
        except OSError as error:
            os.close(self.fd)
            raise explain_refusal(error.errno or errno.ENOMEM, "mmap of the ring") from error

    def _require_features(self) -> None:
        if self.features & FEATURES_NEEDED != FEATURES_NEEDED:
            raise explain_refusal(errno.EINVAL, f"io_uring_setup, features {self.features:#x}")

    def _map(self, sq_off: tuple[int, ...], cq_off: tuple[int, ...]) -> None:
        _, sq_tail, _, _, sq_flags, _, sq_array = sq_off
        cq_head, cq_tail, _, _, cq_overflow, self.cqes, _ = cq_off
        size = max(sq_array + 4 * self.sq_entries, self.cqes + abi.CQE_SIZE * self.cq_entries)
        self.rings = map_shared(self.fd, size, abi.OFF_RINGS)
        self._sqes_pages = map_shared(self.fd, abi.SQE_SIZE * self.sq_entries, abi.OFF_SQES)
        self.sqes = memoryview(self._sqes_pages)
        self.sq_tail = self._word(sq_tail)
        self.sq_flags = self._word(sq_flags)
        self.cq_head = self._word(cq_head)
        self.cq_tail = self._word(cq_tail)
        self.cq_overflow = self._word(cq_overflow)
        if not self.flags & abi.SETUP_NO_SQARRAY:
            # Slot i always holds entry i, so one write is enough.
            struct.pack_into(f"<{self.sq_entries}I", self.rings, sq_array, *range(self.sq_entries))

    def _word(self, offset: int) -> memoryview:
        """Return a u32 of the rings as a view. Reading an item is cheaper than unpacking (docs/decisions/034)."""
        return memoryview(self.rings)[offset : offset + 4].cast("I")

    def close(self) -> None:
        """Unmap and close. The kernel cancels what is in flight."""
        for view in (self.sqes, self.sq_tail, self.sq_flags, self.cq_head, self.cq_tail, self.cq_overflow):
            view.release()
        self._sqes_pages.close()
        self.rings.close()
        os.close(self.fd)


def _set_up(calls: SystemCalls, parameters: Memory, entries: int, cq_entries: int) -> int:
    """Return the new ring's descriptor, which is close-on-exec. Leave the kernel's reply in `parameters`."""
    # Linux 6.1 to 6.5 do not know NO_SQARRAY.
    for flags in (SETUP_FLAGS | abi.SETUP_NO_SQARRAY, SETUP_FLAGS):
        struct.pack_into(abi.PARAMS_REQUEST, parameters.pages, 0, entries, cq_entries, flags)
        fd = calls.syscall(abi.NR_SETUP, entries, pointer_argument(parameters.address))
        if fd >= 0:
            return fd
        error = calls.errno()
        if error != errno.EINVAL:
            break
    raise explain_refusal(error, "io_uring_setup")


def map_shared(fd: int, size: int, offset: int) -> mmap.mmap:
    # Without trackfd=False the mmap object would keep a duplicate of the descriptor open, and the ring alive.
    flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
    return mmap.mmap(fd, size, flags=flags, offset=offset, trackfd=False)
