"""Memory that was used by thousands of objects goes back to the kernel."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import resource, sys, threading, time
from mreactor.runtime import release_empty_pages

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
            release_empty_pages()
        time.sleep(0.02)
    print(full, resident() - before)

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def grown(how: str) -> tuple[int, int]:
    """Bytes by which a process has grown: with 100,000 tuples, and some time after they are gone."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    out = subprocess.check_output([sys.executable, "-c", PROGRAM, how], env=environment, timeout=60)
    full, after = map(int, out.split())
    return full, after


def test_pages_that_fall_empty_are_returned() -> None:
    full, kept = grown("keep")
    assert full > 10_000_000
    _, after = grown("return")
    assert after < full / 4
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        assert kept > full / 2  # otherwise nothing needs to be done about it any more
