"""The command line of the fuzzer: campaigns on one or more processes, and the replay of single messages."""

# ruff: noqa: T201
import argparse
import multiprocessing
import secrets
import sys
import time
from collections.abc import Iterable
from concurrent.futures import Future, ProcessPoolExecutor, wait
from pathlib import Path
from random import Random

from .campaign import Finding, Result, Task, run
from .check import Checker, Wrong
from .progress import Teller, be_mute
from .shrink import shrink
from .target import be_quiet, make_files

REPLAYS = 50


def main() -> int:
    """Run it; returns 0 if all held, 1 if something did not."""
    options = parse()
    if options.replay:
        return replay(options.replay)
    seed = options.seed if options.seed is not None else secrets.randbits(24)
    print(f"seed {seed}, {options.jobs} process{'es' if options.jobs > 1 else ''}", flush=True)
    begun = time.monotonic()
    results = list(campaign(tasks(seed, options)))
    return report(seed, results, time.monotonic() - begun, Path(options.findings))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz the sans-IO connection.")
    parser.add_argument("--messages", type=int, metavar="N", help="check so many messages (default: 100000)")
    parser.add_argument("--seconds", type=float, metavar="T", help="check for so long")
    parser.add_argument("--seed", type=int, metavar="S", help="the seed; without it, a fresh one, which is shown")
    parser.add_argument("--first", type=int, default=0, metavar="I", help="number of the first message (default: 0)")
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="processes to share the work (default: 1)")
    parser.add_argument("--over", default="memory", choices=("memory", "epoll", "io_uring"), help="to what they go")
    parser.add_argument("--findings", default=".", metavar="DIR", help="where messages that fail are put")
    parser.add_argument(
        "--replay", nargs="+", metavar="FILE", help="check the messages in these files, and nothing else"
    )
    options = parser.parse_args()
    if options.messages is None and options.seconds is None:
        options.messages = 100_000
    return options


def tasks(seed: int, options: argparse.Namespace) -> list[Task]:
    """The campaign's parts: every process takes each `jobs`-th message."""
    jobs = options.jobs
    shares = [None if options.messages is None else (options.messages + jobs - 1 - job) // jobs for job in range(jobs)]
    return [
        Task(seed, options.first + job, jobs, share, options.seconds, options.over) for job, share in enumerate(shares)
    ]


def campaign(parts: list[Task]) -> Iterable[Result]:
    """Do all parts, in processes of their own where there are several."""
    if len(parts) == 1:
        return [run(parts[0], Teller())]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(parts), mp_context=context) as pool:
        futures: list[Future[Result]] = [
            pool.submit(run, part, Teller() if part is parts[0] else be_mute) for part in parts
        ]
        wait(futures)
        return [future.result() for future in futures]


def report(seed: int, results: list[Result], seconds: float, folder: Path) -> int:
    """Say what a campaign has come to; returns the exit code."""
    messages, size = sum(result.messages for result in results), sum(result.size for result in results)
    print(f"{messages:,} messages, {size / 1e6:,.0f} MB, in {seconds:,.0f} s: {messages / seconds:,.0f} messages/s")
    for result in results:
        print(f"memory {told(result)}{': too much' if result.has_grown else ''}")
    findings = [finding for result in results for finding in result.findings]
    for finding in findings:
        tell_finding(seed, finding, folder)
    print(f"{len(findings)} findings")
    return 1 if findings or any(result.has_grown for result in results) else 0


def told(result: Result) -> str:
    """The memory of a process in words."""
    after = f"{result.after.resident / 1e6:.1f} MB resident, {result.after.blocks:,} blocks"
    if result.before is None:
        return f"{after}, over before the warm-up was"
    grown = (result.after.resident - result.before.resident) / 1e6, result.after.blocks - result.before.blocks
    return "{}; {:+.1f} MB and {:+,} blocks since the warm-up".format(after, *grown)


def tell_finding(seed: int, finding: Finding, folder: Path) -> None:
    """Show a finding and keep its message, made as short as it may be."""
    path = folder / f"fuzz-{seed}-{finding.number}.http"
    path.write_bytes(shrink(finding.message, is_wrong))
    print(f"\nmessage {finding.number}, see {path}: {finding.what}\n  {path.read_bytes()!r}")


def replay(names: list[str]) -> int:
    """Check messages from files, each in many ways."""
    failed = 0
    for name in names:
        if what := complaint(Path(name).read_bytes()):
            failed += 1
            print(f"{name}: {what}")
    print(f"{len(names)} messages, {failed} findings")
    return 1 if failed else 0


def is_wrong(message: bytes) -> bool:
    """Whether something does not hold for a message by itself."""
    return bool(complaint(message))


def complaint(message: bytes) -> str:
    """What does not hold for a message by itself; empty if all does."""
    be_quiet()
    with make_files() as files:
        checker = Checker(Path(files))
        try:
            for number in range(REPLAYS):
                checker.check(message, Random(number))
        except Wrong as wrong:
            return str(wrong)
    return ""


if __name__ == "__main__":
    sys.exit(main())
