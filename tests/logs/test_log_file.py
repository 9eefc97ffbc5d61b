"""The file of the access log: appending, failed writes, reopening."""

import contextlib
import os
import resource
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mreactor.logs.log_file import LogFile


def opened(path: Path | str) -> LogFile:
    file = LogFile(str(path))
    file.open()
    return file


def test_a_file_is_created_for_owner_and_group(path: Path) -> None:
    umask = os.umask(0)
    try:
        file = opened(path)
    finally:
        os.umask(umask)
    file.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_file_is_appended_to(path: Path) -> None:
    path.write_bytes(b"one\n")
    file = opened(path)
    assert file.write(b"two\nthree\n") == 0
    file.close()
    file.close()
    assert path.read_bytes() == b"one\ntwo\nthree\n"


def test_a_named_pipe_needs_no_reader(path: Path) -> None:
    os.mkfifo(path)
    file = opened(path)
    assert file.write(b"one\n") == 1, "it is lost"
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    assert file.write(b"two\n") == 0
    assert os.read(reader, 100) == b"two\n"
    os.close(reader)
    assert file.write(b"three\n") == 1
    file.reopen()
    file.close()


def test_a_closed_file_loses_lines(path: Path) -> None:
    assert LogFile(str(path)).write(b"one\ntwo\n") == 2
    assert not path.exists()


def test_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    file = opened("")
    file.write(b"one\n")
    file.reopen()
    file.write(b"two\n")
    file.close()
    os.write(1, b"three\n")  # still open: the file had a descriptor of its own
    assert capfd.readouterr().out == "one\ntwo\nthree\n"
    assert str(file) == "standard output"


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Make writes past `size` bytes fail with EFBIG, after the part that fits, as on a full disk."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


def test_a_torn_line_does_not_tear_the_next(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = opened(path)
    with file_size_limit(10):
        lost = [file.write(b"first\nsecond\nthird\n"), file.write(b"fourth\n"), file.write(b"fifth\nsixth\n")]
    assert file.write(b"seventh\n") == 0
    assert file.write(b"eighth\n") == 0
    file.close()
    assert lost == [2, 1, 2]
    assert path.read_bytes() == b"first\nseco\nseventh\neighth\n"
    assert [record.getMessage() for record in caplog.records] == [
        f"access log: cannot write to {path}, lines are lost: File too large",
        f"access log: writing to {path} works again, 5 lines were lost",
    ]


def test_a_failure_between_lines_tears_none(path: Path) -> None:
    file = opened(path)
    with file_size_limit(6):
        assert file.write(b"first\nsecond\n") == 1
    file.write(b"third\n")
    file.close()
    assert path.read_bytes() == b"first\nthird\n"


def test_a_failure_right_after_a_torn_line_was_ended(path: Path) -> None:
    file = opened(path)
    with file_size_limit(4):
        assert file.write(b"first\n") == 1
    with file_size_limit(5):
        assert file.write(b"second\nthird\n") == 2
    assert file.write(b"fourth\n") == 0
    file.close()
    assert path.read_bytes() == b"firs\nfourth\n"


def test_a_failure_to_close_is_logged(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = opened(path)
    (fd,) = (int(fd.name) for fd in Path("/proc/self/fd").iterdir() if os.path.realpath(fd) == str(path))
    os.close(fd)
    file.close()
    assert caplog.messages == [f"access log: {path} may have lost lines: Bad file descriptor"]


def test_reopening_creates_the_file_again(path: Path) -> None:
    file = opened(path)
    file.write(b"one\n")
    path.rename(path.with_suffix(".1"))
    file.write(b"two\n")
    file.reopen()
    file.write(b"three\n")
    file.close()
    assert path.with_suffix(".1").read_bytes() == b"one\ntwo\n"
    assert path.read_bytes() == b"three\n"


def test_reopening_does_not_leak(path: Path) -> None:
    file = opened(path)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        file.reopen()
    assert len(os.listdir("/proc/self/fd")) == before
    file.close()
    assert len(os.listdir("/proc/self/fd")) == before - 1
    file.reopen()
    assert len(os.listdir("/proc/self/fd")) == before - 1


def test_a_file_that_cannot_be_reopened_is_kept(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = opened(path)
    old = path.with_suffix(".1")
    path.rename(old)
    path.mkdir()
    file.reopen()
    file.write(b"one\n")
    file.close()
    assert old.read_bytes() == b"one\n"
    assert caplog.messages == [f"access log: cannot reopen {path}, keeping the old file: Is a directory"]


def test_a_nonblocking_standard_output_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    monkeypatch.setattr("mreactor.logs.log_file.STDOUT", writer)
    lines = b"a line of the access log\n" * 20_000
    received = bytearray()

    def read() -> None:
        while len(received) < len(lines) and (piece := os.read(reader, 65536)):
            received.extend(piece)

    file = opened("")
    reading = threading.Thread(target=read)
    reading.start()
    assert file.write(lines) == 0
    reading.join(10)
    assert not reading.is_alive()
    assert bytes(received) == lines
    for fd in (reader, writer):
        os.close(fd)
    file.close()
