"""Work that may wait: made by a connection, run by another thread, handed back to the connection."""

from collections.abc import Callable
from typing import Any


class Job:
    """One call of a function that may block.

    Attributes:
        result: what the call returned.
        error: what it raised instead.
    """

    __slots__ = ("_args", "_call", "_keywords", "error", "result")

    def __init__(self, call: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self._call = call
        self._args = args
        self._keywords = keywords
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """Do the work; what it raises is kept for the connection."""
        try:
            self.result = self._call(*self._args, **self._keywords)
        except (
            BaseException
        ) as error:  # even sys.exit(): a handler's failure is its client's answer, no thread's end
            self.error = error
