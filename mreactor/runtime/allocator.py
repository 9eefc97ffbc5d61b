"""Return empty pages of mimalloc, the allocator of the free-threaded build. See docs/decisions/007."""

import os

from .interpreter import IS_FREE_THREADED

# mimalloc gives an object of the first size a region of its own, and one of the second a page. In the other order it
# finds no empty pages.
LARGE_BYTES = (20 * 1024 * 1024, 256 * 1024)


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
