"""A part of a stream that holds no content: nothing is there yet."""

import math


class Pause:
    """A part of a stream: ask for the next part that many seconds later, and hold no thread busy meanwhile.

    Args:
        seconds: a positive number.

    Raises:
        ValueError: it is not.
    """

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        if not 0 < seconds < math.inf:
            raise ValueError(f"a pause takes a positive number of seconds, not {seconds}")
        self.seconds = seconds

    def __repr__(self) -> str:
        return f"Pause({self.seconds})"
