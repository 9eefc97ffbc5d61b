"""Static files: a handler that serves the files below a directory. See docs/decisions/041.

Mounted plainly, each reactor has a handler of its own, which opens and reads files in the reactor's thread: a slow disk
delays that reactor's other clients. Mounted as blocking, the threads of the pool share one handler. Small files stay in
memory; a hit makes no system call until the next recheck. The response body of a large file owns its open descriptor.

Responses carry no Cache-Control; that is for the site to decide. Replace a file by renaming a new one over it: a file
that is written in place may be sent half written.
"""

import os
import time

from ..http import Request, RequestHead, Response
from .document_root import DocumentRoot, OpenFile, check_root, not_found
from .file_cache import CachedFile, FileCache, FileVersion

CACHE_ENTRIES_MAX = 256
CACHE_BYTES_MAX = 16 * 1024 * 1024

# Comes on top of the second for which the response cache keeps the response of a constant route.
RECHECK_SECONDS = 0.05


class StaticFiles:
    """A handler for GET and HEAD that serves the files below a directory.

    A directory is served as its index.html, never as a listing. Hidden files, and files that are not regular, give 404.
    Of names with a leading dot only `/.well-known/` is served (RFC 8615).

    Args:
        root: the directory. Its real path is determined once, here: later changes of links above it have no effect.
        prefix: the path under which the handler is mounted, such as `/` or `/assets/`. `App.mount` sets it.
        sendfile_bytes_min: files of this size and more are sent from disk, smaller ones from memory.

    Raises:
        ConfigError: the directory is missing, not readable, or not a directory.
    """

    def __init__(self, root: str | os.PathLike[str], *, prefix: str = "/", sendfile_bytes_min: int = 65536) -> None:
        self.prefix = prefix
        self._directory = check_root(os.fspath(root))
        self._root = DocumentRoot(root, prefix)
        self._sendfile_bytes_min = sendfile_bytes_min
        self._cache = FileCache(CACHE_ENTRIES_MAX, CACHE_BYTES_MAX)

    def copy(self, prefix: str) -> "StaticFiles":
        """Return a handler of the same directory for another prefix, with a cache of its own."""
        return StaticFiles(self._directory, prefix=prefix, sendfile_bytes_min=self._sendfile_bytes_min)

    def __call__(self, request: Request) -> Response:
        """Serve one request below the prefix.

        Raises:
            HTTPError: 403, the file is not readable; 404; 412, a condition of the request is false; 503, no descriptor
                is free.
        """
        head = request.head
        cached = self._cache.get(head.raw_path)
        if cached is not None and time.monotonic() < cached.recheck_at:
            return cached.version.respond(head.headers, cached.content)
        return self._serve_from_disk(head, cached)

    def _serve_from_disk(self, head: RequestHead, cached: CachedFile | None) -> Response:
        with self._root.open(head.raw_path) as file:
            if file.is_directory:
                return _redirect_to_directory(head)
            if file.status.st_size >= self._sendfile_bytes_min:
                return FileVersion(file).respond(head.headers, file)
            cached = _refresh(cached, file)
            self._cache.put(head.raw_path, cached)
            return cached.version.respond(head.headers, cached.content)


def _refresh(cached: CachedFile | None, file: OpenFile) -> CachedFile:
    """Read the file again unless the cached version is current; either way, postpone the recheck."""
    if cached is None or not cached.version.is_current(file):
        content = file.read()
        cached = CachedFile(FileVersion(file, content), content, 0.0)
    return cached._replace(recheck_at=time.monotonic() + RECHECK_SECONDS)


def _redirect_to_directory(head: RequestHead) -> Response:
    """Redirect from `/docs` to `/docs/`, so that relative links in its index.html work. The query is kept.

    Refuses a directory that is named index.html, and a path that a browser would read as `//host`.
    """
    if head.raw_path.endswith("/") or head.raw_path.startswith("//"):
        raise not_found()
    query = f"?{head.query_string}" if head.query_string else ""
    return Response(None, 301, (("Location", f"{head.raw_path}/{query}"),))
