"""The handler that writes the lines of the standard library's logger "mreactor".

All modules log through `logging.getLogger("mreactor")` and need not know this one. Any thread may log. Logging takes
locks and a system call, so the server logs nothing for a request that succeeds. The access log has a way of its own.
"""

import logging
import os
import sys
from typing import TextIO

from .formatters import JsonFormatter, PlainFormatter
from .rate_limit import RateLimit

log = logging.getLogger("mreactor")

LEVELS = {
    "off": logging.CRITICAL + 1,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}


def configure(level: str, log_format: str, stream: TextIO | None = None) -> None:
    """Write the lines of the logger "mreactor" to a stream, in place of the stream of the last call.

    Args:
        level: one of `LEVELS`, the lowest that is shown.
        log_format: `plain` or `json`.
        stream: where lines go; None for the present standard error.
    """
    stream = sys.stderr if stream is None else stream
    handler = LineHandler(stream)
    handler.setFormatter(
        JsonFormatter() if log_format == "json" else PlainFormatter(colours=has_colours(stream))
    )
    for former in [each for each in log.handlers if isinstance(each, LineHandler)]:
        log.removeHandler(former)
        former.close()
    log.addHandler(handler)
    log.setLevel(LEVELS[level])
    # An application that sets up the root logger would show each line twice.
    log.propagate = False
    suppress_failures()


def suppress_failures() -> None:
    """Make the logger "mreactor" ignore exceptions of its handlers and filters, an application's included. Idempotent.

    A reactor that logs must go on serving its clients, and the log is no place to report that the log has failed. The
    server calls this when it starts. The logger keeps its class, which may be the application's.
    """
    log.handle = _handle_or_ignore  # type: ignore[method-assign]


def _handle_or_ignore(record: logging.LogRecord) -> None:
    try:
        type(log).handle(log, record)
    except Exception:
        pass


def has_colours(stream: TextIO) -> bool:
    """Return whether a stream is a terminal whose user has not turned colours off (the NO_COLOR convention)."""
    try:
        return stream.isatty() and not os.environ.get("NO_COLOR")
    except (AttributeError, ValueError):
        # The stream is closed, or standard error is missing.
        return False


class LineHandler(logging.Handler):
    """A handler that writes records to a stream, within a `RateLimit`. It does not own the stream.

    Attributes:
        lost: number of lines that could not be written.
    """

    def __init__(self, stream: TextIO, limit: RateLimit | None = None) -> None:
        super().__init__()
        self.lost = 0
        self._stream = stream
        self._limit = limit or RateLimit()
        self.addFilter(self._limit)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the summaries that are due, then the record."""
        for each in (*self._limit.take_summaries(), record):
            self._write(each)

    def close(self) -> None:
        """Write the remaining summaries and end."""
        self._limit.end_second()
        self.acquire()
        try:
            for each in self._limit.take_summaries():
                self._write(each)
        finally:
            self.release()
        super().close()

    def _write(self, record: logging.LogRecord) -> None:
        # The disk may be full, the terminal closed. The caller has other work to do, so the loss is only counted.
        try:
            self._stream.write(self.format(record) + "\n")
            self._stream.flush()
        except Exception:
            self.lost += 1
