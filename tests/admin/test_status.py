"""Why a server is not ready, and how often a snapshot is taken."""

import os
import resource
import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from mreactor import Config
from mreactor.addresses import parse_address
from mreactor.admin import status as status_module
from mreactor.admin.status import SNAPSHOT_SECONDS, ServerStatus, SnapshotCache
from mreactor.metrics import render_text, stats

NOW = 100.0


@dataclass
class FakeThread:
    """A reactor or an acceptor, as far as readiness depends on it."""

    name: str = "reactor-0"
    heartbeat: float = NOW
    ident: int | None = field(default_factory=threading.get_ident)
    alive: bool = True

    def is_alive(self) -> bool:
        return self.alive


def make_status(*reactors: FakeThread, acceptor: FakeThread | None = None, **settings: Any) -> ServerStatus:
    found: Any = list(reactors)
    threads: Any = acceptor
    return ServerStatus(Config(), found, lambda: False, acceptor=threads, **settings)


@pytest.mark.parametrize(
    ("status", "reasons"),
    [
        (make_status(FakeThread(), acceptor=FakeThread()), ()),
        (make_status(FakeThread()), ("the server is starting",)),
        (make_status(FakeThread(heartbeat=0.0), acceptor=FakeThread()), ("the server is starting",)),
        (make_status(FakeThread(), acceptor=FakeThread(), is_draining=True), ("the server is draining",)),
        (make_status(FakeThread(), acceptor=FakeThread(alive=False)), ("the acceptor has ended",)),
        (
            make_status(
                FakeThread(heartbeat=NOW - 10), FakeThread("reactor-1", alive=False), acceptor=FakeThread(alive=False)
            ),
            ("reactor-0 is stuck", "reactor-1 has ended", "the acceptor has ended"),
        ),
    ],
)  # fmt: skip
def test_reasons_for_not_being_ready(status: ServerStatus, reasons: tuple[str, ...]) -> None:
    assert status.unready_reasons(NOW) == reasons


def test_requests_at_one_time_share_a_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("mreactor.admin.status.time", SimpleNamespace(monotonic=lambda: now, time=lambda: now))
    snapshots = SnapshotCache(ServerStatus(Config(), [], lambda: False))
    first = snapshots.get()
    now += SNAPSHOT_SECONDS / 2
    assert snapshots.get() is first
    assert first.reasons == ("the server is starting",)
    now += SNAPSHOT_SECONDS
    assert snapshots.get().time > first.time


def test_a_snapshot_needs_no_free_descriptor() -> None:
    snapshots = SnapshotCache(ServerStatus(Config(), [], lambda: False))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    # The next descriptor would be `free` or a larger one.
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            os.open(os.devnull, os.O_RDONLY)
        resident = snapshots.get().resident_bytes
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert resident is not None
    assert resident > 1 << 20


def test_without_proc_only_the_memory_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_module, "_open_statm", lambda: -1)
    snapshot = SnapshotCache(ServerStatus(Config(), [], lambda: False)).get()
    assert stats(snapshot)["process"]["resident_bytes"] is None
    text = render_text(snapshot, "")
    assert "\nprocess_cpu_seconds_total " in text
    assert "\nprocess_resident_memory_bytes " not in text


def test_the_uptime_does_not_follow_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(monotonic=lambda: 50.0, time=lambda: 5000.0)
    monkeypatch.setattr("mreactor.admin.status.time", clock)
    snapshots = SnapshotCache(ServerStatus(Config(), [], lambda: False))
    clock.monotonic, clock.time = (lambda: 60.0), (lambda: 1400.0)
    assert stats(snapshots.get())["uptime"] == 10.0


@pytest.mark.parametrize(
    ("address", "label"),
    [
        (("127.0.0.1", 8080), "127.0.0.1:8080"),
        (("::1", 8080), "[::1]:8080"),
        (("/run/a.sock", 0), "unix:/run/a.sock"),
        (("@shop", 0), "unix:@shop"),
    ],
)
def test_an_address_is_written_as_in_the_option(address: tuple[str, int], label: str) -> None:
    status = ServerStatus(Config(), [], lambda: False, address=address)
    assert SnapshotCache(status).get().info["address"] == label
    assert parse_address(label).text == label
