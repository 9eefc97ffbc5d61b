"""A coarse timer wheel: deadlines of thousands of connections at next to no cost for those that keep being moved.

A deadline that is put off is not touched in the wheel: when its slot comes round, the owner looks and schedules anew.
The wheel knows file descriptors, not clients, and takes all its memory at once: a slot is a ring of descriptors, linked
by their numbers. Used by one thread.
"""

import math
from array import array
from collections.abc import Iterator

from ..runtime import hot

TICK_SECONDS = 0.25
SLOTS = 1024  # 256 s; what lies further ahead waits in the last slot and is scheduled anew from there


@hot("schedule", "due", "forget")
class TimerWheel:
    """A wheel of `SLOTS` slots of `TICK_SECONDS`.

    Args:
        now: the present time in seconds, of the clock that deadlines are given in.
        fds_max: no file descriptor is as large as this.
    """

    __slots__ = ("_alarms", "_fds_max", "_next", "_previous", "_tick")

    def __init__(self, now: float, fds_max: int) -> None:
        # Arrays hold numbers, where lists would hold objects that pin memory long after a wave of connections. Behind
        # the descriptors each slot has a place of its own, where its ring begins and ends.
        self._fds_max = fds_max
        self._next = array("i", bytes(4 * (fds_max + SLOTS)))
        self._previous = array("i", bytes(4 * (fds_max + SLOTS)))
        for slot in range(fds_max, fds_max + SLOTS):
            self._next[slot] = self._previous[slot] = slot
        # The tick under which a descriptor is filed; 0: none.
        self._alarms = array("q", bytes(8 * fds_max))
        self._tick = int(now / TICK_SECONDS)

    def schedule(self, fd: int, deadline: float) -> None:
        """See to it that `due` returns the descriptor at the first tick past the deadline, or earlier."""
        if deadline == math.inf:
            return
        tick = int(min(deadline / TICK_SECONDS, self._tick + SLOTS - 2)) + 1
        tick = max(tick, self._tick + 1)
        if 0 < self._alarms[fd] <= tick:
            return
        self.forget(fd)
        self._alarms[fd] = tick
        slot = self._fds_max + tick % SLOTS
        last = self._previous[slot]
        self._next[last] = self._previous[slot] = fd
        self._next[fd], self._previous[fd] = slot, last

    def forget(self, fd: int) -> None:
        """Take a descriptor out."""
        if self._alarms[fd]:
            self._alarms[fd] = 0
            after, before = self._next[fd], self._previous[fd]
            self._next[before], self._previous[after] = after, before

    def due(self, now: float) -> Iterator[int]:
        """Take out the descriptors whose slots have come, those of moved deadlines among them: the owner looks.

        One by one, since there may be thousands; in between any may be scheduled and forgotten.
        """
        present = int(now / TICK_SECONDS)
        while True:
            slot = self._fds_max + self._tick % SLOTS  # empty, unless the last one to look gave up
            while (fd := self._next[slot]) != slot:
                self.forget(fd)
                yield fd
            if self._tick >= present:
                return
            self._tick += 1
