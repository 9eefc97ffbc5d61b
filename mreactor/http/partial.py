"""Parts of a representation: 206, 304, 412 and 416 made from a complete response (RFC 9110 sections 13 to 15).

The content is in memory or in a file; it is never copied for a file. The functions do no I/O but for closing a file
whose content is not sent.
"""

import secrets
from collections import deque
from collections.abc import Iterable, Iterator

from ..protocol import FileBody
from .conditional import evaluate_conditions, range_applies
from .dates import parse_date
from .ranges import Region, parse_ranges
from .request import CHANGED
from .request_head import RequestHead
from .response import Body, Response
from .response_headers import Fields
from .status import HTTPError

# Every complete response that has ranges says so.
ACCEPTS_RANGES = (("Accept-Ranges", "bytes"),)

# What a 304 repeats of the complete response's fields (RFC 9110 section 15.4.5). Last-Modified is for caches without
# tags.
_KEPT_BY_304 = frozenset({"cache-control", "content-location", "etag", "expires", "last-modified", "vary"})


class MultipartFile(FileBody):
    """Several regions of an open file, each behind the head of its part (RFC 9110 section 14.6).

    It begins with an empty region: the first call of `next_region` returns the first part's head. Behind the last
    region comes the closing delimiter.
    """

    __slots__ = ("_parts", "_total")

    def __init__(self, file: FileBody, parts: Iterable[tuple[bytes, Region]], end: bytes) -> None:
        """Take over the descriptor of `file`."""
        FileBody.__init__(self, file.fd, file.offset, 0, file.stamp)
        base, file.fd = file.offset, -1
        self._parts = deque((head, base + region.start, region.length) for head, region in parts)
        self._total = sum(len(head) + length for head, _, length in self._parts) + len(end)
        self._parts.append((end, 0, 0))

    def __len__(self) -> int:
        return self._total

    def next_region(self) -> bytes:
        """Move on to the next region; return the head of its part, or at the end the closing delimiter."""
        if not self._parts:
            return b""
        head, self.offset, self.remaining = self._parts.popleft()
        return head


def conclude(head: RequestHead, response: Response) -> Response:
    """Apply the conditions and the ranges of a request to the complete response with status 200.

    The validators are the response's ETag and Last-Modified. A response that says Accept-Ranges is left as it is: its
    handler has done this already, or does not want it. A file whose content is not sent is closed.

    Raises:
        HTTPError: 412, 416.
    """
    if head.method not in ("GET", "HEAD"):
        return response
    etag, modified = "", None
    for name, value in response.headers:
        lower = name.lower()
        if lower == "accept-ranges":
            return response
        if lower == "etag":
            etag = value
        elif lower == "last-modified":
            modified = parse_date(value)
    body, content_type, status, fields, _ = response.parts
    response.parts = (body, content_type, status, (*fields, *ACCEPTS_RANGES), None)
    return respond_in_part(head, response, etag, modified)


def respond_in_part(head: RequestHead, response: Response, etag: str, modified: int | None) -> Response:
    """Return what the conditions and the ranges of a GET or HEAD request make of a complete response.

    Args:
        response: status 200, with content in memory or in a file.
        etag, modified: the validators of its content, as for `evaluate_conditions`.

    Raises:
        HTTPError: 412, 416.
    """
    status = evaluate_conditions(head.headers, etag, modified)
    if status != 200:
        _close(response.body)
        if status == 412:
            raise HTTPError(412, CHANGED)
        return not_modified(tuple(response.headers))
    return select_ranges(head, response, etag, modified)


def not_modified(fields: Fields) -> Response:
    """Make the 304 that stands for a complete response with these fields."""
    return Response(None, 304, [(name, value) for name, value in fields if name.lower() in _KEPT_BY_304])


def select_ranges(head: RequestHead, response: Response, etag: str, modified: int | None) -> Response:
    """Return the part of a complete response that a request asks for, or the response itself.

    Ranges are defined for GET alone (RFC 9110 section 14.2).

    Raises:
        HTTPError: 416, none of the ranges can be satisfied.
    """
    body = response.body
    asked = head.headers.get("range")
    if asked is None or head.method != "GET" or not isinstance(body, bytes | FileBody):
        return response
    if not range_applies(head.headers, etag, modified) or (regions := parse_ranges(asked, len(body))) is None:
        return response
    if not regions:
        _close(body)
        raise HTTPError(416, "The file does not have these bytes.", (("Content-Range", f"bytes */{len(body)}"),))
    return _single(response, body, regions[0]) if len(regions) == 1 else _several(response, body, regions)


def _single(response: Response, body: bytes | FileBody, region: Region) -> Response:
    """Turn a complete response into the 206 with one region."""
    _, content_type, _, fields, _ = response.parts
    fields = (*fields, ("Content-Range", region.content_range(len(body))))
    if isinstance(body, bytes):
        body = body[region.start : region.end]
    else:
        body.offset += region.start
        body.remaining = region.length
    return _replace(response, body, 206, fields, content_type)


def _several(response: Response, body: bytes | FileBody, regions: tuple[Region, ...]) -> Response:
    """Turn a complete response into the 206 with several regions as parts of one multipart body."""
    boundary = secrets.token_hex(12)
    heads = list(_part_heads(boundary, response, regions, len(body)))
    end = f"\r\n--{boundary}--\r\n".encode("ascii")
    if isinstance(body, bytes):
        parts = [head + body[region.start : region.end] for head, region in zip(heads, regions, strict=True)]
        body = b"".join((*parts, end))
    else:
        body = MultipartFile(body, zip(heads, regions, strict=True), end)
    fields = tuple(field for field in response.headers if field[0].lower() != "content-type")
    return _replace(response, body, 206, fields, f"multipart/byteranges; boundary={boundary}")


def _replace(response: Response, body: Body, status: int, fields: Fields, content_type: str) -> Response:
    """Change a response. The fields are not checked again: they come from the response or from this module."""
    response.parts = (body, content_type, status, fields, None)
    return response


def _part_heads(boundary: str, response: Response, regions: tuple[Region, ...], size: int) -> Iterator[bytes]:
    """Yield what goes before each region: delimiter, the type of the whole, and which part of it follows."""
    content_type = response.content_type
    for name, value in response.headers:
        if name.lower() == "content-type":
            content_type = value
    line = f"Content-Type: {content_type}\r\n" if content_type else ""
    for region in regions:
        yield f"\r\n--{boundary}\r\n{line}Content-Range: {region.content_range(size)}\r\n\r\n".encode("latin-1")


def _close(body: Body) -> None:
    if isinstance(body, FileBody):
        body.close()
