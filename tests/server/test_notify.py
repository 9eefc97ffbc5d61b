"""Messages to the service manager, and when a server sends them."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mreactor import App, Config, Server
from mreactor.server import server as server_module
from mreactor.server.notify import Notifier
from mreactor.server.startup import take_startup

pytestmark = pytest.mark.slow


class Manager:
    """Plays systemd."""

    def __init__(self, address: str) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind("\0" + address[1:] if address.startswith("@") else address)
        self._sock.settimeout(60.0)

    def __enter__(self) -> "Manager":
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def receive(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self._sock.recv(1 << 16).decode().split("\n"))

    def is_silent(self) -> bool:
        self._sock.settimeout(0.1)
        try:
            self._sock.recv(1 << 16)
        except TimeoutError:
            return True
        return False


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "n") if request.param == "path" else f"@mreactor-notify-{os.getpid()}"


def test_the_messages(address: str) -> None:
    with Manager(address) as manager:
        notifier = Notifier(address)
        notifier.ready("serving")
        assert manager.receive() == {"READY": "1", "STATUS": "serving"}
        notifier.status("serving")
        notifier.status("reactor-0 is stuck")
        assert manager.receive() == {"STATUS": "reactor-0 is stuck"}
        notifier.alive()
        assert manager.receive() == {"WATCHDOG": "1"}
        before = time.monotonic_ns() // 1000
        notifier.reloading("starting")
        message = manager.receive()
        assert before <= int(message.pop("MONOTONIC_USEC")) <= time.monotonic_ns() // 1000
        assert message == {"RELOADING": "1", "STATUS": "starting"}
        notifier.stopping("draining")
        assert manager.receive() == {"STOPPING": "1", "STATUS": "draining"}
        notifier.hand_over(77, "serving")
        assert manager.receive() == {"MAINPID": "77", "READY": "1", "STATUS": "serving"}
        notifier.stopping("draining")
        assert manager.is_silent(), "the other process speaks now"


@pytest.mark.parametrize("address", ["", "/nowhere/n", "relative"])
def test_without_a_manager_nothing_happens(address: str) -> None:
    notifier = Notifier(address)
    notifier.ready("serving")
    notifier.alive()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    take_startup.cache_clear()
    with Manager(str(tmp_path / "n")) as playing:
        yield playing
    take_startup.cache_clear()


def test_a_server_tells_that_it_is_ready_alive_and_stopping(manager: Manager) -> None:
    server = Server(Config(port=0, threads=1), App())
    messages: list[dict[str, str]] = []

    def listen() -> None:
        messages.append(manager.receive())
        messages.append(manager.receive())
        messages.append(manager.receive())
        os.kill(os.getpid(), signal.SIGTERM)
        while "STOPPING" not in (message := manager.receive()):
            assert message == {"WATCHDOG": "1"}
        messages.append(message)

    listener = threading.Thread(target=listen)
    listener.start()
    begun = time.monotonic()
    assert server.run() == 0
    listener.join(60.0)
    assert messages == [
        {"READY": "1", "STATUS": f"serving on http://127.0.0.1:{server.address[1]}"},
        {"WATCHDOG": "1"},
        {"WATCHDOG": "1"},
        {"STOPPING": "1", "STATUS": "draining"},
    ]
    assert time.monotonic() - begun < 30.0


def test_a_stuck_reactor_silences_the_watchdog(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = 0

    def check(watchdog: object, now: float) -> list[str]:
        nonlocal checks
        checks += 1
        if checks == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return ["reactor-0 is stuck"]

    monkeypatch.setattr(server_module.Watchdog, "check", check)
    assert Server(Config(port=0, threads=1), App()).run() == 0
    assert "READY" in manager.receive()
    assert manager.receive() == {"STATUS": "reactor-0 is stuck"}
    assert "STOPPING" in manager.receive()
