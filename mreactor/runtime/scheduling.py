"""Cores, and a thread's place in the kernel's queue for one."""

import os


def usable_cpus() -> int:
    """How many cores this process may use (sched_getaffinity(2))."""
    return len(os.sched_getaffinity(0))


def use_batch_scheduling() -> None:
    """Have the kernel not interrupt other threads for this one each time it wakes (sched(7), SCHED_BATCH).

    It has its fair share all the same, and finds more to do at once when its turn comes.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError:
        pass  # a sandbox forbids it: then it costs what it costs
