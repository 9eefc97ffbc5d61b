"""Static files: a handler that serves the files below a directory. See docs/decisions/041 and 068.

Mounted plainly, each reactor has a handler of its own, which opens and reads files in the reactor's thread. Mounted as
blocking, the threads of the pool share one handler. Small files stay in memory; a hit makes no system call until the
next recheck. The response body of a large file owns its open descriptor.

Replace a file by renaming a new one over it. Of a file that is written in place no response mixes two versions, but it
may be sent half written, or its response may be cut off.
"""

import os
import time

from ..http import Fields, HTTPError, MustWait, Request, RequestHead, Response, rank_codings
from .content_types import CONTENT_TYPES, guess_content_type, is_compressible
from .document_root import DocumentRoot, OpenFile, check_root, not_found
from .file_cache import FileCache, FileVersion, Resource, Variant
from .listing import respond_with_listing
from .static_options import StaticOptions, compile_cache_control

CONTENT_BYTES_MAX = 16 * 1024 * 1024
ENTRY_BYTES_MAX = 24 * 1024 * 1024

# Comes on top of the second for which the response cache keeps the response of a constant route.
RECHECK_SECONDS = 0.05

# The suffixes of compressed copies by content coding. Of codings that a client likes equally the first is sent.
SUFFIXES = {"br": b".br", "zstd": b".zst", "gzip": b".gz"}
CODINGS = tuple(SUFFIXES)

# Values of Accept-Encoding whose codings are remembered. Browsers send few different ones.
RANKINGS_MAX = 64

# A small file that has lost its place in memory gets one again when it is asked for, but not each time. If the files in
# use do not fit, most of those in memory stay there, instead of each leaving just before it is asked for again.
ADMISSION_INTERVAL = 8

VARY_BY_CODING = (("Vary", "Accept-Encoding"),)


