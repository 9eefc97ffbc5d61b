"""Where bodies are kept: in memory or in a file, whatever the pieces that they come in."""

import errno
import os
from typing import Any

import pytest

from mreactor.http.spooled_body import SpooledBody
from mreactor.http.status import HTTPError
from mreactor.http1 import body_store
from mreactor.http1.body_store import WRITE_BYTES, BodyStore


def fill(store: BodyStore, content: bytes, piece: int) -> bytes | SpooledBody:
    for start in range(0, len(content), piece):
        store.append(content[start : start + piece])
    return store.content()


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("piece", [1, 7, 999, 1000, 1001, 5000])
@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 5000])
def test_it_is_in_memory_up_to_the_bound(size: int, piece: int, announced: bool) -> None:
    content = os.urandom(size)
    body = fill(BodyStore(1000, size if announced else 0), content, piece)
    assert isinstance(body, bytes) == (size <= 1000)
    assert (body if isinstance(body, bytes) else body.read()) == content
    assert len(body) == size


@pytest.mark.parametrize("length", [0, 10**6])
def test_its_memory_is_bounded(length: int) -> None:
    store = BodyStore(100_000, length)
    highest = 0
    for _ in range(1000):
        store.append(b"x" * 1000)
        highest = max(highest, store.in_memory)
    assert highest == (WRITE_BYTES // 1000 * 1000 if length else 100_000)
    assert store.in_memory <= WRITE_BYTES
    assert len(store.content()) == 1_000_000


def test_small_pieces_are_written_together(monkeypatch: pytest.MonkeyPatch) -> None:
    writes = []
    append = SpooledBody.append

    def count(self: SpooledBody, part: bytes) -> None:
        if part:
            writes.append(len(part))
        append(self, part)

    monkeypatch.setattr(SpooledBody, "append", count)
    body = fill(BodyStore(0, 100_000), b"ab" * 50_000, 2)
    assert len(body) == 100_000
    # Without any memory each piece is written at once.
    assert len(writes) == 50_000
    writes.clear()
    fill(BodyStore(50_000, 100_000), b"ab" * 50_000, 2)
    assert len(writes) < 20


def test_a_dropped_body_closes_its_file() -> None:
    store = BodyStore(10)
    store.append(b"x" * 100)
    spooled = store._spooled
    assert spooled is not None
    fd = spooled.fileno()
    store.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    assert store.in_memory == 0


class Failing(SpooledBody):
    """A file on a disk that fails."""

    error = errno.ENOSPC

    def append(self, part: Any) -> None:
        raise OSError(self.error, os.strerror(self.error))


@pytest.mark.parametrize(
    ("number", "status"), [(errno.ENOSPC, 507), (errno.EDQUOT, 507), (errno.EFBIG, 507), (errno.EIO, 503)]
)
def test_a_full_disk_is_a_refusal(
    number: int, status: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Failing, "error", number)
    monkeypatch.setattr(body_store, "SpooledBody", Failing)
    with pytest.raises(HTTPError) as caught:
        BodyStore(10).append(b"x" * 11)
    assert caught.value.status == status
    assert "TMPDIR" in caplog.text


def test_no_descriptor_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(body_store, "SpooledBody", fail)
    with pytest.raises(HTTPError) as caught:
        BodyStore(10, 100).append(b"x" * 11)
    assert caught.value.status == 503
