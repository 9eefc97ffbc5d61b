"""A ring of buffers from which the kernel serves receives.

Owns the buffers' memory and the ring that offers them. Used by its `Ring`'s thread alone. Knows nothing of
what is received.
"""

import errno
import struct

from ..runtime import hot, private_int
from . import abi
from .errors import refusal
from .memory import Memory, buffer_address
from .ring import Ring

COUNT_MAX = 32768
GROUP_MAX = 0xFFFF


@hot("recycle")
class BufferRing:
    """`count` buffers of `size` bytes, offered to the receives of `group`.

    After a round: copy out what came (`take`), then give all the used buffers back at once (`recycle`).

        for user_data, res, flags in ring.completions():
            if flags & CQE_BUFFER:
                used += 1
                data = buffers.take(flags >> CQE_BUFFER_SHIFT, res)
        buffers.recycle(used)
    """

    __slots__ = (
        "_entries",
        "_pool_memory",
        "_ring",
        "_shared_tail",
        "_tail",
        "_tail_mask",
        "count",
        "group",
        "pool",
        "size",
    )

    def __init__(self, ring: Ring, group: int, count: int, size: int) -> None:
        """Map `count` x `size` bytes (count a power of two up to 32768) and offer them all as group `group`.

        The entries lie in memory of ours that is registered, not in the kernel's that is mapped: that needs
        6.4. Raises ValueError, or RingUnavailable: EEXIST if the group is taken, ENOMEM.
        """
        if not 1 <= count <= COUNT_MAX or count & (count - 1):
            raise ValueError(f"{count} is not a power of two up to {COUNT_MAX}")
        if not 0 <= group <= GROUP_MAX or size < 1:
            raise ValueError(f"group {group} of buffers of {size} bytes")
        self._ring = ring
        self.group, self.count, self.size = group, count, size
        self._pool_memory = Memory(count * size)
        #: The buffers' memory. `pool[id * size : id * size + length]` is `take` without its call.
        self.pool = self._pool_memory.pages
        self._entries = Memory(count * abi.BUFFER_SIZE)
        self._register()
        self._offer_all()

    def _register(self) -> None:
        entries, count, group = self._entries.address, self.count, self.group
        argument = struct.pack(abi.BUFFER_REGISTRATION_LAYOUT, entries, count, group, 0)
        try:
            self._ring.register(abi.REGISTER_PBUF_RING, buffer_address(argument), 1)
        except OSError as error:
            self._release_memory()
            raise refusal(error.errno or errno.EINVAL, "IORING_REGISTER_PBUF_RING") from error

    def _offer_all(self) -> None:
        for buffer_id in range(self.count):
            address = self._pool_memory.address + buffer_id * self.size
            offset = buffer_id * abi.BUFFER_SIZE
            struct.pack_into(abi.BUFFER_LAYOUT, self._entries.pages, offset, address, self.size, buffer_id)
        tail = memoryview(self._entries.pages)[abi.BUFFER_TAIL_OFFSET : abi.BUFFER_TAIL_OFFSET + 2]
        self._shared_tail = tail.cast("H")
        self._tail = 0
        self._tail_mask = private_int(0xFFFF)
        self.recycle(self.count)

    def take(self, buffer_id: int, length: int) -> bytes:
        """A copy of a buffer's first `length` bytes. Before `recycle`, which lets the kernel write there."""
        start = buffer_id * self.size
        return self.pool[start : start + length]

    def recycle(self, used: int) -> None:
        """Offer `used` buffers again: as many as completions with CQE_BUFFER were read since the last call.

        One store for the whole round, and no entry is rewritten. Why that is right: entry p always describes
        buffer p. The kernel takes entries strictly by position, and posts the completions in the order in
        which it took them, so the n buffers used since the last call are the n oldest positions not yet
        offered again. Those are the positions that moving the tail by n offers, and they still say the right
        thing. It takes two promises: a round's buffers are all copied out before this call, and every
        completion with CQE_BUFFER is counted, also those of a client that is gone. (A completion that the
        kernel dropped makes the ring one buffer smaller and nothing else: its position is offered a little
        early, when nobody will look for its content any more.)
        """
        self._tail = tail = (self._tail + used) & self._tail_mask
        self._shared_tail[0] = tail

    def close(self) -> None:
        """Withdraw the group and unmap it, before or after the ring is closed. By its thread. Idempotent.

        Cancel the group's receives and read their completions first: what came last is gone after this.
        """
        if self.pool.closed:
            return
        if not self._ring.closed:
            argument = struct.pack(abi.BUFFER_REGISTRATION_LAYOUT, 0, 0, self.group, 0)
            self._ring.register(abi.UNREGISTER_PBUF_RING, buffer_address(argument), 1)
        self._shared_tail.release()
        self._release_memory()

    def _release_memory(self) -> None:
        self._entries.close()
        self._pool_memory.close()
