"""Memory that the kernel may read and write: addresses of bytes, and pages with a fixed address.

Knows nothing of rings. Whatever address is handed to the kernel, its owner must keep the object alive, and
unmoved, until the completion has been read; nothing here keeps a reference.
"""

import ctypes
import mmap
from collections.abc import Callable

# CPython keeps a bytes object's payload behind its header, and counts one byte for the closing NUL into the
# basic size. The free-threaded build has a longer header, and a `__basicsize__` that says so.
_PAYLOAD_OFFSET = bytes.__basicsize__ - 1


def _address_by_ctypes(data: bytes) -> int:
    """The address of the first byte of `data`, whatever the interpreter and its layout, for some 1 µs."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


def _arithmetic_holds() -> bool:
    samples = (b"", b"m", b"reactor", bytes(4096))
    return all(id(sample) + _PAYLOAD_OFFSET == _address_by_ctypes(sample) for sample in samples)


# `object_address(data) + BASE_OFFSET` is the address of the first byte. An address that is off by a few bytes sends somebody
# else's memory: so the shortcut is checked once, here.
object_address: Callable[[bytes], int]
object_address, BASE_OFFSET = (id, _PAYLOAD_OFFSET) if _arithmetic_holds() else (_address_by_ctypes, 0)


def buffer_address(data: bytes) -> int:
    """The address of the first byte of `data`, valid as long as `data` lives. No object is converted."""
    return object_address(data) + BASE_OFFSET


class Memory:
    """Anonymous pages, zeroed, all present from the start, at a fixed `address`, page aligned.

    Shared rather than private: a fork then leaves the kernel and this process looking at the same pages,
    where a private mapping would be copied away from under a ring. Present from the start because cold pages
    more than doubled the time of a round (12 to 31 µs). `pages` is the mapping itself: slicing it copies
    bytes out, in one step.
    """

    __slots__ = ("address", "pages", "size")

    def __init__(self, size: int) -> None:
        """Map `size` bytes. Raises OSError (ENOMEM) where there is no room."""
        self.size = size
        self.pages = mmap.mmap(-1, size, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.pages))

    def close(self) -> None:
        """Give the pages back. No operation that names them may be in flight."""
        self.pages.close()
