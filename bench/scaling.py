"""Scaling: the same load on ever more reactors; what a request costs, and how often threads wait.

    python -m bench.scaling --json scaling.json --svg scaling.svg

A design without sharing shows a flat cost a request and next to no futex and sched_yield calls. More
throughput it can only show where there are more cores. Each measurement starts a fresh server; thread
counts alternate round by round. Owned by the harness's only thread.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench import chart, load, servers, table
from bench.cases import EPOLL, IO_URING
from bench.chart import Bar, Panel, Tone
from bench.docroot import Docroot, temporary_docroot
from bench.limits import Refused, allow_open_files
from bench.load import Load, LoadError, wrk
from bench.machine import Machine, describe
from bench.options import add_outputs, positive, positive_int, write
from bench.placement import Placement, halves
from bench.process import Missing
from bench.progress import Progress
from bench.ratios import pairwise
from bench.sample import Sample, all_errors, measure, middle, middle_latency, warm_up
from bench.syscalls import COUNTERS

THREADS = (1, 2, 4, 8, 16)
WARM_UP_SECONDS = 0.5
COST_GROWTH_MAX = 1.10
WAITS_PER_THOUSAND_MAX = 1.0
SPARE_FILES = 200


@dataclass(slots=True)
class Point:
    """One server with one number of threads.

    `waits` are futex and sched_yield calls per 1,000 requests, by tool.
    """

    server: str
    threads: int
    samples: list[Sample] = field(default_factory=list)
    waits: dict[str, float] = field(default_factory=dict)
    calls: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return "1 thread" if self.threads == 1 else f"{self.threads} threads"

    @property
    def cost_us(self) -> float:
        return middle(self.samples, lambda sample: sample.cpu_us_per_request)

    @property
    def rate(self) -> float:
        return middle(self.samples, lambda sample: sample.outcome.requests_per_second)


@dataclass(slots=True)
class Scaling:
    """Everything that was found; a server or a tool that is missing stands in `skipped` with the reason."""

    machine: Machine
    placement: str
    load: Load
    rounds: int
    seconds: float
    count_seconds: float
    points: list[Point] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def lines(self) -> Iterator[list[Point]]:
        """The points that were measured, server by server, fewest threads first."""
        for server in dict.fromkeys(point.server for point in self.points):
            if line := [point for point in self.points if point.server == server and point.samples]:
                yield line


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report. Status 2 where it cannot run, 130 where it was broken off."""
    options = parser().parse_args(arguments)
    try:
        wrk()
        allow_open_files(options.connections + SPARE_FILES)
    except (LoadError, Refused) as error:
        print(f"bench.scaling: {error}", file=sys.stderr)
        return 2
    placement = halves() if options.split else Placement()
    asked = Load(options.path, options.connections, threads=options.load_threads)
    machine, times = describe("bench.scaling"), (options.rounds, options.seconds, options.count_seconds)
    scaling = Scaling(machine, str(placement), asked, *times)
    scaling.points = [Point(server, threads) for server in options.servers for threads in sorted(set(options.threads))]
    whole = run(scaling, placement)
    report = markdown(scaling)
    print(report)
    write(options.markdown, report)
    write(options.json, json.dumps(as_dict(scaling), indent=1) + "\n")
    write(options.svg, svg(scaling))
    return 0 if whole else 130


def parser() -> argparse.ArgumentParser:
    """The command line."""
    own = argparse.ArgumentParser(prog="python -m bench.scaling", description="The same load on ever more reactors.")
    own.add_argument("--servers", nargs="+", choices=servers.BY_NAME, default=[EPOLL, IO_URING], metavar="SERVER")
    own.add_argument("--threads", nargs="+", type=positive_int, default=list(THREADS), metavar="N")
    own.add_argument("--rounds", type=positive_int, default=5, help="rounds over all thread counts (default: 5)")
    own.add_argument("--seconds", type=positive, default=3.0, help="length of one run (default: 3)")
    own.add_argument("--count-seconds", type=positive, default=8.0, help="of a counting run (default: 8)")
    own.add_argument("--connections", type=positive_int, default=256, help="wrk's connections (default: 256)")
    own.add_argument("--load-threads", type=positive_int, default=2, help="wrk's threads (default: 2)")
    own.add_argument("--path", default="/", help="what is asked (default: /)")
    own.add_argument("--split", action="store_true", help="half of the cores each, instead of all for both")
    add_outputs(own)
    return own


def run(scaling: Scaling, placement: Placement) -> bool:
    """Run all rounds, then the counting runs; False where Ctrl-C ended it early."""
    progress = Progress(len(scaling.points) * (scaling.rounds + len(COUNTERS)))
    try:
        with temporary_docroot() as docroot:
            for number in range(scaling.rounds):
                for point in scaling.points:
                    time_point(scaling, point, docroot, placement)
                    progress.step(f"round {number + 1}/{scaling.rounds} {words(scaling, point)}")
            for point in scaling.points:
                for tool in COUNTERS:
                    count_point(scaling, point, tool, docroot, placement)
                    told = point.waits.get(tool, "not counted")
                    progress.step(f"{point.server}, {point.label} under {tool}: {told}")
        return True
    except KeyboardInterrupt:
        return False
    finally:
        progress.clear()


def time_point(scaling: Scaling, point: Point, docroot: Docroot, placement: Placement) -> None:
    """One timed run on a fresh server."""
    if point.server in scaling.skipped:
        return
    try:
        with servers.running(servers.BY_NAME[point.server], docroot, point.threads, placement.server) as process:
            warm_up(process, scaling.load, WARM_UP_SECONDS, placement)
            point.samples.append(measure(process, scaling.load, scaling.seconds, placement))
    except (Missing, LoadError) as error:
        scaling.skipped[point.server] = str(error)


