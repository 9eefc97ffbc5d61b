"""The server's life cycle in one process: start, failed starts, stop, abort, and the steps of `run`."""

import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mreactor import App, Config, ConfigError, Limits, Request, Server, StartError
from mreactor.http1 import ReactorContext
from mreactor.server import server as server_module

pytestmark = pytest.mark.slow

SECONDS_MAX = 60.0
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(autouse=True)
def _threads_end() -> Iterator[None]:
    """Whatever a test does with a server, no thread and no signal handler of it remains."""
    before = set(threading.enumerate())
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    assert set(threading.enumerate()) <= before


def make_server(**settings: Any) -> Server:
    app = App()

    @app.get("/")
    def root(request: Request) -> str:
        return "here"

    return Server(Config(**{"port": 0, "threads": 2, **settings}), app)


def status(server: Server) -> int:
    with socket.create_connection(server.address, SECONDS_MAX) as client:
        client.sendall(REQUEST)
        return int(client.recv(1 << 16).split()[1])


def test_a_started_server_shows_its_threads() -> None:
    server = make_server()
    assert (list(server.reactors), server.acceptor, server.admin_address) == ([], None, None)
    server.start()
    try:
        assert [reactor.name for reactor in server.reactors] == ["reactor-0", "reactor-1"]
        assert server.acceptor is not None
        assert all(thread.is_alive() for thread in (*server.reactors, server.acceptor))
        assert status(server) == 200
    finally:
        server.stop()
    with pytest.raises(ConnectionRefusedError):
        status(server)


def test_abort_closes_connections() -> None:
    server = make_server()
    server.start()
    with socket.create_connection(server.address, SECONDS_MAX) as client:
        client.sendall(REQUEST[:-2])
        while not sum(reactor.context.counters.open for reactor in server.reactors):
            time.sleep(0.001)
        server.abort()
        assert client.recv(1) == b""


def test_a_taken_port_cannot_be_listened_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"^cannot listen on 127.0.0.1 port {port}: Address already in use; "):
            make_server(port=port).start()


def test_a_reactor_that_fails_to_start_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(server_module, "ReactorContext", fail)
    with pytest.raises(StartError, match=r"^reactor-0 failed to start: .*No space left on device$"):
        make_server().start()


def test_a_reactor_that_takes_too_long_to_start_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    released, real = threading.Event(), server_module.ReactorContext

    def wait(*arguments: Any, **options: Any) -> ReactorContext:
        released.wait(SECONDS_MAX)
        return real(*arguments, **options)

    monkeypatch.setattr(server_module, "ReactorContext", wait)
    monkeypatch.setattr(server_module, "START_SECONDS_MAX", 0.05)
    monkeypatch.setattr(server_module, "ABORT_SECONDS", 0.05)
    server = make_server()
    with pytest.raises(StartError, match=r"^reactor-0 did not start within 0.05 s$"):
        server.start()
    released.set()
    for reactor in server.reactors:
        reactor.join(SECONDS_MAX)


def test_threads_that_cannot_start_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "reactor-1":
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    text = r"^cannot start 2 reactors: can't start new thread; lower --threads$"
    with pytest.raises(StartError, match=text):
        make_server().start()


@pytest.mark.parametrize("name", ["acceptor", "access-log", "admin", "admin-acceptor"])
def test_any_other_thread_that_cannot_start_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == name:
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    server = make_server(admin="127.0.0.1:0", access_log=f"common:{tmp_path / 'log'}")
    with pytest.raises(StartError, match=f"^cannot start the thread {name}: can't start new thread; "):
        server.start()


def test_an_access_log_that_cannot_be_opened_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path))):
        make_server(access_log=f"common:{tmp_path}").start()


@pytest.mark.parametrize("setting", ["", "off"])
def test_an_access_log_that_is_off_is_none(setting: str) -> None:
    with make_server(access_log=setting) as server:
        assert not server.config.logs_requests
        assert status(server) == 200
        assert "access-log" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize(("extra", "code"), [((), 0), ((signal.SIGINT,), 128 + signal.SIGINT)])
def test_run_serves_until_a_signal(extra: tuple[int, ...], code: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "mreactor")
    announced: list[tuple[str, int]] = []
    server = make_server(limits=Limits(drain_seconds=SECONDS_MAX))

    def announce(host: str, port: int) -> None:
        announced.append((host, port))
        assert status(server) == 200
        for number in (signal.SIGHUP, signal.SIGTERM, *extra):
            os.kill(os.getpid(), number)

    assert server.run(announce) == code
    assert announced == [server.address]
    messages = caplog.messages
    assert f"listening on http://127.0.0.1:{server.address[1]}" in messages
    assert messages[messages.index("SIGHUP: no access log to reopen") + 1] == (
        "SIGTERM: draining for up to 60 s; a second signal ends it"
    )
    assert messages[-1] == "stopped"


def test_a_gil_that_comes_on_is_reported_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the start and its report too."""
    causes: list[str] = []
    monkeypatch.setattr(server_module, "has_gil", lambda: bool(causes))
    monkeypatch.setattr(server_module, "gil_cause", lambda: "".join(causes))
    monkeypatch.setattr(server_module, "interpreter_warnings", lambda: list(causes))
    monkeypatch.setattr(server_module, "WATCH_SECONDS", 0.01)
    checks: list[float] = []

    def check(watchdog: object, now: float) -> list[str]:
        checks.append(now)
        if len(checks) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return []

    monkeypatch.setattr(server_module.Watchdog, "check", check)
    server = make_server()
    assert server.run(lambda host, port: causes.append("the GIL is on: a test")) == 0
    assert caplog.messages.count("the GIL is on: a test") == 1


def test_a_failing_watchdog_does_not_end_the_server(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = 0

    def fail(watchdog: object, now: float) -> None:
        nonlocal failures
        failures += 1
        if failures == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        raise ZeroDivisionError

    monkeypatch.setattr(server_module.Watchdog, "check", fail)
    monkeypatch.setattr(server_module, "WATCH_SECONDS", 0.01)
    assert make_server().run() == 0
    assert caplog.messages.count("watchdog failed") == 2
