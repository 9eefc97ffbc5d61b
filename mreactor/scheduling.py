"""Cores, and a thread's place in the kernel's queue for one."""

import os
import time

SCHEDSTAT = "/proc/thread-self/schedstat"


def usable_cpus() -> int:
    """How many cores this process may use (sched_getaffinity(2))."""
    return len(os.sched_getaffinity(0))


def give_way() -> None:
    """Have the kernel not interrupt other threads for this one each time it wakes (sched(7), SCHED_BATCH).

    It has its fair share all the same, and finds more to do at once when its turn comes.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError:
        pass  # a sandbox forbids it: then it costs what it costs


class Line:
    """The line of threads for a core, as seen by the thread that makes it and asks.

    The kernel counts how long a thread has been ready to run without running (proc_pid_schedstat(5)). One that does not
    count it shows no line. To ask takes some 10 µs.
    """

    def __init__(self) -> None:
        self._asked = time.monotonic_ns()
        self._stood = _time_in_line()

    def is_long(self) -> bool:
        """Whether the thread has stood in line for more than a tenth of the time since it was last asked."""
        since, before = self._asked, self._stood
        self._asked, self._stood = time.monotonic_ns(), _time_in_line()
        return (self._stood - before) * 10 > self._asked - since


def _time_in_line() -> int:
    """Nanoseconds of the calling thread's life, 0 where they are not known."""
    try:
        with open(SCHEDSTAT, "rb", buffering=0) as counts:
            return int(counts.read().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
