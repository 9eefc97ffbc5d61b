"""Memory that the kernel may read and write: addresses of bytes, and pages with a fixed address.

The caller keeps an object alive until the kernel has finished with its address. Nothing here keeps a reference.
"""

import ctypes
import mmap
from collections.abc import Callable

# CPython keeps the bytes of a bytes object behind its header. The basic size includes one byte for the final NUL.
_PAYLOAD_OFFSET = bytes.__basicsize__ - 1


def address_by_ctypes(data: bytes) -> int:
    """Return the address of the first byte of `data`, on any interpreter. Slow."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


def _arithmetic_holds() -> bool:
    samples = (b"", b"m", b"reactor", bytes(4096))
    return all(id(sample) + _PAYLOAD_OFFSET == address_by_ctypes(sample) for sample in samples)


# `object_address(data) + BASE_OFFSET` is the address of the first byte. A wrong offset would send the memory of other
# objects, so the import verifies it.
object_address: Callable[[bytes], int]
object_address, BASE_OFFSET = (id, _PAYLOAD_OFFSET) if _arithmetic_holds() else (address_by_ctypes, 0)


def buffer_address(data: bytes) -> int:
    """Return the address of the first byte of `data`. It is valid as long as `data` lives."""
    return object_address(data) + BASE_OFFSET


class Memory:
    """Anonymous zeroed pages at a fixed `address`, page aligned. A slice of `pages` copies bytes out.

    The mapping is shared, so that after a fork the kernel and this process still see the same pages. All pages are
    present from the start, because faults would slow down the first rounds. See docs/decisions/033.
    """

    __slots__ = ("address", "pages", "size")

    def __init__(self, size: int) -> None:
        """Map `size` bytes. Raises OSError: ENOMEM."""
        self.size = size
        self.pages = mmap.mmap(-1, size, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.pages))

    def close(self) -> None:
        """Unmap the pages. No operation that uses them may be in flight."""
        self.pages.close()
