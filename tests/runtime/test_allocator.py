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
    for _ in range(20):
        if sys.argv[1] == "return":
            every_tick()
        time.sleep(0.02)
    print(full, resident() - before)

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def grown(how: str) -> tuple[int, int]:
    """Return by how many bytes a process grows: with 100,000 tuples, and some time after it dropped them."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    out = subprocess.check_output([sys.executable, "-c", PROGRAM, how], env=environment, timeout=60)
    full, after = map(int, out.split())
    return full, after


def test_empty_pages_are_returned() -> None:
    full, kept = grown("keep")
    assert full > 10_000_000
    _, after = grown("return")
    assert after < full / 4
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        # If this fails, the interpreter returns pages by itself: delete the adaptation.
        assert kept > full / 2
