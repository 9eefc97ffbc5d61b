"""The signals that control a server: SIGTERM and SIGINT end it, SIGHUP reopens the access log."""

import queue
import signal

ENDING = (signal.SIGTERM, signal.SIGINT)


class SignalQueue:
    """Received signals, oldest first. Main thread only."""

    def __init__(self) -> None:
        self._received: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._second = 0

    def prepare_start(self) -> None:
        """Queue SIGHUP. Let the others end the process: no client is served yet, and an application may hang."""
        signal.signal(signal.SIGHUP, self._receive)
        for number in ENDING:
            signal.signal(number, signal.SIG_DFL)

    def prepare_service(self) -> None:
        """Queue the ending signals as well."""
        for number in ENDING:
            signal.signal(number, self._receive)

    def wait(self, seconds: float) -> int:
        """Return the next signal; 0 if none comes within `seconds`."""
        try:
            return self._received.get(timeout=seconds)
        except queue.Empty:
            return 0

    def second(self) -> int:
        """Return the ending signal that came during the drain; 0 if none has. Ignores SIGHUP."""
        while not self._second and not self._received.empty():
            number = self._received.get()
            if number in ENDING:
                self._second = number
        return self._second

    def _receive(self, number: int, frame: object) -> None:
        self._received.put(number)
