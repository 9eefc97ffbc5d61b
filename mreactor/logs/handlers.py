"""The handler that writes the lines of the standard library's logger "mreactor".

All modules log through `logging.getLogger("mreactor")` and need not know this one. Any thread may log, and none waits
for the stream. Logging takes locks, so the server logs nothing for a request that succeeds. The access log has a way
of its own.
"""

import logging
import os
import sys
from typing import TextIO

from .formatters import JsonFormatter, PlainFormatter
from .line_writer import LineWriter
from .rate_limit import RateLimit

log = logging.getLogger("mreactor")

LEVELS = {
    "off": logging.CRITICAL + 1,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}

# How long the end of the process waits for a stream that takes no lines.
FLUSH_SECONDS = 1.0


def configure(level: str, log_format: str, stream: TextIO | None = None) -> None:
    """Write the lines of the logger "mreactor" to a stream, in place of the stream of the last call.

    Args:
        level: one of `LEVELS`, the lowest that is shown.
        log_format: `plain` or `json`.
        stream: where lines go; None for the present standard error.
    """
    stream = sys.stderr if stream is None else stream
    handler = LineHandler(stream)
    handler.setFormatter(JsonFormatter() if log_format == "json" else PlainFormatter(colours=has_colours(stream)))
    for former in _line_handlers():
        log.removeHandler(former)
        former.close()
    log.addHandler(handler)
    log.setLevel(LEVELS[level])
    # An application that sets up the root logger would show each line twice.
    log.propagate = False
    suppress_failures()


def flush(seconds: float = FLUSH_SECONDS) -> None:
    """Write the lines and summaries so far. Wait `seconds` at most. Call this before the process ends."""
    for handler in _line_handlers():
        handler.close(seconds)


def count_lost() -> int:
    """Return the number of log lines that could not be written."""
    return sum(handler.lost for handler in _line_handlers())


def suppress_failures() -> None:
    """Make the logger "mreactor" ignore exceptions of its handlers and filters, an application's included. Idempotent.

    A reactor that logs must go on serving its clients, and the log is no place to report that the log has failed. The
    server calls this when it starts. The logger keeps its class, which may be the application's.

    Also enable the logger. `logging.config` disables all loggers that it is not told about, unless it is told not to,
    and an application that does not know this one's name does not mean it. Levels and handlers stay as they are.
    """
    log.handle = _handle_or_ignore  # type: ignore[method-assign]
    log.disabled = False


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
    """A handler that writes records to a stream, within a `RateLimit`, through a `LineWriter`.

    Any thread may log, and none waits for the stream or for another thread's record: the handler has no lock.
    """

    def __init__(self, stream: TextIO, limit: RateLimit | None = None) -> None:
        super().__init__()
        self._limit = limit or RateLimit()
        self._writer = LineWriter(stream, self._render_loss)
        self.addFilter(self._limit)

    @property
    def lost(self) -> int:
        """Number of lines that could not be written."""
        return self._writer.lost

    def createLock(self) -> None:  # noqa: N802 - the name is that of the standard library
        """Have no lock. An argument's `__str__`, which may wait for anything, would be called while it is held."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Write the record if no filter holds it back."""
        is_shown = bool(self.filter(record))
        if is_shown:
            self.emit(record)
        return is_shown

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the summaries that are due, then the record."""
        for each in (*self._limit.take_summaries(), record):
            self._put(each)

    def flush(self, seconds: float = FLUSH_SECONDS) -> None:
        """Write all lines that wait. Wait `seconds` at most."""
        self._writer.flush(seconds)

    def close(self, seconds: float = FLUSH_SECONDS) -> None:
        """Write the remaining summaries and flush. Keep working: `logging.config` closes handlers that stay in use."""
        self._limit.end_second()
        for each in self._limit.take_summaries():
            self._put(each)
        self.flush(seconds)
        super().close()

    def renew(self) -> None:
        """Become usable in a child after a fork."""
        self._limit.renew()
        self._writer.renew()

    def _put(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record) + "\n"
        except Exception:
            # The caller has other work to do, so the loss is only counted.
            self._writer.count_loss()
        else:
            self._writer.put(line)

    def _render_loss(self, count: int) -> str:
        message, arguments = "log lines lost before this one, because they could not be written: %d", (count,)
        return self.format(logging.LogRecord(log.name, logging.WARNING, "", 0, message, arguments, None)) + "\n"


def _line_handlers() -> list[LineHandler]:
    return [each for each in log.handlers if isinstance(each, LineHandler)]


def _renew_after_fork() -> None:
    for handler in _line_handlers():
        handler.renew()


os.register_at_fork(after_in_child=_renew_after_fork)
