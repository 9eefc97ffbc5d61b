"""The way into the kernel: libc's `syscall`, through ctypes.

Owns the one ctypes function and the types that go through it. Loading it makes no io_uring call. The module
is imported in the main thread before any reactor starts, because CPython 3.13's creation of ctypes types is
not safe between threads; after that each ring has a `SystemCalls` of its own and shares nothing.
"""

import ctypes
import os
from collections.abc import Callable

# CDLL releases the thread state during the call. PyDLL would keep it: a reactor asleep in `io_uring_enter`
# would then hold up every garbage collection of the process. `use_errno` saves errno before the thread
# re-attaches, which may itself change it; it costs some 0.04 µs a call.
_LIBC = ctypes.CDLL(None, use_errno=True)


class SystemCalls:
    """One ring's own `syscall(number, *arguments)`: an int, or -1 with the cause in `errno()`.

    No `argtypes`: converting by them doubles the price of a call (measured on 3.13t). Unannounced ints travel
    as 32-bit ints, so addresses and sizes must come ready made from `pointer` and `size`. Whoever wants the
    calls to fail (a fault injector) gives `Ring` an instance whose `syscall` and `errno` are its own.
    """

    __slots__ = ("errno", "syscall")

    def __init__(self) -> None:
        # By index, not by attribute: that makes a new function object, which no other thread refers to.
        self.syscall: Callable[..., int] = _LIBC["syscall"]
        self.errno: Callable[[], int] = ctypes.get_errno

    def call(self, number: int, *arguments: object) -> int:
        """The call's result, or OSError. For the calls that are not on the hot path."""
        result = self.syscall(number, *arguments)
        if result < 0:
            error = self.errno()
            raise OSError(error, os.strerror(error))
        return result


def pointer(address: int) -> object:
    """A 64-bit pointer argument for `syscall`, made once and used for each call."""
    # A converted parameter: a c_void_p would be converted again in each call, for 0.04 µs.
    return ctypes.c_void_p.from_param(address)


def size(length: int) -> object:
    """A 64-bit size argument for `syscall`, made once and used for each call."""
    return ctypes.c_size_t.from_param(length)
