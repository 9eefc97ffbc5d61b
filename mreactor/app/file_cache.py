"""Small files in memory, and what is known of a version of a file: its validators and whether it is still current."""

import hashlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from ..http import (
    ACCEPTS_RANGES,
    CHANGED,
    RANGE_ALONE,
    Fields,
    HTTPError,
    RequestHead,
    Response,
    evaluate_conditions,
    format_date,
    make_response,
    noted_date,
    select_ranges,
    selecting_fields,
)
from .document_root import OpenFile

# A file may change twice within one tick of its time stamps: 4 ms on most kernels, 2 s on the coarsest file systems.
# The stamps cannot show the second change, so a version is trusted only once its last change is this old.
SETTLE_SECONDS = 2

# Stands for the objects around a cached file's content: version, fields, path.
OVERHEAD_BYTES = 1536

# Browsers take the declared type for true and do not guess.
NO_SNIFFING = (("X-Content-Type-Options", "nosniff"),)

# Tools that build images and archives set all files to one of the first seconds of 1970. Such a time says nothing.
LAST_MEANINGLESS_SECOND = 1


class FileVersion:
    """A regular file as it was when opened, and the fields that it is sent with. Immutable; any thread may use it.

    Args:
        content: the content, if it is in memory.
        content_type: the media type of what is in the file, without its coding.
        coding: the content coding of a compressed file.
        fields: further fields for 200 and 304, such as Vary.

    Attributes:
        modified_ns: the time of modification, in nanoseconds of Unix time.
    """

    __slots__ = (
        "_content_type", "_etag", "_fields", "_fields_304", "_is_settled", "_modified", "_signature", "modified_ns",
    )  # fmt: skip

    def __init__(
        self, file: OpenFile, content: bytes | None, content_type: str, *, coding: str = "", fields: Fields = ()
    ) -> None:
        now = time.time()
        status = file.status
        self._signature = _signature(status)
        self._is_settled = now - status.st_ctime > SETTLE_SECONDS
        self._content_type = content_type
        self.modified_ns = status.st_mtime_ns
        modified = status.st_mtime_ns // 1_000_000_000
        self._modified = modified if modified > LAST_MEANINGLESS_SECOND else None
        self._etag = _make_etag(status, content, self._modified, coding)
        validators: Fields = (("ETag", self._etag),) if self._etag else ()
        if self._modified is not None:
            validators += (("Last-Modified", format_date(_shown_time(self._modified, now))),)
        self._fields_304 = (*validators, *fields)
        described = (("Content-Encoding", coding),) if coding else ()
        self._fields = (*self._fields_304, *described, *ACCEPTS_RANGES, *NO_SNIFFING)

    def is_current(self, file: OpenFile) -> bool:
        """Whether the file still has this version for certain."""
        return self._is_settled and self._signature == _signature(file.status)

    def respond(self, head: RequestHead, content: bytes | OpenFile) -> Response:
        """Make a new response: the content or the part asked for, or 304. Detaches a file that it sends.

        Raises:
            HTTPError: 412, the client asks for another version only; 416, for a range outside the file.
        """
        asked = selecting_fields(head.headers)
        if asked and asked != RANGE_ALONE:
            status = evaluate_conditions(head.headers, self._etag, self._modified)
            if status == 304:
                return make_response(b"", "", 304, self._fields_304)
            if status == 412:
                raise HTTPError(412, CHANGED)
        body = content.detach() if isinstance(content, OpenFile) else content
        response = make_response(body, self._content_type, 200, self._fields)
        return select_ranges(head, response, self._etag, self._modified) if asked else response

    def respond_with_error(self, status: int, content: bytes | OpenFile) -> Response:
        """Make a new response with the status of an error. It has no validators: the file is not what was asked for."""
        body = content.detach() if isinstance(content, OpenFile) else content
        return make_response(body, self._content_type, status, NO_SNIFFING)


def _shown_time(modified: int, now: float) -> int:
    """Return the Last-Modified to send: earlier than the Date, which may lag behind the clock.

    RFC 9110 section 8.8.2.1 forbids a later one. An equal one would be no strong validator (section 8.8.2.2): the file
    may change again in that second. Threads of the pool do not know which Date their response will carry.
    """
    date = noted_date()
    return min(modified, (int(now) - SETTLE_SECONDS if date is None else date) - 1)


