"""The handler of the logger: levels, streams, colours, and failures that must not reach the caller."""

import contextlib
import io
import json
import logging
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mreactor import App, Config, Request, Response, Server
from mreactor.config import LOG_LEVELS
from mreactor.logs.handlers import LEVELS, LineHandler, configure, flush, suppress_failures
from tests.logs.lines import Lines
from tests.support.drivers import PATIENCE_SECONDS

log = logging.getLogger("mreactor")

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (ERROR|WARN |INFO |DEBUG) \S+ .*")


class Terminal(Lines):
    def isatty(self) -> bool:
        return True


# Levels and streams.


def test_levels_match_the_configuration() -> None:
    assert tuple(LEVELS) == LOG_LEVELS


@pytest.mark.parametrize(
    ("level", "shown"), [("off", ""), ("error", "E"), ("warning", "EW"), ("info", "EWI"), ("debug", "EWID")]
)
def test_levels(stream: io.StringIO, level: str, shown: str) -> None:
    configure(level, "plain", stream)
    log.error("-")
    log.warning("-")
    log.info("-")
    log.debug("-")
    lines = stream.getvalue().splitlines()
    assert "".join(line.split()[1][0] for line in lines) == shown
    assert all(LINE.fullmatch(line) for line in lines)


def test_configuring_again_replaces_the_stream(stream: io.StringIO) -> None:
    old = io.StringIO()
    configure("info", "plain", old)
    configure("info", "json", stream)
    log.info("once")
    assert old.getvalue() == ""
    assert json.loads(stream.getvalue())["message"] == "once"
    assert json.loads(stream.getvalue())["thread"] == threading.current_thread().name


def test_other_handlers_of_the_logger_stay(stream: io.StringIO) -> None:
    other = logging.StreamHandler(io.StringIO())
    log.addHandler(other)
    configure("info", "plain", stream)
    assert other in log.handlers


def test_the_root_logger_does_not_repeat_lines(stream: io.StringIO, caplog: pytest.LogCaptureFixture) -> None:
    configure("info", "plain", stream)
    log.info("once")
    assert stream.getvalue().count("once") == 1
    assert not caplog.records


def test_standard_error_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "plain")
    log.info("ready")
    flush(PATIENCE_SECONDS)
    assert capsys.readouterr().err.endswith(" ready\n")


def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    configure("info", "plain", terminal)
    log.error("bad")
    log.warning("odd")
    log.info("good")
    bad, odd, good = terminal.getvalue().splitlines()
    assert "Z \x1b[31mERROR\x1b[m " in bad
    assert "Z \x1b[33mWARN \x1b[m " in odd
    assert LINE.fullmatch(good)
    configure("info", "plain", stream)
    log.error("bad")
    assert LINE.fullmatch(stream.getvalue().rstrip("\n"))


def test_no_color_turns_colours_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    configure("info", "plain", terminal)
    log.error("bad")
    assert LINE.fullmatch(terminal.getvalue().rstrip("\n"))


# Failures.


def test_a_closed_stream_only_loses_lines(stream: io.StringIO) -> None:
    stream.close()
    configure("info", "plain", stream)
    log.error("lost", exc_info=ValueError("lost as well"))
    log.error("also lost")
    flush(PATIENCE_SECONDS)
    assert [handler.lost for handler in log.handlers if isinstance(handler, LineHandler)] == [2]


def test_a_missing_standard_error_only_loses_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    configure("info", "plain")
    log.error("lost")
    flush(PATIENCE_SECONDS)
    assert [handler.lost for handler in log.handlers if isinstance(handler, LineHandler)] == [1]


class FailingHandler(logging.Handler):
    """A handler of the application that raises.

    Attributes:
        heard: the messages of the records that it got.
    """

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())
        raise RuntimeError("no")


def fail(record: logging.LogRecord) -> bool:
    raise RuntimeError("no")


@pytest.mark.parametrize("protect", [suppress_failures, lambda: configure("info", "plain", io.StringIO())])
def test_failures_of_the_applications_handlers_and_filters_do_not_reach_the_caller(protect: Callable[[], None]) -> None:
    handler = FailingHandler()
    log.addHandler(handler)
    protect()
    log.error("one")
    handler.addFilter(fail)
    log.error("two")
    handler.removeFilter(fail)
    log.addFilter(fail)
    try:
        log.error("three")
    finally:
        log.removeFilter(fail)
    log.error("four")
    assert handler.heard == ["one", "four"]


@pytest.mark.slow
def test_a_started_server_is_protected_without_configuration(caplog: pytest.LogCaptureFixture) -> None:
    """An embedded server does not go through the command line. Its reactor logs the failure and then serves on."""
    app = App()

    @app.get("/fail")
    def raise_error(request: Request) -> Response:
        raise ValueError("no")

    handler = FailingHandler()
    log.addHandler(handler)
    server = Server(Config(port=0, threads=1), app)
    server.start()
    try:
        for _ in range(2):
            with socket.create_connection(server.address, timeout=PATIENCE_SECONDS) as client:
                client.sendall(b"GET /fail HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                assert client.makefile("rb").readline() == b"HTTP/1.1 500 Internal Server Error\r\n"
    finally:
        server.stop()
    assert len(handler.heard) >= 2


@pytest.mark.slow
def test_an_application_that_configures_logging_does_not_silence_the_server(stream: io.StringIO) -> None:
    """`logging.config` closes all handlers and disables the loggers that it is not told about."""
    configure("info", "plain", stream)
    log.info("before")
    close_and_disable()
    server = Server(Config(port=0, threads=1), App())
    server.start()
    log.error("after")
    server.stop()
    assert stream.getvalue().count(" before\n") == 1
    assert stream.getvalue().count(" after\n") == 1


def close_and_disable() -> None:
    """Do what `logging.config.dictConfig` does to a logger that it is not told about, but to this one alone."""
    for handler in log.handlers:
        handler.close()
    log.disabled = True


def test_importing_the_package_does_not_touch_the_logger() -> None:
    """The logger may be set up by the application already, and be of a class of its own."""
    program = """
import logging
class Own(logging.Logger): pass
logging.setLoggerClass(Own)
log = logging.getLogger("mreactor")
before = dict(vars(log))
import mreactor.logs, mreactor.server
assert vars(log) == before and type(log) is Own
mreactor.logs.suppress_failures()
assert type(log) is Own
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, cwd=Path(__file__).parents[2])


def test_a_full_disk_only_loses_lines() -> None:
    full = open("/dev/full", "w")  # noqa: SIM115 - closing it fails as well
    try:
        configure("info", "plain", full)
        log.error("no room")
        flush(PATIENCE_SECONDS)
        assert [handler.lost for handler in log.handlers if isinstance(handler, LineHandler)] == [1]
    finally:
        with contextlib.suppress(OSError):
            full.close()


def test_arguments_without_a_representation_only_lose_their_line(stream: io.StringIO) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    configure("info", "plain", stream)
    log.info("%s", Broken())
    log.info("still here")
    here, loss = stream.getvalue().splitlines()
    assert here.endswith(" still here")
    assert loss.endswith(" log lines lost before this one, because they could not be written: 1")
