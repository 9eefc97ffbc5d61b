"""The watchdog logs once that a reactor is stuck, with its stack, that it is dead, and that it has recovered."""

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from mreactor import App, Request
from mreactor.admin.watchdog import (
    DEAD,
    RUNNING,
    STARTING,
    STUCK,
    STUCK_SECONDS,
    Watchdog,
    reactor_state,
    read_stack,
    unhealthy_reactors,
)
from mreactor.net import Command, Reactor
from tests.admin.serving import BACKENDS, SECONDS_MAX, serving

pytestmark = pytest.mark.slow


@dataclass
class Patient:
    """What the watchdog sees of a reactor. By default it runs in this thread."""

    name: str = "reactor-0"
    heartbeat: float = 100.0
    ident: int | None = field(default_factory=threading.get_ident)
    alive: bool = True

    def is_alive(self) -> bool:
        return self.alive


@pytest.mark.parametrize(
    ("patient", "now", "state"),
    [
        (Patient(), 100.1, RUNNING),
        (Patient(), 100.0 + STUCK_SECONDS, RUNNING),
        (Patient(), 100.1 + STUCK_SECONDS, STUCK),
        (Patient(alive=False), 100.1, DEAD),
        (Patient(alive=False, heartbeat=0.0), 100.1, DEAD),
        (Patient(heartbeat=0.0), 100.1, STARTING),
        (Patient(heartbeat=0.0, ident=None, alive=False), 100.1, STARTING),
    ],
)
def test_a_state_follows_from_heartbeat_and_life(patient: Patient, now: float, state: str) -> None:
    assert reactor_state(patient, now) == state


def test_a_health_report_names_the_reactor_and_its_state() -> None:
    well, stuck, dead = Patient(heartbeat=109.0), Patient("reactor-1"), Patient("reactor-2", alive=False)
    assert [str(each) for each in unhealthy_reactors([well, stuck, dead], 110.0)] == [
        "reactor-1 is stuck",
        "reactor-2 has ended",
    ]


def test_a_stuck_reactor_and_its_recovery_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    patient = Patient()
    watchdog = Watchdog([patient])
    for now in (101.0, 102.5, 104.0, 105.5, 106.5, 107.5):
        watchdog.check(now)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert caplog.messages[0].startswith("reactor-0 is stuck for 5.5 s, here: ")
    patient.heartbeat = 108.0
    assert watchdog.check(108.5) == []
    watchdog.check(109.5)
    assert caplog.messages[1:] == ["reactor-0 recovered"]
    for now in (111.0, 112.5, 113.5, 114.5):
        watchdog.check(now)
    assert len(caplog.records) == 3, "stuck again is logged again"


def test_a_death_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    patient = Patient(alive=False)
    watchdog = Watchdog([patient])
    for now in (101.0, 102.0, 103.0):
        assert [each.state for each in watchdog.check(now)] == [DEAD]
    assert caplog.messages == ["reactor-0 has ended: its clients get no response; restart the server"]


def test_a_stuck_reactor_may_die(caplog: pytest.LogCaptureFixture) -> None:
    patient = Patient()
    watchdog = Watchdog([patient])
    watchdog.check(106.0)
    patient.alive = False
    watchdog.check(107.0)
    assert [message.partition(" for ")[0].partition(":")[0] for message in caplog.messages] == [
        "reactor-0 is stuck",
        "reactor-0 has ended",
    ]


def test_a_suspended_process_has_no_stuck_reactors(caplog: pytest.LogCaptureFixture) -> None:
    patient = Patient()
    watchdog = Watchdog([patient])
    watchdog.check(100.5)
    assert watchdog.check(400.0) == [], "the watchdog itself did not run either"
    patient.heartbeat = 400.5
    assert watchdog.check(401.0) == []
    assert caplog.messages == ["all threads stood still for 299.5 s: suspended, or held up by one call into C"]


