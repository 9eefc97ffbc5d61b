"""What the admin listener knows of the server: its status, and snapshots of its counters."""

import math
import os
import platform
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from .. import __version__
from ..addresses import show_address
from ..app import RouteTimes
from ..concurrency import ThreadPool
from ..config import Config
from ..logs import AccessLog, count_lost
from ..metrics import NO_POOL, Counters, PoolSnapshot, ReactorSnapshot, Snapshot
from ..net import Acceptor, Reactor
from ..runtime import usable_cpus
from .watchdog import STARTING, reactor_state, unhealthy_reactors

# Requests within this time share one snapshot, so many readers cost the reactors no more than one.
SNAPSHOT_SECONDS = 0.2


@dataclass(slots=True)
class ServerStatus:
    """What the admin listener may see of a server. The server's thread writes it; the admin reactor reads it.

    Attributes:
        reactors: the server's own list, which grows during the start.
        has_gil: called for each snapshot, since an extension may switch the GIL on.
        gil_cause: returns why the GIL is on; empty if it is off.
        backend, address: the chosen backend, in words; host and port of the server.
        application: its name, for the page.
        report: the lines of the start-up report, after the start.
        acceptor, access_log: None until they run.
        route_times: None if they are not measured.
        is_draining: the server is about to end.
        pool: None until it runs.
    """

    config: Config
    reactors: Sequence[Reactor[Any]]
    has_gil: Callable[[], bool]
    backend: str = ""
    application: str = ""
    address: tuple[str, int] = ("", 0)
    report: Sequence[str] = ()
    acceptor: Acceptor | None = None
    access_log: AccessLog | None = None
    is_draining: bool = False
    gil_cause: Callable[[], str] = lambda: ""
    pool: ThreadPool | None = None
    route_times: RouteTimes | None = None

    def unready_reasons(self, now: float, wait_max: float = math.inf) -> tuple[str, ...]:
        """Return why the server wants no traffic; empty if it is ready.

        Args:
            now: monotonic seconds.
            wait_max: seconds for which a request may wait for a thread of the pool.
        """
        if self.is_draining:
            return ("the server is draining",)
        if self.acceptor is None or any(reactor_state(one, now) == STARTING for one in self.reactors):
            return ("the server is starting",)
        reasons = [str(health) for health in unhealthy_reactors(self.reactors, now)]
        if not self.acceptor.is_alive():
            reasons.append("the acceptor has ended")
        if self.config.require_free_threading and (cause := self.gil_cause()):
            reasons.append(cause)
        if self.pool is not None and wait_max < math.inf and (wait := self.pool.oldest_wait()) > wait_max:
            reasons.append(f"a request has waited for a blocking thread for {wait:.1f} s")
        return tuple(reasons)


class SnapshotCache:
    """The latest snapshot of a server. Admin reactor's thread only."""

    def __init__(self, status: ServerStatus) -> None:
        self._status = status
        self._started = time.time()
        self._begun = time.monotonic()
        # Now, since later the process may have run out of descriptors.
        _open_statm()
        self._taken = 0.0
        self._latest: Snapshot | None = None

    def get(self) -> Snapshot:
        """Return a snapshot that is at most `SNAPSHOT_SECONDS` old."""
        now = time.monotonic()
        if self._latest is None or now - self._taken >= SNAPSHOT_SECONDS:
            self._latest, self._taken = self._take(now), now
        return self._latest

    def _take(self, now: float) -> Snapshot:
        status, log = self._status, self._status.access_log
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return Snapshot(
            time=time.time(),
            uptime=now - self._begun,
            started=self._started,
            info=_describe(status),
            report=tuple(status.report),
            reasons=status.unready_reasons(now),
            is_draining=status.is_draining,
            has_gil=status.has_gil(),
            gil_cause=status.gil_cause(),
            pool=PoolSnapshot(**status.pool.status()._asdict()) if status.pool is not None else NO_POOL,
            connections_max=status.config.limits.connections_max,
            refused=status.acceptor.refused if status.acceptor is not None else 0,
            lines_dropped=log.dropped + log.lost if log is not None else 0,
            log_lines_dropped=count_lost(),
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            resident_bytes=_resident_bytes(),
            reactors=tuple(_snapshot(reactor, now) for reactor in status.reactors),
            routes=status.route_times.read() if status.route_times is not None else (),
            application=status.application,
            host=platform.node(),
            open_fds=_count_descriptors(),
            fds_max=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        )


def _describe(status: ServerStatus) -> dict[str, str]:
    """Return the labels of `mreactor_info`."""
    return {
        "version": __version__,
        "implementation": platform.python_implementation(),
        "python": platform.python_version(),
        "gil": "on" if status.has_gil() else "off",
        "backend": status.backend.partition(",")[0],
        "reactors": str(status.config.reactors),
        "cpus": str(usable_cpus()),
        "address": show_address(*status.address),
    }


def _snapshot(reactor: Reactor[Any], now: float) -> ReactorSnapshot:
    """Copy a reactor's state and counters; zeros if it has not started."""
    has_started = reactor.ready.is_set() and reactor.failure is None
    counters = reactor.context.counters.snapshot() if has_started else Counters()
    age = max(0.0, now - reactor.heartbeat) if reactor.heartbeat else 0.0
    in_flight = reactor.count_in_flight() if has_started else 0
    return ReactorSnapshot(reactor.index, reactor_state(reactor, now), age, counters, in_flight)


def _resident_bytes() -> int | None:
    try:
        return int(os.pread(_open_statm(), 128, 0).split()[1]) * resource.getpagesize()
    except OSError:
        # There is no /proc.
        return None


def _count_descriptors() -> int | None:
    try:
        # One of them is that of the listing.
        return len(os.listdir("/proc/self/fd")) - 1
    except OSError:
        return None


@cache
def _open_statm() -> int:
    """Return the descriptor of the process's memory counts, which stays open; -1 if it cannot be opened."""
    try:
        return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
