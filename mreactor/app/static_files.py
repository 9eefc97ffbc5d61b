"""Static files: a handler that answers from a directory, and with nothing from outside of it.

A reactor makes a `StaticFiles` for itself. Files are opened and read in its thread, where a directory on a slow disk
delays its other clients; or, mounted as blocking, in the pool's threads, which share it. Small files stay in memory; a
hit makes no system call, but for a look at the disk twenty times a second. Where answers are remembered for their
second (`constant`), a change on disk is so seen a second later. Large files are handed over open: whoever sends the
answer closes them. Nothing here knows of sockets or connections.

What keeps it inside: no name with a slash, backslash or NUL in it, or with a dot in front, reaches the file system.
What has been opened is asked where it really is before a byte of it is read, so that a symbolic link, however late it
was put there, does not lead out of the root. Hard links and bind mounts cannot be told from other files.

Answers carry no Cache-Control: how long a file stays good is the site's to say. A file that is in use is replaced by
renaming a new one over it; one that is written in place may be sent half written.
"""

import errno
import logging
import os
import re
import threading
import time
from mimetypes import MimeTypes
from stat import S_ISDIR, S_ISREG
from types import MappingProxyType
from urllib.parse import unquote_to_bytes

from ..config import ConfigError
from ..http import BINARY, Headers, HTTPError, Request, RequestHead, Response, format_date, parse_date
from ..protocol import FileBody

log = logging.getLogger("mreactor")

INDEX = "index.html"

CACHE_ENTRIES_MAX = 256
CACHE_BYTES_MAX = 16 * 1024 * 1024
RECHECK_SECONDS = 0.05  # comes on top of the second for which the answer of a constant route is remembered

# Time stamps of files move in ticks: 4 ms on most kernels, 2 s on the coarsest file systems. A file read so soon after
# a change may change again within the tick, and no stamp would tell; so it is read anew until the change is this old.
SETTLE_SECONDS = 2

# What the standard library's table lacks. Compressed files are sent as what they are: no Content-Encoding goes along.
MORE_TYPES = {
    ".7z": "application/x-7z-compressed",
    ".bz2": "application/x-bzip2",
    ".epub": "application/epub+zip",
    ".flac": "audio/flac",
    ".geojson": "application/geo+json",
    ".gz": "application/gzip",
    ".ics": "text/calendar",
    ".jsonld": "application/ld+json",
    ".jxl": "image/jxl",
    ".log": "text/plain",
    ".m4a": "audio/mp4",
    ".map": "application/json",
    ".mkv": "video/x-matroska",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".ogv": "video/ogg",
    ".otf": "font/otf",
    ".tgz": "application/gzip",
    ".toml": "application/toml",
    ".ttf": "font/ttf",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xhtml": "application/xhtml+xml",
    ".xml": "application/xml",  # in text/xml our charset would overrule the document's own (RFC 7303 section 3.2)
    ".xz": "application/x-xz",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".zst": "application/zstd",
}

# A fresh MimeTypes knows nothing of the machine's mime.types: a file has the same type everywhere.
CONTENT_TYPES = MappingProxyType({**MimeTypes().types_map[True], **MORE_TYPES})

# A decoded segment that may name a file: not empty, not hidden, neither `.` nor `..`, and still one segment.
NAME = re.compile(rb"[^./\\\0][^/\\\0]*+")

# O_NONBLOCK: to open a FIFO must not wait for its writer. O_NOCTTY: nor may a terminal become ours.
OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY

# Errors of open that mean "there is no such file"; so do those of sockets and devices without a driver (ENXIO, ENODEV)
# and of names that the file system cannot hold (EINVAL, EILSEQ).
NOT_THERE = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
    | {errno.ENXIO, errno.ENODEV, errno.EINVAL, errno.EILSEQ}
)

DESCRIPTORS = "/proc/self/fd"


def check_root(path: str) -> str:
    """The real path of a directory to serve; to be called when a handler is declared, before any thread starts.

    Raises:
        ConfigError: it is missing, no directory, or may not be read.
    """
    try:
        with os.scandir(path):
            return os.path.realpath(path)
    except OSError as error:
        raise ConfigError(f"static directory {path!r}: {(error.strerror or str(error)).lower()}") from None


