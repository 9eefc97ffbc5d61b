"""What mimalloc takes for large objects, and how it returns pages: docs/decisions/007 and 093.

It is the allocator of the free-threaded build.
"""

import os
import sys

from .interpreter import IS_FREE_THREADED

# mimalloc gives an object of the first size a region of its own, and one of the second a page. In the other order it
# finds no empty pages.
LARGE_BYTES = (20 * 1024 * 1024, 256 * 1024)

# mimalloc gives an object above each of these sizes a page of its own, of a multiple of the second number.
_PAGES = ((512 * 1024, 512 * 1024), (128 * 1024, 64 * 1024))
# What a bytes object takes beside its content.
_OBJECT_BYTES = sys.getsizeof(b"")


def allocated_bytes(size: int) -> int:
    """Return how much memory a bytes object of `size` bytes may keep resident.

    Its page is larger than the object, and the rest of the page may still hold what an earlier object has left there.
    """
    if IS_FREE_THREADED:
        for above, multiple in _PAGES:
            if size + _OBJECT_BYTES > above:
                return -(-(size + _OBJECT_BYTES) // multiple) * multiple
    return size


def release_empty_pages() -> None:
    """Have the allocator look for pages that this thread's objects have left empty.

    It looks only when it needs a fresh page or region, and large objects always need one. These objects are the buffers
    of reads that fail before a byte is written, so they cost no memory. A later call returns the pages to the kernel.
    Does nothing on other builds.
    """
    if not IS_FREE_THREADED:
        return
    for size in LARGE_BYTES:
        try:
            os.read(-1, size)
        except (OSError, MemoryError):
            # EBADF is expected: there is no such descriptor.
            pass
