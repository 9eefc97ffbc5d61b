"""The signals that control a server.

SIGTERM and SIGINT end it. SIGHUP reopens the access log and reads the TLS certificates again. SIGUSR2 restarts it.
"""

import os
import queue
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ENDING = (signal.SIGTERM, signal.SIGINT)
OTHERS = (signal.SIGHUP, signal.SIGUSR2)


def end_at_once() -> None:
    """Let the ending signals end the process: no client is served yet, and an application may hang. Ignore the others.

    The kernel does it, even while a call into C lasts. But it drops the signals of process 1 that have no handler
    (pid_namespaces(7)). So process 1 gets one.
    """
    for number in ENDING:
        signal.signal(number, _exit if os.getpid() == 1 else signal.SIG_DFL)
    # Not SIG_IGN, which programs that the application starts would inherit.
    for number in OTHERS:
        signal.signal(number, _ignore)


@contextmanager
def sigpipe_blocked() -> Iterator[None]:
    """Block SIGPIPE in the threads that start meanwhile, and in their threads, unless the process ignores it.

    For servers inside another program: its signals are not the server's to set. The signal goes to the thread that
    writes (signal(7)), and a blocked one ends nothing.
    """
    if signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _exit(number: int, frame: object) -> None:
    os._exit(128 + number)


def _ignore(number: int, frame: object) -> None:
    pass


class SignalQueue:
    """Received signals, oldest first. Main thread only."""

    def __init__(self) -> None:
        self._received: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._second = 0
        self._former: dict[int, Any] = {}

    def prepare_start(self) -> None:
        """Queue SIGHUP and SIGUSR2. Let the others end the process."""
        self._former = {number: signal.getsignal(number) for number in (*ENDING, *OTHERS)}
        end_at_once()
        for number in OTHERS:
            signal.signal(number, self._receive)
        # Python does so, too. Otherwise each client that hangs up would end the process. The application was imported
        # before and may have set the default. Later it cannot: its code runs in other threads.
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)

    def prepare_service(self) -> None:
        """Queue the ending signals as well."""
        for number in ENDING:
            signal.signal(number, self._receive)

    def restore(self) -> None:
        """Restore the previous handlers. Call it when the queue is no longer read."""
        for number, handler in self._former.items():
            # None is a handler that was not set from Python and cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def wait(self, seconds: float) -> int:
        """Return the next signal; 0 if none comes within `seconds`."""
        try:
            return self._received.get(timeout=seconds)
        except queue.Empty:
            return 0

    def second(self) -> int:
        """Return the ending signal that came during the drain; 0 if none has. Ignores the others."""
        while not self._second and not self._received.empty():
            number = self._received.get()
            if number in ENDING:
                self._second = number
        return self._second

    def _receive(self, number: int, frame: object) -> None:
        self._received.put(number)
