"""Return empty pages of mimalloc, the allocator of the free-threaded build. See docs/decisions/007."""

import os

from .interpreter import IS_FREE_THREADED

# mimalloc gives an object of this size a page of its own.
LARGE_BYTES = 256 * 1024


def release_empty_pages() -> None:
    """Have the allocator look for pages that this thread's objects have left empty.

    It looks only when it needs a fresh page, and a large object always needs one. This object is the buffer of a read
    that fails before a byte is written, so it costs no memory. A later call returns the pages to the kernel. Does
    nothing on other builds.
    """
    if not IS_FREE_THREADED:
        return
    try:
        os.read(-1, LARGE_BYTES)
    except OSError:
        # EBADF is expected: there is no such descriptor.
        pass
