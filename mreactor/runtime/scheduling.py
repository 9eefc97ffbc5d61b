"""CPUs of this process, and the scheduling policy of a thread. See docs/decisions/008."""

import math
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

MEMBERSHIPS = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")


def usable_cpus() -> int:
    """Return how many CPUs this process may use: those of sched_getaffinity(2), or fewer if a CPU quota is smaller."""
    try:
        cpus = len(os.sched_getaffinity(0))
    except OSError:
        # A sandbox forbids it.
        cpus = os.cpu_count() or 1
    return math.ceil(min(cpus, cpu_quota()))


@cache
def cpu_quota() -> float:
    """Return the CPU quota of this process's control groups in CPUs, as of the first call; infinity if there is none.

    A container that may use half a CPU still sees all CPUs of its host.
    """
    return read_quota(MEMBERSHIPS, CGROUPS)


def read_quota(memberships: Path, cgroups: Path) -> float:
    """Return the smallest quota of the control groups in a file like /proc/self/cgroup (cgroups(7)).

    Args:
        cgroups: where control groups are mounted.
    """
    try:
        lines = memberships.read_text().splitlines()
    except OSError:
        return math.inf
    quotas = [math.inf]
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if not controllers:
            quotas += _quotas(cgroups, group, "cpu.max")
        elif "cpu" in controllers.split(","):
            quotas += _quotas(cgroups / "cpu", group, "cpu.cfs_quota_us", "cpu.cfs_period_us")
    return min(quotas)


def _quotas(mount: Path, group: str, *names: str) -> Iterator[float]:
    """Yield the quotas of a group and of those around it. In a container the outer ones are not visible."""
    folder = mount / group.lstrip("/")
    for each in (folder, *folder.parents):
        if not each.is_relative_to(mount):
            return
        try:
            quota, period = map(int, " ".join((each / name).read_text() for name in names).split())
        except (OSError, ValueError):
            # There is no such group here, or its quota is "max".
            continue
        if quota > 0 and period > 0:
            yield quota / period


def use_batch_scheduling() -> None:
    """Set SCHED_BATCH for the calling thread: its wake-ups do not interrupt running threads (sched(7)).

    The thread keeps its fair share and finds more events at once.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError:
        # A sandbox forbids it. The server works without.
        pass