class StaticFiles:
    """A handler that answers GET and HEAD with the files below a directory.

    Directories answer with their index.html, never with a listing. Hidden files, and whatever is no regular file, are
    not there (404); files that the server may not read are forbidden (403); without a free descriptor it is 503.

    Args:
        root: the directory. Where it really is, is found out once, here: a symbolic link among its parents that is
            changed later is not followed.
        prefix: the path under which the handler is mounted, such as `/` or `/assets/`.
        sendfile_bytes_min: files of this size and more are sent from disk, smaller ones from memory.
    """

    def __init__(
        self, root: str | os.PathLike[str], *, prefix: str = "/", sendfile_bytes_min: int = 65536
    ) -> None:
        self._base = os.fsencode(os.path.realpath(root)).rstrip(b"/") + b"/"
        self._depth = prefix.rstrip("/").count("/")  # segments of a path that are not ours
        self._sendfile_bytes_min = sendfile_bytes_min
        self._cache = FileCache(CACHE_ENTRIES_MAX, CACHE_BYTES_MAX)
        self._warn_again_at = 0.0

    def __call__(self, request: Request) -> Response:
        """Answer one request that the router has led here.

        Raises:
            HTTPError: 403, 404 or 503.
        """
        head = request.head
        file = self._cache.get(head.raw_path)
        if file is not None and time.monotonic() < file.recheck_at:
            return file.answer(head.headers, file.content)
        return self._look_up(head, file)

    def _look_up(self, head: RequestHead, known: "_File | None") -> Response:
        """Answer from disk; `known` is what memory holds of the file, and the time has come to look again."""
        path = self._locate(head.raw_path)
        body, status = self._open(path)
        response = None
        try:
            response = self._answer(head, path, body, status, known)
        finally:
            if response is None or response.body is not body:
                body.close()
        return response

    def _locate(self, raw_path: str) -> bytes:
        """The name of the file that a path stands for, as bytes: names of files have no encoding.

        Empty segments are refused, not skipped: one file has one address, and `//host` never becomes a redirect.
        """
        segments = raw_path.split("/")[1 + self._depth :]
        if segments and not segments[-1]:
            segments[-1] = INDEX
        names = [unquote_to_bytes(segment) for segment in segments]
        for name in names:
            if not NAME.fullmatch(name):
                raise _missing()
        return self._base + b"/".join(names)

    def _open(self, path: bytes) -> tuple[FileBody, os.stat_result]:
        """Open a file or directory that is inside of the root, and close everything else.

        Raises:
            HTTPError: 403, 404 or 503.
        """
        try:
            fd = os.open(path, OPEN_FLAGS)
        except OSError as error:
            if error.errno in NOT_THERE:
                raise _missing() from None
            if error.errno in (errno.EACCES, errno.EPERM):
                raise HTTPError(403, "This file may not be read.") from None
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._warn(error)
                raise HTTPError(503, "The server has too many files open.", (("Retry-After", "1"),)) from None
            raise
        body = FileBody(fd, 0, 0)
        try:
            status = os.fstat(fd)
            body.remaining = status.st_size
            if not self._is_inside(fd, path, status):
                raise _missing()
        except BaseException:
            body.close()
            raise
        return body, status

    def _is_inside(self, fd: int, path: bytes, status: os.stat_result) -> bool:
        """Whether an open file is inside of the root, wherever symbolic links have led.

        The kernel is asked, where it mounts /proc: it knows what has been opened. Elsewhere the path is resolved again,
        and must lead to the same file.
        """
        try:
            real = os.readlink(f"{DESCRIPTORS}/{fd}".encode("ascii"))
        except OSError:
            real = os.path.realpath(path)
            if not _is_file(real, status):
                return False
        return (real + b"/").startswith(self._base)

    def _answer(
        self, head: RequestHead, path: bytes, body: FileBody, status: os.stat_result, known: "_File | None"
    ) -> Response:
        """Answer with what has been opened; `body` is the answer's from then on if it is in there."""
        if S_ISDIR(status.st_mode):
            return _redirect(head)
        if not S_ISREG(status.st_mode):
            raise _missing()
        if len(body) >= self._sendfile_bytes_min:
            return _File(path, status).answer(head.headers, body)
        file = known
        if file is None or not file.settled or file.signature != _signature(status):
            file = _File(path, status)
            file.content = _read(body)
        file.recheck_at = time.monotonic() + RECHECK_SECONDS
        self._cache.put(head.raw_path, file)
        return file.answer(head.headers, file.content)

    def _warn(self, error: OSError) -> None:
        """Log a want of descriptors, once a second: it hits many requests at once."""
        now = time.monotonic()
        if now >= self._warn_again_at:
            self._warn_again_at = now + 1.0
            log.warning("cannot open files to serve: %s", error.strerror)


