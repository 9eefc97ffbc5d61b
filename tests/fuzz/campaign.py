"""A campaign: makes messages from a seed, checks them, and watches the process while it does.

The message of a number follows from the seed and the number alone, so a finding can be made again without all that went
before it; but for findings that need what a context remembers of earlier messages: then repeat the run of messages.
"""

import faulthandler
import gc
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from .check import Checker, Wrong
from .grammar import Grammar
from .mutator import Mutator
from .target import be_quiet, make_files
from .wire import WireChecker

CORPUS = Path(__file__).parent / "corpus"
STALL_SECONDS = 60.0  # without a message finished: the stacks are shown and the process ends
WATCH_EVERY = 500  # messages
COLLECT_EVERY = 20_000  # messages; the first collection ends the warm-up
# Resident memory goes up and down by some 20 MB in 3.13t, whose allocator gives freed pages back when it likes. A leak
# of one object in a hundred messages shows in the number of blocks long before it shows in bytes.
GROWTH_BYTES_MAX = 32 * 1024 * 1024
GROWTH_BLOCKS_MAX = 20_000
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
FINDINGS_MAX = 20


@dataclass(frozen=True, slots=True)
class Task:
    """A part of a campaign: the messages from `first` on, every `step`-th of them, until so many or so long.

    They go to the connection itself (over "memory"), or to a server over sockets ("epoll", "io_uring").
    """

    seed: int
    first: int = 0
    step: int = 1
    messages: int | None = None
    seconds: float | None = None
    over: str = "memory"


@dataclass(slots=True)
class Finding:
    """A message for which something does not hold."""

    number: int
    message: bytes
    what: str


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process holds: resident bytes, and blocks allocated by Python."""

    resident: int
    blocks: int


@dataclass(slots=True)
class Result:
    """What a task has come to. Memory is as it was after the warm-up, if there was one, and at the end."""

    messages: int = 0
    size: int = 0
    seconds: float = 0.0
    before: Memory | None = None
    after: Memory = field(default_factory=lambda: memory())
    findings: list[Finding] = field(default_factory=list)

    @property
    def has_grown(self) -> bool:
        """Whether the process has grown by more than what allocators do by themselves."""
        return self.before is not None and (
            self.after.resident - self.before.resident > GROWTH_BYTES_MAX
            or self.after.blocks - self.before.blocks > GROWTH_BLOCKS_MAX
        )


def corpus() -> dict[str, bytes]:
    """The messages kept in the repository, by name."""
    return {path.stem: path.read_bytes() for path in sorted(CORPUS.glob("*.http"))}


class Source:
    """Makes the messages of a seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._corpus = tuple(corpus().values())

    def message(self, number: int) -> tuple[bytes, Random]:
        """A message, and the random generator for the ways to play it."""
        random = Random(self._seed << 40 | number)
        grammar = Grammar(random)
        kind = random.random()
        if kind < 0.15:
            return grammar.conversation(), random
        if kind < 0.45:
            return grammar.stream(), random
        origin = random.choice(self._corpus) if kind < 0.85 else grammar.stream()
        return Mutator(random, self._corpus).mutate(origin), random


def run(task: Task, tell: Callable[[Result], None] = lambda result: None) -> Result:
    """Do a task; `tell` is called with the result so far, now and then."""
    be_quiet()
    source, result = Source(task.seed), Result()
    begun = time.monotonic()
    with make_files() as files:
        checker = Checker(Path(files)) if task.over == "memory" else WireChecker(Path(files), task.over)
        while not _is_done(task, result):
            number = task.first + result.messages * task.step
            message, random = source.message(number)
            try:
                checker.check(message, random)
            except Wrong as wrong:
                result.findings.append(Finding(number, message, str(wrong)))
            result.messages += 1
            result.size += len(message)
            if result.messages % WATCH_EVERY == 0:
                _watch(result, time.monotonic() - begun)
                tell(result)
        checker.close()
    _watch(result, time.monotonic() - begun)
    if result.before is not None:
        result.after = memory()
    faulthandler.cancel_dump_traceback_later()
    return result


def memory() -> Memory:
    """What this process holds, after what could be given back has been."""
    gc.collect()
    with open("/proc/self/statm") as statm:
        return Memory(int(statm.read().split()[1]) * PAGE_BYTES, sys.getallocatedblocks())


def _is_done(task: Task, result: Result) -> bool:
    return (
        (task.messages is not None and result.messages >= task.messages)
        or (task.seconds is not None and result.seconds >= task.seconds)
        or len(result.findings) >= FINDINGS_MAX
    )


def _watch(result: Result, seconds: float) -> None:
    """Note time and memory, and put off the alarm that a hang would set off."""
    result.seconds = seconds
    if result.messages % COLLECT_EVERY == 0:
        result.after = memory()
        result.before = result.before or result.after
    faulthandler.dump_traceback_later(STALL_SECONDS, exit=True, file=sys.__stderr__)
