"""The cases of a race: what is asked, over how many connections, and which ratios are wanted.

Plain values. Knows the shape of the load and the demo routes, no server and no process.
"""

from dataclasses import dataclass

from bench.docroot import LARGE_BYTES, LARGE_NAME, PAGE_NAME, WELCOME, Docroot
from bench.load import Load

EPOLL = "mreactor-epoll"
IO_URING = "mreactor-io_uring"


@dataclass(frozen=True, slots=True)
class Goal:
    """A wish, judged by the median of the rounds' ratios of the server's figure to the base's.

    The rate is to be at least `ratio`; for a goal on `cpu` the processor time of a request is to be at most `ratio`.
    """

    server: str
    base: str
    ratio: float
    cpu: bool = False

    def __str__(self) -> str:
        return f"CPU/request ≤ {self.ratio:g}x {self.base}" if self.cpu else f"≥ {self.ratio:g}x {self.base}"

    def is_met(self, ratio: float) -> bool:
        return ratio <= self.ratio if self.cpu else ratio >= self.ratio


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of load and what to measure it by."""

    name: str
    title: str
    load: Load
    goals: tuple[Goal, ...] = ()
    counts_bytes: bool = False

    @property
    def bases(self) -> tuple[str, ...]:
        """The servers that the goals on processor time compare with."""
        return tuple(dict.fromkeys(goal.base for goal in self.goals if goal.cpu))

    @property
    def has_latency(self) -> bool:
        """False where wrk times a whole packet and then corrects that as if it were one request."""
        return self.load.pipeline == 1


def goals(base: str, epoll: float, io_uring: float) -> tuple[Goal, ...]:
    """The same wish for both backends."""
    return Goal(EPOLL, base, epoll), Goal(IO_URING, base, io_uring)


def cpu_goals(base: str, ratio: float) -> tuple[Goal, ...]:
    """The same wish on processor time for both backends."""
    return Goal(EPOLL, base, ratio, cpu=True), Goal(IO_URING, base, ratio, cpu=True)


def expected_bytes(case: Case, docroot: Docroot) -> bytes:
    """Bytes that every right answer to the case contains; the greeting's wording is each server's own."""
    if case.load.method == "POST":
        return b"x" * case.load.body_bytes
    paths = {"/": WELCOME, "/hello/world": b"world"}
    if case.load.path in paths:
        return paths[case.load.path]
    return docroot.page if case.load.path == f"/{PAGE_NAME}" else docroot.large


# Each request differs from all others. The figure that counts is the processor time of a request: the load is often the
# limit of the rate.
TRAFFIC_CASES = (
    Case(
        "unique-head",
        "GET /, computed, nine fields, two of them new each time, 64 connections (nginx: return 200)",
        Load("/", 64, traffic="unique-head"),
        cpu_goals("nginx", 2.2) + cpu_goals("granian", 0.85),
    ),
    Case(
        "unique-path",
        "GET /hello/{n}, a new n each time, nine fields that repeat, 64 connections (nginx: return 200)",
        Load("/hello/1", 64, traffic="unique-path"),
        cpu_goals("nginx", 1.5),
    ),
    Case(
        "unique-query",
        "GET /search?q={q}&page={n}, new each time, nine fields that repeat, 64 connections (nginx: return 200)",
        Load("/search", 64, traffic="unique-query"),
    ),
    Case(
        "unique-post",
        "POST /orders, 1 KiB of JSON in and out, head and body new each time, 64 connections",
        Load("/orders", 64, method="POST", traffic="unique-post"),
        cpu_goals("granian", 0.6),
    ),
    Case(
        "cookies",
        "GET /session, 10,000 sessions in turn, 64 connections (nginx: return 200)",
        Load("/session", 64, traffic="cookies"),
    ),
    Case(
        "mixed",
        "200 kinds of requests, new each time, 5 % errors, 10 % new connections, 64 connections",
        Load("/", 64, traffic="mixed"),
        cpu_goals("granian", 0.7),
    ),
)
REPEATED_CASES = (
    Case(
        "repeated-head",
        "GET /, computed, the same nine fields each time, 64 connections (nginx: return 200)",
        Load("/", 64, traffic="repeated-head"),
    ),
    Case("root64", "GET /, 64 connections", Load("/", 64), goals("nginx", 1.0, 1.1)),
    Case("root1000", "GET /, 1000 connections", Load("/", 1000), goals("nginx", 1.0, 1.1)),
    Case(
        "hello_html",
        f"GET /{PAGE_NAME}, a small file, 64 connections",
        Load(f"/{PAGE_NAME}", 64),
        goals("nginx", 1.0, 1.0),
    ),
    Case(
        "computed",
        "GET /hello/{name}, computed each time, 64 connections (nginx: return 200)",
        Load("/hello/world", 64),
        goals("nginx", 0.8, 0.85) + goals("granian", 2.0, 2.0),
    ),
    Case(
        "echo",
        "POST /echo, 1 KiB, 64 connections",
        Load("/echo", 64, method="POST", body_bytes=1024),
        goals("granian", 2.0, 2.0),
    ),
    Case(
        "pipeline",
        "GET /, 16 pipelined requests a packet, 64 connections",
        Load("/", 64, pipeline=16),
        goals("nginx", 3.0, 3.0),
    ),
    Case(
        "file1m",
        f"GET /{LARGE_NAME}, {LARGE_BYTES >> 20} MiB, 32 connections",
        Load(f"/{LARGE_NAME}", 32),
        goals("nginx", 0.9, 0.8),
        counts_bytes=True,
    ),
    Case(
        "close",
        "GET /, Connection: close, a new connection for each request, 64 at a time",
        Load("/", 64, close=True),
        goals("nginx", 0.9, 0.9),
    ),
)
CASES = TRAFFIC_CASES + REPEATED_CASES
BY_NAME = {case.name: case for case in CASES}
