"""Restarting the server when its application's source changes: a process that watches, and one that serves.

The serving process is the same command line. If it cannot start, as after a syntax error, it says why and ends, and
the watching process waits for the next change. Main thread only.
"""

import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from .config import RELOADED

log = logging.getLogger("mreactor")

POLL_SECONDS = 0.3
# How long the serving process may finish its requests; then a second signal ends it. Its idle connections have a second
# of their own, for which a restart does not wait.
STOP_SECONDS = 3.0
RESTART_SECONDS = 0.2
# What a directory holds beyond this is not watched: each file costs a system call for each look.
FILES_MAX = 5000

# Directories of other people's code.
_FOREIGN = frozenset({"__pycache__", "site-packages", "node_modules", "venv", "env", "build", "dist"})


def must_watch() -> bool:
    """Whether this is the watching process."""
    return RELOADED not in os.environ


def supervise(command: Sequence[str], target: str) -> int:
    """Serve, and serve again after each change, until a signal ends the process. Return the exit code, 0.

    Args:
        command: the program and its arguments.
        target: the name of the application; if it is a file, its directory is watched as well.
    """
    roots = {Path.cwd()}
    name = target.partition(":")[0]
    if name.endswith(".py"):
        roots.add(Path(name).resolve().parent)
    child = _Child(command)
    with _Stop() as stop:
        seen = scan(roots)
        log.info("watching %d files; the server restarts when one changes", len(seen))
        child.start()
        while not stop.number:
            time.sleep(POLL_SECONDS)
            if child.note_end():
                log.warning("the server has ended; waiting for a change")
            now = scan(roots)
            if now != seen:
                log.info("%s changed: restarting", _name_change(seen, now))
                seen = now
                child.stop(RESTART_SECONDS)
                child.start()
        if stop.number == signal.SIGINT:
            # The terminal has sent it to the serving process as well.
            child.wait()
        child.stop()
    return 0


def scan(roots: set[Path]) -> dict[str, tuple[int, int]]:
    """Return the Python files below some directories, each with its time of modification and its size."""
    found: dict[str, tuple[int, int]] = {}
    for root in roots:
        for path in _source_files(str(root)):
            try:
                status = os.stat(path)
            except OSError:
                # It has just been removed.
                continue
            found[path] = status.st_mtime_ns, status.st_size
            if len(found) >= FILES_MAX:
                return found
    return found


class _Child:
    """The serving process, one after another."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = "first"

    def start(self) -> None:
        """Start it."""
        self._process = subprocess.Popen(self._command, env=os.environ | {RELOADED: self._turn})
        self._turn = "again"

    def note_end(self) -> bool:
        """Return whether it has ended by itself since the last call."""
        if self._process is None or self._process.poll() is None:
            return False
        self._process = None
        return True

    def wait(self) -> None:
        """Wait a while for its end."""
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """End it, in order if it can within so many seconds. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        for patience in (seconds, STOP_SECONDS):
            process.terminate()
            try:
                process.wait(patience)
                break
            except subprocess.TimeoutExpired:
                # The second signal leaves no time to requests.
                continue
        else:
            process.kill()
            process.wait()


class _Stop:
    """Notes an ending signal: `number` is that of the last one, 0 before it."""

    def __init__(self) -> None:
        self.number = 0

    def __enter__(self) -> "_Stop":
        self._former = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: object) -> None:
        self.number = number


def _source_files(root: str) -> Iterator[str]:
    for directory, names, files in os.walk(root):
        # Neither hidden directories, nor virtual environments, whatever their name.
        names[:] = [name for name in names if name[0] != "." and name not in _FOREIGN
                    and not os.path.exists(os.path.join(directory, name, "pyvenv.cfg"))]  # fmt: skip
        yield from (os.path.join(directory, name) for name in files if name.endswith(".py"))


def _name_change(before: dict[str, tuple[int, int]], now: dict[str, tuple[int, int]]) -> str:
    changed = [path for path in before.keys() | now.keys() if before.get(path) != now.get(path)]
    more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    return os.path.relpath(min(changed)) + more
