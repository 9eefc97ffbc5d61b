"""Ten thousand connections: the ancestor's test, then as many that are nearly all idle.

    python -m bench.c10k                  # wrk -t10 -c10000 -d60s for each server
    python -m bench.c10k --seconds 10 --json c10k.json

Server and load share all cores, as they did for the ancestor. Owned by the harness's only thread.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from bench import servers, table
from bench.cases import EPOLL, IO_URING
from bench.docroot import Docroot, temporary_docroot
from bench.idle import IdleClients
from bench.limits import Refused, allow_open_files
from bench.load import Load, LoadError, wrk
from bench.machine import Machine, describe
from bench.options import add_outputs, positive, positive_int, write
from bench.placement import Placement
from bench.process import Missing, Process
from bench.progress import Progress
from bench.sample import Sample, measure, warm_up

CONNECTIONS = 10_000
WRK_THREADS = 10
SERVER_THREADS = 2
TALKING = 100
SETTLE_SECONDS = 15.0
SETTLE_POLL_SECONDS = 0.1  # /proc gives no event when a process has closed its descriptors
MEMORY_SECONDS = 4.0  # a server may take a moment to return what closed connections have left
SPARE_FILES = 1_000
WARM_UP_LOAD = Load("/", 64)
WARM_UP_SECONDS = 0.5
FRESH_GOAL_MS = 50.0


@dataclass(frozen=True, slots=True)
class State:
    """What the server holds at one moment: resident bytes and open descriptors, over its process tree."""

    resident_bytes: int
    descriptors: int


@dataclass(slots=True)
class Trial:
    """One server's results; a phase that failed has words in `failures` instead of a sample."""

    server: str
    before: State | None = None
    crowd: Sample | None = None
    after_crowd: State | None = None
    idle: Sample | None = None
    idle_state: State | None = None
    idle_lost: int = 0
    fresh_ms: float = 0.0
    after_idle: State | None = None
    failures: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Result:
    """Everything that was found."""

    machine: Machine
    connections: int
    seconds: float
    idle_seconds: float
    trials: list[Trial]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the trials and report. Status 2 where it cannot run, 130 where it was broken off."""
    options = parser().parse_args(arguments)
    try:
        wrk()
        allow_open_files(options.connections + SPARE_FILES)
    except (LoadError, Refused) as error:
        print(f"bench.c10k: {error}", file=sys.stderr)
        return 2
    trials = [Trial(name) for name in options.servers]
    result = Result(describe("bench.c10k"), options.connections, options.seconds, options.idle_seconds, trials)
    whole = run(result)
    words = markdown(result)
    print(words)
    write(options.markdown, words)
    write(options.json, json.dumps(asdict(result), indent=1) + "\n")
    return 0 if whole else 130


def parser() -> argparse.ArgumentParser:
    """The command line."""
    own = argparse.ArgumentParser(prog="python -m bench.c10k", description="Ten thousand connections at once.")
    names = [EPOLL, IO_URING, "nginx"]
    own.add_argument("--servers", nargs="+", choices=servers.BY_NAME, default=names, metavar="SERVER")
    own.add_argument("--connections", type=positive_int, default=CONNECTIONS, help="default: 10000")
    own.add_argument("--seconds", type=positive, default=60.0, help="of load on all connections (default: 60)")
    own.add_argument("--idle-seconds", type=positive, default=10.0, help="of load beside the idle ones (default: 10)")
    add_outputs(own, svg=False)
    return own


def run(result: Result) -> bool:
    """One server after the other; False where Ctrl-C ended it early."""
    progress = Progress(2 * len(result.trials))
    try:
        with temporary_docroot() as docroot:
            for trial in result.trials:
                run_trial(trial, result, docroot, progress)
        return True
    except KeyboardInterrupt:
        return False
    finally:
        progress.clear()


def run_trial(trial: Trial, result: Result, docroot: Docroot, progress: Progress) -> None:
    """Both phases on one server, which runs through: what it leaks in the first shows in the second."""
    try:
        with servers.running(servers.BY_NAME[trial.server], docroot, SERVER_THREADS, frozenset()) as process:
            started = state(process)
            warm_up(process, WARM_UP_LOAD, WARM_UP_SECONDS, Placement())
            trial.before = settled(process, started)
            crowd(trial, trial.before, process, result)
            progress.step(f"{trial.server}, {result.connections} busy: {rate_words(trial.crowd)}")
            idle(trial, trial.before, process, result)
            progress.step(f"{trial.server}, {result.connections} idle: {rate_words(trial.idle)}")
    except (Missing, LoadError) as error:
        trial.failures.append(str(error))
        progress.show(f"{trial.server} skipped: {error}")


def crowd(trial: Trial, before: State, process: Process, result: Result) -> None:
    """Phase one: every connection asks as fast as it is answered."""
    asked = Load("/", result.connections, threads=min(WRK_THREADS, result.connections))
    try:
        trial.crowd = measure(process, asked, result.seconds, Placement())
    except LoadError as error:
        trial.failures.append(f"busy: {error}")
    trial.after_crowd = settled(process, before)


def idle(trial: Trial, before: State, process: Process, result: Result) -> None:
    """Phase two: all but a hundred connections are held idle by this process, wrk talks on the others."""
    talking = min(TALKING, result.connections)
    try:
        with IdleClients(process.port, result.connections - talking) as clients:
            trial.idle_state = state(process)
            trial.fresh_ms = fresh_ms(process)
            trial.idle = measure(process, Load("/", talking), result.idle_seconds, Placement())
            trial.idle_lost = clients.lost()
    except (LoadError, OSError) as error:
        trial.failures.append(f"idle: {error}")
    trial.after_idle = settled(process, before)


def fresh_ms(process: Process) -> float:
    """Milliseconds from connecting to the whole answer, for a new client beside the idle ones."""
    begun = time.monotonic()
    process.answer("GET", "/")
    return (time.monotonic() - begun) * 1000


def state(process: Process) -> State:
    return State(process.resident_bytes(), len(process.descriptors()))


def settled(process: Process, before: State) -> State:
    """The state a moment after no more descriptors are open than before, or after a bounded wait."""
    limit = time.monotonic() + SETTLE_SECONDS
    now = state(process)
    while now.descriptors > before.descriptors and time.monotonic() < limit:
        time.sleep(SETTLE_POLL_SECONDS)
        now = state(process)
    time.sleep(MEMORY_SECONDS)
    return state(process)


def rate_words(sample: Sample | None) -> str:
    """A sample for the progress line."""
    return f"{sample.outcome.requests_per_second:,.0f} requests/s, errors: {sample.errors}" if sample else "failed"


def markdown(result: Result) -> str:
    """The report: a line about the machine, a table a phase, what the server held, the verdicts."""
    machine = result.machine
    parts = [f"{machine}\n\n`{machine.command}`: {SERVER_THREADS} threads or workers, all cores for both sides.\n"]
    if machine.warning:
        parts.append(f"**{machine.warning}**\n")
    parts.append(f"### {result.connections} connections, all busy, {result.seconds:g} s\n")
    parts.append(phase_table([(trial.server, trial.crowd) for trial in result.trials]))
    parts.append(f"### {result.connections} connections, {TALKING} of them busy, {result.idle_seconds:g} s\n")
    parts.append(phase_table([(trial.server, trial.idle) for trial in result.trials]))
    parts.append("### What the server held: resident MiB, and open descriptors\n")
    parts.append(holdings_table(result.trials))
    parts += [f"- {trial.server}: {failure}" for trial in result.trials for failure in trial.failures]
    parts += [f"- {verdict(trial, result)}" for trial in result.trials if trial.crowd]
    return "\n".join(parts) + "\n"


def phase_table(phases: Sequence[tuple[str, Sample | None]]) -> str:
    """One phase, one row a server."""
    header = ["server", "requests/s", "p50", "p99", "p99.9", "longest", "CPU µs/request", "errors"]
    return table.markdown(header, [phase_row(server, sample) for server, sample in phases if sample])


def phase_row(server: str, sample: Sample) -> list[str]:
    outcome = sample.outcome
    latencies = [table.latency(outcome.latency_us.get(rank)) for rank in ("50", "99", "99.9", "100")]
    cost = f"{sample.cpu_us_per_request:.1f}"
    return [server, f"{outcome.requests_per_second:,.0f}", *latencies, cost, str(sample.errors)]


def holdings_table(trials: Sequence[Trial]) -> str:
    """Memory and descriptors at each stage."""
    header = ["server", "before", "after busy", "with idle", "after idle", "idle lost", "fresh client"]
    rows: list[list[str]] = []
    for trial in trials:
        states = (trial.before, trial.after_crowd, trial.idle_state, trial.after_idle)
        fresh = f"{trial.fresh_ms:.1f} ms" if trial.idle else "-"
        rows.append([trial.server, *map(state_words, states), str(trial.idle_lost) if trial.idle else "-", fresh])
    return table.markdown(header, rows)


def state_words(state: State | None) -> str:
    return f"{table.mebibytes(state.resident_bytes)} MiB, {state.descriptors} fds" if state else "-"


def verdict(trial: Trial, result: Result) -> str:
    """One server against the goals: no errors, nothing left open, a p99 no worse than nginx's."""
    assert trial.crowd is not None
    words = [f"busy errors: {trial.crowd.errors}"]
    if trial.before and trial.after_idle:
        words.append(f"descriptors left open: {max(0, trial.after_idle.descriptors - trial.before.descriptors)}")
    nginx = next((other.crowd for other in result.trials if other.server == "nginx"), None)
    own, base = p99(trial.crowd), p99(nginx)
    if trial.server != "nginx" and own and base:
        words.append(f"p99 {own / base:.2f}x nginx's (goal: at most 1, {'met' if own <= base else 'missed'})")
    if trial.idle:
        fresh = "met" if trial.fresh_ms <= FRESH_GOAL_MS else "missed"
        words.append(f"fresh client beside idle ones {trial.fresh_ms:.1f} ms (goal: {FRESH_GOAL_MS:g} ms, {fresh})")
    return f"{trial.server}: " + "; ".join(words)


def p99(sample: Sample | None) -> float | None:
    """The 99th percentile in microseconds, where it is known."""
    return sample.outcome.latency_us.get("99") if sample else None


if __name__ == "__main__":
    sys.exit(main())
