"""Jobs: calls that may block. A connection makes them, the thread pool runs them, the connection takes them back."""

import logging
from collections.abc import Callable
from contextvars import Context
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .thread_pool import Worker

from ..runtime import hot

log = logging.getLogger("mreactor")


class Closable(Protocol):
    """An object that can be closed."""

    def close(self) -> None:
        """Release its resources."""


@hot("__init__", "run")
class Job:
    """One call of a function that may block. One thread uses it at a time.

    Jobs of one response share a thread and a context: see docs/decisions/056.

    Args:
        function, args, keywords: the call.
        size: bytes of a request body that the job keeps in memory.
        since: monotonic seconds at which the request was complete; infinite if the job serves no request.
        context: the context variables that the call sees; by default none are set.

    Attributes:
        result: the value that the call returned.
        error: the exception that it raised instead.
        stream: the stream whose next part the job fetches. If it is set after the call, further jobs of this stream
            follow in the same thread.
        context: the context that the call runs in.
        worker: the thread that the job must run in; None for any. The pool sets it to the thread that it has run in.
        is_admitted: the job continues what the pool has accepted, so a full queue does not refuse it.
        is_cancelled: the result is not wanted any more. A call that has not begun is not made. Any thread may set it.
    """

    __slots__ = (
        "_args", "_function", "_keywords", "context", "error", "is_admitted", "is_cancelled", "result", "since",
        "size", "stream", "worker",
    )  # fmt: skip

    def __init__(
        self,
        function: Callable[..., Any],
        *args: Any,
        keywords: dict[str, Any] | None = None,
        size: int = 0,
        since: float = inf,
        context: Context | None = None,
    ) -> None:
        self._function = function
        self._args = args
        self._keywords = keywords or {}
        self.size = size
        self.since = since
        self.context = Context() if context is None else context
        self.worker: Worker | None = None
        self.is_admitted = False
        self.is_cancelled = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.stream: Closable | None = None

    def run(self) -> None:
        """Make the call. Store what it raises, even SystemExit: the thread must survive, and the client gets a 500."""
        if self.is_cancelled:
            return
        try:
            self.result = self.context.run(self._call)
        except BaseException as error:
            self.error = error

    def accept(self, result: Any) -> None:
        """Take a result before the call has returned: see `Worker.hand_over`."""
        self.result = result

    def _call(self) -> Any:
        return self._function(*self._args, **self._keywords)

    def disposal(self) -> "Job | None":
        """Return a job that closes the stream and the result, since that may block too. None if it has neither.

        It runs in the stream's thread and context.
        """
        if self.stream is None and self.result is None:
            return None
        job = Job(self._close, context=self.context)
        job.is_admitted = True
        if self.stream is not None:
            job.worker = self.worker
        return job

    def _close(self) -> None:
        """Close the stream and the result, such as a file or a generator."""
        for closable in (self.stream, self.result, getattr(self.result, "body", None)):
            close = getattr(closable, "close", None)
            if close is not None:
                try:
                    close()
                except BaseException:
                    log.exception("cannot close an abandoned response")
