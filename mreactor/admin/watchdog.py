"""Reports reactors that have ended or that do not come back from a handler: to the log, and to readiness checks.

A reactor survives every exception of the code that it calls. But a handler may wait where it must not, or loop forever.
See docs/decisions/038.
"""

import faulthandler
import logging
import os
import re
import select
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

log = logging.getLogger("mreactor")

# A reactor's heart beats four times a second, even when idle. A round of a few hundred slow handlers may take a second.
STUCK_SECONDS = 5.0
# A check comes once a second.
LATE_SECONDS = 2.0

# Few programs use this signal. This one has no handler for it until the first stack is read.
STACK_SIGNAL = signal.SIGRTMIN + 7
STACK_SECONDS_MAX = 1.0
# `faulthandler` writes line by line, within microseconds. A pause this long means that it is done.
PAUSE_SECONDS = 0.1
FRAME = re.compile(r'File "(.*)", line (\d+) in (.*)')

STARTING, RUNNING, STUCK, DEAD = "starting", "running", "stuck", "dead"


class Watched(Protocol):
    """A thread with a heartbeat in monotonic seconds; 0 before the first beat."""

    heartbeat: float

    @property
    def name(self) -> str: ...

    @property
    def ident(self) -> int | None: ...

    def is_alive(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class ReactorHealth:
    """A reactor's name, its state, and the seconds since its last heartbeat."""

    name: str
    state: str
    age: float

    def __str__(self) -> str:
        return f"{self.name} {'is stuck' if self.state == STUCK else 'has ended'}"


def reactor_state(reactor: Watched, now: float) -> str:
    """Return STARTING, RUNNING, STUCK or DEAD. Safe to call from any thread.

    Args:
        now: monotonic seconds.
    """
    if reactor.ident is None:
        return STARTING
    if not reactor.is_alive():
        return DEAD
    if reactor.heartbeat == 0.0:
        return STARTING
    return STUCK if now - reactor.heartbeat > STUCK_SECONDS else RUNNING


def unhealthy_reactors(reactors: Sequence[Watched], now: float) -> list[ReactorHealth]:
    """Return the health of reactors that are stuck or dead. Safe to call from any thread."""
    states = [ReactorHealth(one.name, reactor_state(one, now), now - one.heartbeat) for one in reactors]
    return [health for health in states if health.state in (STUCK, DEAD)]


class Watchdog:
    """Logs once that a reactor is stuck or dead, and once that it has recovered. One thread only.

    Args:
        reactors: read, never changed.
    """

    def __init__(self, reactors: Sequence[Watched]) -> None:
        self._reactors = reactors
        self._logged: dict[str, ReactorHealth] = {}
        self._checked = 0.0

    def check(self, now: float) -> list[ReactorHealth]:
        """Check all reactors; return the unhealthy ones. Called about once a second.

        Args:
            now: monotonic seconds.
        """
        # If this thread has not run either, the whole process stood still. The reactors get time until the next check.
        late = now - self._checked if self._checked else 0.0
        self._checked = now
        if late > LATE_SECONDS:
            if late > STUCK_SECONDS:
                log.warning("all threads stood still for %.1f s: suspended, or held up by one call into C", late)
            return []
        unhealthy = {health.name: health for health in unhealthy_reactors(self._reactors, now)}
        for reactor in self._reactors:
            self._log_change(reactor, self._logged.get(reactor.name), unhealthy.get(reactor.name))
        self._logged = unhealthy
        return list(unhealthy.values())

    def _log_change(self, reactor: Watched, before: ReactorHealth | None, after: ReactorHealth | None) -> None:
        if after is None:
            if before is not None:
                log.warning("%s recovered", reactor.name)
        elif before is None or before.state != after.state:
            if after.state == DEAD:
                log.error("%s has ended: its clients get no response; restart the server", reactor.name)
            else:
                log.error("%s is stuck for %.1f s, here: %s", reactor.name, after.age, read_stack(reactor))


def read_stack(thread: Watched) -> str:
    """Return the calls of a running thread on one line, innermost first.

    A signal makes the thread dump its own stack, with `faulthandler`'s handler, which is written in C. Reading the
    frames of a running thread with `sys._current_frames` crashes a free-threaded interpreter within seconds.
    """
    if thread.ident is None or not thread.is_alive():
        return "(not running)"
    reader = _open_pipe()
    # Discard what an earlier thread has dumped too late.
    _read(reader, 0.0)
    signal.pthread_kill(thread.ident, STACK_SIGNAL)
    frames = FRAME.findall(_read(reader, STACK_SECONDS_MAX).decode(errors="replace"))
    calls = [f"{name} ({file}:{line})" for file, line, name in frames]
    return " < ".join(calls) or "(no stack: the thread waits in the kernel and takes no signal)"


@cache
def _open_pipe() -> int:
    """Return the descriptor to read stacks from. Pipe and handler stay, since a thread may take the signal late."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    faulthandler.register(STACK_SIGNAL, writer, all_threads=False)
    return reader


def _read(fd: int, seconds: float) -> bytes:
    """Read until a pause; return nothing if nothing comes within `seconds`."""
    received = b""
    # select() takes no descriptor above 1023.
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while poll.poll(seconds * 1000) and (more := os.read(fd, 1 << 16)):
        received += more
        seconds = min(seconds, PAUSE_SECONDS)
    return received
