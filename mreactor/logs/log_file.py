"""The file of the access log. Its failures are logged, and lose lines, but raise nothing once it is open."""

import logging
import os
import select
from pathlib import Path

log = logging.getLogger("mreactor")

# No access for others: the lines hold clients' addresses.
FILE_MODE = 0o640
STDOUT = 1


class LogFile:
    """A file that lines are appended to; standard output if `path` is empty. One thread at a time."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        # A write has failed within a line, and the file ends there.
        self._is_torn = False
        # Lines lost since writing began to fail.
        self._failed = 0

    def __str__(self) -> str:
        return self._path or "standard output"

    def open(self) -> None:
        """Open the file; create it if necessary.

        Raises:
            OSError: the file cannot be opened.
        """
        self._fd = self._open() if self._path else os.dup(STDOUT)

    def write(self, lines: bytes) -> int:
        """Append lines. Log the first of a series of failures, and the end of the series.

        Returns:
            the number of lines lost.
        """
        text = b"\n" + lines if self._is_torn else lines
        done = 0
        try:
            while done < len(text):
                done += write_some(self._fd, text[done:] if done else text)
        except OSError as error:
            if done:
                self._is_torn = not text.endswith(b"\n", 0, done)
            # The newline that ends a torn line does not count as a line.
            lost = min(text.count(b"\n", done), lines.count(b"\n"))
            if not self._failed:
                log.error("access log: cannot write to %s, lines are lost: %s", self, error.strerror)
            self._failed += lost
            return lost
        self._is_torn = False
        if self._failed:
            log.warning("access log: writing to %s works again, %d lines were lost", self, self._failed)
            self._failed = 0
        return 0

    def reopen(self) -> None:
        """Open the file that has the name now. Keep the old file if that fails."""
        if not self._path or self._fd < 0:
            return
        try:
            fd = self._open()
        except OSError as error:
            log.error("access log: cannot reopen %s, keeping the old file: %s", self, error.strerror)
            return
        os.dup2(fd, self._fd, inheritable=False)
        os.close(fd)
        self._is_torn = False

    def close(self) -> None:
        """Close the file. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            try:
                os.close(fd)
            except OSError as error:
                # Network file systems report failed writes here.
                log.error("access log: %s may have lost lines: %s", self, error.strerror)

    def _open(self) -> int:
        # Opening a named pipe for writing waits for a reader, and the server would not start. So here is one.
        reader = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC) if Path(self._path).is_fifo() else -1
        try:
            return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        finally:
            if reader >= 0:
                os.close(reader)


def write_all(fd: int, text: bytes) -> None:
    """Write a text, and wait for the file if necessary.

    Raises:
        OSError: the file takes no more.
    """
    done = 0
    while done < len(text):
        done += write_some(fd, text[done:] if done else text)


def write_some(fd: int, text: bytes) -> int:
    """Write the beginning of a text. Return its length, 0 if the file had no room for a second."""
    try:
        return os.write(fd, text)
    except BlockingIOError:
        # A standard stream may be a pipe or terminal that another process has made nonblocking.
        writable = select.poll()
        writable.register(fd, select.POLLOUT)
        writable.poll(1000)
        return 0
