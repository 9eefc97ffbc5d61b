"""The rate limit of log lines, so that no peer can flood the log. Any thread may log."""

import logging
import threading
import time
from collections.abc import Callable

# Lines of one kind. A server without trouble logs far fewer. See docs/decisions/021.
LINES_PER_SECOND_MAX = 20
# Kinds that are told apart within a second. All further kinds share one count.
TEMPLATES_MAX = 256


class RateLimit(logging.Filter):
    """A filter that passes `lines_max` lines per second of each kind: logger, level and message template.

    It counts the lines that it holds back in one summary per kind. The handler writes the summaries before its next
    line, or when it closes. Writing them sooner is not worth a thread.
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
        # Reentrant, as the locks of logging are: a signal handler may log while its thread does.
        self._lock = threading.RLock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line may be written."""
        with self._lock:
            if self._clock() >= self._second_ends:
                self.end_second()
            kind = (record.name, record.levelno, str(record.msg))
            if kind not in self._counts and len(self._counts) >= TEMPLATES_MAX:
                kind = (record.name, record.levelno, "lines of many kinds")
            count = self._counts[kind] = self._counts.get(kind, 0) + 1
            return count <= self._lines_max

    def end_second(self) -> None:
        """Reset the counts and make summaries of the lines that were held back."""
        with self._lock:
            for (name, level, template), count in self._counts.items():
                if (more := count - self._lines_max) > 0:
                    message, arguments = "... and %d more like it: %s", (more, template)
                    self._summaries.append(logging.LogRecord(name, level, "", 0, message, arguments, None))
            self._counts.clear()
            self._second_ends = self._clock() + 1.0

    def take_summaries(self) -> list[logging.LogRecord]:
        """Remove and return the summaries, one record per kind."""
        with self._lock:
            summaries, self._summaries = self._summaries, []
            return summaries
