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
    """A wish: the server's rate at least `ratio` times the base's, as the median of the rounds' ratios."""

    server: str
    base: str
    ratio: float


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of load and what to measure it by."""

    name: str
    title: str
    load: Load
    goals: tuple[Goal, ...] = ()
    counts_bytes: bool = False

    @property
    def has_latency(self) -> bool:
        """False where wrk times a whole packet and then corrects that as if it were one request."""
        return self.load.pipeline == 1


def goals(base: str, epoll: float, io_uring: float) -> tuple[Goal, ...]:
    """The same wish for both backends."""
    return Goal(EPOLL, base, epoll), Goal(IO_URING, base, io_uring)


def expected_bytes(case: Case, docroot: Docroot) -> bytes:
    """Bytes that every right answer to the case contains; the greeting's wording is each server's own."""
    if case.load.method == "POST":
        return b"x" * case.load.body_bytes
    paths = {"/": WELCOME, "/hello/world": b"world"}
    if case.load.path in paths:
        return paths[case.load.path]
    return docroot.page if case.load.path == f"/{PAGE_NAME}" else docroot.large


CASES = (
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
BY_NAME = {case.name: case for case in CASES}
