"""The command line: compares two checkouts and prints a table."""

# ruff: noqa: T201
import argparse
import secrets
import signal
import sys
import tempfile
import time
from pathlib import Path

from .compare import Comparer, Result, Side
from .suites import suites

BACKENDS = ("epoll", "io_uring")
ROW = "{:<10} {:<20} {:>9} {:>9} {:>12} {:>9} {:>13} {:>8}"


def main() -> int:
    """Compare. Returns 0 if nothing differs, 1 otherwise."""
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # the servers are ended on the way
    seed = secrets.randbits(24) if options.seed is None else options.seed
    backends = BACKENDS if options.backend == "both" else (options.backend,)
    old, new = Side(options.old.resolve()), Side(options.new.resolve())
    print(f"old: {old.checkout}\nnew: {new.checkout}\nseed {seed}, {sys.version.split()[0]}\n")
    print(ROW.format("backend", "suite", "scripts", "messages", "differences", "unsteady", "resets", "seconds"))
    results = []
    for backend in backends:
        with tempfile.TemporaryDirectory(prefix="mreactor-equivalence-") as folder:
            comparer = Comparer(old, new, backend, Path(folder), options.reworded)
            for suite in suites(options.messages, seed, comparer.etags):
                begun = time.monotonic()
                result = comparer.run(suite)
                print_row(backend, suite.name, result, time.monotonic() - begun)
                results.append((f"{backend}, {suite.name}", result))
    return conclude(results)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.equivalence", description="Compare two checkouts, byte by byte, from outside."
    )
    parser.add_argument("old", type=Path, metavar="OLD", help="checkout to compare with")
    parser.add_argument("new", type=Path, metavar="NEW", help="checkout to be compared")
    parser.add_argument("--backend", choices=(*BACKENDS, "both"), default="both", help="default: both")
    parser.add_argument(
        "--messages", type=int, default=200_000, metavar="N", help="generated messages (default: 200000)"
    )
    parser.add_argument("--seed", type=int, metavar="S", help="seed; without it a fresh one, which is shown")
    parser.add_argument(
        "--reworded", action="store_true", help="let the sentences of error pages differ, and their lengths"
    )
    return parser.parse_args()


def print_row(backend: str, suite: str, result: Result, seconds: float) -> None:
    """Print a suite's line of the table."""
    print(
        ROW.format(
            backend,
            suite,
            f"{result.scripts:,}",
            f"{result.messages:,}",
            len(result.differences),
            len(result.unsteady),
            "{} / {}".format(*result.resets),
            f"{seconds:.1f}",
        ),
        flush=True,
    )


def conclude(results: list[tuple[str, Result]]) -> int:
    """Print the differences. Returns the exit code."""
    messages = sum(result.messages for _, result in results)
    differences = [(where, what) for where, result in results for what in result.differences]
    for where, result in results:
        for name in result.unsteady:
            print(f"\nunsteady ({where}): {name}")
    shown: set[str] = set()
    for where, what in differences:
        # Many messages meet one change: it is shown once for all that send back the same.
        if (essence := what.partition("\n  old: ")[2] or what) not in shown:
            shown.add(essence)
            print(f"\ndifference ({where}): {what}")
    print(f"\n{messages:,} messages, {len(differences)} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
