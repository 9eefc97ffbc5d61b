"""Pauses of the garbage collector under load, with the server's policy and without it.

    python -m bench.pauses                       # 60 s each, 64 connections
    python -m bench.pauses --seconds 10 --path /json

The policy is to collect and freeze what is there when the server has started, so that collections under load look at
little. Without it the collector looks at everything, each time. A pause stops all threads.

Each measurement has a server of its own in a child process, which this module is, too: there `gc.callbacks` take the
times, and standard input's end is the sign to report.
"""

import argparse
import gc
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from unittest import mock

from bench import load, table
from bench.cases import EPOLL, IO_URING
from bench.load import Load, LoadError, wrk
from bench.machine import describe
from bench.options import add_outputs, positive, positive_int, write
from bench.placement import Placement, one_core_each, pinned
from bench.progress import Progress

BACKENDS = {EPOLL: "epoll", IO_URING: "io_uring"}
POLICIES = ("with", "without")
WARM_UP_SECONDS = 1.0
PAUSE_GOAL_MS = 5.0


@dataclass(frozen=True, slots=True)
class Trial:
    """One run: the collector's pauses during it, in ms, longest first; wrk's latencies in ms."""

    server: str
    policy: str
    requests: int
    pauses_ms: tuple[float, ...]
    p99_ms: float
    p999_ms: float
    max_ms: float

    @property
    def longest_ms(self) -> float:
        return self.pauses_ms[0] if self.pauses_ms else 0.0


class Recorder:
    """A callback of the collector that keeps how long each collection took."""

    def __init__(self) -> None:
        self.pauses_ms: list[float] = []
        self._begun = 0.0

    def __call__(self, phase: str, details: dict[str, int]) -> None:
        if phase == "start":
            self._begun = time.perf_counter()
        else:
            self.pauses_ms.append((time.perf_counter() - self._begun) * 1e3)


def serve(backend: str, policy: str) -> None:
    """Be the server: print the port, then at each line of standard input the pauses since the last, until it ends."""
    from mreactor.config import Config
    from mreactor.demo import make_demo
    from mreactor.server.server import Server

    config = Config(port=0, threads=1, backend=backend)
    server = Server(config, make_demo(config))
    if policy == "without":
        with mock.patch("gc.freeze"):
            server.start()
    else:
        server.start()
    print(server.address[1], flush=True)
    gc.callbacks.append(recorder := Recorder())
    while sys.stdin.readline():
        print(json.dumps(recorder.pauses_ms), flush=True)
        recorder.pauses_ms.clear()
    server.stop()


def measure(server: str, policy: str, asked: Load, seconds: float, placement: Placement) -> Trial:
    """Run one server under load."""
    command = [sys.executable, "-m", "bench.pauses", "--serve", BACKENDS[server], policy]
    with (
        pinned(placement.server),
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child,
    ):
        assert child.stdin is not None
        assert child.stdout is not None
        port = int(child.stdout.readline())
        load.run(asked, port, WARM_UP_SECONDS, placement.load)
        ask(child)
        outcome = load.run(asked, port, seconds, placement.load)
        pauses = sorted(ask(child), reverse=True)
        child.stdin.close()
    latency = {rank: outcome.latency_us.get(rank, 0.0) / 1e3 for rank in ("99", "99.9", "100")}
    return Trial(server, policy, outcome.requests, tuple(pauses), *latency.values())


def ask(child: "subprocess.Popen[str]") -> list[float]:
    """The pauses since the last question, in ms."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("\n")
    child.stdin.flush()
    pauses: list[float] = json.loads(child.stdout.readline())
    return pauses


def markdown(trials: Sequence[Trial], asked: Load, seconds: float) -> str:
    """The table, as printed."""
    rows = [
        (
            trial.server,
            trial.policy,
            f"{trial.requests:,}",
            str(len(trial.pauses_ms)),
            f"{trial.longest_ms:.2f}",
            f"{sum(trial.pauses_ms):.1f}",
            f"{trial.p99_ms:.2f}",
            f"{trial.p999_ms:.2f}",
            f"{trial.max_ms:.1f}",
        )
        for trial in trials
    ]
    heads = ("server", "policy", "requests", "collections", "longest ms", "all ms", "p99 ms", "p99.9 ms", "max ms")
    worst = max((trial.longest_ms for trial in trials if trial.policy == "with"), default=0.0)
    verdict = "met" if worst <= PAUSE_GOAL_MS else "missed"
    return (
        f"# Pauses of the collector: {asked.path}, {asked.connections} connections, {seconds:.0f} s\n\n"
        f"{table.markdown(heads, rows)}\n\n"
        f"Longest pause with the policy: {worst:.2f} ms (goal: at most {PAUSE_GOAL_MS:.0f} ms, {verdict})\n"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report. Status 2 where it cannot run."""
    options = parser().parse_args(arguments)
    if options.serve:
        serve(*options.serve)
        return 0
    try:
        wrk()
    except LoadError as error:
        print(f"bench.pauses: {error}", file=sys.stderr)
        return 2
    asked, placement = Load(options.path, options.connections), one_core_each()
    runs = [(server, policy) for server in options.servers for policy in POLICIES]
    progress = Progress(len(runs))
    trials = []
    for server, policy in runs:
        trials.append(measure(server, policy, asked, options.seconds, placement))
        progress.step(f"{server} {policy}")
    report = markdown(trials, asked, options.seconds)
    print(report)
    write(options.markdown, report)
    machine = asdict(describe("bench.pauses"))
    write(
        options.json, json.dumps({"machine": machine, "trials": [asdict(trial) for trial in trials]}, indent=1) + "\n"
    )
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    own = argparse.ArgumentParser(
        prog="python -m bench.pauses", description="Pauses of the garbage collector under load."
    )
    own.add_argument("--servers", nargs="+", choices=BACKENDS, default=list(BACKENDS), metavar="SERVER")
    own.add_argument("--seconds", type=positive, default=60.0, help="length of one run (default: 60)")
    own.add_argument("--connections", type=positive_int, default=64, help="wrk's connections (default: 64)")
    own.add_argument("--path", default="/hello/world", help="what is asked (default: /hello/world)")
    own.add_argument("--serve", nargs=2, metavar=("BACKEND", "POLICY"), help=argparse.SUPPRESS)
    add_outputs(own, svg=False)
    return own


if __name__ == "__main__":
    sys.exit(main())
