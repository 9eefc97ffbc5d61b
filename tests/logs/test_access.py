"""The writer of the access log: where lines go, what happens if they cannot be written, and rotation."""

import collections
import contextlib
import fcntl
import logging
import math
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mreactor.config import ConfigError
from mreactor.logs.access import BATCH_BYTES, BATCH_SECONDS, CLOSE_SECONDS, QUEUE_BYTES_MAX, AccessLog
from tests.logs.access_lines import BARE, CLF, PEER, WALL, a_head
from tests.support.drivers import PATIENCE_SECONDS


@contextlib.contextmanager
def running(spec: str) -> Iterator[AccessLog]:
    access = AccessLog(spec)
    access.open()
    access.start()
    try:
        yield access
    finally:
        access.close(PATIENCE_SECONDS)


# When the writer lags or fails.


@pytest.fixture
def pipe(path: Path) -> Iterator[int]:
    """The reading end of a named pipe at `path`, which blocks its writer when 4 KiB wait in it."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    yield reader
    with contextlib.suppress(OSError):
        os.close(reader)


def read_to_end(reader: int) -> bytes:
    os.set_blocking(reader, True)
    pieces = []
    while piece := os.read(reader, 65536):
        pieces.append(piece)
    return b"".join(pieces)


def test_a_blocking_file_does_not_stop_a_reactor(path: Path, pipe: int, caplog: pytest.LogCaptureFixture) -> None:
    line = CLF.encode() + b'"GET /bare HTTP/1.1" 200 1\n'
    batch_lines = BATCH_BYTES // len(line)
    batches = 2 * QUEUE_BYTES_MAX // BATCH_BYTES
    received = []
    access = AccessLog(f"common:{path}")
    access.open()
    access.start()
    buffer = access.buffer()
    buffer.begin_second(WALL)
    for _ in range(batches):
        buffer.log_request(PEER, BARE, 200, 1, batch_lines)
        buffer.flush()
    dropped = access.dropped
    assert 0 < dropped < batches * batch_lines
    reading = threading.Thread(target=lambda: received.append(read_to_end(pipe)))
    reading.start()
    access.close(PATIENCE_SECONDS)
    reading.join(PATIENCE_SECONDS)
    assert received == [line * (batches * batch_lines - dropped)]
    assert caplog.messages == [f"access log: {path} is too slow, {dropped} lines dropped"]
    assert access.lost == 0


def test_closing_has_a_time_limit(path: Path, pipe: int, caplog: pytest.LogCaptureFixture) -> None:
    access = AccessLog(f"common:{path}")
    access.open()
    access.start()
    access.buffer().log_request(PEER, BARE, 200, 1, 1000)
    began = time.monotonic()
    access.close(0.05)
    assert time.monotonic() - began < CLOSE_SECONDS
    assert caplog.messages == [f"access log: {path} takes no more lines, the last ones are lost"]
    os.close(pipe)  # now the write fails, and the writer ends
    access.close(PATIENCE_SECONDS)
    assert access.lost > 0
    assert not [thread for thread in threading.enumerate() if thread.name == "access-log"]


def test_a_full_disk_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    access = AccessLog("common:/dev/full")
    access.open()
    access.start()
    buffer = access.buffer()
    for _ in range(10):
        buffer.log_request(PEER, BARE, 200, 1, 10)
        buffer.flush()
    access.close(PATIENCE_SECONDS)
    assert (access.lost, access.dropped) == (100, 0)
    assert caplog.messages == ["access log: cannot write to /dev/full, lines are lost: No space left on device"]


# The writer.


@pytest.mark.parametrize("spec", ["", ":", "apache", "Common", "common:", ":access.log", " json", "common,json"])
def test_an_invalid_specification(spec: str) -> None:
    with pytest.raises(ConfigError) as caught:
        AccessLog(spec)
    assert str(caught.value) == (
        f"--access-log: {spec!r} is neither a format nor FORMAT:FILE; the formats are common, combined, json, short"
    )


def test_the_constructor_opens_nothing(path: Path) -> None:
    threads = threading.active_count()
    access = AccessLog(f"common:{path}")
    assert not path.exists()
    access.open()
    assert threading.active_count() == threads
    assert path.read_bytes() == b""
    access.close()


def test_a_file_name_may_hold_colons(tmp_path: Path) -> None:
    with running(f"common:{tmp_path}/a:b"):
        pass
    assert (tmp_path / "a:b").exists()


@pytest.mark.parametrize(("name", "cause"), [("", "Is a directory"), ("no/access.log", "No such file or directory")])
def test_a_file_that_cannot_be_opened(tmp_path: Path, name: str, cause: str) -> None:
    path = tmp_path / name
    with pytest.raises(ConfigError) as caught:
        AccessLog(f"json:{path}").open()
    assert str(caught.value) == f"--access-log: cannot write {path}: {cause}"
    assert isinstance(caught.value.__cause__, OSError)


def test_standard_output_is_the_default(capfd: pytest.CaptureFixture[str]) -> None:
    with running("common") as access:
        buffer = access.buffer()
        buffer.begin_second(WALL)
        buffer.log_request(PEER, BARE, 200, 1)
    assert capfd.readouterr().out == CLF + '"GET /bare HTTP/1.1" 200 1\n'


def test_a_closed_standard_output_is_refused() -> None:
    program = "from mreactor.logs import AccessLog; AccessLog('common').open()"
    command = ["sh", "-c", 'exec "$0" -c "$1" >&-', sys.executable, program]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2])
    assert ended.returncode == 1
    assert ended.stderr.endswith("--access-log: cannot write standard output: Bad file descriptor\n")


def test_closing_writes_the_lines_of_ended_reactors(path: Path) -> None:
    def react(access: AccessLog) -> None:
        access.buffer().log_request(PEER, BARE, 200, 1)

    with running(f"common:{path}") as access:
        reactor = threading.Thread(target=react, args=(access,))
        reactor.start()
        reactor.join()
        access.buffer().log_request(PEER, BARE, 200, 2)
    access.close()
    assert [line.rsplit(b" ")[-1] for line in path.read_bytes().splitlines()] == [b"1", b"2"]


def test_closing_does_not_touch_the_buffer_of_a_running_reactor(path: Path) -> None:
    logged, closed = threading.Event(), threading.Event()

    def react(access: AccessLog) -> None:
        buffer = access.buffer()
        buffer.log_request(PEER, BARE, 200, 1)
        logged.set()
        closed.wait(PATIENCE_SECONDS)
        buffer.log_request(PEER, BARE, 200, 1)
        buffer.flush()

    with running(f"common:{path}") as access:
        reactor = threading.Thread(target=react, args=(access,))
        reactor.start()
        assert logged.wait(PATIENCE_SECONDS)
    closed.set()
    reactor.join(PATIENCE_SECONDS)
    assert path.read_bytes() == b""


def drive(access: AccessLog, thread: int, rounds: int, requests: int) -> None:
    """Do what a reactor does: log requests in rounds, on a clock of its own."""
    buffer = access.buffer()
    heads = [a_head(f"/{thread}/{number}") for number in range(requests)]
    for number in range(rounds):
        for head in heads:
            buffer.log_request((f"192.0.2.{thread}", number), head, 200, number)
        buffer.hand_over_due(number * BATCH_SECONDS / 3)


def run_all(target: Callable[..., None], calls: list[tuple[object, ...]]) -> None:
    threads = [threading.Thread(target=target, args=arguments) for arguments in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert not any(thread.is_alive() for thread in threads)


def test_many_reactors_write_whole_lines(path: Path) -> None:
    threads, rounds, requests = 8, 60, 20
    with running(f"combined:{path}") as access:
        run_all(drive, [(access, thread, rounds, requests) for thread in range(threads)])
    assert (access.dropped, access.lost) == (0, 0)
    line = re.compile(r'192\.0\.2\.(\d) - - \[[^]]{26}\] "GET /(\d)/(\d+) HTTP/1\.1" 200 (\d+) "-" "-"')
    matches = [line.fullmatch(each) for each in path.read_text().splitlines()]
    found = [match.groups() for match in matches if match is not None]
    assert len(found) == len(matches) == threads * rounds * requests
    assert all(peer == thread for peer, thread, *_ in found)
    by_thread = collections.defaultdict(list)
    for thread, _, number, round_number in found:
        by_thread[thread].append((int(round_number), int(number)))
    assert all(logged == sorted(logged) for logged in by_thread.values())
    assert len(set(found)) == len(found)


# Rotation.


def test_after_reopening_lines_go_to_the_new_file(path: Path) -> None:
    with running(f"common:{path}") as access:
        buffer = access.buffer()
        buffer.log_request(PEER, BARE, 200, 1)
        path.rename(path.with_suffix(".1"))
        access.reopen()
        buffer.flush()
    assert path.with_suffix(".1").read_bytes() == b""
    assert path.read_bytes().endswith(b" 200 1\n")


def test_reopening_needs_no_request(path: Path) -> None:
    """A rotation tool compresses the old file, so the writer must close it even if no request comes."""
    access = AccessLog(f"common:{path}")
    access.open()
    access.start()
    path.rename(path.with_suffix(".1"))
    access.reopen()
    access.close(PATIENCE_SECONDS)
    assert path.read_bytes() == b""


def test_rotation_loses_no_line(path: Path) -> None:
    rotations, rounds, requests = 10, 200, 20
    files = [path, *(path.with_suffix(f".{number}") for number in range(rotations))]
    with running(f"common:{path}") as access:
        reactor = threading.Thread(target=drive, args=(access, 1, rounds, requests))
        reactor.start()
        for old in files[1:]:
            path.rename(old)
            access.reopen()
            wait_for(path.exists)
        reactor.join(PATIENCE_SECONDS)
    texts = [file.read_text() for file in [*files[1:], files[0]]]
    assert all(text.endswith("\n") for text in texts if text)
    lines = "".join(texts).splitlines()
    assert [re.findall(r"/1/(\d+) HTTP/1.1\" 200 (\d+)", line) for line in lines] == [
        [(str(number), str(round_number))] for round_number in range(rounds) for number in range(requests)
    ]


def wait_for(condition: Callable[[], bool]) -> None:
    """Poll until the condition holds: the file system has no cheaper event."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()


def test_a_file_that_cannot_be_reopened_is_kept(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    old = path.with_suffix(".1")
    with running(f"common:{path}") as access:
        path.rename(old)
        path.mkdir()
        access.reopen()
        access.buffer().log_request(PEER, BARE, 200, 1)
    assert old.read_bytes().endswith(b" 200 1\n")
    assert caplog.messages == [f"access log: cannot reopen {path}, keeping the old file: Is a directory"]


def test_drops_are_reported_rarely(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first comes at once, the second at the end, with all lines dropped since."""
    monkeypatch.setattr("mreactor.logs.access.REPORT_SECONDS", math.inf)
    with caplog.at_level(logging.WARNING), running(f"common:{path}") as access:
        buffer = access.buffer()
        for dropped in (3, 5, 9):
            buffer.dropped = dropped
            size = path.stat().st_size
            buffer.log_request(PEER, BARE, 200, 1)
            buffer.flush()
            wait_for(lambda size=size: path.stat().st_size > size)  # type: ignore[misc]
            access.reopen()  # a second message: when the writer takes it, it has reported on the first
    numbers = [int(re.findall(r"(\d+) lines dropped", message)[0]) for message in caplog.messages]
    assert sum(numbers) == 9
    assert len(numbers) == 2
