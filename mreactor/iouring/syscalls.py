"""System calls through ctypes: libc's `syscall`.

Import it in the main thread before any reactor starts, because CPython 3.13 does not create ctypes types thread-safely.
Each ring has a `SystemCalls` of its own, so that threads share nothing. See docs/decisions/034.
"""

import ctypes
import os
from collections.abc import Callable

# CDLL releases the thread state during the call. With PyDLL a thread that sleeps in `io_uring_enter` would delay every
# garbage collection. `use_errno` saves errno before the thread attaches again, which may change it.
_LIBC = ctypes.CDLL(None, use_errno=True)


class SystemCalls:
    """`syscall(number, *arguments)` of one ring. It returns -1 on failure, and `errno()` has the cause.

    There are no `argtypes`, because their conversions double the time of a call. So ctypes passes ints as 32 bits;
    `pointer_argument` and `size_argument` convert 64-bit arguments. Tests inject faults by replacing both attributes.
    """

    __slots__ = ("errno", "syscall")

    def __init__(self) -> None:
        # An index creates a new function object, an attribute would share one between threads.
        self.syscall: Callable[..., int] = _LIBC["syscall"]
        self.errno: Callable[[], int] = ctypes.get_errno

    def call(self, number: int, *arguments: object) -> int:
        """Return the call's result. Raises OSError. Not for the hot path."""
        result = self.syscall(number, *arguments)
        if result < 0:
            error = self.errno()
            raise OSError(error, os.strerror(error))
        return result


def pointer_argument(address: int) -> object:
    """Return a 64-bit pointer for `syscall`, for repeated use."""
    # Each call would convert a c_void_p again.
    return ctypes.c_void_p.from_param(address)


def size_argument(length: int) -> object:
    """Return a 64-bit size for `syscall`, for repeated use."""
    return ctypes.c_size_t.from_param(length)
