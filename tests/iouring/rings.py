"""Helpers for tests of rings: waiting for completions, and system calls that fail as told."""

import os
import time

from mreactor.iouring import Ring, SystemCalls, abi

SECOND_NS = 1_000_000_000
PATIENCE_NS = 60 * SECOND_NS


def collect(ring: Ring, count: int) -> list[tuple[int, int, int]]:
    """Return at least `count` completions, or what came within `PATIENCE_NS`."""
    found = list(ring.completions())
    deadline = time.monotonic_ns() + PATIENCE_NS
    while len(found) < count and time.monotonic_ns() < deadline:
        ring.submit_and_wait(1, SECOND_NS)
        found += ring.completions()
    return found


def results(ring: Ring, count: int) -> dict[int, int]:
    """Return the `res` of `count` completions by their user_data, which must differ."""
    found = {user_data: res for user_data, res, _ in collect(ring, count)}
    assert len(found) == count
    return found


def count_descriptors() -> int:
    """Return the number of open descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


class ScriptedCalls(SystemCalls):
    """Real calls, but each `enter` takes an entry of `script`: an errno to fail with, or None."""

    def __init__(self, script: list[int | None]) -> None:
        super().__init__()
        self.script: list[int | None] = []
        self.entered = 0
        self._error = 0
        real_syscall, real_errno = self.syscall, self.errno

        def syscall(number: int, *arguments: object) -> int:
            self._error = 0
            if number == abi.NR_ENTER:
                self.entered += 1
                self._error = (self.script.pop(0) if self.script else None) or 0
            return -1 if self._error else real_syscall(number, *arguments)

        self.syscall = syscall
        self.errno = lambda: self._error or real_errno()
        self.script = script
