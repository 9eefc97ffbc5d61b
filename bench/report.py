"""The report of a race: Markdown tables for people, JSON for machines, a bar chart for those in a hurry.

Pure functions from values to text: it runs nothing, measures nothing and writes no file.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench import chart, table
from bench.cases import EPOLL, IO_URING, Case, Goal
from bench.chart import Bar, Panel, Tone
from bench.heat import Heat, Lane
from bench.machine import Machine
from bench.ratios import Ratio
from bench.sample import Sample, all_errors, middle, middle_latency

TONES = {EPOLL: Tone.OWN, IO_URING: Tone.OWN_SECOND, "nginx": Tone.BASE}
NOTES = """
Rates, latencies and CPU are medians over the rounds. `spread` is (highest - lowest) / median of the rates.
`to nginx` is the median, with the lowest and the highest, of the ratios taken within each round; `CPU to nginx`
compares the CPU time of a request in the same way. `core` is the share of one core that the server used, `load` that of
the load: with a `core` well under 100%, the load was the bottleneck, or other work. `memory` is resident memory; pages
shared by a master and its workers count once for each. Errors are those of all rounds together.
"""


@dataclass(frozen=True, slots=True)
class Report:
    """All that was measured, with what is needed to read it."""

    machine: Machine
    placement: str
    rounds: int
    seconds: float
    bases: tuple[str, ...]
    heats: Sequence[Heat]


def markdown(report: Report) -> str:
    """The report as Markdown: a line about the machine, a table a case, the goals."""
    machine = report.machine
    parts = [
        f"{machine}\n\n`{machine.command}`\n\n"
        f"{report.rounds} alternating rounds of {report.seconds:g} s; {report.placement}.\n"
    ]
    if machine.warning:
        parts.append(f"**{machine.warning}**\n")
    parts += [heat_markdown(heat, report.bases) for heat in report.heats]
    parts += [goals_markdown(report.heats), NOTES]
    return "\n".join(part for part in parts if part)


def heat_markdown(heat: Heat, bases: Sequence[str]) -> str:
    """One case: its title, its table, the servers that did not run."""
    present = [base for base in bases if heat.lane(base)]
    header = [
        "server",
        "MiB/s" if heat.case.counts_bytes else "requests/s",
        "spread",
        *(f"to {base}" for base in present),
    ]
    header += ["p50", "p99", "p99.9", "CPU µs/request", *(f"CPU to {base}" for base in present)]
    header += ["core", "load", "memory MiB", "errors"]
    rows = [row(heat, lane, present) for lane in heat.lanes]
    text = f"### {heat.case.name}: {heat.case.title}\n\n"
    if rows:
        text += table.markdown(header, rows) + "\n"
    return text + "".join(f"- {name} skipped: {reason}\n" for name, reason in heat.skipped.items())


def row(heat: Heat, lane: Lane, bases: Sequence[str]) -> list[str]:
    """One server's figures."""
    samples = lane.samples
    ratios = [heat.ratio(lane, base) for base in bases]
    cpu_ratios = [heat.cpu_ratio(lane, base) for base in bases]
    ranks = ("50", "99", "99.9")
    latencies = [middle_latency(samples, rank) if heat.case.has_latency else None for rank in ranks]
    return [
        f"{lane.name} {lane.version}".strip(),
        f"{rate(heat.case, lane):,.0f}",
        f"{lane.spread:.0%}",
        *(str(ratio) if ratio else "-" for ratio in ratios),
        *(table.latency(value) for value in latencies),
        f"{cpu_us(lane):.1f}",
        *(str(ratio) if ratio else "-" for ratio in cpu_ratios),
        f"{middle(samples, lambda sample: sample.core_share):.0%}",
        f"{middle(samples, lambda sample: sample.load_share):.0%}",
        table.mebibytes(max(sample.resident_bytes for sample in samples)),
        str(all_errors(samples)),
    ]


def goals_markdown(heats: Sequence[Heat]) -> str:
    """The goals of all cases with what was reached; nothing where no case has any."""
    rows = [
        [heat.case.name, goal.server, str(goal), str(ratio or "-"), verdict(ratio, goal)]
        for heat in heats
        for goal, ratio in heat.verdicts()
    ]
    if not rows:
        return ""
    return "### Goals\n\n" + table.markdown(["case", "server", "goal", "reached", "verdict"], rows)


def verdict(ratio: Ratio | None, goal: Goal) -> str:
    """A word on a goal.

    Within the rounds' own scatter of the goal it says so, for another run may say otherwise.
    """
    if ratio is None:
        return "not run"
    certain = goal.is_met(ratio.low) == goal.is_met(ratio.high)
    return ("met" if goal.is_met(ratio.median) else "missed") + ("" if certain else ", within the noise")


