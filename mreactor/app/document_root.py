"""The directory that is served: opens the files inside it, and no others.

Two checks keep requests inside. No name with a slash, a backslash or a NUL in it, or with a leading dot, reaches the
file system, except for `.well-known`. Then, before any byte is read, the opened file must really lie below the root. A
symbolic link therefore cannot lead out of it, even if the link is swapped during the request. Hard links and bind
mounts look like any other file.
"""

import errno
import logging
import os
import re
import time
from collections.abc import Callable
from stat import S_ISDIR, S_ISREG
from urllib.parse import unquote_to_bytes

from ..config import ConfigError
from ..http import HTTPError, MustWait
from ..protocol import FileBody, FileStamp, is_cached
from .cached_open import make_cached_open

log = logging.getLogger("mreactor")

# A decoded segment that may name a file: not empty, not hidden, neither `.` nor `..`, and still one segment.
NAME = re.compile(rb"[^./\\\0][^/\\\0]*+")

# The one directory with a leading dot that is meant to be served, at the root of a site (RFC 8615 section 3).
WELL_KNOWN = b".well-known"

# With O_NONBLOCK, opening a FIFO does not wait for a writer. With O_NOCTTY, a terminal does not become ours.
OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY

# Errors of open that mean 404. Sockets and devices without a driver give ENXIO and ENODEV. Names that the file system
# cannot represent give EINVAL and EILSEQ.
NOT_FOUND_ERRORS = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
    | {errno.ENXIO, errno.ENODEV, errno.EINVAL, errno.EILSEQ}
)

DESCRIPTORS = "/proc/self/fd"

# Attempts to read a file that is changed meanwhile.
READS_MAX = 3


def check_root(path: str) -> str:
    """Return the real path of a directory to serve. Call it when you declare the handler.

    Raises:
        ConfigError: the directory is missing, not readable, or not a directory.
    """
    try:
        with os.scandir(path):
            return os.path.realpath(path)
    except OSError as error:
        raise ConfigError(f"static directory {path!r}: {(error.strerror or str(error)).lower()}") from None


def not_found() -> HTTPError:
    """The refusal of a path that leads to no file."""
    return HTTPError(404, "There is nothing at this address.")


def busy() -> HTTPError:
    """The refusal of a file that another process is changing."""
    return HTTPError(503, "The file is being changed.", (("Retry-After", "1"),))


class OpenFile:
    """An open file or directory. A context manager that closes the descriptor, unless `detach` gave it away."""

    __slots__ = ("_fd", "is_directory", "path", "status")

    def __init__(self, path: bytes, fd: int, status: os.stat_result) -> None:
        self.path = path
        self.status = status
        self.is_directory = S_ISDIR(status.st_mode)
        self._fd = fd

    def __enter__(self) -> "OpenFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor, unless it was given away. Called once."""
        if self._fd >= 0:
            os.close(self._fd)

    def real_path(self) -> bytes:
        """Return where the file lies, wherever symbolic links have led.

        Raises:
            OSError: there is no /proc.
        """
        return os.readlink(f"{DESCRIPTORS}/{self._fd}".encode("ascii"))

    def read(self, *, may_wait: bool) -> bytes:
        """Return the whole content, of one version: if the file is changed meanwhile, it is read again.

        Args:
            may_wait: otherwise the content is only read if it is in the page cache.

        Raises:
            HTTPError: 503, the file changes all the time.
            MustWait: the disk has to be read, and this thread must not wait for it.
        """
        if not may_wait and not is_cached(self._fd, self.status.st_size - 1):
            # A small file is read from the disk as a whole, so its last byte stands for all.
            raise MustWait
        for _ in range(READS_MAX):
            before, stamp = self.status, self._stamp
            content = self._read(before.st_size)
            self.status = os.fstat(self._fd)
            if len(content) == before.st_size and not stamp.is_overwritten(self.status):
                self.status = before
                return content
        raise busy()

    def _read(self, size: int) -> bytes:
        content = os.pread(self._fd, size, 0)
        if len(content) == size:
            return content
        parts, offset = [content], len(content)
        while offset < size and (part := os.pread(self._fd, size - offset, offset)):
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    def scan(self) -> "os._ScandirIterator[str]":
        """Return the entries of the directory. The caller closes the iterator before the file."""
        return os.scandir(self._fd)

    def detach(self) -> FileBody:
        """Give the descriptor to a response body, which closes it."""
        body = FileBody(self._fd, 0, self.status.st_size, self._stamp)
        self._fd = -1
        return body

    @property
    def _stamp(self) -> FileStamp:
        return FileStamp(self.status.st_size, self.status.st_mtime_ns)


