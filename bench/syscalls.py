"""Counting the calls that threads make when they wait for each other: futex and sched_yield.

Two ways, each in a run of its own. strace counts exactly but stops every thread at every system call, so
that it slows the server down several times and may hide contention. perf counts the same kernel entry
points at nearly full speed, where it is allowed to. Owned by the harness's only thread. Knows process ids,
no server.
"""

import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.load import last_line
from bench.process import Missing, program

NAMES = ("futex", "sched_yield")
READY_SECONDS = 10.0
END_SECONDS = 10.0


class Counter:
    """Calls by name; filled once the context that gave it has ended."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}

    @property
    def total(self) -> int:
        return sum(self.calls.values())


@contextmanager
def strace(pids: Sequence[int]) -> Iterator[Counter]:
    """Count with `strace -f -c`, from its attachment to all threads on; Missing where it may not attach."""
    counter = Counter()
    with TemporaryDirectory(prefix="mreactor-bench-strace-") as name:
        summary = Path(name, "summary")
        command = [program("strace"), "-f", "-c", "-e", f"trace={','.join(NAMES)}", "-o", str(summary)]
        command += ["-p", ",".join(map(str, pids))]
        watcher = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        with ended(watcher):
            assert watcher.stderr is not None
            if b"attached" not in (told := heard(watcher.stderr.fileno())):
                raise Missing(f"strace may not attach: {last_line(told.decode())}")
            yield counter
        counter.calls = parse_strace(summary.read_text())


@contextmanager
def perf(pids: Sequence[int]) -> Iterator[Counter]:
    """Count with `perf stat` on the kernel's tracepoints; Missing where they are not to be had.

    perf starts with its events off and acknowledges their enabling (--control): nothing counts too early.
    """
    counter = Counter()
    with TemporaryDirectory(prefix="mreactor-bench-perf-") as name:
        summary = Path(name, "summary")
        events = ",".join(f"syscalls:sys_enter_{name}" for name in NAMES)
        asked, asking = os.pipe()
        acknowledged, acknowledging = os.pipe()
        command = [program("perf"), "stat", "-x", ";", "-o", str(summary), "-e", events]
        command += ["-p", ",".join(map(str, pids))]
        command += ["-D", "-1", "--control", f"fd:{asked},{acknowledging}"]
        with open(asking, "wb", buffering=0) as control, open(acknowledged, "rb", buffering=0) as answer:
            watcher = started(command, asked, acknowledging)
            with ended(watcher):
                control.write(b"enable\n")
                if b"ack" not in heard(answer.fileno()):
                    raise Missing("perf may not count system calls here")
                yield counter
        counter.calls = parse_perf(summary.read_text())


COUNTERS: dict[str, Callable[[Sequence[int]], AbstractContextManager[Counter]]] = {"strace": strace, "perf": perf}


def started(command: list[str], *handed_over: int) -> subprocess.Popen[bytes]:
    """Start a command with these descriptors, and close them here: its end then is the pipe's end."""
    quiet = subprocess.DEVNULL
    try:
        return subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, pass_fds=handed_over)
    finally:
        for descriptor in handed_over:
            os.close(descriptor)


@contextmanager
def ended(watcher: subprocess.Popen[bytes]) -> Iterator[None]:
    """SIGINT makes both tools detach and sum up; SIGKILL follows if one does not."""
    try:
        yield
    finally:
        watcher.send_signal(signal.SIGINT)
        try:
            watcher.communicate(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            watcher.kill()
            watcher.communicate()


def heard(descriptor: int) -> bytes:
    """What comes first from a pipe within the time; nothing where the writer is gone or silent."""
    ready, _, _ = select.select([descriptor], [], [], READY_SECONDS)
    return os.read(descriptor, 4096) if ready else b""


def parse_strace(text: str) -> dict[str, int]:
    """Calls by name from the table of `strace -c`: the fourth column, the name being the last."""
    calls = dict.fromkeys(NAMES, 0)
    for words in map(str.split, text.splitlines()):
        if words and words[-1] in calls:
            calls[words[-1]] = int(words[3])
    return calls


def parse_perf(text: str) -> dict[str, int]:
    """Calls by name from `perf stat -x ';'`: count, unit, event.

    An event that never fired may be `<not counted>`.
    """
    calls = dict.fromkeys(NAMES, 0)
    for fields in (line.split(";") for line in text.splitlines()):
        if len(fields) > 2:
            name = fields[2].removeprefix("syscalls:sys_enter_")
            if name in calls and fields[0].isdigit():
                calls[name] = int(fields[0])
    return calls
