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
from stat import S_ISDIR, S_ISREG
from urllib.parse import unquote_to_bytes

from ..config import ConfigError
from ..http import HTTPError
from ..protocol import FileBody

log = logging.getLogger("mreactor")

INDEX = "index.html"

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
        if self._fd >= 0:
            os.close(self._fd)

    def read(self) -> bytes:
        """Return the whole content. It is shorter than the size if the file was truncated meanwhile."""
        parts = []
        remaining = self.status.st_size
        while remaining and (part := os.read(self._fd, remaining)):
            parts.append(part)
            remaining -= len(part)
        return b"".join(parts)

    def detach(self) -> FileBody:
        """Give the descriptor to a response body, which closes it."""
        body = FileBody(self._fd, 0, self.status.st_size)
        self._fd = -1
        return body


class DocumentRoot:
    """Maps the paths of requests to files below a directory. Any thread may use it.

    Args:
        root: the directory. Its real path is determined once, here.
        prefix: the path under which the directory is served.
    """

    def __init__(self, root: str | os.PathLike[str], prefix: str) -> None:
        self._base = os.fsencode(os.path.realpath(root)).rstrip(b"/") + b"/"
        self._prefix_segments = prefix.rstrip("/").count("/")
        self._warn_again_at = 0.0

    def open(self, raw_path: str) -> OpenFile:
        """Open the regular file or directory at a path of the URL.

        Raises:
            HTTPError: 403, the file is not readable; 404; 503, no descriptor is free.
        """
        path = self._locate(raw_path)
        fd = self._open(path)
        try:
            status = os.fstat(fd)
            if not self._contains(fd, path, status) or not (S_ISREG(status.st_mode) or S_ISDIR(status.st_mode)):
                raise not_found()
        except BaseException:
            os.close(fd)
            raise
        return OpenFile(path, fd, status)

    def _locate(self, raw_path: str) -> bytes:
        """Return the file name for a path, as bytes: the parser has refused paths that are not UTF-8.

        Empty segments are refused, not skipped: a file has one address, and `//host` never becomes a redirect.
        """
        segments = raw_path.split("/")[1 + self._prefix_segments :]
        if segments and not segments[-1]:
            segments[-1] = INDEX
        names = [unquote_to_bytes(segment) for segment in segments]
        is_well_known = self._prefix_segments == 0 and names[:1] == [WELL_KNOWN]
        for name in names[1:] if is_well_known else names:
            if not NAME.fullmatch(name):
                raise not_found()
        return self._base + b"/".join(names)

    def _open(self, path: bytes) -> int:
        try:
            return os.open(path, OPEN_FLAGS)
        except OSError as error:
            if error.errno in NOT_FOUND_ERRORS:
                raise not_found() from None
            if error.errno in (errno.EACCES, errno.EPERM):
                raise HTTPError(403, "This file may not be read.") from None
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._warn(error)
                raise HTTPError(503, "The server has too many files open.", (("Retry-After", "1"),)) from None
            raise

    def _contains(self, fd: int, path: bytes, status: os.stat_result) -> bool:
        """Whether an open file lies below the root, wherever symbolic links have led.

        The kernel knows the real path of a descriptor. Without /proc, the path is resolved again and must lead to the
        same file.
        """
        try:
            real = os.readlink(f"{DESCRIPTORS}/{fd}".encode("ascii"))
        except OSError:
            real = os.path.realpath(path)
            if not _is_same_file(real, status):
                return False
        return (real + b"/").startswith(self._base)

    def _warn(self, error: OSError) -> None:
        """Log that descriptors have run out, at most once a second, because many requests fail at once."""
        now = time.monotonic()
        if now >= self._warn_again_at:
            self._warn_again_at = now + 1.0
            log.warning("cannot open static files: %s", error.strerror)


def _is_same_file(path: bytes, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), status)
    except OSError:
        return False
