"""Opening files without waiting for a disk, on the kernel that runs the tests."""

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mreactor.app import cached_open
from mreactor.app.cached_open import make_cached_open
from mreactor.app.document_root import OPEN_FLAGS


@pytest.fixture
def opens() -> Callable[[bytes], int]:
    made = make_cached_open(OPEN_FLAGS)
    assert made is not None, "openat2 needs Linux 5.12"
    return made


def read(fd: int) -> bytes:
    try:
        return os.read(fd, 100)
    finally:
        os.close(fd)


def test_a_file_whose_directories_are_in_memory(opens: Callable[[bytes], int], tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"content")
    os.stat(path)
    assert read(opens(os.fsencode(path))) == b"content"


def test_the_descriptor_has_the_flags_asked_for(opens: Callable[[bytes], int], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    os.stat(tmp_path / "fifo")
    # Without O_NONBLOCK this would wait for a writer.
    fd = opens(os.fsencode(tmp_path / "fifo"))
    assert not os.get_inheritable(fd)
    assert not os.get_blocking(fd)
    os.close(fd)


def test_a_large_file(opens: Callable[[bytes], int], tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, 3 << 30)
    fd = opens(os.fsencode(path))
    assert os.fstat(fd).st_size == 3 << 30
    os.close(fd)


def test_a_missing_file(opens: Callable[[bytes], int], tmp_path: Path) -> None:
    """Some file systems do not remember what is missing."""
    name = os.fsencode(tmp_path / "missing")
    assert not os.path.exists(name)
    with pytest.raises((FileNotFoundError, BlockingIOError)):
        opens(name)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL, errno.EPERM])
def test_there_is_none_where_the_kernel_or_a_sandbox_refuses(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(number, monkeypatch)
    assert make_cached_open(OPEN_FLAGS) is None


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EMFILE])
def test_what_passes_does_not_switch_it_off(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(number, monkeypatch)
    made = make_cached_open(OPEN_FLAGS)
    assert made is not None
    with pytest.raises(OSError) as caught:
        made(b"/")
    assert caught.value.errno == number


def answer(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each system call fail."""
    monkeypatch.setattr(cached_open, "_LIBC", {"syscall": lambda *_: -1})
    monkeypatch.setattr(ctypes, "get_errno", lambda: number)
