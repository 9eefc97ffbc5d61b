"""Why a server is not ready, and how often a snapshot is taken."""

import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from mreactor import Config
from mreactor.admin.status import SNAPSHOT_SECONDS, ServerStatus, SnapshotCache

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
    monkeypatch.setattr(
        "mreactor.admin.status.time", SimpleNamespace(monotonic=lambda: now, time=lambda: now)
    )
    snapshots = SnapshotCache(ServerStatus(Config(), [], lambda: False))
    first = snapshots.get()
    now += SNAPSHOT_SECONDS / 2
    assert snapshots.get() is first
    assert first.reasons == ("the server is starting",)
    now += SNAPSHOT_SECONDS
    assert snapshots.get().time > first.time
