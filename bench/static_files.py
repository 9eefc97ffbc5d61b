"""Static files against nginx: requests that differ, in turn, on one core.

    python -m bench.static_files [--rounds 5] [--seconds 2] [--warm 8] [--cases 304,range,small,mib,many]

Each round measures each server for each case; the table shows the medians of the rates, of their ratios within a round,
and of the CPU time that a request takes, which a busy machine disturbs less. Runs on the harness's only thread.
"""

import argparse
import http.client
import math
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.beside_nginx import Figure, names_among, table
from bench.docroot import Docroot, fill
from bench.load import DONE, output_of, parse, wrk
from bench.placement import Placement, one_core_each
from bench.process import HOST, Process
from bench.servers import SERVERS, running

NAMES = ("nginx", "nginx-cached", "mreactor-epoll", "mreactor-io_uring")
CONNECTIONS = 64
SMALL_FILES, MANY_FILES, MANY_BYTES = 200, 10_000, 10 * 1024
RANGED_BYTES, RANGE_BYTES = 100 << 20, 64 * 1024

# Sends the requests of a file in turn; each connection begins at the next one.
TURNS = """
local requests = {{}}
for line in io.lines("{requests}") do requests[#requests + 1] = (line:gsub("|", "\\r\\n")) end
local next = 0
request = function() next = next % #requests + 1; return requests[next] end
"""


@dataclass(frozen=True, slots=True)
class Turn:
    """A path that is asked for, with further fields."""

    path: str
    fields: tuple[str, ...] = ()

    def line(self) -> str:
        """The request with `|` for its line breaks."""
        return "|".join((f"GET {self.path} HTTP/1.1", f"Host: {HOST}", "Accept: */*", *self.fields, "", ""))


def small(number: int) -> str:
    return f"/small/{number}.css"


def tags(port: int, path: str) -> str:
    """The entity tag of a server's file."""
    connection = http.client.HTTPConnection(HOST, port)
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.headers["ETag"]


def conditional(port: int) -> list[Turn]:
    return [Turn(small(n), (f"If-None-Match: {tags(port, small(n))}",)) for n in range(SMALL_FILES)]


def ranged(port: int) -> list[Turn]:
    chance = random.Random(14)
    starts = [chance.randrange(RANGED_BYTES - RANGE_BYTES) for _ in range(5000)]
    return [Turn("/ranged.bin", (f"Range: bytes={start}-{start + RANGE_BYTES - 1}",)) for start in starts]


# By name: what is asked, the status of each response, and the ratio to nginx that is wanted.
CASES: dict[str, tuple[Callable[[int], list[Turn]], int, float]] = {
    "304": (conditional, 304, 1.0),
    "range": (ranged, 206, 0.9),
    "small": (lambda port: [Turn(small(n)) for n in range(SMALL_FILES)], 200, 1.0),
    "mib": (lambda port: [Turn("/large.bin")], 200, 1.0),
    "many": (lambda port: [Turn(f"/many/{n}.txt") for n in range(MANY_FILES)], 200, 0.7),
}


@contextmanager
def site() -> Iterator[Docroot]:
    """Make the files in a new directory, and remove them at the end."""
    with tempfile.TemporaryDirectory(prefix="mreactor-bench-static-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        fill(directory)
        for folder, count, length in (("small", SMALL_FILES, 2000), ("many", MANY_FILES, MANY_BYTES)):
            (directory / folder).mkdir()
            for number in range(count):
                suffix = "css" if folder == "small" else "txt"
                (directory / folder / f"{number}.{suffix}").write_bytes(os.urandom(length + number % 100))
        with (directory / "ranged.bin").open("wb") as file:
            for _ in range(RANGED_BYTES >> 20):
                file.write(os.urandom(1 << 20))
        yield Docroot(directory)


def measure(process: Process, turns: list[Turn], seconds: float, placement: Placement) -> Figure:
    """Load a server with requests in turn."""
    with tempfile.TemporaryDirectory(prefix="mreactor-bench-turns-") as name:
        requests, script = Path(name) / "requests", Path(name) / "script.lua"
        requests.write_text("".join(f"{turn.line()}\n" for turn in turns))
        script.write_text(TURNS.format(requests=requests) + DONE)
        command = [wrk(), "-t1", f"-c{CONNECTIONS}", f"-d{math.ceil(seconds)}s", "-s", str(script)]
        command.append(f"http://{HOST}:{process.port}/")
        before = process.cpu_seconds()
        output = output_of(command, seconds, placement.load)
        spent = process.cpu_seconds() - before
    outcome = parse(output)
    assert not outcome.errors.total, outcome.errors
    return Figure(outcome.requests_per_second, spent * 1e6 / outcome.requests)


def check(process: Process, turn: Turn, status: int) -> None:
    """Fail unless the server gives the status that the case is about."""
    connection = http.client.HTTPConnection(HOST, process.port)
    connection.request("GET", turn.path, headers=dict(field.split(": ", 1) for field in turn.fields))
    assert connection.getresponse().status == status, (turn, status)
    connection.close()


def run(names: list[str], rounds: int, seconds: float, warm: float) -> dict[tuple[str, str], list[Figure]]:
    """Measure each server in each case, one after the other, so many rounds."""
    placement = one_core_each()
    figures: dict[tuple[str, str], list[Figure]] = {}
    with site() as docroot, ExitStack() as stack:
        processes = {
            server.name: stack.enter_context(running(server, docroot, 1, placement.server))
            for server in SERVERS
            if server.name in NAMES
        }
        turns = {
            (case, server): CASES[case][0](process.port) for case in names for server, process in processes.items()
        }
        for case, server in turns:
            # A server knows each file by then.
            measure(processes[server], turns[case, server], warm, placement)
        for _ in range(rounds):
            for case in names:
                for server, process in processes.items():
                    check(process, turns[case, server][0], CASES[case][1])
                    figure = measure(process, turns[case, server], seconds, placement)
                    figures.setdefault((case, server), []).append(figure)
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Static files against nginx, on one core.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--warm", type=float, default=8.0, help="seconds that each case runs before it is measured")
    parser.add_argument("--cases", type=names_among(CASES), default=",".join(CASES), help="comma-separated")
    options = parser.parse_args()
    figures = run(options.cases, options.rounds, options.seconds, options.warm)
    for line in table(figures, {name: wanted for name, (_, _, wanted) in CASES.items()}):
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
