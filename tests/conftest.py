"""What all suites share: the mark of slow tests, and a count of what this machine could not test.

`pytest -m "not slow"` leaves out everything that opens sockets, starts processes or sleeps. Tests over a reactor's
sockets are marked here, by their parameter, and so are folders; other modules and tests mark themselves.

Where the kernel has io_uring, a test that skips itself for want of it fails: the probe is under test, too.
"""

import ctypes
import os
import re
from collections import Counter
from collections.abc import Generator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.register_assert_rewrite(
    *(f"tests.support.{name}" for name in ("curl", "drivers", "faults", "invariants", "memory", "responses", "vectors"))
)

VARIABLES = ("WORKER_BACKEND", "HTTP_SERVER_LOG", "HTTP_SERVER_LOGS")
SOCKET_KINDS = ("epoll", "io_uring", "epoll-tls", "io_uring-tls")
# Each test starts a server or a process, or the folder has a thousand of them.
SLOW_FOLDERS = [
    Path(__file__).parent / name
    for name in ("adversarial", "equivalence", "frameworks", "project", "soak", "system/faults")
]
# The suite with Flask and Django is run where they are: `nox -s frameworks`.
collect_ignore = [] if find_spec("flask") and find_spec("django") else ["frameworks"]
IO_URING_SETUP = 425  # the same number on every architecture
PARAMS_BYTES = 120


def pytest_configure() -> None:
    """Remove the variables that would choose a backend: the suites choose it themselves."""
    for name in VARIABLES:
        os.environ.pop(name, None)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even read the slow folders in a quick run: that would take a third of its time."""
    return True if config.option.markexpr == "not slow" and collection_path in SLOW_FOLDERS else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests slow that run over the sockets of a reactor, and whole folders."""
    for item in items:
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        over_sockets = any(value in SOCKET_KINDS for value in parameters if isinstance(value, str))
        if over_sockets or any(folder in item.path.parents for folder in SLOW_FOLDERS):
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip for want of io_uring into a failure where the kernel has it."""
    report = yield
    if report.skipped and reason_of(report).startswith("io_uring") and has_io_uring():
        report.outcome = "failed"
        report.longrepr = f"skipped, but this kernel has io_uring: {reason_of(report)}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report skips: they are easily overlooked, and a suite that skips is not a suite that passes."""
    reasons = Counter(reason_of(report) for report in terminalreporter.stats.get("skipped", []))
    if not reasons:
        terminalreporter.write_line("nothing was skipped: this machine has all that the suites test")
        return
    terminalreporter.section(f"{reasons.total()} tests skipped, for what this machine lacks", yellow=True)
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count:5}  {reason}")


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return why a test was skipped."""
    where = report.longrepr
    return (where[2] if isinstance(where, tuple) else str(where)).removeprefix("Skipped: ")


@cache
def has_io_uring() -> bool:
    """Whether the kernel is 6.1 or later and gives out a ring. Uses the bare system call, not the package's probe."""
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if release is None or (int(release[1]), int(release[2])) < (6, 1):
        return False
    parameters = ctypes.create_string_buffer(PARAMS_BYTES)
    fd: int = ctypes.CDLL(None, use_errno=True).syscall(IO_URING_SETUP, 8, parameters)
    if fd >= 0:
        os.close(fd)
    return fd >= 0
