"""Leveled logging: plain lines for people, JSON lines for machines.

This module owns what writes the lines of the standard library's logger "mreactor"; everybody else logs through
`logging.getLogger("mreactor")` and need not know it. Any thread may log. That takes locks and a system call, so a
request that goes well logs nothing; the access log, which shares only `LogFile`, has a way of its own.

What a peer sends can neither forge a line, since control characters are escaped, nor flood the log, see `RateLimit`. A
log that cannot be written harms nobody.
"""

import json
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

log = logging.getLogger("mreactor")


class HarmlessLogger(logging.Logger):
    """A logger whose handlers may fail, an application's as well: a reactor that logs has its clients to serve."""

    def handle(self, record: logging.LogRecord) -> None:
        """Hand a record to the filters and handlers; there is no better place to complain than the one that failed."""
        try:
            super().handle(record)
        except Exception:
            pass


# In place: an application may have fetched it, and set it up, before this is imported.
log.__class__ = HarmlessLogger

LEVELS = {
    "off": logging.CRITICAL + 1,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}

# Many times what a server says when nothing is wrong; for a reactor about 0.1 % of its time, should each cost 50 µs.
LINES_PER_SECOND_MAX = 20
TEMPLATES_MAX = 256  # kinds of lines told apart within a second; past it they share one count

FILE_MODE = 0o640  # clients' addresses are not everybody's business
STDOUT = 1

_LABELS = {logging.ERROR: "ERROR", logging.WARNING: "WARN", logging.INFO: "INFO", logging.DEBUG: "DEBUG"}
_COLOURS = {logging.ERROR: "\x1b[31m", logging.WARNING: "\x1b[33m"}
_COLOUR_END = "\x1b[m"
_INDENT = "\n    "  # a line of the log begins with a digit, so no traceback can look like one


def configure(level: str, form: str, stream: TextIO | None = None) -> None:
    """Write the lines of the logger "mreactor" to a stream from now on, instead of where they went before.

    Args:
        level: one of `LEVELS`, the least severe lines shown.
        form: `plain` or `json`.
        stream: where lines go; None is standard error as it is now.
    """
    stream = sys.stderr if stream is None else stream
    handler = LineHandler(stream)
    handler.setFormatter(JsonFormatter() if form == "json" else PlainFormatter(has_colours(stream)))
    for former in [each for each in log.handlers if isinstance(each, LineHandler)]:
        log.removeHandler(former)
        former.close()
    log.addHandler(handler)
    log.setLevel(LEVELS[level])
    log.propagate = False  # an application that sets up the root logger would show each line twice


