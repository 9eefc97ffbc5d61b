"""Work that may wait: made by a connection, run by another thread, handed back to the connection."""

import logging
from collections.abc import Callable
from math import inf
from typing import Any, Protocol

log = logging.getLogger("mreactor")


class Closable(Protocol):
    """What can be closed."""

    def close(self) -> None:
        """Give it up."""


class Job:
    """One call of a function that may block.

    Attributes:
        result: what the call returned.
        error: what it raised instead.
        stream: what it fetches a part of.
        size: bytes of a request's body that it keeps in memory.
        since: monotonic seconds when the request was there that it answers; infinite where it answers none.
    """

    __slots__ = ("_args", "_call", "_keywords", "error", "result", "since", "size", "stream")

    def __init__(
        self,
        call: Callable[..., Any],
        args: tuple[Any, ...],
        keywords: dict[str, Any],
        size: int = 0,
        since: float = inf,
    ) -> None:
        self._call = call
        self._args = args
        self._keywords = keywords
        self.result: Any = None
        self.stream: Closable | None = None
        self.size = size
        self.since = since
        self.error: BaseException | None = None

    def run(self) -> None:
        """Do the work; what it raises is kept for the connection."""
        try:
            self.result = self._call(*self._args, **self._keywords)
        except BaseException as error:  # even sys.exit(): a handler's failure is its client's answer
            self.error = error

    def disposal(self) -> "Job | None":
        """The work of closing what this one has come to, which may wait as well; None where there is nothing."""
        return None if self.stream is None and self.result is None else Job(self._discard, (), {})

    def _discard(self) -> None:
        """Close what the work has come to, a file or a generator: nobody waits for it any more."""
        for thing in (self.stream, self.result, getattr(self.result, "body", None)):
            close = getattr(thing, "close", None)
            if close is not None:
                try:
                    close()
                except BaseException:
                    log.exception("an answer that nobody waits for could not be closed")
