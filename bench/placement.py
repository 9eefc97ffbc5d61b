"""Which processor cores the server and the load run on, and how a child process is put there.

Runs on the harness's only thread: the affinity of that thread is what its children inherit.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Placement:
    """Core numbers for each side; an empty set leaves that side wherever the kernel puts it.

    `neighbours` is how many other processes compute on the server's cores all the time.
    """

    server: frozenset[int] = frozenset()
    load: frozenset[int] = frozenset()
    neighbours: int = 0

    def __str__(self) -> str:
        def told(cores: frozenset[int]) -> str:
            return "core " + ",".join(map(str, sorted(cores))) if cores else "any core"

        beside = f" (busy neighbours there: {self.neighbours})" if self.neighbours else ""
        return f"server on {told(self.server)}{beside}, load on {told(self.load)}"


def one_core_each(neighbours: int = 0) -> Placement:
    """One core for the server and one for the load, on different physical cores where there are such."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return Placement(neighbours=neighbours)
    server = cores[0]
    others = [core for core in cores if core not in siblings(server)] or cores[1:]
    return Placement(frozenset({server}), frozenset({others[0]}), neighbours)


def halves() -> Placement:
    """The lower half of the usable cores for the server, the upper half for the load."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return Placement()
    middle = len(cores) // 2
    return Placement(frozenset(cores[:middle]), frozenset(cores[middle:]))


def siblings(core: int) -> frozenset[int]:
    """The hardware threads of the core's physical core, itself included (sysfs, a cpulist)."""
    path = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    try:
        return parse_cores(path.read_text())
    except OSError:
        return frozenset({core})


def parse_cores(text: str) -> frozenset[int]:
    """A cpulist such as `0-2,7` as a set of numbers."""
    cores: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        cores.update(range(int(first), int(last or first) + 1))
    return frozenset(cores)


@contextmanager
def pinned(cores: frozenset[int]) -> Iterator[None]:
    """Children started within inherit these cores, as do their own; an empty set changes nothing."""
    if not cores:
        yield
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


# Ends with its parent, whose number it is told, however that ends.
COMPUTE = "import os, sys\nwhile os.getppid() == int(sys.argv[1]):\n    sum(range(1_000_000))"


@contextmanager
def busy_neighbours(placement: Placement) -> Iterator[None]:
    """While within, the placement's neighbours compute: the server gets its share of its cores and no more."""
    spinning: list[subprocess.Popen[bytes]] = []
    try:
        with pinned(placement.server):
            while len(spinning) < placement.neighbours:
                spinning.append(subprocess.Popen([sys.executable, "-c", COMPUTE, str(os.getpid())]))
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()
