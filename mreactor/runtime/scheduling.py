"""CPUs of this process, and the scheduling policy of a thread. See docs/decisions/008."""

import os


def usable_cpus() -> int:
    """Return how many CPUs this process may use (sched_getaffinity(2))."""
    return len(os.sched_getaffinity(0))


def use_batch_scheduling() -> None:
    """Set SCHED_BATCH for the calling thread: its wake-ups do not interrupt running threads (sched(7)).

    The thread keeps its fair share and finds more events at once.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError:
        # A sandbox forbids it. The server works without.
        pass