class StaticFiles:
    """A handler for GET and HEAD that serves the files below a directory.

    Hidden files, and files that are not regular, give 404. Of names with a leading dot only `/.well-known/` is served
    (RFC 8615).

    Args:
        root: the directory. Its real path is determined once, here: later changes of links above it have no effect.
        prefix: the path under which the handler is mounted, such as `/` or `/assets/`. `App.mount` sets it.
        sendfile_bytes_min: files of this size and more are sent from disk, smaller ones from memory.
        options: see `StaticOptions`.

    Raises:
        ConfigError: the directory is missing, not readable, or not a directory.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        prefix: str = "/",
        sendfile_bytes_min: int = 65536,
        options: StaticOptions | None = None,
    ) -> None:
        options = options or StaticOptions()
        self.prefix = prefix
        self._directory = check_root(os.fspath(root))
        self._root = DocumentRoot(self._directory, prefix)
        self._sendfile_bytes_min = sendfile_bytes_min
        self._options = options
        self._types = {**CONTENT_TYPES, **options.content_types}
        self._cache_control = compile_cache_control(options)
        self._cache = FileCache(CONTENT_BYTES_MAX, ENTRY_BYTES_MAX)
        # Counts files without a place in memory. Threads that share the handler may lose counts, which does not matter.
        self._admissions = 0
        self._rankings: dict[str, tuple[str, ...]] = {}

    def copy(self, prefix: str) -> "StaticFiles":
        """Return a handler of the same directory for another prefix, with a cache of its own."""
        return StaticFiles(
            self._directory, prefix=prefix, sendfile_bytes_min=self._sendfile_bytes_min, options=self._options
        )

    def __call__(self, request: Request) -> Response:
        """Serve one request below the prefix.

        Raises:
            HTTPError: 403, the file is not readable; 404; 412, a condition of the request is false; 416, the file does
                not have the bytes asked for; 503, no descriptor is free, or the file is being changed.
        """
        path = request.head.raw_path
        try:
            resource = self._cache.get(path)
            if resource is not None and time.monotonic() < resource.recheck_at:
                return self._respond(request, path, resource)
            return self._serve_path(request, resource)
        except HTTPError as error:
            substitute = self._substitute(request, error)
            if substitute is None:
                raise
            return substitute

    def _serve_path(self, request: Request, cached: Resource | None) -> Response:
        raw_path = request.head.raw_path
        is_directory = raw_path.endswith("/")
        path = self._root.locate(raw_path) if cached is None or is_directory else cached.plain.path
        if is_directory:
            return self._serve_directory(request, path, cached)
        with self._root.open(path, may_wait=request.may_wait) as file:
            if cached is not None and cached.plain.content is None and cached.plain.version.is_current(file):
                return self._serve_known(request, file, cached)
            if file.is_directory:
                return _redirect_to_directory(request.head)
            return self._serve_file(request, raw_path, file, cached)

    def _serve_directory(self, request: Request, path: bytes, cached: Resource | None) -> Response:
        head = request.head
        for name in self._options.index:
            try:
                with self._root.open(path + os.fsencode(name), may_wait=request.may_wait) as file:
                    if not file.is_directory:
                        return self._serve_file(request, head.raw_path, file, cached)
            except HTTPError as error:
                if error.status != 404:
                    raise
        if not self._options.listing:
            raise not_found()
        if not request.may_wait:
            # A directory may be large, and its disk slow.
            raise MustWait
        with self._root.open(path, may_wait=request.may_wait) as file:
            if not file.is_directory:
                raise not_found()
            return respond_with_listing(head, file, self._root.leads_inside)

    def _serve_file(self, request: Request, key: str, file: OpenFile, cached: Resource | None) -> Response:
        """Serve an open file, after a look at what is known of it."""
        plain = self._refresh(request, None if cached is None else cached.plain, file)
        siblings: dict[str, Variant | None] | None = None
        if self._options.precompressed and is_compressible(self._content_type(file.path)):
            siblings = {}
        resource = Resource(plain, siblings, time.monotonic() + RECHECK_SECONDS)
        self._cache.put(key, resource)
        variant = self._choose(request, key, resource, cached)
        if variant is not plain:
            return self._respond_with(request, variant)
        return plain.version.respond(request.head, file if plain.content is None else plain.content)

    def _serve_known(self, request: Request, file: OpenFile, cached: Resource) -> Response:
        """Serve an open file whose version is known and whose content has no place in memory."""
        self._admissions += 1
        is_small = file.status.st_size < self._sendfile_bytes_min
        has_siblings = cached.siblings is not None and request.head.headers.get("accept-encoding") is not None
        if has_siblings or (is_small and self._admissions % ADMISSION_INTERVAL == 0):
            return self._serve_file(request, request.head.raw_path, file, cached)
        version = cached.plain.version
        if not is_small:
            return version.respond(request.head, file)
        content = file.read(may_wait=request.may_wait)
        if not version.is_current(file):
            return self._serve_file(request, request.head.raw_path, file, cached)
        return version.respond(request.head, content)

    def _respond(self, request: Request, key: str, resource: Resource) -> Response:
        """Serve a resource without looking at the disk, but for a file that is not in memory."""
        variant = resource.plain if resource.siblings is None else self._choose(request, key, resource, resource)
        if variant.content is not None:
            return variant.version.respond(request.head, variant.content)
        return self._respond_with(request, variant)

    def _respond_with(self, request: Request, variant: Variant) -> Response:
        if variant.content is not None:
            return variant.version.respond(request.head, variant.content)
        with self._root.open(variant.path, may_wait=request.may_wait) as file:
            if file.is_directory:
                raise not_found()
            variant = self._refresh(request, variant, file, variant.coding)
            return variant.version.respond(request.head, file if variant.content is None else variant.content)

    # Versions.

    def _refresh(self, request: Request, known: Variant | None, file: OpenFile, coding: str = "") -> Variant:
        """Return the file as it is now. Reads it again unless the known version is current."""
        is_small = file.status.st_size < self._sendfile_bytes_min
        if known is not None and known.path == file.path and known.version.is_current(file):
            if known.content is not None or not is_small:
                return known
            known = known._replace(content=file.read(may_wait=request.may_wait))
            # Reading may have met a newer version.
            if known.version.is_current(file):
                return known
        content = file.read(may_wait=request.may_wait) if is_small else None
        path = file.path.removesuffix(SUFFIXES[coding]) if coding else file.path
        content_type = self._content_type(path)
        fields = self._fields(path, content_type)
        version = FileVersion(file, content, content_type, coding=coding, fields=fields)
        return Variant(file.path, coding, version, content)

    def _content_type(self, path: bytes) -> str:
        return guess_content_type(path, self._types)

    def _fields(self, path: bytes, content_type: str) -> Fields:
        """Return the fields that all variants of a file share."""
        fields: Fields = ()
        if self._options.precompressed and is_compressible(content_type):
            fields = VARY_BY_CODING
        name = self._root.relative(path)
        for pattern, value in self._cache_control:
            if pattern.match(name):
                return (*fields, ("Cache-Control", value))
        return fields

    # Compressed copies.

    def _choose(self, request: Request, key: str, resource: Resource, known: Resource | None) -> Variant:
        """Return the variant that the client likes best. Looks for compressed copies on first demand."""
        field = request.head.headers.get("accept-encoding")
        if field is None or resource.siblings is None:
            return resource.plain
        siblings = resource.siblings
        for coding in self._rank(field):
            if coding not in siblings:
                siblings = {**siblings, coding: self._load_sibling(request, resource.plain, coding, known)}
                self._cache.put(key, resource._replace(siblings=siblings))
            if (variant := siblings[coding]) is not None:
                return variant
        return resource.plain

    def _rank(self, field: str) -> tuple[str, ...]:
        codings = self._rankings.get(field)
        if codings is None:
            if len(self._rankings) >= RANKINGS_MAX:
                self._rankings.clear()
            codings = self._rankings[field] = rank_codings(field, CODINGS)
        return codings

    def _load_sibling(self, request: Request, plain: Variant, coding: str, known: Resource | None) -> Variant | None:
        """Return the compressed copy of a file; None if there is none, or if it is older than the file."""
        previous = None if known is None or known.siblings is None else known.siblings.get(coding)
        try:
            with self._root.open(plain.path + SUFFIXES[coding], may_wait=request.may_wait) as file:
                if file.is_directory or file.status.st_mtime_ns < plain.version.modified_ns:
                    return None
                return self._refresh(request, previous, file, coding)
        except HTTPError as error:
            if error.status == 503:
                raise
            return None

    # Instead of an error.

    def _substitute(self, request: Request, error: HTTPError) -> Response | None:
        """Return what the options have for an error; None if they have nothing."""
        if error.status == 404 and self._options.fallback and _may_be_page(request.head):
            return self._serve_named(request, self._options.fallback)
        name = self._options.error_pages.get(error.status)
        return None if name is None else self._serve_named(request, name, error.status)

    def _serve_named(self, request: Request, name: str, status: int = 200) -> Response | None:
        """Serve a file that an option names, whatever the path of the request; None if it cannot be served."""
        try:
            with self._root.open(self._root.locate_name(name), may_wait=request.may_wait) as file:
                if file.is_directory:
                    return None
                # No path has this name, since all begin with a slash.
                cached = self._cache.get(name)
                if status == 200:
                    return self._serve_file(request, name, file, cached)
                variant = self._refresh(request, None if cached is None else cached.plain, file)
                self._cache.put(name, Resource(variant, None, 0.0))
                return variant.version.respond_with_error(status, file if variant.content is None else variant.content)
        except HTTPError as error:
            if error.status in (412, 416):
                raise
            return None


def _may_be_page(head: RequestHead) -> bool:
    """Whether a path may be a page of an application in the browser: it has no suffix, or the client asks for HTML."""
    return "." not in head.raw_path.rpartition("/")[2] or "text/html" in head.headers.get("accept", "")


def _redirect_to_directory(head: RequestHead) -> Response:
    """Redirect from `/docs` to `/docs/`, so that relative links in its index.html work. The query is kept.

    Refuses a path that a browser would read as `//host`.
    """
    if head.raw_path.startswith("//"):
        raise not_found()
    query = f"?{head.query_string}" if head.query_string else ""
    return Response(None, 301, (("Location", f"{head.raw_path}/{query}"),))
