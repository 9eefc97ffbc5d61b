"""The race: mreactor beside other servers, a core for the server, another for the load, in alternating rounds.

    python -m bench.race --install              # once: the other servers, in a venv of their own
    python -m bench.race                        # everything; about a quarter of an hour
    python -m bench.race --cases root64 --servers mreactor-epoll nginx --rounds 5

Within a case all servers are up at once, all but one idle, and take turns: A B C A B C. Owned by the
harness's only thread.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path

from bench import cases, generator, report, results, servers, venv
from bench.cases import Case, expected_bytes
from bench.docroot import Docroot, temporary_docroot
from bench.heat import Heat, Lane
from bench.limits import Refused, allow_open_files
from bench.load import Load, LoadError, wrk
from bench.machine import describe
from bench.options import add_outputs, positive, positive_int, write
from bench.placement import Placement, busy_neighbours, one_core_each
from bench.process import Missing, Process
from bench.progress import Progress
from bench.sample import measure, warm_up
from bench.servers import Server

SPARE_FILES = 200
CHECK_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run and for how long."""

    cases: tuple[Case, ...]
    servers: tuple[Server, ...]
    rounds: int
    seconds: float
    warm_up_seconds: float
    bases: tuple[str, ...]

    @property
    def steps(self) -> int:
        return len(self.cases) * len(self.servers) * self.rounds


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the race and write what was asked for.

    Status 2 where it cannot run, 130 where it was broken off.
    """
    options = parser().parse_args(arguments)
    try:
        if options.install:
            print("installed: " + ", ".join(f"{name} {version}" for name, version in venv.install().items()))
            return 0
        plan = plan_of(options)
        if not all(case.load.traffic for case in plan.cases):
            wrk()
        allow_open_files(max(case.load.connections for case in plan.cases) + SPARE_FILES)
    except (Missing, LoadError, Refused) as error:
        print(f"bench.race: {error}", file=sys.stderr)
        return 2
    machine = describe("bench.race")
    placement = one_core_each(options.neighbours)
    with busy_neighbours(placement):
        heats, whole = run(plan, placement)
    written = report.Report(machine, str(placement), plan.rounds, plan.seconds, plan.bases, heats)
    words = report.markdown(written)
    print(words)
    write(options.markdown, words)
    write(options.json, report.as_json(written))
    write(options.svg, report.svg(written))
    write(options.save, results.as_json(written))
    return 0 if whole else 130


def parser() -> argparse.ArgumentParser:
    """The command line."""
    own = argparse.ArgumentParser(prog="python -m bench.race", description="Race mreactor against other servers.")
    own.add_argument("--install", action="store_true", help="install the other Python servers, then end")
    own.add_argument("--cases", nargs="+", choices=cases.BY_NAME, default=list(cases.BY_NAME), metavar="CASE")
    own.add_argument("--servers", nargs="+", choices=servers.BY_NAME, default=list(servers.BY_NAME), metavar="SERVER")
    own.add_argument(
        "--before", type=Path, metavar="DIR", help="also race the mreactor of another checkout, as the base"
    )
    own.add_argument("--rounds", type=positive_int, default=5, help="rounds of each case (default: 5)")
    own.add_argument("--seconds", type=positive, default=2.0, help="length of one run (default: 2)")
    own.add_argument("--warm-up", type=float, default=0.4, help="seconds of load before each run (default: 0.4)")
    own.add_argument(
        "--neighbours",
        type=int,
        choices=range(10),
        default=0,
        metavar="N",
        help="processes that compute on the server's core all the time, so that wrk is the faster side (default: 0)",
    )
    own.add_argument("--base", nargs="+", choices=servers.BY_NAME, default=["nginx", "granian"], metavar="SERVER")
    add_outputs(own)
    own.add_argument("--save", type=Path, metavar="FILE", help="the medians, as a recorded run for bench/results/")
    names = f"cases: {', '.join(cases.BY_NAME)}. servers: {', '.join(servers.BY_NAME)}."
    own.epilog = names + " Several are separated by spaces."
    return own


def plan_of(options: argparse.Namespace) -> Plan:
    """The plan that the command line asks for."""
    earlier = servers.before(options.before.resolve()) if options.before else ()
    bases = [server.name for server in earlier] or options.base
    return Plan(
        tuple(cases.BY_NAME[name] for name in options.cases),
        (*(servers.BY_NAME[name] for name in options.servers), *earlier),
        options.rounds,
        options.seconds,
        options.warm_up,
        tuple(bases),
    )


def run(plan: Plan, placement: Placement) -> tuple[list[Heat], bool]:
    """Run all cases: what was measured, and whether it is all. Ctrl-C ends it and keeps what there is."""
    progress = Progress(plan.steps)
    heats: list[Heat] = []
    try:
        with temporary_docroot() as docroot:
            for case in plan.cases:
                heats.append(Heat(case))
                run_heat(heats[-1], plan, docroot, placement, progress)
        return heats, True
    except KeyboardInterrupt:
        return heats, False
    finally:
        progress.clear()
        for heat in heats:
            heat.retire()


def run_heat(heat: Heat, plan: Plan, docroot: Docroot, placement: Placement, progress: Progress) -> None:
    """One case: start whatever can be started, then let them take turns."""
    with ExitStack() as stack:
        lined_up: list[tuple[Process, Load]] = []
        for server in plan.servers:
            try:
                lined_up.append(line_up(server, heat.case, docroot, placement, stack))
                heat.lanes.append(Lane(server.name, server.version()))
            except Missing as missing:
                heat.skipped[server.name] = str(missing)
                progress.skip(plan.rounds)
                progress.show(f"{heat.case.name}: {server.name} skipped: {missing}")
        for number in range(plan.rounds):
            for lane, (process, asked) in zip(heat.lanes, lined_up, strict=True):
                words = take_turn(lane, process, asked, plan, placement)
                progress.step(f"{heat.case.name} round {number + 1}/{plan.rounds} {lane.name}: {words}")


def line_up(
    server: Server, case: Case, docroot: Docroot, placement: Placement, stack: ExitStack
) -> tuple[Process, Load]:
    """Start one server and check its answer: a fast wrong answer wins no race. Returns it with its load."""
    if case.name in server.unable:
        raise Missing(server.unable[case.name])
    asked = replace(case.load, checks_bodies=not server.canned)
    with ExitStack() as own:
        traffic = bool(asked.traffic)
        process = own.enter_context(servers.running(server, docroot, 1, placement.server, traffic=traffic))
        if traffic:
            check_traffic(process, asked)
        else:
            check_answer(process, case, docroot)
        stack.push(own.pop_all())
    return process, asked


def check_traffic(process: Process, asked: Load) -> None:
    """Missing where the server answers a kind of request wrongly."""
    try:
        generator.run(replace(asked, connections=1), process.port, CHECK_SECONDS)
    except LoadError as error:
        raise Missing(str(error)) from error


def check_answer(process: Process, case: Case, docroot: Docroot) -> None:
    """Missing where the server does not give the case's answer."""
    body = b"x" * case.load.body_bytes if case.load.body_bytes else None
    try:
        status, answer = process.answer(case.load.method, case.load.path, body)
    except (OSError, HTTPException) as error:
        raise Missing(f"does not answer {case.load.path}: {error!r}") from error
    if status != 200 or expected_bytes(case, docroot) not in answer:
        raise Missing(f"answers {case.load.path} wrongly: {status}, {len(answer)} bytes")


def take_turn(lane: Lane, process: Process, asked: Load, plan: Plan, placement: Placement) -> str:
    """One run of one server, after a short warm-up; the words for the progress line."""
    if lane.failure:
        return lane.failure
    try:
        warm_up(process, asked, plan.warm_up_seconds, placement)
        sample = measure(process, asked, plan.seconds, placement)
    except LoadError as error:
        lane.failure = f"failed in round {len(lane.samples) + 1}: {error}"
        return lane.failure
    lane.samples.append(sample)
    return report.sample_text(sample)


if __name__ == "__main__":
    sys.exit(main())
