"""From a complete response to the one that is sent: 200, 206, 304, 412, 416; from memory and from a file."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mreactor.config import Limits
from mreactor.http.dates import format_date
from mreactor.http.partial import MultipartFile, conclude, respond_in_part
from mreactor.http.request import RequestHead
from mreactor.http.response import Response
from mreactor.http.status import HTTPError
from mreactor.http1.head_parser import Parser
from mreactor.protocol import FileBody, FileStamp

CONTENT = bytes(range(100))
MODIFIED = 784_111_777
DATE = format_date(MODIFIED)
TAG = '"v1"'
FIELDS = (("ETag", TAG), ("Last-Modified", DATE), ("Vary", "Accept-Encoding"), ("X-A", "b"))


def head(*fields: str, method: str = "GET") -> RequestHead:
    lines = "".join(f"{field}\r\n" for field in ("Host: a", *fields))
    return Parser(Limits()).parse(f"{method} / HTTP/1.1\r\n{lines}\r\n".encode("latin-1"))


@pytest.fixture(params=["memory", "file"])
def response(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Response]:
    """The complete response. The file's content lies behind bytes that are no part of it."""
    if request.param == "memory":
        yield Response(CONTENT, headers=FIELDS, content_type="text/plain")
        return
    path = tmp_path / "file"
    path.write_bytes(b"before" + CONTENT + b"after")
    body = FileBody(os.open(path, os.O_RDONLY), len(b"before"), len(CONTENT))
    yield Response(body, headers=FIELDS, content_type="text/plain")
    body.close()


def send(response: Response) -> bytes:
    """Return what a body sends, in the way of the response writer. Closes it."""
    body = response.body
    if isinstance(body, bytes):
        return body
    assert isinstance(body, FileBody)
    announced = len(body)
    sent = b"" if body.remaining else body.next_region()
    while body.remaining:
        piece = os.pread(body.fd, min(body.remaining, 7), body.offset)
        sent += piece
        body.advance(len(piece))
        if not body.remaining:
            sent += body.next_region()
    body.close()
    assert len(sent) == announced
    return sent


def is_closed(response: Response) -> bool:
    return not isinstance(response.body, FileBody) or response.body.fd < 0


def value(response: Response, name: str) -> str:
    found = [value for key, value in response.headers if key == name]
    assert len(found) <= 1
    return found[0] if found else ""


@pytest.mark.parametrize("fields", [(), ("Range: items=0-1",), ("Range: bytes=5-4",), ("Range: bytes=a",)])
def test_whole(response: Response, fields: tuple[str, ...]) -> None:
    whole = respond_in_part(head(*fields), response, TAG, MODIFIED)
    assert whole.status == 200
    assert whole.headers == FIELDS
    assert send(whole) == CONTENT


@pytest.mark.parametrize(
    ("asked", "start", "end"), [("0-0", 0, 1), ("10-19", 10, 20), ("90-", 90, 100), ("-5", 95, 100), ("0-", 0, 100)]
)
def test_one_region(response: Response, asked: str, start: int, end: int) -> None:
    part = respond_in_part(head(f"Range: bytes={asked}"), response, TAG, MODIFIED)
    assert part.status == 206
    assert part.headers == (*FIELDS, ("Content-Range", f"bytes {start}-{end - 1}/100"))
    assert part.content_type == "text/plain"
    assert isinstance(part.body, bytes | FileBody)
    assert len(part.body) == end - start
    assert send(part) == CONTENT[start:end]


def test_several_regions(response: Response) -> None:
    part = respond_in_part(head("Range: bytes=50-59,0-0,-2"), response, TAG, MODIFIED)
    assert (part.status, part.headers) == (206, FIELDS)
    boundary = re.fullmatch("multipart/byteranges; boundary=([0-9a-f]{24})", part.content_type)
    assert boundary is not None
    parts = (
        f"\r\n--B\r\nContent-Type: text/plain\r\nContent-Range: bytes {span}/100\r\n\r\n".encode()
        for span in ("50-59", "0-0", "98-99")
    )
    contents = (CONTENT[50:60], CONTENT[:1], CONTENT[98:])
    expected = b"".join(a + b for a, b in zip(parts, contents, strict=True)) + b"\r\n--B--\r\n"
    assert send(part) == expected.replace(b"--B", b"--" + boundary[1].encode())


def test_the_type_of_the_parts_may_stand_among_the_fields() -> None:
    response = Response(CONTENT, headers=(("content-type", "a/b"), ("X-A", "b")))
    part = respond_in_part(head("Range: bytes=0-0,2-2"), response, "", None)
    assert part.headers == (("X-A", "b"),)
    assert part.content_type.startswith("multipart/byteranges; ")
    assert send(part).count(b"Content-Type: a/b\r\n") == 2


