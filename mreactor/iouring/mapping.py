"""The memory that a ring shares with the kernel: made by `io_uring_setup`, seen through `mmap`.

Owns the ring's descriptor and its two mappings. Must be made by the thread that will use the ring: with
SINGLE_ISSUER the kernel ties the ring to its maker. Knows nothing of what the entries mean.
"""

import errno
import mmap
import os
import struct

from . import abi
from .errors import RingUnavailable, refusal
from .memory import Memory
from .syscalls import SystemCalls, pointer

_FLAGS = abi.SETUP_CQSIZE | abi.SETUP_SUBMIT_ALL | abi.SETUP_SINGLE_ISSUER | abi.SETUP_DEFER_TASKRUN
_FEATURES_NEEDED = abi.FEAT_SINGLE_MMAP | abi.FEAT_NODROP | abi.FEAT_EXT_ARG | abi.FEAT_CQE_SKIP


class Mapping:
    """One ring's shared memory.

    `sqes` is the submission entries, 64 bytes each; `rings` the mapping in which the completions start at
    `cqes`. The shared words (`sq_tail`, `sq_flags`, `cq_head`, `cq_tail`, `cq_overflow`) are u32 views of one
    item. Plain loads and stores suffice: with DEFER_TASKRUN the kernel touches them only during this thread's
    own system calls.
    """

    __slots__ = (
        "_sqes_pages",
        "cq_entries",
        "cq_head",
        "cq_overflow",
        "cq_tail",
        "cqes",
        "fd",
        "features",
        "flags",
        "rings",
        "sq_entries",
        "sq_flags",
        "sq_tail",
        "sqes",
    )

    def __init__(self, calls: SystemCalls, entries: int, cq_entries: int) -> None:
        """Set a ring up with at least `entries` submission slots. Raises RingUnavailable."""
        parameters = Memory(abi.PARAMS_SIZE)
        try:
            self.fd = _set_up(calls, parameters, entries, cq_entries)
            self._adopt(parameters.pages)
        finally:
            parameters.close()

    def _adopt(self, parameters: mmap.mmap) -> None:
        """Map what the kernel's reply describes; if that fails, the descriptor is closed again."""
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
            raise refusal(error.errno or errno.ENOMEM, "mmap of the ring") from error

    def _require_features(self) -> None:
        if self.features & _FEATURES_NEEDED != _FEATURES_NEEDED:
            raise refusal(errno.EINVAL, f"io_uring_setup, features {self.features:#x}")

    def _map(self, sq_off: tuple[int, ...], cq_off: tuple[int, ...]) -> None:
        _, sq_tail, _, _, sq_flags, _, sq_array = sq_off
        cq_head, cq_tail, _, _, cq_overflow, self.cqes, _ = cq_off
        size = max(sq_array + 4 * self.sq_entries, self.cqes + abi.CQE_SIZE * self.cq_entries)
        self.rings = _map_shared(self.fd, size, abi.OFF_RINGS)
        self._sqes_pages = _map_shared(self.fd, abi.SQE_SIZE * self.sq_entries, abi.OFF_SQES)
        self.sqes = memoryview(self._sqes_pages)
        self.sq_tail = self._word(sq_tail)
        self.sq_flags = self._word(sq_flags)
        self.cq_head = self._word(cq_head)
        self.cq_tail = self._word(cq_tail)
        self.cq_overflow = self._word(cq_overflow)
        if not self.flags & abi.SETUP_NO_SQARRAY:
            # Slot i always holds entry i, so the array is written once and never again.
            struct.pack_into(f"<{self.sq_entries}I", self.rings, sq_array, *range(self.sq_entries))

    def _word(self, offset: int) -> memoryview:
        """A u32 of the rings as a view: reading an item costs 0.03 µs, unpacking it four times that."""
        return memoryview(self.rings)[offset : offset + 4].cast("I")

    def close(self) -> None:
        """Unmap and close. The kernel then cancels whatever is still in flight."""
        for view in (self.sqes, self.sq_tail, self.sq_flags, self.cq_head, self.cq_tail, self.cq_overflow):
            view.release()
        self._sqes_pages.close()
        self.rings.close()
        os.close(self.fd)


def _set_up(calls: SystemCalls, parameters: Memory, entries: int, cq_entries: int) -> int:
    """The new ring's descriptor (the kernel makes it close-on-exec); its reply is left in `parameters`."""
    # NO_SQARRAY came five releases after all else that is needed: a kernel that refuses it is asked without.
    for flags in (_FLAGS | abi.SETUP_NO_SQARRAY, _FLAGS):
        struct.pack_into(abi.PARAMS_REQUEST, parameters.pages, 0, entries, cq_entries, flags)
        fd = calls.syscall(abi.NR_SETUP, entries, pointer(parameters.address))
        if fd >= 0:
            return fd
        error = calls.errno()
        if error != errno.EINVAL:
            break
    raise refusal(error, "io_uring_setup")


def _map_shared(fd: int, size: int, offset: int) -> mmap.mmap:
    # Without trackfd=False the mmap object would keep a duplicate of the descriptor, and so the ring, open.
    flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
    return mmap.mmap(fd, size, flags=flags, offset=offset, trackfd=False)