def open_descriptor(path: bytes, cached_open: Callable[[bytes], int] | None) -> int:
    """Open a file for reading, by `cached_open` if there is one. Raises OSError."""
    return os.open(path, OPEN_FLAGS) if cached_open is None else cached_open(path)


def open_file(path: bytes, cached_open: Callable[[bytes], int] | None = None) -> OpenFile:
    """Open a regular file or a directory, wherever it lies.

    Args:
        cached_open: from `make_cached_open`, if this thread must not wait for a disk.

    Raises:
        MustWait: it would have to.
        HTTPError: 404; 503, no descriptor is free or the file is leased.
        PermissionError: the server may not read it.
    """
    try:
        fd = open_descriptor(path, cached_open)
    except OSError as error:
        if error.errno in NOT_FOUND_ERRORS:
            raise not_found() from None
        if error.errno in (errno.EMFILE, errno.ENFILE):
            _shortage.warn(error)
            raise HTTPError(503, "The server has too many files open.", (("Retry-After", "1"),)) from None
        if error.errno == errno.EAGAIN:
            if cached_open is not None:
                raise MustWait from None
            # Another process holds a lease on the file (fcntl F_SETLEASE) and has not given it up yet.
            raise busy() from None
        raise
    try:
        status = os.fstat(fd)
        if not (S_ISREG(status.st_mode) or S_ISDIR(status.st_mode)):
            raise not_found()
    except BaseException:
        os.close(fd)
        raise
    return OpenFile(path, fd, status)


class _Shortage:
    """Logs that descriptors have run out, at most once a second, because many requests fail at once. Any thread."""

    def __init__(self) -> None:
        self.warn_again_at = 0.0

    def warn(self, error: OSError) -> None:
        now = time.monotonic()
        if now >= self.warn_again_at:
            self.warn_again_at = now + 1.0
            log.warning("cannot open files: %s", error.strerror)


_shortage = _Shortage()


class DocumentRoot:
    """Maps the paths of requests to files below a directory. Any thread may use it.

    Args:
        root: the real path of the directory, from `check_root`.
        prefix: the path under which the directory is served.
    """

    def __init__(self, root: str, prefix: str) -> None:
        self._base = os.fsencode(root).rstrip(b"/") + b"/"
        self._prefix_segments = prefix.rstrip("/").count("/")
        self._cached_open = make_cached_open(OPEN_FLAGS)

    def locate(self, raw_path: str) -> bytes:
        """Return the file name for a path of the URL, as bytes: the parser has refused paths that are not UTF-8.

        It ends with a slash if the path does. A segment `.` is skipped: package managers ask for `repository/./x`.
        Empty segments are refused: `//host` never becomes a redirect.

        Raises:
            HTTPError: 404.
        """
        segments = raw_path.split("/")[1 + self._prefix_segments :]
        names = [unquote_to_bytes(segment) for segment in segments if segment != "."]
        is_well_known = self._prefix_segments == 0 and names[:1] == [WELL_KNOWN]
        end = b""
        if names and not names[-1]:
            del names[-1]
            end = b"/" if names else b""
        for name in names[1:] if is_well_known else names:
            if not NAME.fullmatch(name):
                raise not_found()
        return self._base + b"/".join(names) + end

    def locate_name(self, name: str) -> bytes:
        """Return the file name for a path below the root, as an option has it."""
        return self._base + os.fsencode(name)

    def relative(self, path: bytes) -> str:
        """Return the path below the root for a file name."""
        return os.fsdecode(path[len(self._base) :])

    def open(self, path: bytes, *, may_wait: bool = True) -> OpenFile:
        """Open a regular file or directory by its file name.

        Args:
            may_wait: otherwise it is only opened if no disk has to be read to find it.

        Raises:
            MustWait: one has to be read, and this thread must not wait for it.
            HTTPError: 403, the file is not readable; 404; 503, no descriptor is free or the file is leased.
        """
        try:
            file = open_file(path, None if may_wait else self._cached_open)
        except PermissionError:
            raise HTTPError(403, "This file may not be read.") from None
        try:
            if not self._contains(file):
                raise not_found()
        except BaseException:
            file.close()
            raise
        return file

    def leads_inside(self, path: bytes) -> bool:
        """Whether a symbolic link leads to something below the root."""
        return (os.path.realpath(path) + b"/").startswith(self._base)

    def _contains(self, file: OpenFile) -> bool:
        """Whether an open file lies below the root, wherever symbolic links have led.

        The kernel knows the real path of a descriptor. Without /proc, the path is resolved again and must lead to the
        same file.
        """
        try:
            real = file.real_path()
        except OSError:
            real = os.path.realpath(file.path)
            if not _is_same_file(real, file.status):
                return False
        return (real + b"/").startswith(self._base)


def _is_same_file(path: bytes, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), status)
    except OSError:
        return False
