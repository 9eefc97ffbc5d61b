"""One measured run: load put on a running server, with the processor time that the server spent on it.

Owned by the harness's only thread.
"""

import resource
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from bench import generator, load
from bench.load import Errors, Load, LoadError, Outcome
from bench.placement import Placement
from bench.process import Process


@dataclass(frozen=True, slots=True)
class Sample:
    """The figures of one run.

    The shares are processor time by wall time: 1.0 is one core fully used, `core_share` by the server, `load_share` by
    the load.
    """

    outcome: Outcome
    cpu_us_per_request: float
    core_share: float
    resident_bytes: int
    load_share: float

    @property
    def errors(self) -> Errors:
        return self.outcome.errors


def warm_up(process: Process, asked: Load, seconds: float, placement: Placement) -> None:
    """A run that nobody reads: caches filled, processor awake, connections' memory allocated."""
    if seconds > 0:
        run(asked, process.port, seconds, placement)


def measure(process: Process, asked: Load, seconds: float, placement: Placement) -> Sample:
    """One run; LoadError where the server did not live through it.

    The server's time is read just before and after the run, so that it includes accepting the connections. The only
    child that ends meanwhile is the load.
    """
    before, load_before = process.cpu_seconds(), ended_children_seconds()
    outcome = run(asked, process.port, seconds, placement)
    if process.child.poll() is not None:
        raise LoadError(f"the server ended with status {process.child.returncode}: {process.last_words()}")
    cpu = process.cpu_seconds() - before
    cost_us = cpu * 1e6 / max(1, outcome.requests)
    load_share = (ended_children_seconds() - load_before) / outcome.seconds
    return Sample(outcome, cost_us, cpu / outcome.seconds, process.resident_bytes(), load_share)


def ended_children_seconds() -> float:
    """The processor time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(asked: Load, port: int, seconds: float, placement: Placement) -> Outcome:
    """Put the load on the port, by the program that can send it."""
    send = generator.run if asked.traffic else load.run
    return send(asked, port, seconds, placement.load)


def middle(samples: Sequence[Sample], figure: Callable[[Sample], float]) -> float:
    """The median of one figure over the rounds."""
    return median(figure(sample) for sample in samples)


def middle_latency(samples: Sequence[Sample], percentile: str) -> float | None:
    """The median over the rounds of one percentile, in microseconds; None where no run could tell it."""
    known = [sample.outcome.latency_us[percentile] for sample in samples if percentile in sample.outcome.latency_us]
    return median(known) if known else None


def all_errors(samples: Sequence[Sample]) -> Errors:
    """The errors of all rounds together."""
    names = ("connect", "read", "write", "status", "timeout")
    return Errors(*(sum(getattr(sample.errors, name) for sample in samples) for name in names))
