"""Mailboxes: queues that wake a thread which waits on file descriptors.

Messages are rare (a blocking handler has returned, the server drains). The request path has no queue.
"""

import os
import threading
from collections import deque

from ..runtime import hot


@hot("post", "take")
class Mailbox[T]:
    """A queue with an eventfd that is readable while messages wait.

    Any thread may call `post`. All other methods belong to the owner.
    """

    def __init__(self) -> None:
        self._messages: deque[T] = deque()
        # Keeps `post` from writing to the descriptor after `close`, when another file may have its number.
        self._lock = threading.Lock()
        # The owner has been woken and has not looked yet: further messages need no system call.
        self._is_signalled = False
        self._eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """Return the eventfd, to be watched for reading."""
        return self._eventfd

    def post(self, message: T) -> None:
        """Add a message and wake the owner. Drop the message after `close`. Safe to call from any thread."""
        with self._lock:
            if self._eventfd >= 0:
                self._messages.append(message)
                if not self._is_signalled:
                    self._is_signalled = True
                    os.eventfd_write(self._eventfd, 1)

    def take(self) -> list[T]:
        """Remove and return all messages, oldest first."""
        try:
            os.eventfd_read(self._eventfd)
        except BlockingIOError:
            # Nothing was posted since the last call, or io_uring has read the counter.
            pass
        with self._lock:
            self._is_signalled = False
            taken = list(self._messages)
            self._messages.clear()
        return taken

    def close(self) -> None:
        """Close the eventfd. Idempotent."""
        with self._lock:
            fd, self._eventfd = self._eventfd, -1
        if fd >= 0:
            os.close(fd)