class FileCache:
    """Small files by path as requested, bounded in entries and bytes; the ones looked at longest ago go first.

    Each look at the disk takes a file out and puts it in again, so the order of entry is nearly the order of use. Any
    thread may use it: finding takes no lock, keeping and dropping do.
    """

    __slots__ = ("_bytes", "_bytes_max", "_entries_max", "_files", "_lock")

    def __init__(self, entries_max: int, bytes_max: int) -> None:
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._files: dict[str, _File] = {}
        self._bytes = 0
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._files)

    def get(self, path: str) -> "_File | None":
        """The file kept for a path, however long ago it was looked at."""
        return self._files.get(path)

    def put(self, path: str, file: "_File") -> None:
        """Keep a file, if it fits at all, at the expense of the oldest."""
        size = _size(path, file)
        with self._lock:
            self.drop(path)
            if size > self._bytes_max:
                return
            while len(self._files) >= self._entries_max or self._bytes + size > self._bytes_max:
                self.drop(next(iter(self._files)))
            self._files[path] = file
            self._bytes += size

    def drop(self, path: str) -> None:
        """Forget a path, if it is known."""
        with self._lock:
            file = self._files.pop(path, None)
            if file is not None:
                self._bytes -= _size(path, file)


class _File:
    """A regular file as it was when looked at: its type, its validators, and the content of a small one.

    Attributes:
        signature: what must be unchanged for the content to be still good.
        settled: whether the signature can be trusted to change with the content, see `SETTLE_SECONDS`.
        recheck_at: monotonic seconds from which on the disk is looked at again.
    """

    __slots__ = (
        "_content_type",
        "_etag",
        "_modified",
        "_validators",
        "content",
        "recheck_at",
        "settled",
        "signature",
    )

    def __init__(self, path: bytes, status: os.stat_result) -> None:
        now = time.time()
        self.content = b""
        self.recheck_at = 0.0
        self.signature = _signature(status)
        self.settled = now - status.st_ctime > SETTLE_SECONDS
        self._content_type = _content_type(path)
        self._etag = f'"{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ino:x}"'
        # Last-Modified is never later than Date (RFC 9110 section 8.8.2.1); before 1970, few clients can count.
        self._modified = max(0, min(status.st_mtime_ns // 1_000_000_000, int(now)))
        self._validators = (("ETag", self._etag), ("Last-Modified", format_date(self._modified)))

    def answer(self, headers: Headers, content: bytes | FileBody) -> Response:
        """The content, or 304 to those who have it. Made anew each time, so that whoever gets it may change it.

        The fields are all our own, so they do not pass through the constructor's check.
        """
        if self._is_known(headers):
            response = Response(None, 304)
            response.headers = self._validators
        else:
            response = Response(content)
            response.headers = (*self._validators, ("X-Content-Type-Options", "nosniff"))
            response.content_type = self._content_type
        return response

    def _is_known(self, headers: Headers) -> bool:
        """Whether the client has this version, by If-None-Match or else If-Modified-Since (RFC 9110 section 13.2.2)."""
        tags = headers.get("if-none-match")
        if tags is not None:
            # The comparison is the weak one (section 8.8.3.2), so a W/ in front does not matter. Opaque tags hold no
            # quotes and between tags there are no letters: in a well-formed list, our tag with its quotes is found
            # where it is an element and nowhere else.
            return self._etag in tags or tags.strip() == "*"
        since = headers.get("if-modified-since")
        date = None if since is None else parse_date(since)
        return date is not None and self._modified <= date


def _missing() -> HTTPError:
    return HTTPError(404, "There is nothing at this address.")


def _redirect(head: RequestHead) -> Response:
    """From a directory's name to the directory, so that relative links in its index.html work; the query goes along.

    Refused are a directory that is called index.html, and a path that a browser would read as `//host`.
    """
    if head.raw_path.endswith("/") or head.raw_path.startswith("//"):
        raise _missing()
    query = f"?{head.query_string}" if head.query_string else ""
    return Response(None, 301, (("Location", f"{head.raw_path}/{query}"),))


def _signature(status: os.stat_result) -> tuple[int, ...]:
    """What changes with a file's content. ctime is among it: unlike mtime, no program can set it back."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _content_type(path: bytes) -> str:
    suffix = os.path.splitext(path)[1].decode("latin-1").lower()
    content_type = CONTENT_TYPES.get(suffix, BINARY)
    return f"{content_type}; charset=utf-8" if content_type.startswith("text/") else content_type


def _read(body: FileBody) -> bytes:
    """All of a small file; less if it has been cut short since it was opened."""
    parts = []
    while body.remaining and (part := os.read(body.fd, body.remaining)):
        parts.append(part)
        body.advance(len(part))
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _is_file(path: bytes, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), status)
    except OSError:
        return False


def _size(path: str, file: _File) -> int:
    """What a kept file counts for, in bytes; a kilobyte stands for the objects around its content."""
    return len(file.content) + len(path) + 1024
