"""What a figure needs beside it to mean something: the machine, the date, the programs, other work going on.

Runs on the harness's only thread. Measures nothing.
"""

import os
import platform
import shlex
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path

LOAD_QUIET = 0.5  # more runnable tasks than this before we start are somebody else's work
VERSION_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Machine:
    """Plain facts, ready for JSON and for a line of text."""

    date: str
    processor: str
    cores: int
    kernel: str
    python: str
    wrk: str
    load_before: float
    command: str

    def __str__(self) -> str:
        hardware = f"{self.processor}, {self.cores} cores"
        return " · ".join((self.date, hardware, f"Linux {self.kernel}", self.python, self.wrk))

    @property
    def warning(self) -> str:
        """Words for the reader when the machine was not ours alone; empty when it was."""
        if self.load_before <= LOAD_QUIET:
            return ""
        return f"The machine was busy before the run (load {self.load_before:.2f}): do not trust these figures."


def describe(module: str) -> Machine:
    """Look around. `module` is the one that was started, for the command line in the report."""
    return Machine(
        date=time.strftime("%Y-%m-%d %H:%M"),
        processor=processor(),
        cores=len(os.sched_getaffinity(0)),
        kernel=platform.release(),
        python=python(),
        wrk=wrk_version(),
        load_before=os.getloadavg()[0],
        command=shlex.join(["python", "-m", module, *sys.argv[1:]]),
    )


def python() -> str:
    """Such as `Python 3.13.5t` for a free-threaded build, without the letter for an ordinary one."""
    letter = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    return f"Python {platform.python_version()}{letter}"


def processor() -> str:
    """The model name from cpuinfo, or the architecture where the kernel gives no name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def wrk_version() -> str:
    """Such as `wrk 4.1.0`. It prints its version and ends with an error status, on which nobody insists."""
    try:
        told = subprocess.run(["wrk", "-v"], capture_output=True, text=True, timeout=VERSION_SECONDS).stdout
    except (OSError, subprocess.TimeoutExpired):
        return "wrk missing"
    words = told.replace("/", " ").split()
    return "wrk " + next((word for word in words if word[0].isdigit()), "of unknown version")
