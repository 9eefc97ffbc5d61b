"""A ring of buffers that the kernel fills in receives. Ring's thread only."""

import errno
import struct

from ..runtime import hot, private_int
from . import abi
from .errors import explain_refusal
from .memory import Memory, buffer_address
from .ring import Ring

COUNT_MAX = 32768
GROUP_MAX = 0xFFFF


@hot("recycle")
class BufferRing:
    """`count` buffers of `size` bytes for the multishot receives of `group`.

    Copy the received bytes out (`take`). At the end of the round return all used buffers at once (`recycle`):

        for user_data, res, flags in ring.completions():
            if flags & CQE_BUFFER:
                used += 1
                data = buffers.take(flags >> CQE_BUFFER_SHIFT, res)
        buffers.recycle(used)
    """

    __slots__ = (
        "_entries", "_pool_memory", "_ring", "_shared_tail", "_tail", "_tail_mask", "count", "group",
        "pool", "size",
    )  # fmt: skip

    def __init__(self, ring: Ring, group: int, count: int, size: int) -> None:
        """Map `count` x `size` bytes and offer them as group `group`. `count` is a power of two up to 32768.

        The entries lie in memory of this process. Mapping memory of the kernel needs Linux 6.4.

        Raises:
            ValueError: count, group or size is out of range.
            RingUnavailable: EEXIST if the group exists, or ENOMEM.
        """
        if not 1 <= count <= COUNT_MAX or count & (count - 1):
            raise ValueError(f"{count} is not a power of two up to {COUNT_MAX}")
        if not 0 <= group <= GROUP_MAX or size < 1:
            raise ValueError(f"group {group} of buffers of {size} bytes")
        self._ring = ring
        self.group, self.count, self.size = group, count, size
        self._pool_memory = Memory(count * size)
        #: The buffers' memory. `pool[id * size : id * size + length]` equals `take(id, length)`.
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
            raise explain_refusal(error.errno or errno.EINVAL, "IORING_REGISTER_PBUF_RING") from error

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
        """Return a copy of a buffer's first `length` bytes. After `recycle` the kernel may overwrite them."""
        start = buffer_id * self.size
        return self.pool[start : start + length]

    def recycle(self, used: int) -> None:
        """Offer the `used` oldest buffers again, in one store.

        `used` is the number of completions with CQE_BUFFER since the last call, including those of closed clients.
        Their bytes must be copied out before. Entry p always describes buffer p, and the kernel takes entries and posts
        completions in the order of positions. So the buffers used are the oldest positions, and moving the tail offers
        exactly these. A completion that the kernel dropped only makes the ring one buffer smaller. See
        docs/decisions/033.
        """
        self._tail = tail = (self._tail + used) & self._tail_mask
        self._shared_tail[0] = tail

    def close(self) -> None:
        """Unregister the group and unmap it, before or after the ring is closed. Idempotent.

        Cancel the group's receives and read their completions first. The buffers are lost.
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