def rate(case: Case, lane: Lane) -> float:
    """The median rate in the case's unit: requests a second, or mebibytes a second."""
    if case.counts_bytes:
        return middle(lane.samples, lambda sample: sample.outcome.bytes_per_second / (1 << 20))
    return middle(lane.samples, lambda sample: sample.outcome.requests_per_second)


def cpu_us(lane: Lane) -> float:
    """The median processor time of a request, in microseconds."""
    return middle(lane.samples, lambda sample: sample.cpu_us_per_request)


def sample_text(sample: Sample) -> str:
    """One run in a few words."""
    outcome = sample.outcome
    rates = f"{outcome.requests_per_second:,.0f} requests/s, {outcome.bytes_per_second / (1 << 20):,.0f} MiB/s"
    return f"{rates}, {sample.cpu_us_per_request:.1f} µs of CPU a request"


def svg(report: Report) -> str:
    """A panel for each case that somebody ran in, fastest server first."""
    panels = [panel(heat) for heat in report.heats if heat.lanes]
    how = f"Medians of {report.rounds} alternating rounds of {report.seconds:g} s; {report.placement}."
    notes = [line for line in (str(report.machine), how, report.machine.warning) if line]
    return chart.svg("mreactor beside other servers", notes, panels)


def panel(heat: Heat) -> Panel:
    """One case as bars: the rate, or the CPU time of a request where all requests differ."""
    if heat.case.load.traffic:
        cheapest = sorted(heat.lanes, key=cpu_us)
        return Panel(
            heat.case.title, "µs of CPU a request; less is better", [cost_bar(heat, lane) for lane in cheapest]
        )
    lanes = sorted(heat.lanes, key=lambda lane: rate(heat.case, lane), reverse=True)
    unit = "MiB/s" if heat.case.counts_bytes else "requests/s"
    return Panel(heat.case.title, unit, [bar(heat, lane) for lane in lanes])


def bar(heat: Heat, lane: Lane) -> Bar:
    """One server's bar, with the ratio to nginx where it ran."""
    value = rate(heat.case, lane)
    ratio = heat.ratio(lane, "nginx") if lane.name != "nginx" else None
    text = f"{value:,.0f}" + (f"  ({ratio.median:.2f}x nginx)" if ratio else "")
    return Bar(lane.name, value, text, TONES.get(lane.name, Tone.OTHER))


def cost_bar(heat: Heat, lane: Lane) -> Bar:
    """One server's bar, with the ratio to nginx where it ran."""
    ratio = heat.cpu_ratio(lane, "nginx") if lane.name != "nginx" else None
    text = f"{cpu_us(lane):.1f}" + (f"  ({ratio.median:.2f}x nginx)" if ratio else "")
    return Bar(lane.name, cpu_us(lane), text, TONES.get(lane.name, Tone.OTHER))


def as_json(report: Report) -> str:
    """The report for machines."""
    return json.dumps(as_dict(report), indent=1) + "\n"


def as_dict(report: Report) -> dict[str, Any]:
    """Everything, every sample included, in types that JSON has."""
    return {
        "machine": asdict(report.machine),
        "placement": report.placement,
        "rounds": report.rounds,
        "seconds": report.seconds,
        "cases": [heat_dict(heat, report.bases) for heat in report.heats],
    }


def heat_dict(heat: Heat, bases: Sequence[str]) -> dict[str, Any]:
    """One case."""
    return {
        "name": heat.case.name,
        "title": heat.case.title,
        "load": asdict(heat.case.load),
        "lanes": [lane_dict(heat, lane, bases) for lane in heat.lanes],
        "skipped": heat.skipped,
        "goals": [asdict(goal) | {"reached": ratio and asdict(ratio)} for goal, ratio in heat.verdicts()],
    }


def lane_dict(heat: Heat, lane: Lane, bases: Sequence[str]) -> dict[str, Any]:
    """One server within one case."""
    ratios = {base: heat.ratio(lane, base) for base in bases}
    cpu_ratios = {base: heat.cpu_ratio(lane, base) for base in bases}
    return {
        "server": lane.name,
        "version": lane.version,
        "samples": [asdict(sample) for sample in lane.samples],
        "spread": lane.spread,
        "ratios": {base: asdict(ratio) for base, ratio in ratios.items() if ratio},
        "cpu_ratios": {base: asdict(ratio) for base, ratio in cpu_ratios.items() if ratio},
    }
