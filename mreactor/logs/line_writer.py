"""The writer of log lines: one thread, so that no other thread waits for the stream.

Standard error may be a pipe that is never emptied, or a terminal that was stopped with Ctrl-S. Reactors, and the main
thread with its signals, must go on.
"""

import queue
import threading
from collections.abc import Callable
from typing import TextIO

from .log_file import write_all

# Characters that wait for the stream. A server in trouble logs some hundred lines, of some kilobytes each, a second.
QUEUE_CHARS_MAX = 1 << 20


class LineWriter:
    """A bounded queue of lines, and a thread that writes them to a stream. It does not own the stream.

    The thread starts with the first line. Any thread and any signal handler may call `put`, which does not wait.

    Args:
        stream: where lines go. If it has a file descriptor, the thread writes to that and not to the stream's buffer:
            an interpreter that ends while a thread holds a standard stream's buffer aborts.
        render_loss: renders the line that tells how many lines were lost.

    Attributes:
        lost: number of lines that could not be written.
    """

    def __init__(self, stream: TextIO, render_loss: Callable[[int], str]) -> None:
        self.lost = 0
        self._stream = stream
        self._render_loss = render_loss
        self._told = 0
        self.renew()

    def renew(self) -> None:
        """Forget the thread and its lines. A child after a fork has neither, and its lock may stay held."""
        # Reentrant: a signal handler may log while its thread does.
        self._lock = threading.RLock()
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._waiting_chars = 0

    def put(self, line: str) -> None:
        """Queue a line. It is lost if the queue is full, or if no thread can be started."""
        with self._lock:
            if self._waiting_chars + len(line) > QUEUE_CHARS_MAX:
                self.lost += 1
                return
            if self._thread is None:
                thread = threading.Thread(target=self._run, args=(self._queue,), name="log", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    self.lost += 1
                    return
                self._thread = thread
            self._waiting_chars += len(line)
            self._queue.put(line)

    def count_loss(self) -> None:
        """Count a line that could not even be rendered."""
        with self._lock:
            self.lost += 1

    def flush(self, seconds: float) -> None:
        """Write the lines that wait, and end the thread. Wait `seconds` at most. The next line starts a new thread."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._queue.put(None)
            self._queue = queue.SimpleQueue()
        if thread is not None:
            thread.join(seconds)

    def _run(self, lines: queue.SimpleQueue[str | None]) -> None:
        while (line := lines.get()) is not None:
            is_written = self._write(line)
            with self._lock:
                self._waiting_chars -= len(line)
                self.lost += not is_written
            # The lines that wait are older than those that found the queue full.
            if is_written and lines.empty():
                self._tell_loss()
        self._tell_loss()

    def _tell_loss(self) -> None:
        with self._lock:
            untold, self._told = self.lost - self._told, self.lost
        if untold and not self._write(self._render_loss(untold)):
            with self._lock:
                self._told -= untold

    def _write(self, line: str) -> bool:
        """Return whether the stream took the line. The disk may be full, the terminal closed."""
        try:
            try:
                fd = self._stream.fileno()
            except OSError:
                # A stream in memory.
                self._stream.write(line)
                self._stream.flush()
            else:
                write_all(fd, line.encode(self._stream.encoding or "utf-8", "backslashreplace"))
        except Exception:
            return False
        return True
