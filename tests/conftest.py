"""What all suites share: a count of what this machine could not test, said aloud at the end of a run.

Where the kernel has io_uring, a test that leaves itself out for want of it fails: what finds out is under test, too.
"""

import ctypes
import os
import re
from collections import Counter
from collections.abc import Generator
from functools import cache

import pytest

pytest.register_assert_rewrite(
    "tests.support.responses", "tests.support.curl", "tests.support.drivers", "tests.support.vectors"
)

VARIABLES = ("WORKER_BACKEND", "HTTP_SERVER_LOG", "HTTP_SERVER_LOGS")
IO_URING_SETUP = 425  # the same number on every architecture
PARAMS_BYTES = 120


def pytest_configure() -> None:
    """Suites run on every backend by themselves, and say what they start: whoever's variables do not matter."""
    for name in VARIABLES:
        os.environ.pop(name, None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip for want of io_uring into a failure where the kernel has it."""
    report = yield
    if report.skipped and reason_of(report).startswith("io_uring") and has_io_uring():
        report.outcome = "failed"
        report.longrepr = f"skipped, but this kernel has io_uring: {reason_of(report)}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A skipped test is easily overlooked, and a suite that skips is not a suite that passes."""
    reasons = Counter(reason_of(report) for report in terminalreporter.stats.get("skipped", []))
    if not reasons:
        terminalreporter.write_line("nothing was skipped: this machine has all that the suites test")
        return
    terminalreporter.section(f"{reasons.total()} tests skipped, for what this machine lacks", yellow=True)
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count:5}  {reason}")


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why a test was skipped."""
    where = report.longrepr
    return (where[2] if isinstance(where, tuple) else str(where)).removeprefix("Skipped: ")


@cache
def has_io_uring() -> bool:
    """Whether the kernel is 6.1 or later and gives out a ring: asked by the bare system call, not by our own code."""
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if release is None or (int(release[1]), int(release[2])) < (6, 1):
        return False
    parameters = ctypes.create_string_buffer(PARAMS_BYTES)
    fd: int = ctypes.CDLL(None, use_errno=True).syscall(IO_URING_SETUP, 8, parameters)
    if fd >= 0:
        os.close(fd)
    return fd >= 0
