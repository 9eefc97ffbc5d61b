"""Small files in memory, and what is known of a version of a file: its validators and whether it is still current."""

import hashlib
import os
import threading
import time
from typing import NamedTuple

from ..http import Headers, HTTPError, Response, evaluate_conditions, format_date, noted_date
from .content_types import guess_content_type
from .document_root import OpenFile

# A file may change twice within one tick of its time stamps: 4 ms on most kernels, 2 s on the coarsest file systems.
# The stamps cannot show the second change, so a version is trusted only once its last change is this old.
SETTLE_SECONDS = 2

# Stands for the objects around a cached file's content.
OVERHEAD_BYTES = 1024


# Tools that build images and archives set all files to one of the first seconds of 1970. Such a time says nothing.
LAST_MEANINGLESS_SECOND = 1


class FileVersion:
    """A regular file as it was when opened. Immutable; any thread may use it.

    Args:
        content: the content, if it is in memory.
    """

    __slots__ = ("_content_type", "_etag", "_fields", "_is_settled", "_modified", "_signature", "_validators")

    def __init__(self, file: OpenFile, content: bytes | None = None) -> None:
        now = time.time()
        status = file.status
        self._signature = _signature(status)
        self._is_settled = now - status.st_ctime > SETTLE_SECONDS
        self._content_type = guess_content_type(file.path)
        modified = status.st_mtime_ns // 1_000_000_000
        self._modified = modified if modified > LAST_MEANINGLESS_SECOND else None
        self._etag = _make_etag(status, content, self._modified)
        self._validators: tuple[tuple[str, str], ...] = (("ETag", self._etag),) if self._etag else ()
        if self._modified is not None:
            # Last-Modified is never later than Date (RFC 9110 section 8.8.2.1), which may lag behind the clock. Threads
            # of the pool do not know which Date their response will carry.
            date = noted_date()
            shown = min(self._modified, int(now) - SETTLE_SECONDS if date is None else date)
            self._validators += (("Last-Modified", format_date(shown)),)
        self._fields = (*self._validators, ("X-Content-Type-Options", "nosniff"))

    def is_current(self, file: OpenFile) -> bool:
        """Whether the file still has this version for certain."""
        return self._is_settled and self._signature == _signature(file.status)

    def respond(self, headers: Headers, content: bytes | OpenFile) -> Response:
        """Make a new response: the content, or 304 if the client has this version. Detaches a file that it sends.

        Raises:
            HTTPError: 412, the client asks for another version only.
        """
        status = evaluate_conditions(headers, self._etag, self._modified)
        if status == 304:
            return Response(None, 304, self._validators)
        if status == 412:
            raise HTTPError(412, "The file is not the version that the request asks for.")
        response = Response(content.detach() if isinstance(content, OpenFile) else content)
        response.headers = self._fields
        response.content_type = self._content_type
        return response


def _make_etag(status: os.stat_result, content: bytes | None, modified: int | None) -> str:
    """Make an entity tag that replicas of a file share and that changes with it (RFC 9110 section 8.8.1).

    A digest of the content does. Files that are not in memory go by size and time; without a time they have no tag. An
    inode would differ between replicas, and a file system soon gives the same one again.
    """
    if content is not None:
        return f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
    return "" if modified is None else f'"{status.st_size:x}-{status.st_mtime_ns:x}"'


class CachedFile(NamedTuple):
    """A small file in memory. It is compared with the disk at `recheck_at`, in monotonic seconds."""

    version: FileVersion
    content: bytes
    recheck_at: float


class FileCache:
    """Small files by path as requested, bounded in entries and bytes.

    It evicts the oldest entry first. Each recheck enters a file again, so this is nearly the order of use. Any thread
    may use it: `get` takes no lock, `put` and `drop` do. `bytes_used` is what all entries count for.
    """

    __slots__ = ("_bytes_max", "_entries_max", "_files", "_lock", "bytes_used")

    def __init__(self, entries_max: int, bytes_max: int) -> None:
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._files: dict[str, CachedFile] = {}
        self._lock = threading.RLock()
        self.bytes_used = 0

    def __len__(self) -> int:
        return len(self._files)

    def get(self, path: str) -> CachedFile | None:
        """Return the file cached for a path, even if its recheck is due."""
        return self._files.get(path)

    def put(self, path: str, file: CachedFile) -> None:
        """Cache a file, unless it is larger than the whole cache."""
        size = _size(path, file)
        with self._lock:
            self.drop(path)
            if size > self._bytes_max:
                return
            while len(self._files) >= self._entries_max or self.bytes_used + size > self._bytes_max:
                self.drop(next(iter(self._files)))
            self._files[path] = file
            self.bytes_used += size

    def drop(self, path: str) -> None:
        """Remove a path. Idempotent."""
        with self._lock:
            file = self._files.pop(path, None)
            if file is not None:
                self.bytes_used -= _size(path, file)


def _signature(status: os.stat_result) -> tuple[int, ...]:
    """The numbers that change with a file's content. Unlike mtime, no program can set ctime back."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _size(path: str, file: CachedFile) -> int:
    return len(file.content) + len(path) + OVERHEAD_BYTES
