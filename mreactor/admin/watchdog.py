"""Notices reactors that have died, or that do not come back from a handler.

Nothing should lead there: a reactor survives the exceptions of everything it calls. But a handler can wait where it
must not, or loop for ever, and a C extension can do anything. Then the log shows where the reactor is, and readiness
fails.
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

# A reactor's loop turns four times a second even when nothing happens. One that has not turned for this long lets its
# clients wait beyond what they will bear; a round of a few hundred slow handlers may well take a second.
STUCK_SECONDS = 5.0

STACK_SIGNAL = (
    signal.SIGRTMIN + 7
)  # one that hardly anybody else uses; unknown to this process until it is needed
STACK_SECONDS_MAX = 1.0
PAUSE_SECONDS = 0.1  # a stack is written line by line, in microseconds
FRAME = re.compile(r'File "(.*)", line (\d+) in (.*)')

STARTING, RUNNING, STUCK, DEAD = "starting", "running", "stuck", "dead"


class Watched(Protocol):
    """A thread with a heartbeat, in monotonic seconds; 0 before the first."""

    heartbeat: float

    @property
    def name(self) -> str: ...

    @property
    def ident(self) -> int | None: ...

    def is_alive(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class ReactorHealth:
    """What is the matter with a reactor: its name, STUCK or DEAD, and seconds since its last heartbeat."""

    name: str
    state: str
    age: float

    def __str__(self) -> str:
        return f"{self.name} {'is stuck' if self.state == STUCK else 'has ended'}"


def reactor_state(reactor: Watched, now: float) -> str:
    """How a reactor is: STARTING, RUNNING, STUCK or DEAD; called by any thread.

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
    """The reactors that are stuck or dead; called by any thread."""
    states = [(reactor, reactor_state(reactor, now)) for reactor in reactors]
    return [
        ReactorHealth(reactor.name, state, now - reactor.heartbeat)
        for reactor, state in states
        if state in (STUCK, DEAD)
    ]


class Watchdog:
    """Logs each reactor's trouble once, and its recovery. Used by one thread, about once a second.

    Args:
        reactors: whom to watch; none of them is changed.
    """

    def __init__(self, reactors: Sequence[Watched]) -> None:
        self._reactors = reactors
        self._known: dict[str, ReactorHealth] = {}  # by name, what has been logged
        self._looked = 0.0

    def check(self, now: float) -> list[ReactorHealth]:
        """Look at all reactors once; returns what is the matter.

        Args:
            now: monotonic seconds.
        """
        # If this thread has not run for long, the whole process stood still (a stopped or suspended machine): the
        # reactors get until the next look.
        was_away = 0 < self._looked < now - STUCK_SECONDS
        self._looked = now
        if was_away:
            return []
        present = {ailment.name: ailment for ailment in unhealthy_reactors(self._reactors, now)}
        for reactor in self._reactors:
            self._compare(reactor, self._known.get(reactor.name), present.get(reactor.name))
        self._known = present
        return list(present.values())

    def _compare(self, reactor: Watched, before: ReactorHealth | None, after: ReactorHealth | None) -> None:
        if after is not None and (before is None or before.state != after.state):
            if after.state == DEAD:
                log.error("%s has ended; its clients get no answer, restart the server", after.name)
            else:
                log.error("%s is stuck for %.1f s, here: %s", after.name, after.age, read_stack(reactor))
        elif before is not None and after is None:
            log.warning("%s goes on", before.name)


def read_stack(thread: Watched) -> str:
    """Where a living thread is at present, on one line, innermost call first.

    It is asked by a signal and answers itself, from `faulthandler`'s handler, which is written in C. To read the frames
    of a thread that runs on meanwhile, by `sys._current_frames`, crashes a free-threaded interpreter within seconds.
    """
    if thread.ident is None or not thread.is_alive():
        return "(it does not run)"
    reader = _channel()
    _read(reader, 0.0)  # what an earlier one may have said too late
    signal.pthread_kill(thread.ident, STACK_SIGNAL)
    frames = FRAME.findall(_read(reader, STACK_SECONDS_MAX).decode(errors="replace"))
    calls = [f"{name} ({file}:{line})" for file, line, name in frames]
    return " < ".join(calls) or "(it takes no signal: it waits in the kernel)"


@cache
def _channel() -> int:
    """The descriptor from which stacks are read. It stays, and so does the handler: a signal may be taken late."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    faulthandler.register(STACK_SIGNAL, writer, all_threads=False)
    return reader


def _read(fd: int, seconds: float) -> bytes:
    """All that can be read until it pauses; nothing, if nothing comes for this many seconds."""
    told = b""
    waiting = select.poll()  # select() takes no descriptor above 1023
    waiting.register(fd, select.POLLIN)
    while waiting.poll(seconds * 1000) and (more := os.read(fd, 1 << 16)):
        told += more
        seconds = min(seconds, PAUSE_SECONDS)
    return told
