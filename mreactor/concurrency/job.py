"""Jobs: calls that may block. A connection makes them, the thread pool runs them, the connection takes them back."""

import logging
from collections.abc import Callable
from math import inf
from typing import Any, Protocol

log = logging.getLogger("mreactor")


class Closable(Protocol):
    """An object that can be closed."""

    def close(self) -> None:
        """Release its resources."""


class Job:
    """One call of a function that may block. One thread uses it at a time.

    Args:
        function, args, keywords: the call.
        size: bytes of a request body that the job keeps in memory.
        since: monotonic seconds at which the request was complete; infinite if the job serves no request.

    Attributes:
        result: the value that the call returned.
        error: the exception that it raised instead.
        stream: the stream whose next part the job fetches.
    """

    __slots__ = ("_args", "_function", "_keywords", "error", "result", "since", "size", "stream")

    def __init__(
        self,
        function: Callable[..., Any],
        *args: Any,
        keywords: dict[str, Any] | None = None,
        size: int = 0,
        since: float = inf,
    ) -> None:
        self._function = function
        self._args = args
        self._keywords = keywords or {}
        self.size = size
        self.since = since
        self.result: Any = None
        self.error: BaseException | None = None
        self.stream: Closable | None = None

    def run(self) -> None:
        """Make the call. Store what it raises, even SystemExit: the thread must survive, and the client gets a 500."""
        try:
            self.result = self._function(*self._args, **self._keywords)
        except BaseException as error:
            self.error = error

    def disposal(self) -> "Job | None":
        """Return a job that closes the stream and the result, since that may block too. None if it has neither."""
        return None if self.stream is None and self.result is None else Job(self._close)

    def _close(self) -> None:
        """Close the stream and the result, such as a file or a generator."""
        for closable in (self.stream, self.result, getattr(self.result, "body", None)):
            close = getattr(closable, "close", None)
            if close is not None:
                try:
                    close()
                except BaseException:
                    log.exception("cannot close an abandoned response")