def test_each_multipart_body_has_a_boundary_of_its_own() -> None:
    types = {respond_in_part(head("Range: bytes=0-0,2-2"), Response(CONTENT), "", None).content_type for _ in range(10)}
    assert len(types) == 10


def test_a_multipart_file_keeps_the_stamp_and_takes_over_the_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    file = FileBody(os.open(path, os.O_RDONLY), 0, 100, FileStamp(100, 5))
    part = respond_in_part(head("Range: bytes=0-0,2-2"), Response(file), "", None)
    assert isinstance(part.body, MultipartFile)
    assert (part.body.stamp, file.fd) == (FileStamp(100, 5), -1)
    part.body.close()
    assert part.body.fd == -1


def test_ranges_that_cannot_be_satisfied(response: Response) -> None:
    with pytest.raises(HTTPError) as caught:
        respond_in_part(head("Range: bytes=100-"), response, TAG, MODIFIED)
    assert (caught.value.status, caught.value.headers) == (416, (("Content-Range", "bytes */100"),))
    assert is_closed(response)


def test_head_has_no_ranges(response: Response) -> None:
    for asked in ("0-0", "100-"):
        complete = Response(response.body, headers=FIELDS)
        whole = respond_in_part(head(f"Range: bytes={asked}", method="HEAD"), complete, TAG, MODIFIED)
        assert (whole.status, value(whole, "Content-Range")) == (200, "")


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        (TAG, 206),
        ('"v2"', 200),
        (f"W/{TAG}", 200),
        ("v1", 200),
        (f'{TAG}, "v2"', 200),
        ("*", 200),
        ("", 200),
        (DATE, 206),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 206),
        (format_date(MODIFIED + 1), 200),
        (format_date(MODIFIED - 1), 200),
        ("yesterday", 200),
    ],
)
def test_if_range(response: Response, condition: str, status: int) -> None:
    part = respond_in_part(head("Range: bytes=0-0", f"If-Range: {condition}"), response, TAG, MODIFIED)
    assert part.status == status
    assert send(part) == (CONTENT[:1] if status == 206 else CONTENT)


def test_if_range_never_matches_a_weak_tag_or_nothing() -> None:
    for etag in ('W/"v1"', ""):
        for condition in (etag, '"v1"', DATE):
            asked = head("Range: bytes=0-0", f"If-Range: {condition}")
            assert respond_in_part(asked, Response(CONTENT), etag, None).status == 200


def test_a_wrong_if_range_hides_a_range_that_cannot_be_satisfied(response: Response) -> None:
    part = respond_in_part(head("Range: bytes=100-", 'If-Range: "v2"'), response, TAG, MODIFIED)
    assert part.status == 200


def test_conditions_come_before_ranges(response: Response) -> None:
    unchanged = respond_in_part(head(f"If-None-Match: {TAG}", "Range: bytes=100-"), response, TAG, MODIFIED)
    assert (unchanged.status, unchanged.body) == (304, b"")
    assert unchanged.headers == FIELDS[:3]
    assert is_closed(response)


def test_a_false_precondition(response: Response) -> None:
    with pytest.raises(HTTPError, match="412"):
        respond_in_part(head('If-Match: "v2"', "Range: bytes=0-0"), response, TAG, MODIFIED)
    assert is_closed(response)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ((), 200),
        (("Range: bytes=0-0",), 206),
        ((f"If-None-Match: {TAG}",), 304),
        ((f"If-Modified-Since: {DATE}",), 304),
        (("Range: bytes=0-0", f"If-Range: {DATE}"), 206),
        (("Range: bytes=0-0", 'If-Range: "v2"'), 200),
    ],
)
def test_the_validators_are_read_from_the_response(response: Response, fields: tuple[str, ...], status: int) -> None:
    concluded = conclude(head(*fields), response)
    assert concluded.status == status
    assert value(concluded, "Accept-Ranges") == ("" if status == 304 else "bytes")


@pytest.mark.parametrize("setting", ["bytes", "none"])
def test_a_handler_that_says_accept_ranges_decides_itself(response: Response, setting: str) -> None:
    response.headers += (("Accept-Ranges", setting),)
    assert conclude(head("Range: bytes=0-0", f"If-None-Match: {TAG}"), response) is response
    assert response.status == 200


def test_the_response_to_another_method_has_neither_conditions_nor_ranges(response: Response) -> None:
    asked = head("Range: bytes=0-0", f"If-None-Match: {TAG}", "Content-Length: 0", method="POST")
    assert (conclude(asked, response).status, response.headers) == (200, FIELDS)


def test_a_stream_has_no_ranges() -> None:
    response = Response(iter([b"x"]))
    assert respond_in_part(head("Range: bytes=0-0"), response, "", None) is response
    assert response.status == 200
    assert response.headers == ()
