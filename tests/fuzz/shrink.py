"""Shortens a message for which something does not hold, as long as it still does not."""

from collections.abc import Callable

TRIALS_MAX = 300


def shrink(message: bytes, is_wrong: Callable[[bytes], bool]) -> bytes:
    """The message without the parts that do not matter; as it is, if by itself nothing is wrong with it.

    Parts are left out, halves first and single bytes last. It takes `TRIALS_MAX` trials at most.
    """
    if not is_wrong(message):
        return message
    trials, size = 0, len(message) // 2
    while size and trials < TRIALS_MAX:
        start = 0
        while start < len(message) and trials < TRIALS_MAX:
            shorter = message[:start] + message[start + size :]
            trials += 1
            if is_wrong(shorter):
                message = shorter
            else:
                start += size
        size //= 2
    return message
