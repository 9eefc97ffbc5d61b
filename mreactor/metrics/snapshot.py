"""Snapshots: a server and its reactors at one moment. Immutable, for any thread."""

from collections.abc import Mapping
from dataclasses import dataclass

from .counters import Counters


@dataclass(frozen=True, slots=True)
class ReactorSnapshot:
    """One reactor at one moment.

    Attributes:
        state: starting, running, stuck or dead.
        heartbeat_age: seconds since the last heartbeat of its event loop.
        counters: a snapshot of its counters.
        in_flight: connections with a request whose response is not complete.
    """

    index: int
    state: str
    heartbeat_age: float
    counters: Counters
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """The thread pool at one moment, with the counts of `concurrency.PoolStatus`."""

    threads: int
    threads_max: int
    busy: int
    streams: int
    queued: int
    refused: int
    waits: tuple[int, ...]
    waited: float


NO_POOL = PoolSnapshot(0, 0, 0, 0, 0, 0, (), 0.0)


@dataclass(frozen=True, slots=True)
class RouteSnapshot:
    """The calls of a route's handler so far, and the seconds that they have taken together."""

    method: str
    pattern: str
    calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A server at one moment.

    Attributes:
        time: the time of the snapshot in Unix time.
        uptime: seconds since the start, by a clock that cannot be set.
        started: the start time of the server in Unix time. It differs between two servers.
        info: version, python, gil, backend and the like.
        report: the lines of the start-up report.
        gil_cause: why the GIL is on; empty if it is off.
        reasons: why the server is not ready; empty if it is.
        refused: connections that the acceptor refused, which no reactor saw.
        lines_dropped: lines missing from the access log.
        log_lines_dropped: lines missing from the log.
        cpu_seconds: of the process.
        resident_bytes: of the process; None if it cannot be had.
        open_fds, fds_max: descriptors of the process, and its limit; None if that cannot be had.
        pool: the threads for blocking handlers.
        application, host: the names of the application and of the machine.
        routes: the times of the routes, if they are measured.
    """

    time: float
    uptime: float
    started: float
    info: Mapping[str, str]
    report: tuple[str, ...]
    reasons: tuple[str, ...]
    is_draining: bool
    has_gil: bool
    connections_max: int
    refused: int
    lines_dropped: int
    log_lines_dropped: int
    cpu_seconds: float
    resident_bytes: int | None
    reactors: tuple[ReactorSnapshot, ...]
    gil_cause: str = ""
    pool: PoolSnapshot = NO_POOL
    open_fds: int | None = None
    fds_max: int | None = None
    application: str = ""
    host: str = ""
    routes: tuple[RouteSnapshot, ...] = ()

    def total(self) -> Counters:
        """Return the sum over all reactors. It is exact: each number has one writer."""
        total = Counters()
        for reactor in self.reactors:
            total.merge(reactor.counters)
        return total
