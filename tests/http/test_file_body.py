"""Files as content: what is told of a file that changes while it is sent."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mreactor.protocol import FileBody, FileStamp

SIZE = 5000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"a" * SIZE)
    return path


@pytest.fixture
def body(path: Path) -> FileBody:
    fd = os.open(path, os.O_RDONLY)
    status = os.fstat(fd)
    return FileBody(fd, 0, SIZE, FileStamp(SIZE, status.st_mtime_ns))


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"b")


def shorten(path: Path) -> None:
    os.truncate(path, SIZE - 1)


def settle(body: FileBody) -> None:
    """Do what a connection does before it sends: wait in the pool while the file is in doubt."""
    if not body.is_same():
        assert body.must_load()
        body.load()
    assert not body.must_load()


@pytest.mark.parametrize("change", [touch, shorten])
def test_an_overwritten_file_is_noticed(body: FileBody, path: Path, change: Callable[[Path], None]) -> None:
    settle(body)
    change(path)
    settle(body)
    with pytest.raises(EOFError, match="was changed"):
        body.is_same()
    body.close()


def test_a_file_in_doubt_is_not_sent(body: FileBody, path: Path) -> None:
    body.must_load()
    touch(path)
    assert body.read(SIZE) == b""
    assert body.must_load()
    body.close()


def test_a_file_that_has_grown_is_the_same(body: FileBody, path: Path) -> None:
    append(path)
    touch(path)
    assert body.is_same()
    body.close()


def test_a_file_that_is_about_to_grow_is_the_same(body: FileBody, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel sets the time before the size, and the server may look between the two."""
    body.must_load()
    touch(path)
    pauses = []

    def pass_time(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            append(path)

    monkeypatch.setattr("mreactor.protocol.time.sleep", pass_time)
    settle(body)
    assert len(pauses) == 3
    touch(path)
    assert body.read(SIZE) == b"a" * SIZE
    body.close()
