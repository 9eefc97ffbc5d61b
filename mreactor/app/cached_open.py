"""Opening a file only where no disk has to be read for that: openat2(2) with RESOLVE_CACHED, Linux 5.12 and later.

Import it before any reactor starts: CPython 3.13 does not create ctypes types thread-safely.
"""

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Callable

# The same on all architectures but Alpha.
_NUMBER = 437
_AT_FDCWD = -100
_RESOLVE_CACHED = 0x20

# What kernels before 5.12, kernels before 5.6, and sandboxes say.
_NOT_AVAILABLE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM})

_LIBC = ctypes.CDLL(None, use_errno=True)


def make_cached_open(flags: int) -> Callable[[bytes], int] | None:
    """Return a function that opens a file for reading, if all directories on the way to it are in memory.

    It returns a descriptor or raises OSError; BlockingIOError: some directory may have to be read from a disk. Network
    file systems that ask their server each time always say so. Each caller gets a function of its own, so that reactors
    share none.

    Args:
        flags: as for `os.open`.

    Returns:
        None: the kernel cannot do this, or a sandbox forbids it.
    """
    call: Callable[..., int] = _LIBC["syscall"]
    how = struct.pack("QQQ", flags | _large_file_flag(), 0, _RESOLVE_CACHED)

    def cached_open(path: bytes) -> int:
        fd = call(_NUMBER, _AT_FDCWD, path, how, len(how))
        if fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
        return fd

    try:
        os.close(cached_open(b"/"))
    except OSError as error:
        return None if error.errno in _NOT_AVAILABLE else cached_open
    return cached_open


def _large_file_flag() -> int:
    """Return the kernel's O_LARGEFILE, without which openat2 refuses files of 2 GiB and more.

    It differs between architectures, and `os.O_LARGEFILE` is 0 on 64-bit ones, where open(2) adds it.
    """
    fd = os.open("/", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_ACCMODE
    finally:
        os.close(fd)