def count_point(scaling: Scaling, point: Point, tool: str, docroot: Docroot, placement: Placement) -> None:
    """One counting run on a fresh server, connected and warmed up before the count begins."""
    if point.server in scaling.skipped or tool in scaling.skipped:
        return
    try:
        with servers.running(servers.BY_NAME[point.server], docroot, point.threads, placement.server) as process:
            warm_up(process, scaling.load, WARM_UP_SECONDS, placement)
            with COUNTERS[tool](process.pids()) as counter:
                outcome = load.run(scaling.load, process.port, scaling.count_seconds, placement.load)
    except (Missing, LoadError) as error:
        scaling.skipped[tool] = str(error)
        return
    point.calls[tool] = counter.calls | {"requests": outcome.requests}
    point.waits[tool] = round(counter.total * 1000 / max(1, outcome.requests), 3)


def words(scaling: Scaling, point: Point) -> str:
    """A point for the progress line."""
    if not point.samples:
        return f"{point.server} skipped: {scaling.skipped.get(point.server)}"
    sample = point.samples[-1]
    rate, cost = sample.outcome.requests_per_second, sample.cpu_us_per_request
    return f"{point.server}, {point.label}: {rate:,.0f} requests/s, {cost:.1f} µs CPU"


def growth(line: Sequence[Point]) -> float | None:
    """Cost at the most threads by cost at the fewest, round by round; None for one thread count."""
    costs = [[sample.cpu_us_per_request for sample in point.samples] for point in line]
    ratio = pairwise(costs[-1], costs[0]) if len(line) > 1 else None
    return ratio.median if ratio else None


def markdown(scaling: Scaling) -> str:
    """The report: a line about the machine, one table, the verdicts."""
    machine = scaling.machine
    parts = [
        f"{machine}\n\n`{machine.command}`\n\n"
        f"{scaling.rounds} alternating rounds of {scaling.seconds:g} s; {scaling.placement}.\n"
    ]
    if machine.warning:
        parts.append(f"**{machine.warning}**\n")
    header = ["server", "threads", "requests/s", "CPU µs/request", "cores", "p50", "p99", "memory MiB", "errors"]
    header += [f"waits/1,000 ({tool})" for tool in COUNTERS]
    parts.append(table.markdown(header, [row(point) for line in scaling.lines() for point in line]))
    parts += [f"- {name} skipped: {reason}" for name, reason in scaling.skipped.items()]
    parts += [f"- {verdict(line)}" for line in scaling.lines()]
    return "\n".join(parts) + "\n"


def row(point: Point) -> list[str]:
    """One server with one number of threads."""
    samples = point.samples
    return [
        point.server,
        str(point.threads),
        f"{point.rate:,.0f}",
        f"{point.cost_us:.1f}",
        f"{middle(samples, lambda sample: sample.core_share):.2f}",
        table.latency(middle_latency(samples, "50")),
        table.latency(middle_latency(samples, "99")),
        table.mebibytes(max(sample.resident_bytes for sample in samples)),
        str(all_errors(samples)),
        *(waits_words(point, tool) for tool in COUNTERS),
    ]


def waits_words(point: Point, tool: str) -> str:
    """Calls per 1,000 requests, and behind them the number of requests that stand for it."""
    return f"{point.waits[tool]:.2f} of {point.calls[tool]['requests']:,}" if tool in point.waits else "-"


def verdict(line: Sequence[Point]) -> str:
    """The two goals of one server in words."""
    grown = growth(line)
    cost = "cost a request: one thread count only"
    if grown is not None:
        met = "met" if grown <= COST_GROWTH_MAX else "missed"
        span = f"from {line[0].threads} to {line[-1].threads} threads"
        cost = f"cost a request {grown:.2f}x {span} (goal: at most {COST_GROWTH_MAX:g}, {met})"
    waits = [wait for point in line for wait in point.waits.values()]
    if not waits:
        return f"{line[0].server}: {cost}; waits not counted"
    met = "met" if max(waits) < WAITS_PER_THOUSAND_MAX else "missed"
    counted = f"at most {max(waits):.2f} futex and sched_yield calls per 1,000 requests"
    return f"{line[0].server}: {cost}; {counted} (goal: under {WAITS_PER_THOUSAND_MAX:g}, {met})"


def svg(scaling: Scaling) -> str:
    """Two panels a server: requests a second, and the processor time of one request."""
    panels: list[Panel] = []
    for line in scaling.lines():
        name = line[0].server
        panels.append(Panel(f"{name}: throughput", "requests/s", [rate_bar(point) for point in line]))
        panels.append(Panel(f"{name}: cost of a request", "CPU µs", [cost_bar(point) for point in line]))
    how = f"Medians of {scaling.rounds} rounds, {scaling.load.connections} connections; {scaling.placement}."
    notes = [line for line in (str(scaling.machine), how, scaling.machine.warning) if line]
    return chart.svg("The same load on ever more reactors", notes, panels)


def rate_bar(point: Point) -> Bar:
    return Bar(point.label, point.rate, f"{point.rate:,.0f}", Tone.OWN)


def cost_bar(point: Point) -> Bar:
    return Bar(point.label, point.cost_us, f"{point.cost_us:.1f}", Tone.OWN_SECOND)


def as_dict(scaling: Scaling) -> dict[str, Any]:
    """Everything, every sample included, in types that JSON has."""
    return asdict(scaling) | {"growth": {line[0].server: growth(line) for line in scaling.lines()}}


if __name__ == "__main__":
    sys.exit(main())
