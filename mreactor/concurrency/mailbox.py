"""The one cross-thread queue: messages for a thread that waits on file descriptors.

Posting is rare (a blocking handler is done, the server drains): the request path has no queue.
"""

import os
import threading
from collections import deque


class Mailbox[T]:
    """A queue with an eventfd that turns readable when a message lies in it.

    `post` may be called by any thread, everything else by the owner alone.
    """

    def __init__(self) -> None:
        self._messages: deque[T] = deque()
        self._lock = (
            threading.Lock()
        )  # between post and close: a number written after close could be another file's
        self._eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """The eventfd, to be watched for reading."""
        return self._eventfd

    def post(self, message: T) -> None:
        """Leave a message and wake the owner. After `close` the message is dropped: nobody is there to read it."""
        with self._lock:
            if self._eventfd >= 0:
                self._messages.append(message)
                os.eventfd_write(self._eventfd, 1)

    def take(self) -> list[T]:
        """All messages that have come, oldest first."""
        try:
            os.eventfd_read(self._eventfd)
        except BlockingIOError:
            pass  # nothing was posted since the last look, or a backend has read the counter itself
        taken = []
        while self._messages:
            taken.append(self._messages.popleft())
        return taken

    def close(self) -> None:
        """Close the eventfd; again does nothing."""
        with self._lock:
            fd, self._eventfd = self._eventfd, -1
        if fd >= 0:
            os.close(fd)