def test_a_short_stop_of_all_threads_blames_no_reactor(caplog: pytest.LogCaptureFixture) -> None:
    """The collector stops all threads until the longest call into C returns."""
    patient = Patient()
    watchdog = Watchdog([patient])
    watchdog.check(100.9)
    assert watchdog.check(105.2) == [], "the watchdog itself was late"
    patient.heartbeat = 105.2
    assert watchdog.check(106.2) == []
    assert not caplog.records


def test_a_thread_without_a_stack() -> None:
    assert read_stack(Patient(ident=None)) == "(not running)"
    ended = threading.Thread(target=int)
    ended.start()
    ended.join(SECONDS_MAX)
    assert read_stack(Patient(ident=ended.ident, alive=False)) == "(not running)"


@pytest.fixture
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a thread on a busy machine the time to dump its whole stack."""
    monkeypatch.setattr("mreactor.admin.watchdog.STACK_SECONDS_MAX", SECONDS_MAX)
    monkeypatch.setattr("mreactor.admin.watchdog.PAUSE_SECONDS", 0.3)


@pytest.mark.usefixtures("_patience")
def test_the_stack_of_a_thread_that_runs() -> None:
    """The thread calls and returns all the time. Reading its frames from outside would crash here."""
    enough = threading.Event()

    def call_and_return() -> None:
        while not enough.is_set():
            sorted(str(i) for i in range(9))

    thread = threading.Thread(target=call_and_return)
    thread.start()
    try:
        for _ in range(20):
            assert "call_and_return (" in read_stack(Patient(ident=thread.ident))
    finally:
        enough.set()
        thread.join(SECONDS_MAX)


# --- With a server. ---


@dataclass
class Trap:
    """A server with one reactor, and a handler that waits and is not declared blocking."""

    address: tuple[str, int]
    reactors: list[Reactor]
    entered: threading.Event
    released: threading.Event


@pytest.fixture(params=BACKENDS)
def trap(request: pytest.FixtureRequest) -> Iterator[Trap]:
    app, entered, released = App(), threading.Event(), threading.Event()

    @app.get("/wait")
    def wait_where_waiting_is_forbidden(request: Request) -> str:
        entered.set()
        released.wait(SECONDS_MAX)
        return "done"

    with serving(app, threads=1, admin="", backend=request.param) as server:
        yield Trap(server.address, list(server.reactors), entered, released)
        released.set()


@pytest.mark.usefixtures("_patience")
def test_the_log_shows_where_a_handler_waits(trap: Trap, caplog: pytest.LogCaptureFixture) -> None:
    (reactor,) = trap.reactors
    watchdog = Watchdog([reactor])
    assert watchdog.check(reactor.heartbeat) == []
    with socket.create_connection(trap.address, SECONDS_MAX) as client:
        client.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        assert trap.entered.wait(SECONDS_MAX)
        last = reactor.heartbeat
        for seconds in (STUCK_SECONDS / 2, STUCK_SECONDS - 1):
            assert watchdog.check(last + seconds) == []
        assert [str(each) for each in watchdog.check(last + STUCK_SECONDS + 0.1)] == ["reactor-0 is stuck"]
        assert "wait_where_waiting_is_forbidden (" in caplog.messages[-1]
        trap.released.set()
        assert client.recv(1000).endswith(b"done")
    end = time.monotonic() + SECONDS_MAX
    while reactor.heartbeat == last:
        assert time.monotonic() < end, "there is no further heartbeat"
        time.sleep(0.01)
    # Not much later than the check before, or the watchdog would take the process for suspended.
    assert watchdog.check(min(reactor.heartbeat, last + STUCK_SECONDS + 0.2)) == []
    assert caplog.messages[-1] == "reactor-0 recovered"


def test_a_reactor_that_has_ended_is_dead(trap: Trap, caplog: pytest.LogCaptureFixture) -> None:
    (reactor,) = trap.reactors
    reactor.post(Command.STOP)
    reactor.join(SECONDS_MAX)
    assert [str(each) for each in Watchdog([reactor]).check(time.monotonic())] == ["reactor-0 has ended"]