def _make_etag(status: os.stat_result, content: bytes | None, modified: int | None, coding: str) -> str:
    """Make an entity tag that replicas of a file share and that changes with it (RFC 9110 section 8.8.1).

    A digest of the content does. Files that are not in memory go by size and time; without a time they have no tag. An
    inode would differ between replicas, and a file system soon gives the same one again.
    """
    suffix = f"-{coding}" if coding else ""
    if content is not None:
        return f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}{suffix}"'
    return "" if modified is None else f'"{status.st_size:x}-{status.st_mtime_ns:x}{suffix}"'


class Variant(NamedTuple):
    """A file in one content coding, or in none: where it lies, its version, and its content if it is in memory."""

    path: bytes
    coding: str
    version: FileVersion
    content: bytes | None


class Resource(NamedTuple):
    """What is served for a path. Immutable. It is compared with the disk at `recheck_at`, in monotonic seconds.

    Attributes:
        plain: the file itself.
        siblings: its compressed copies by coding, as far as clients have asked for them; None for one that is missing.
            None instead of the dict: the file has no compressed copies.
    """

    plain: Variant
    siblings: dict[str, Variant | None] | None
    recheck_at: float

    def without_content(self) -> "Resource":
        """Return the resource with its versions alone."""
        siblings = self.siblings
        if siblings is not None:
            siblings = {coding: sibling and sibling._replace(content=None) for coding, sibling in siblings.items()}
        return Resource(self.plain._replace(content=None), siblings, self.recheck_at)

    def variants(self) -> Iterator[Variant]:
        """Yield all files."""
        yield self.plain
        for sibling in (self.siblings or {}).values():
            if sibling is not None:
                yield sibling


class FileCache:
    """Resources by path as requested, bounded in bytes. The oldest go first; a recheck makes one new again.

    A resource whose content has no room left stays without it: its versions need not be computed again, which costs
    more than to read a small file. Any thread may use the cache: `get` takes no lock, `put` and `drop` do.

    Args:
        content_bytes_max: the bound of the contents, with the objects around them.
        entry_bytes_max: the bound of everything else.

    Attributes:
        content_bytes, entry_bytes: what is used of them.
    """

    __slots__ = (
        "_content_bytes_max",
        "_entry_bytes_max",
        "_lock",
        "_resources",
        "_sizes",
        "content_bytes",
        "entry_bytes",
    )

    def __init__(self, content_bytes_max: int, entry_bytes_max: int) -> None:
        self._content_bytes_max = content_bytes_max
        self._entry_bytes_max = entry_bytes_max
        # Ordered dicts: a plain one finds its oldest key the later, the more keys have been removed before it.
        self._resources: OrderedDict[str, Resource] = OrderedDict()
        # The bytes of contents, of the resources that have any.
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.RLock()
        self.content_bytes = self.entry_bytes = 0

    def __len__(self) -> int:
        return len(self._resources)

    def get(self, path: str) -> Resource | None:
        """Return the resource cached for a path, even if its recheck is due."""
        return self._resources.get(path)

    def put(self, path: str, resource: Resource) -> None:
        """Cache a resource. One that is larger than the whole cache stays without its content."""
        size = sum(len(variant.content) for variant in resource.variants() if variant.content is not None)
        with self._lock:
            self.drop(path)
            if size > self._content_bytes_max:
                resource, size = resource.without_content(), 0
            while size and self.content_bytes + size > self._content_bytes_max:
                oldest, freed = self._sizes.popitem(last=False)
                self.content_bytes -= freed
                self._resources[oldest] = self._resources[oldest].without_content()
            entry_size = _entry_size(path)
            while self._resources and self.entry_bytes + entry_size > self._entry_bytes_max:
                self.drop(next(iter(self._resources)))
            self._resources[path] = resource
            self.entry_bytes += entry_size
            if size:
                self._sizes[path] = size
                self.content_bytes += size

    def drop(self, path: str) -> None:
        """Remove a path. Idempotent."""
        with self._lock:
            if self._resources.pop(path, None) is not None:
                self.entry_bytes -= _entry_size(path)
                self.content_bytes -= self._sizes.pop(path, 0)


def _signature(status: os.stat_result) -> tuple[int, ...]:
    """The numbers that change with a file's content. Unlike mtime, no program can set ctime back."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _entry_size(path: str) -> int:
    return len(path) + OVERHEAD_BYTES
