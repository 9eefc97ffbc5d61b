"""Bodies in temporary files: written in parts, read as a file, and gone with the object."""

import io
import os
import tempfile
from pathlib import Path

import pytest

from mreactor.http.request import RequestHead, SpooledRequest, make_request
from mreactor.http.spooled_body import SpooledBody


def spool(*parts: bytes) -> SpooledBody:
    body = SpooledBody()
    for part in parts:
        body.append(part)
    return body


def test_it_is_what_was_written() -> None:
    body = spool(b"one ", b"", b"two", bytearray(b" three"))
    assert len(body) == 13
    assert body.read() == body.read() == b"one two three"


def test_each_stream_has_a_place_of_its_own() -> None:
    body = spool(b"line one\nline two\nrest")
    first, second = body.open(), body.open()
    assert first.readline() == b"line one\n"
    assert second.read(4) == b"line"
    assert list(first) == [b"line two\n", b"rest"]
    assert (first.read(), first.read(1)) == (b"", b"")
    assert first.seek(5) == 5
    assert first.read(3) == b"one"
    assert first.seek(-4, io.SEEK_END) == 18
    assert first.read() == b"rest"
    assert first.tell() == 22
    assert not first.writable()
    with pytest.raises(ValueError, match="negative"):
        first.seek(-1)


def test_a_stream_keeps_the_file() -> None:
    stream = spool(b"x" * 200_000).open()
    assert len(stream.read()) == 200_000


def test_the_file_is_gone_with_the_object() -> None:
    body = spool(b"x")
    fd = body.fileno()
    os.fstat(fd)
    del body
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_it_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    body = spool(b"secret")
    assert os.readlink(f"/proc/self/fd/{body.fileno()}").startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere/at/all")
    with pytest.raises(FileNotFoundError):
        SpooledBody()


def test_a_request_reads_it_when_asked() -> None:
    request = make_request(RequestHead(), spool(b'{"a": 1}'), ("a", 1))
    assert isinstance(request, SpooledRequest)
    assert request.stream.read(2) == b'{"'
    assert request.json() == {"a": 1}
    assert request.body == b'{"a": 1}'
    assert request.body is request.body
    assert request.stream.read() == b'a": 1}'


def test_a_small_request_has_a_stream_as_well() -> None:
    request = make_request(RequestHead(), b"small", ("a", 1))
    assert request.stream.read() == request.body == b"small"
    assert request.stream is request.stream
