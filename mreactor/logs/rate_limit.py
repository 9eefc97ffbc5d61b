"""The rate limit of log lines, so that no peer can flood the log. Any thread may log."""

import logging
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from .formatters import render_message
from .tracebacks import is_inner

# Lines of one kind. A server without trouble logs far fewer. See docs/decisions/021.
LINES_PER_SECOND_MAX = 20
# Kinds that are told apart within a second. All further kinds share one count.
KINDS_MAX = 256


class Place(NamedTuple):
    """A line of code."""

    file: str
    line: int


class Kind(NamedTuple):
    """What lines have in common that share a count. A peer cannot make kinds: it chooses arguments, not code.

    Attributes:
        name, level: of the logger and the record.
        template: the message before its arguments.
        entered, raised: the first and the last line of the application in the traceback, if there is one. So the
            failures of one handler do not hide those of another.
    """

    name: str
    level: int
    template: str
    entered: Place | None = None
    raised: Place | None = None


class Count:
    """The lines of a kind within a second.

    Attributes:
        lines: their number.
        example: the message of the first that was held back; until then the template.
    """

    __slots__ = ("example", "lines")

    def __init__(self, example: str) -> None:
        self.lines = 0
        self.example = example


class RateLimit(logging.Filter):
    """A filter that passes `lines_max` lines per second of each `Kind`.

    It counts the lines that it holds back in one summary per kind. The handler writes the summaries before its next
    line, or when it closes.
    """

    def __init__(self, lines_max: int = LINES_PER_SECOND_MAX, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._lines_max = lines_max
        self._clock = clock
        self._second_ends = clock() + 1.0
        self._counts: dict[Kind, Count] = {}
        self._summaries: list[logging.LogRecord] = []
        self.renew()

    def renew(self) -> None:
        """Become usable in a child after a fork: another thread may have held the lock."""
        # Reentrant, as the locks of logging are: a signal handler may log while its thread does.
        self._lock = threading.RLock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line may be written."""
        kind = kind_of(record)
        with self._lock:
            if self._clock() >= self._second_ends:
                self.end_second()
            if kind not in self._counts and len(self._counts) >= KINDS_MAX:
                kind = Kind(record.name, record.levelno, "")
            count = self._counts.setdefault(kind, Count(kind.template))
            count.lines += 1
            number = count.lines
        if number == self._lines_max + 1:
            count.example = describe(record, kind.entered)
        return number <= self._lines_max

    def end_second(self) -> None:
        """Reset the counts and make summaries of the lines that were held back."""
        with self._lock:
            for kind, count in self._counts.items():
                if (more := count.lines - self._lines_max) > 0:
                    likeness = "like it" if kind.template else "of many kinds"
                    message, arguments = "... and %d more %s, such as: %s", (more, likeness, count.example)
                    summary = logging.LogRecord(kind.name, kind.level, "", 0, message, arguments, None)
                    self._summaries.append(summary)
            self._counts.clear()
            self._second_ends = self._clock() + 1.0

    def take_summaries(self) -> list[logging.LogRecord]:
        """Remove and return the summaries, one record per kind."""
        with self._lock:
            summaries, self._summaries = self._summaries, []
            return summaries


def kind_of(record: logging.LogRecord) -> Kind:
    """Return the kind of a record."""
    places = []
    step = record.exc_info[2] if record.exc_info else None
    while step is not None:
        places.append(Place(step.tb_frame.f_code.co_filename, step.tb_lineno))
        step = step.tb_next
    # The failure may lie in the server, as where a handler returns what cannot be sent.
    places = [place for place in places if not is_inner(place.file)] or places[-1:]
    ends = (places[0], places[-1]) if places else (None, None)
    return Kind(record.name, record.levelno, str(record.msg), *ends)


def describe(record: logging.LogRecord, entered: Place | None) -> str:
    """Return the message, and in short what was raised and where, if anything was."""
    message = render_message(record)
    if entered is None or not record.exc_info or record.exc_info[0] is None:
        return message
    return f"{message} ({record.exc_info[0].__name__} in {entered.file}:{entered.line})"