class RateLimit(logging.Filter):
    """Lets a bounded number of lines a second pass of each kind: same logger, level and message template.

    What was held back is told afterwards, in one line for each kind, with the next line that passes or at the end: a
    thread that only waits to tell it sooner is not worth having.

    Args:
        lines_max: how many lines of a kind pass in a second.
        clock: monotonic seconds.
    """

    def __init__(
        self, lines_max: int = LINES_PER_SECOND_MAX, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._lines_max = lines_max
        self._clock = clock
        self._second_ends = clock() + 1.0
        self._counts: dict[tuple[str, int, str], int] = {}
        self._summaries: list[logging.LogRecord] = []
        self._lock = (
            threading.RLock()
        )  # like those of logging: a signal handler may log while its thread does

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line may be written."""
        with self._lock:
            if self._clock() >= self._second_ends:
                self.end_second()
            kind = (record.name, record.levelno, str(record.msg))
            if kind not in self._counts and len(self._counts) >= TEMPLATES_MAX:
                kind = (record.name, record.levelno, "lines of many kinds")
            count = self._counts[kind] = self._counts.get(kind, 0) + 1
            return count <= self._lines_max

    def end_second(self) -> None:
        """Count afresh; what was held back is now among the summaries."""
        with self._lock:
            for (name, level, template), count in self._counts.items():
                if (more := count - self._lines_max) > 0:
                    message, arguments = "... and %d more like it: %s", (more, template)
                    self._summaries.append(logging.LogRecord(name, level, "", 0, message, arguments, None))
            self._counts.clear()
            self._second_ends = self._clock() + 1.0

    def take_summaries(self) -> list[logging.LogRecord]:
        """What was held back and is not told yet, a record for each kind of line."""
        with self._lock:
            summaries, self._summaries = self._summaries, []
            return summaries


class LineHandler(logging.Handler):
    """Writes records to a stream, within a `RateLimit`.

    Attributes:
        lost: lines that could not be written.
    """

    def __init__(self, stream: TextIO, limit: RateLimit | None = None) -> None:
        super().__init__()
        self.lost = 0
        self._stream = stream
        self._limit = limit or RateLimit()
        self.addFilter(self._limit)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, after the summaries that are due."""
        for each in (*self._limit.take_summaries(), record):
            self._write(each)

    def close(self) -> None:
        """Tell what was held back, and take no more. The stream stays open: it is not ours."""
        self._limit.end_second()
        self.acquire()
        try:
            for each in self._limit.take_summaries():
                self._write(each)
        finally:
            self.release()
        super().close()

    def _write(self, record: logging.LogRecord) -> None:
        # A full disk, a closed terminal, a file that the process has lost: whoever logs has work of its own to do, and
        # there is no better place to complain than the one that has just failed. So the loss is counted.
        try:
            self._stream.write(self.format(record) + "\n")
            self._stream.flush()
        except Exception:
            self.lost += 1


class PlainFormatter(logging.Formatter):
    """`2026-11-22T21:39:15.123Z INFO  reactor-3 message`; tracebacks follow, indented.

    Args:
        colours: whether the names of warnings and errors are coloured.
    """

    def __init__(self, colours: bool = False) -> None:
        super().__init__()
        self._colours = _COLOURS if colours else {}

    def format(self, record: logging.LogRecord) -> str:
        """The record as lines, without the last newline."""
        label = f"{_LABELS.get(record.levelno, record.levelname):<5}"
        if colour := self._colours.get(record.levelno):
            label = colour + label + _COLOUR_END
        line = f"{time_of(record)} {label} {escape(str(record.threadName))} {escape(message_of(record))}"
        return _INDENT.join([line, *(escape(each) for each in traceback_of(self, record).splitlines())])


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, thread, message; and exception, the traceback, where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of ASCII, without the newline."""
        fields: dict[str, str | None] = {
            "time": time_of(record),
            "level": record.levelname.lower(),
            "thread": record.threadName,
            "message": message_of(record),
        }
        if traceback := traceback_of(self, record):
            fields["exception"] = traceback
        return json.dumps(fields)


class LogFile:
    """A file that lines are appended to, or standard output; used by one thread at a time.

    Args:
        path: the file; empty for standard output.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._is_torn = False  # the file ends within a line, because a write failed there
        self._failed = 0  # lines lost since writing began to fail

    def __str__(self) -> str:
        return self._path or "standard output"

    def open(self) -> None:
        """Open it.

        Raises:
            OSError: that cannot be done.
        """
        self._fd = self._open() if self._path else os.dup(STDOUT)

    def write(self, lines: bytes) -> int:
        """Append lines; failures are logged, once until writing succeeds again.

        Returns:
            how many of the lines are lost.
        """
        text = b"\n" + lines if self._is_torn else lines
        done = 0
        try:
            while done < len(text):
                done += self._write_some(text[done:] if done else text)
        except OSError as error:
            if done:
                self._is_torn = not text.endswith(b"\n", 0, done)
            # A newline that ends a torn line is no line of these.
            lost = min(text.count(b"\n", done), lines.count(b"\n"))
            if not self._failed:
                log.error("access log: %s cannot be written, lines are lost: %s", self, error.strerror)
            self._failed += lost
            return lost
        self._is_torn = False
        if self._failed:
            log.warning("access log: %s can be written again, %d lines are lost", self, self._failed)
            self._failed = 0
        return 0

    def reopen(self) -> None:
        """Open the file of this name as it is now; the former one is kept if that fails."""
        if not self._path or self._fd < 0:
            return
        try:
            fd = self._open()
        except OSError as error:
            log.error("access log: %s cannot be reopened, the former file is kept: %s", self, error.strerror)
            return
        os.dup2(fd, self._fd, inheritable=False)
        os.close(fd)
        self._is_torn = False

    def close(self) -> None:
        """Close it; again does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            try:
                os.close(fd)
            except OSError as error:  # network file systems report here what they could not write
                log.error("access log: %s may have lost lines: %s", self, error.strerror)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)

    def _write_some(self, text: bytes) -> int:
        try:
            return os.write(self._fd, text)
        except BlockingIOError:
            # Standard output may be a terminal or pipe that somebody else has made non-blocking.
            writable = select.poll()
            writable.register(self._fd, select.POLLOUT)
            writable.poll(1000)
            return 0


def has_colours(stream: TextIO) -> bool:
    """Whether a stream is a terminal whose user has not asked for none (the NO_COLOR convention)."""
    try:
        return stream.isatty() and not os.environ.get("NO_COLOR")
    except (AttributeError, ValueError):  # closed, or there is none: standard error may be missing
        return False


def escape(text: str) -> str:
    """Text with all that is not printable written as `\\n`, `\\x1b`, `\\u202e`: it stays on its line, in order."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def time_of(record: logging.LogRecord) -> str:
    """When a record was made, such as `2026-11-22T21:39:15.123Z` (RFC 3339, UTC)."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z"


def message_of(record: logging.LogRecord) -> str:
    """A record's message with its arguments; a call whose arguments do not fit must not hide what it wanted to say."""
    try:
        return record.getMessage()
    except Exception as error:
        return f"{record.msg} (arguments {record.args!r} do not fit: {error})"


def traceback_of(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """The traceback that a record carries; empty if none."""
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    return formatter.formatException(record.exc_info)
