"""The command line: `load`, `slow`, `readers`, `drain`, `links`, `uploads`, `forms` and `unruly`."""

# ruff: noqa: T201
import argparse
import json
import sys
import time

from tests.support.links import QUEUE_BYTES, missing_links

from .drain import OPTIONS, drain
from .forms import FILES, send_forms
from .links import read_slowly
from .readers import gather
from .server import Sight, serving
from .slow import Slowness, beset
from .soak import soak
from .unruly import harass
from .uploads import refuse_uploads

TELL_SECONDS = 10.0
READERS_SECONDS = 90.0
UNRULY_SECONDS = 600.0
FORKS_A_SECOND = 1.0


def main() -> int:
    """Run it; returns 0 if all is as it must be, else 1."""
    options = parse()
    started = time.strftime("%Y-%m-%d %H:%M:%S")
    print(f"{started} {options.what} on {options.backend}, {options.threads} threads", flush=True)
    faults: list[str] = COMMANDS[options.what](options)
    for fault in faults:
        print(f"NOT AS IT MUST BE: {fault}")
    print("all is as it must be" if not faults else f"{len(faults)} faults")
    return 1 if faults else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Soak, slow clients, ends under load.")
    parser.add_argument("what", nargs="?", default="load", choices=COMMANDS, help="what to do (default: load)")
    parser.add_argument("--backend", default="epoll", choices=("epoll", "io_uring"))
    parser.add_argument("--threads", type=int, default=2, metavar="T", help="reactors (default: 2)")
    parser.add_argument("--requests", type=int, default=100_000, metavar="N", help="load: so many (default: 100000)")
    parser.add_argument(
        "--seconds", type=float, default=86_400.0, metavar="S", help="load, unruly: for so long at most"
    )
    parser.add_argument("--clients", type=int, default=64, metavar="C", help="load: connections at once (default: 64)")
    parser.add_argument("--heads", type=int, default=2000, metavar="N", help="slow: clients with slow heads")
    parser.add_argument("--bodies", type=int, default=2000, metavar="N", help="slow: clients with slow bodies")
    parser.add_argument("--readers", type=int, default=500, metavar="N", help="slow: clients that do not read")
    parser.add_argument("--steady", type=int, default=2000, metavar="N", help="readers: so many (default: 2000)")
    parser.add_argument("--mebibytes", type=int, default=256, metavar="N", help="readers: the bound (default: 256)")
    parser.add_argument("--times", type=int, default=20, metavar="N", help="drain, uploads: so often (default: 20)")
    parser.add_argument("--megabytes", type=int, default=100, metavar="N", help="forms: of each file (default: 100)")
    parser.add_argument("--connections", type=int, default=500, metavar="N", help="drain: at once (default: 500)")
    parser.add_argument("--bytes", type=int, default=8_000_000, metavar="N", help="links: of each response (8000000)")
    parser.add_argument("--rates", default="64kbit,128kbit,256kbit", metavar="RATES", help="links: of tc (%(default)s)")
    parser.add_argument("--each", type=int, default=12, metavar="N", help="links: clients of each rate (default: 12)")
    parser.add_argument(
        "--queue", type=int, default=QUEUE_BYTES, metavar="BYTES", help="links: before each (%(default)s)"
    )
    return parser.parse_args()


def do_load(options: argparse.Namespace) -> list[str]:
    with serving(options.backend, options.threads) as server:
        result = soak(server, options.requests, options.seconds, options.clients, Teller())
    rate = result.requests / result.seconds
    print(f"{result.requests:,} requests in {result.seconds:,.0f} s: {rate:,.0f} requests/s")
    print(f"start:          {result.start}\nafter warm-up:  {result.warm}\nat the end:     {result.end}")
    share = result.end.resident / result.warm.resident
    print(f"peak {result.peak / 1e6:.1f} MB; memory at the end is {share:.3f} of that after the warm-up")
    print(json.dumps(result.done))
    return result.faults()


def do_slow(options: argparse.Namespace) -> list[str]:
    slowness = Slowness(options.heads, options.bodies, options.readers)
    with serving(options.backend, options.threads, slowness.options()) as server:
        result = beset(server, slowness)
    print(result)
    return result.faults()


def do_readers(options: argparse.Namespace) -> list[str]:
    bound = options.mebibytes << 20
    with serving(options.backend, options.threads, [f"--unsent-bytes-max={bound}"]) as server:
        result = gather(server, options.steady, min(options.seconds, READERS_SECONDS), bound)
    print(result)
    return result.faults()


def do_drain(options: argparse.Namespace) -> list[str]:
    faults: list[str] = []
    for number in range(options.times):
        with serving(options.backend, options.threads, OPTIONS) as server:
            result = drain(server, options.connections, seed=number)
        print(f"{number + 1}: {result}", flush=True)
        faults += result.faults()
    return faults


def do_links(options: argparse.Namespace) -> list[str]:
    if reason := missing_links():
        return [reason]
    contents = dict.fromkeys(options.rates.split(","), options.bytes)
    outcome = read_slowly(options.backend, contents, options.each, queue_bytes=options.queue)
    print(outcome)
    return outcome.faults()


def do_uploads(options: argparse.Namespace) -> list[str]:
    faults: list[str] = []
    with serving(options.backend, options.threads) as server:
        for row in refuse_uploads(server, [20, 50], options.times):
            print(row, flush=True)
            faults += row.faults()
    return faults


def do_forms(options: argparse.Namespace) -> list[str]:
    size = options.megabytes * 1_000_000
    with serving(options.backend, options.threads, [f"--body-bytes-max={2 * FILES * size}"]) as server:
        result = send_forms(server, size)
    print(result)
    return result.faults()


def do_unruly(options: argparse.Namespace) -> list[str]:
    seconds = min(options.seconds, UNRULY_SECONDS)
    with serving(options.backend, options.threads, app="tests.soak.unruly_app:app") as server:
        outcome = harass(server, seconds, options.clients, FORKS_A_SECOND, lambda text: print(text, flush=True))
    print(
        f"{outcome.done.total():,} responses in {seconds:g} s, {outcome.left:,} left early, {len(outcome.wrong)} wrong"
    )
    print(f"start:          {outcome.start}\nafter warm-up:  {outcome.warm}\nat the end:     {outcome.end}")
    print(json.dumps(outcome.done))
    return outcome.faults()


COMMANDS = {
    "load": do_load,
    "slow": do_slow,
    "readers": do_readers,
    "drain": do_drain,
    "links": do_links,
    "uploads": do_uploads,
    "forms": do_forms,
    "unruly": do_unruly,
}


class Teller:
    """Tells now and then how far the load has come."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._next = 0.0

    def __call__(self, requests: int, sight: Sight) -> None:
        """Show a line, if it is time."""
        seconds = time.monotonic() - self._begun
        if seconds >= self._next:
            self._next = seconds + TELL_SECONDS
            print(f"{requests:>12,} requests, {requests / max(seconds, 0.01):,.0f}/s, {sight}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
