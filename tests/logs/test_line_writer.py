"""The writer of log lines: no caller waits for the stream, lost lines are counted and told, the end has a bound."""

import contextlib
import fcntl
import io
import logging
import os
import threading
import time
from collections.abc import Iterator

import pytest

from mreactor.logs import configure, flush
from mreactor.logs.handlers import FLUSH_SECONDS, LineHandler, count_lost
from mreactor.logs.line_writer import QUEUE_CHARS_MAX, LineWriter
from tests.logs.lines import Lines
from tests.support.drivers import PATIENCE_SECONDS

log = logging.getLogger("mreactor")


class Pipe:
    """A pipe that holds 4 KiB. Its reading end does not block.

    Attributes:
        stream: the writing end.
    """

    def __init__(self) -> None:
        self._reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        self.stream = os.fdopen(writer, "w", encoding="ascii")

    def read_until(self, text: str) -> str:
        """Read until the text has come."""
        received = ""
        os.set_blocking(self._reader, True)
        while text not in received:
            piece = os.read(self._reader, 65536)
            assert piece, f"{text!r} has not come"
            received += piece.decode("ascii")
        return received

    def close(self) -> None:
        if self._reader >= 0:
            os.close(self._reader)
            self._reader = -1
            # The writer's thread may be in a write, which fails now.
            flush(PATIENCE_SECONDS)
            with contextlib.suppress(OSError):
                self.stream.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def render_loss(count: int) -> str:
    return f"{count} lost\n"


def writer_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "log"]


def test_nobody_waits_for_a_stream_that_takes_nothing(pipe: Pipe) -> None:
    """The lines that find the queue full are lost, and the log says how many when the stream takes lines again."""
    writer = LineWriter(pipe.stream, render_loss)
    line = "x" * 999 + "\n"
    count = 2 * QUEUE_CHARS_MAX // len(line)
    for _ in range(count):
        writer.put(line)
    lost = writer.lost
    assert count - QUEUE_CHARS_MAX // len(line) - 5 <= lost < count
    received = pipe.read_until(" lost\n")
    assert received == line * (count - lost) + f"{lost} lost\n"
    writer.put("after\n")
    assert pipe.read_until("after\n") == "after\n"
    assert writer.lost == lost
    writer.flush(PATIENCE_SECONDS)


def test_flushing_has_a_bound(pipe: Pipe) -> None:
    configure("info", "plain", pipe.stream)
    for number in range(10):
        log.info("line %d %s", number, "x" * 1000)
    began = time.monotonic()
    flush(0.05)
    assert time.monotonic() - began < FLUSH_SECONDS
    assert "line 9" in pipe.read_until("line 9")


def test_flushing_writes_everything_and_ends_the_thread() -> None:
    stream = io.StringIO()
    writer = LineWriter(stream, render_loss)
    others = set(writer_threads())
    for number in range(1000):
        writer.put(f"{number}\n")
    assert len(set(writer_threads()) - others) == 1
    writer.flush(PATIENCE_SECONDS)
    assert stream.getvalue() == "".join(f"{number}\n" for number in range(1000))
    assert not set(writer_threads()) - others
    writer.put("again\n")
    writer.flush(PATIENCE_SECONDS)
    assert stream.getvalue().endswith("999\nagain\n")


def test_lines_that_could_not_be_written_are_told_with_the_next() -> None:
    class Stream(io.StringIO):
        full = True

        def write(self, text: str) -> int:
            if self.full:
                raise OSError(28, "No space left on device")
            return super().write(text)

    stream = Stream()
    writer = LineWriter(stream, render_loss)
    for _ in range(3):
        writer.put("gone\n")
    writer.flush(PATIENCE_SECONDS)
    stream.full = False
    writer.put("here\n")
    writer.put("also here\n")
    writer.flush(PATIENCE_SECONDS)
    assert (writer.lost, sorted(stream.getvalue().splitlines())) == (3, ["3 lost", "also here", "here"])


def test_the_log_tells_its_loss_as_a_warning(stream: Lines) -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no")

        __repr__ = __str__

    configure("info", "plain", stream)
    log.info("%s", Broken())
    log.info("still here")
    here, loss = stream.getvalue().splitlines()
    assert here.endswith(" still here")
    assert count_lost() == 1
    assert loss.endswith(" WARN  log log lines lost before this one, because they could not be written: 1")


def test_an_argument_that_blocks_holds_up_nobody_else(stream: Lines) -> None:
    entered, go_on = threading.Event(), threading.Event()

    class Slow:
        def __str__(self) -> str:
            entered.set()
            assert go_on.wait(PATIENCE_SECONDS)
            return "slow"

    configure("info", "plain", stream)
    slow = threading.Thread(target=log.info, args=("%s", Slow()))
    slow.start()
    assert entered.wait(PATIENCE_SECONDS)
    log.info("quick")
    assert stream.getvalue().endswith(" quick\n")
    go_on.set()
    slow.join(PATIENCE_SECONDS)
    assert stream.getvalue().endswith(" slow\n")


def test_a_child_after_a_fork_writes_its_lines_and_only_those(pipe: Pipe) -> None:
    configure("info", "plain", pipe.stream)
    log.info("parent %s", "x" * 8000)
    (handler,) = (each for each in log.handlers if isinstance(each, LineHandler))
    with handler._writer._lock, handler._limit._lock:
        child = os.fork()
        if child == 0:
            # A child has no thread of its parent, and would wait for the locks for ever.
            log.info("child")
            log.info("%s", "end of child")
            flush(PATIENCE_SECONDS)
            os._exit(0)
    received = pipe.read_until("end of child")
    assert os.waitpid(child, 0) == (child, 0)
    assert received.count("parent") == 1
    assert received.count("MainThread child\n") == 1


def test_threads_lose_no_line_and_write_none_twice() -> None:
    stream = io.StringIO()
    writer = LineWriter(stream, render_loss)

    def put(thread: int) -> None:
        for number in range(200):
            writer.put(f"{thread} {number}\n")
            if number % 50 == thread:
                writer.flush(PATIENCE_SECONDS)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    writer.flush(PATIENCE_SECONDS)
    for thread in writer_threads():
        thread.join(PATIENCE_SECONDS)
    assert sorted(stream.getvalue().splitlines()) == sorted(f"{t} {n}" for t in range(8) for n in range(200))
    assert writer.lost == 0
