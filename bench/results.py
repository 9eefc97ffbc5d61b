"""Recorded runs, and the tables of `docs/performance.md` that are made from them.

    python -m bench.results            # print the page's tables
    python -m bench.results --write    # put them into the page

A recorded run is one JSON file in `bench/results/`. It holds summaries, not samples. `bench.race --save FILE` writes
one; `bench/README.md` describes its fields. A table of the page stands between two comments, and the first one names
the runs that it shows. Where two runs have the same case, the first one counts. A table shows the cases whose
requests all differ (`bench.results differing`), those whose requests repeat (`bench.results repeated`), or all. Runs on
the harness's only thread.
"""

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import report, table
from bench.cases import EPOLL, IO_URING, TRAFFIC_CASES
from bench.heat import Heat, Lane
from bench.report import Report
from bench.sample import middle

ROOT = Path(__file__).resolve().parent.parent
DIRECTORY = ROOT / "bench" / "results"
PAGE = ROOT / "docs" / "performance.md"

MARKED = re.compile(
    r"(?P<begin><!-- bench\.results(?: (?P<part>differing|repeated))?: (?P<names>[\w ,-]+) -->\n)"
    r".*?(?P<end><!-- bench\.results end -->)",
    re.DOTALL,
)
COLUMNS = {EPOLL: "mreactor, epoll", IO_URING: "mreactor, io_uring", "nginx": "nginx", "granian": "granian"}
BASES = ("nginx", "granian")
DIFFERING = {case.name for case in TRAFFIC_CASES}

type Run = Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the page's tables, or put them into the page."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.results", description="The tables of docs/performance.md, from bench/results/."
    )
    parser.add_argument("--write", action="store_true", help="put the tables into the page")
    options = parser.parse_args(arguments)
    page = PAGE.read_text()
    if options.write:
        PAGE.write_text(with_tables(page))
    else:
        print("\n".join(rendered(marked) for marked in MARKED.finditer(page)), end="")
    return 0


def with_tables(page: str) -> str:
    """The page with each of its tables rendered from the runs that the table's first comment names."""
    return MARKED.sub(lambda marked: marked["begin"] + rendered(marked) + marked["end"], page)


def rendered(marked: re.Match[str]) -> str:
    """The table between two comments of the page."""
    return cases_table(load_all(marked["names"]), marked["part"])


def load_all(names: str) -> list[Run]:
    """The runs with these names, which are separated by commas."""
    return [load(name.strip()) for name in names.split(",")]


def load(name: str) -> Run:
    """A recorded run, by the name of its file without the suffix."""
    run: Run = json.loads((DIRECTORY / f"{name}.json").read_text())
    return run


def cases_table(runs: Sequence[Run], part: str | None = None) -> str:
    """A row for each case: what each server did."""
    cases: dict[str, Mapping[str, Any]] = {}
    for run in runs:
        for case in run["cases"]:
            if part is None or (case["name"] in DIFFERING) == (part == "differing"):
                cases.setdefault(case["name"], case)
    rows = [[title(case), *(cell(case, server) for server in COLUMNS)] for case in cases.values()]
    return table.markdown(["case", *COLUMNS.values()], rows)


def title(case: Mapping[str, Any]) -> str:
    """The case in words; the unit where it is not requests a second."""
    unit: str = case["unit"]
    words: str = case["title"]
    return words if unit == "requests/s" else f"{words} ({unit})"


def cell(case: Mapping[str, Any], server: str) -> str:
    """One server's figures in one case; a dash where it did not run. Figures that were not recorded are left out."""
    found = next((one for one in case["servers"] if one["name"] == server), None)
    if found is None:
        return "-"
    return " · ".join(cost(found) if case["name"] in DIFFERING else speed(found))


def cost(found: Mapping[str, Any]) -> list[str]:
    """CPU time of a request, and its ratios to nginx and granian."""
    ratios = found.get("cpu_ratios", {})
    return [
        f"{found['cpu_us']:.1f} µs",
        *(f"{ratios[base]['median']:.2f}x {base}" for base in BASES if base in ratios and base != found["name"]),
    ]


def speed(found: Mapping[str, Any]) -> list[str]:
    """Rate, CPU time of a request, and the rate's ratio to nginx, or to granian."""
    parts = []
    if found["rate"] is not None:
        parts.append(f"{found['rate']:,.0f}")
    if found["cpu_us"] is not None:
        parts.append(f"{found['cpu_us']:.1f} µs")
    base = next((base for base in BASES if base in found["ratios"]), None)
    if base is not None and found["name"] != base:
        parts.append(f"{found['ratios'][base]['median']:.2f}x" + (f" {base}" if base != BASES[0] else ""))
    return parts


def as_json(race: Report) -> str:
    """The record of a race, as the text of a file in `bench/results/`."""
    return json.dumps(record(race), indent=1, ensure_ascii=False) + "\n"


def record(race: Report) -> dict[str, Any]:
    """The record of a race: conditions, and for each case and server the medians over the rounds."""
    return {
        "benchmark": "race",
        "machine": asdict(race.machine),
        "placement": race.placement,
        "rounds": race.rounds,
        "seconds": race.seconds,
        "notes": [race.machine.warning] if race.machine.warning else [],
        "cases": [case_record(heat, race.bases) for heat in race.heats if heat.lanes],
    }


def case_record(heat: Heat, bases: Sequence[str]) -> dict[str, Any]:
    """One case."""
    return {
        "name": heat.case.name,
        "title": heat.case.title,
        "unit": "MiB/s" if heat.case.counts_bytes else "requests/s",
        "servers": [server_record(heat, lane, bases) for lane in heat.lanes],
    }


def server_record(heat: Heat, lane: Lane, bases: Sequence[str]) -> dict[str, Any]:
    """One server within one case."""
    ratios = {base: heat.ratio(lane, base) for base in bases}
    cpu_ratios = {base: heat.cpu_ratio(lane, base) for base in bases}
    return {
        "name": lane.name,
        "version": lane.version,
        "rate": round(report.rate(heat.case, lane), 1),
        "cpu_us": round(report.cpu_us(lane), 2),
        "core": round(middle(lane.samples, lambda sample: sample.core_share), 3),
        "ratios": {base: asdict(ratio) for base, ratio in ratios.items() if ratio},
        "cpu_ratios": {base: asdict(ratio) for base, ratio in cpu_ratios.items() if ratio},
    }


if __name__ == "__main__":
    sys.exit(main())
