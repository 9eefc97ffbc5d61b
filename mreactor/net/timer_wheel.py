"""A coarse timer wheel for the deadlines of thousands of connections: docs/decisions/025.

Extending a deadline does not touch the wheel. When the old slot expires, the owner checks the real deadline and
reschedules. The wheel holds file descriptors, not clients, and takes all its memory at once: a slot is a ring of
descriptors, linked by their numbers. One thread.
"""

import math
from array import array
from collections.abc import Iterator

from ..runtime import hot

TICK_SECONDS = 0.25
# 256 s. A deadline further ahead waits in the last slot and is rescheduled from there.
SLOTS = 1024


@hot("schedule", "due", "forget")
class TimerWheel:
    """A wheel of `SLOTS` slots of `TICK_SECONDS`.

    Args:
        now: the present time in seconds, of the clock that deadlines are given in.
        fds_max: no file descriptor is as large as this.
    """

    __slots__ = ("_alarms", "_fds_max", "_next", "_previous", "_tick")

    def __init__(self, now: float, fds_max: int) -> None:
        # Arrays hold numbers; lists would hold objects, which pin memory long after a wave of connections. Behind the
        # descriptors each slot has an entry of its own, where its ring begins and ends.
        self._fds_max = fds_max
        self._next = array("i", bytes(4 * (fds_max + SLOTS)))
        self._previous = array("i", bytes(4 * (fds_max + SLOTS)))
        for slot in range(fds_max, fds_max + SLOTS):
            self._next[slot] = self._previous[slot] = slot
        # The tick under which a descriptor is filed; 0: none.
        self._alarms = array("q", bytes(8 * fds_max))
        self._tick = int(now / TICK_SECONDS)

    def schedule(self, fd: int, deadline: float) -> None:
        """Make `due` return the descriptor at the first tick past the deadline, or earlier."""
        if deadline == math.inf:
            return
        # Rounded up, and never the slot that `due` is emptying: hence - 2 and + 1.
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
        """Take out the descriptors whose slots have expired, also those whose deadlines have moved since.

        It yields them one by one, since there may be thousands. In between, any may be scheduled and forgotten.
        """
        present = int(now / TICK_SECONDS)
        while True:
            # Empty, unless an earlier caller gave up in the middle.
            slot = self._fds_max + self._tick % SLOTS
            while (fd := self._next[slot]) != slot:
                self.forget(fd)
                yield fd
            if self._tick >= present:
                return
            self._tick += 1
