"""A coarse timer wheel: deadlines of thousands of connections at next to no cost for those that keep being moved.

A deadline that is put off is not touched in the wheel: when its slot comes round, the owner looks at the item and
schedules it anew. One that is brought forward gets a second place in an earlier slot. Used by one thread.
"""

import math
from typing import Protocol

TICK_SECONDS = 0.25
SLOTS = 1024  # 256 s; what lies further ahead waits in the last slot and is scheduled anew from there


class Timed(Protocol):
    """What a wheel can hold."""

    alarm: int  # the tick that the item is filed under, the wheel's to set; 0: none


class TimerWheel[T: Timed]:
    """A wheel of `SLOTS` slots of `TICK_SECONDS`.

    Args:
        now: the present time in seconds, of the clock that deadlines are given in.
    """

    __slots__ = ("_slots", "_tick")

    def __init__(self, now: float) -> None:
        self._slots: list[list[T]] = [[] for _ in range(SLOTS)]
        self._tick = int(now / TICK_SECONDS)

    def schedule(self, item: T, deadline: float) -> None:
        """See to it that `due` returns the item at the first tick past the deadline. An earlier place stays good."""
        if deadline == math.inf:
            return
        tick = int(min(deadline / TICK_SECONDS, self._tick + SLOTS - 2)) + 1
        tick = max(tick, self._tick + 1)
        if 0 < item.alarm <= tick:
            return
        item.alarm = tick
        self._slots[tick % SLOTS].append(item)

    def due(self, now: float) -> list[T]:
        """Take out the items whose slots have come, those of moved deadlines among them: the owner looks and decides."""
        present = int(now / TICK_SECONDS)
        taken: list[T] = []
        while self._tick < present:
            self._tick += 1
            slot, self._slots[self._tick % SLOTS] = self._slots[self._tick % SLOTS], []
            for item in slot:
                if item.alarm == self._tick:  # otherwise it has gone, or is filed elsewhere by now
                    item.alarm = 0
                    taken.append(item)
        return taken
