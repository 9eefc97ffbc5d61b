"""The interpreter's allocator, which in the free-threaded build is mimalloc: how to have it return empty pages."""

import os

LARGE_BYTES = 256 * 1024  # beyond the sizes of which several share a page


def release_empty_pages() -> None:
    """Have the allocator return pages that this thread's objects have left empty; call it now and then (1 µs).

    A page that falls empty waits until no other thread can still be looking into it, and the allocator looks whether
    that is so only when it needs a page that it does not have: for a large object it always does. This one is a buffer
    for a read that fails before anything is written to it, so it costs no memory. What one call finds goes back to the
    kernel with a later one. On any other build nothing happens.
    """
    try:
        os.read(-1, LARGE_BYTES)
    except OSError:
        pass  # there is no such file, which is what we want
