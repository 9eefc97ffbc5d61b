"""A coarse timer wheel: deadlines of thousands of connections at next to no cost for those that keep being moved.

A deadline that is put off is not touched in the wheel: when its slot comes round, the owner looks and schedules anew.
One that is brought forward gets a second place in an earlier slot. The wheel knows file descriptors, not clients, so a
client that has gone leaves a number behind and nothing else. Used by one thread.
"""

import math
from array import array

TICK_SECONDS = 0.25
SLOTS = 1024  # 256 s; what lies further ahead waits in the last slot and is scheduled anew from there


class TimerWheel:
    """A wheel of `SLOTS` slots of `TICK_SECONDS`.

    Args:
        now: the present time in seconds, of the clock that deadlines are given in.
        fds_max: no file descriptor is as large as this.
    """

    __slots__ = ("_alarms", "_slots", "_tick")

    def __init__(self, now: float, fds_max: int) -> None:
        # Arrays hold numbers, where lists would hold objects that pin memory long after a wave of connections.
        self._slots = [array("i") for _ in range(SLOTS)]
        # The tick under which a descriptor is filed; 0: none, places left are void.
        self._alarms = array("q", bytes(8 * fds_max))
        self._tick = int(now / TICK_SECONDS)

    def schedule(self, fd: int, deadline: float) -> None:
        """See to it that `due` returns the descriptor at the first tick past the deadline, or earlier."""
        if deadline == math.inf:
            return
        tick = int(min(deadline / TICK_SECONDS, self._tick + SLOTS - 2)) + 1
        tick = max(tick, self._tick + 1)
        if not 0 < self._alarms[fd] <= tick:
            self._alarms[fd] = tick
            self._slots[tick % SLOTS].append(fd)

    def forget(self, fd: int) -> None:
        """Take a descriptor out."""
        self._alarms[fd] = 0

    def due(self, now: float) -> list[int]:
        """Take out the descriptors whose slots have come, those of moved deadlines among them: the owner looks."""
        present = int(now / TICK_SECONDS)
        taken: list[int] = []
        while self._tick < present:
            self._tick += 1
            slot = self._slots[self._tick % SLOTS]
            fds = slot.tolist()
            del slot[:]
            for fd in fds:
                if self._alarms[fd] == self._tick:  # otherwise it is filed elsewhere by now, or gone
                    self._alarms[fd] = 0
                    taken.append(fd)
        return taken
