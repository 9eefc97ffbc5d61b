"""The memory of thousands of dropped objects returns to the kernel."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import resource, sys, threading, time
from mreactor.runtime import every_tick

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

def work():
    before = resident()
    objects = [(number, str(number)) for number in range(100_000)]
    full = resident() - before
    del objects
    goal, seconds = int(sys.argv[1]), float(sys.argv[2])
    ends = time.monotonic() + seconds
    while resident() - before >= goal and time.monotonic() < ends:
        if goal:
            every_tick()
        time.sleep(0.02)
    print(full, resident() - before)

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


# On a busy machine the kernel gets the pages late.
RETURN_SECONDS_MAX = 20.0


def grown(goal: int, seconds: float) -> tuple[int, int]:
    """Return by how many bytes a process grows: with 100,000 tuples, and some time after it dropped them.

    Args:
        goal: the process has ticks until it has grown by less; 0: it has none.
        seconds: the time for that.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    out = subprocess.check_output([sys.executable, "-c", PROGRAM, str(goal), str(seconds)], env=environment, timeout=60)
    full, after = map(int, out.split())
    return full, after


def test_empty_pages_are_returned() -> None:
    full, kept = grown(0, 0.4)
    assert full > 10_000_000
    goal = full // 3
    _, after = grown(goal, RETURN_SECONDS_MAX)
    assert after < goal
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        # If this fails, the interpreter returns pages by itself: delete the adaptation.
        assert kept > full / 2
