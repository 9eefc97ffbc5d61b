"""The log: what its lines look like, what peers cannot do to it, and what becomes of lines that cannot be written."""

import contextlib
import io
import json
import logging
import os
import re
import resource
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mreactor.config import LOG_LEVELS
from mreactor.logs.handlers import (
    LEVELS,
    LINES_PER_SECOND_MAX,
    TEMPLATES_MAX,
    JsonFormatter,
    LineHandler,
    LogFile,
    PlainFormatter,
    RateLimit,
    configure,
    escape,
)

log = logging.getLogger("mreactor")

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (ERROR|WARN |INFO |DEBUG) \S+ .*")


class Clock:
    """Monotonic seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _logger_is_left_as_found() -> Iterator[None]:
    found = log.handlers[:], log.level, log.propagate
    yield
    log.handlers[:], log.propagate = found[0], found[2]
    log.setLevel(found[1])


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def a_record(message: str = "ready", level: int = logging.INFO, **changes: object) -> logging.LogRecord:
    record = logging.LogRecord("mreactor", level, "", 0, message, None, None)
    record.created, record.msecs, record.threadName = 1795383555.1239, 123.9, "reactor-3"
    record.__dict__.update(changes)
    return record


def failure(text: str) -> Exception:
    """An exception that has been raised, and so has a traceback."""
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


def exc_info(error: Exception) -> tuple[type[Exception], Exception, object]:
    return type(error), error, error.__traceback__


# Forms.


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (logging.ERROR, "2026-11-22T21:39:15.123Z ERROR reactor-3 ready"),
        (logging.WARNING, "2026-11-22T21:39:15.123Z WARN  reactor-3 ready"),
        (logging.INFO, "2026-11-22T21:39:15.123Z INFO  reactor-3 ready"),
        (logging.DEBUG, "2026-11-22T21:39:15.123Z DEBUG reactor-3 ready"),
        (logging.CRITICAL, "2026-11-22T21:39:15.123Z CRITICAL reactor-3 ready"),
    ],
)
def test_plain_lines(level: int, expected: str) -> None:
    assert PlainFormatter().format(a_record(level=level)) == expected


def test_plain_tracebacks_are_indented() -> None:
    forged = "no\n2026-11-22T21:39:15.123Z INFO  main forged\r2026\x0b2026\u20282026"
    text = PlainFormatter().format(a_record("a handler failed", exc_info=exc_info(failure(forged))))
    first, *rest = text.split("\n")
    assert first == "2026-11-22T21:39:15.123Z INFO  reactor-3 a handler failed"
    assert rest[0] == "    Traceback (most recent call last):"
    assert rest[-5:] == [
        "    ValueError: no",
        "    2026-11-22T21:39:15.123Z INFO  main forged",
        "    2026",
        "    2026",
        "    2026",
    ]
    assert all(line.startswith("    ") and line.isprintable() for line in rest)


def test_an_exception_that_is_none_adds_nothing() -> None:
    record = a_record(exc_info=(None, None, None))
    assert PlainFormatter().format(record) == "2026-11-22T21:39:15.123Z INFO  reactor-3 ready"


def test_json_lines() -> None:
    assert JsonFormatter().format(a_record('say "hi"\n\x1b\u00e9', level=logging.WARNING)) == (
        '{"time": "2026-11-22T21:39:15.123Z", "level": "warning", "thread": "reactor-3",'
        ' "message": "say \\"hi\\"\\n\\u001b\\u00e9"}'
    )


def test_json_exceptions_stay_on_the_line() -> None:
    text = JsonFormatter().format(a_record(exc_info=exc_info(failure("no\nforged"))))
    assert "\n" not in text
    assert json.loads(text)["exception"].startswith("Traceback (most recent call last):\n")
    assert json.loads(text)["exception"].endswith("ValueError: no\nforged")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET /caf\u00e9?a=1 \u65e5", "GET /caf\u00e9?a=1 \u65e5"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[2J\x00\x7f\x9b", "\\x1b[2J\\x00\\x7f\\x9b"),
        ("\u2028\u202e\u200b", "\\u2028\\u202e\\u200b"),
        ("\ud800\U000e0001", "\\ud800\\U000e0001"),
        ("", ""),
    ],
)
def test_escape(text: str, expected: str) -> None:
    assert escape(text) == expected


@pytest.mark.parametrize("form", ["plain", "json"])
def test_a_peer_cannot_forge_a_line(stream: io.StringIO, form: str) -> None:
    configure("info", form, stream)
    log.info("refused %s", "x\n2026-11-22T21:39:15.123Z ERROR main the disk is full\r\n")
    assert stream.getvalue().count("\n") == 1
    assert "\r" not in stream.getvalue()


def test_a_call_whose_arguments_do_not_fit_is_shown(stream: io.StringIO) -> None:
    configure("info", "plain", stream)
    log.info("%d requests", "many")
    assert "%d requests (arguments ('many',) do not fit: %d format" in stream.getvalue()


# Levels and streams.


def test_levels_are_those_of_the_configuration() -> None:
    assert tuple(LEVELS) == LOG_LEVELS


@pytest.mark.parametrize(
    ("level", "shown"),
    [("off", ""), ("error", "E"), ("warning", "EW"), ("info", "EWI"), ("debug", "EWID")],
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
    former = io.StringIO()
    configure("info", "plain", former)
    configure("info", "json", stream)
    log.info("once")
    assert former.getvalue() == ""
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


def test_a_terminal_whose_user_wants_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    configure("info", "plain", terminal)
    log.error("bad")
    assert LINE.fullmatch(terminal.getvalue().rstrip("\n"))


# Failure.


def test_a_closed_stream_harms_nobody(stream: io.StringIO) -> None:
    stream.close()
    configure("info", "plain", stream)
    log.error("nobody hears this", exc_info=failure("at all"))
    log.error("nor this")
    assert [handler.lost for handler in log.handlers if isinstance(handler, LineHandler)] == [2]


def test_no_standard_error_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    configure("info", "plain")
    log.error("nobody hears this")
    assert [handler.lost for handler in log.handlers if isinstance(handler, LineHandler)] == [1]


def test_handlers_and_filters_of_the_application_that_fail_harm_nobody() -> None:
    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.msg)
            raise RuntimeError("no")

    def fail(record: logging.LogRecord) -> bool:
        raise RuntimeError("no")

    heard: list[str] = []
    handler = Failing()
    log.addHandler(handler)
    log.error("one")
    handler.addFilter(fail)
    log.error("two")
    assert heard == ["one"]


def test_a_full_disk_harms_nobody() -> None:
    full = open("/dev/full", "w")  # noqa: SIM115 - closing it fails as well
    try:
        configure("info", "plain", full)
        log.error("no room")
        assert [handler.lost for handler in log.handlers if isinstance(handler, LineHandler)] == [1]
    finally:
        with contextlib.suppress(OSError):
            full.close()


def test_arguments_that_cannot_be_shown_harm_nobody(stream: io.StringIO) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    configure("info", "plain", stream)
    log.info("%s", Broken())
    log.info("still here")
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().endswith("still here\n")


# Rate limit.


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limited(stream: io.StringIO, clock: Clock) -> Callable[[], list[str]]:
    """Sets the logger up with a limit of three lines a second; returns what takes the messages written."""
    handler = LineHandler(stream, RateLimit(3, clock))
    handler.setFormatter(PlainFormatter())
    log.handlers[:] = [handler]
    log.setLevel(logging.DEBUG)
    log.propagate = False

    def take() -> list[str]:
        lines = stream.getvalue().splitlines()
        stream.seek(0)
        stream.truncate()
        return [line.split(" ", 3)[-1].removeprefix(" ").split(" ", 1)[-1] for line in lines]

    return take


def test_lines_of_a_kind_are_bounded(limited: Callable[[], list[str]], clock: Clock) -> None:
    for number in range(10):
        log.info("client %d", number)
    assert limited() == ["client 0", "client 1", "client 2"]
    clock.now += 0.999
    log.info("client %d", 10)
    assert limited() == []
    clock.now += 0.001
    log.info("client %d", 11)
    assert limited() == ["... and 8 more like it: client %d", "client 11"]
    clock.now += 5
    log.info("client %d", 12)
    assert limited() == ["client 12"]


def test_a_line_of_another_kind_tells_what_was_held_back(
    limited: Callable[[], list[str]], clock: Clock
) -> None:
    for number in range(5):
        log.info("client %d", number)
    log.info("another")
    clock.now += 1
    log.info("a third")
    assert limited()[3:] == ["another", "... and 2 more like it: client %d", "a third"]


def test_levels_and_loggers_are_kinds_of_their_own(limited: Callable[[], list[str]]) -> None:
    for _ in range(5):
        log.info("-")
        log.error("-")
        logging.getLogger("mreactor.part").info("-")
    assert len(limited()) == 9


def test_closing_tells_what_was_held_back(limited: Callable[[], list[str]], stream: io.StringIO) -> None:
    for _ in range(4):
        log.warning("trouble")
    handler = log.handlers[0]
    handler.close()
    assert limited()[-1] == "... and 1 more like it: trouble"
    handler.close()
    assert limited() == []
    assert not stream.closed


def test_kinds_are_bounded(limited: Callable[[], list[str]], clock: Clock) -> None:
    extra = 10
    for number in range(TEMPLATES_MAX + extra):
        log.info(f"kind {number}")  # noqa: G004 - the mistake that this is about
    assert len(limited()) == TEMPLATES_MAX + 3
    clock.now += 1
    log.info("next")
    assert limited() == [f"... and {extra - 3} more like it: lines of many kinds", "next"]


def test_the_limit_lets_a_start_report_pass(stream: io.StringIO) -> None:
    configure("info", "plain", stream)
    for number in range(LINES_PER_SECOND_MAX):
        log.info("%s", f"line {number} of the start report")
    assert stream.getvalue().count("\n") == LINES_PER_SECOND_MAX


def test_a_template_may_be_any_object(limited: Callable[[], list[str]]) -> None:
    for _ in range(4):
        log.info(["no", "template"])
    assert limited() == ["['no', 'template']"] * 3


def test_threads_lose_no_line_and_no_count(stream: io.StringIO) -> None:
    threads_count, lines_count = 8, 500
    limit = RateLimit(100, Clock())
    handler = LineHandler(stream, limit)
    handler.setFormatter(PlainFormatter())
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False

    def chatter(number: int) -> None:
        for count in range(lines_count):
            log.info("thread %d line %d", number, count)

    threads = [threading.Thread(target=chatter, args=(number,)) for number in range(threads_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    handler.close()
    *lines, summary = stream.getvalue().splitlines()
    assert len(lines) == 100
    assert all(re.fullmatch(r".* thread \d line \d+", line) for line in lines)
    held_back = threads_count * lines_count - 100
    assert summary.endswith(f"... and {held_back} more like it: thread %d line %d")
    assert handler.lost == 0


# The file of the access log.


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


def opened(path: Path | str) -> LogFile:
    file = LogFile(str(path))
    file.open()
    return file


def test_a_file_is_created_for_owner_and_group(path: Path) -> None:
    umask = os.umask(0)
    try:
        file = opened(path)
    finally:
        os.umask(umask)
    file.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_file_is_appended_to(path: Path) -> None:
    path.write_bytes(b"one\n")
    file = opened(path)
    assert file.write(b"two\nthree\n") == 0
    file.close()
    file.close()
    assert path.read_bytes() == b"one\ntwo\nthree\n"


def test_a_file_that_is_not_open_loses_lines(path: Path) -> None:
    assert LogFile(str(path)).write(b"one\ntwo\n") == 2
    assert not path.exists()


def test_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    file = opened("")
    file.write(b"one\n")
    file.reopen()
    file.write(b"two\n")
    file.close()
    os.write(1, b"three\n")  # still open: the file had a descriptor of its own
    assert capfd.readouterr().out == "one\ntwo\nthree\n"
    assert str(file) == "standard output"


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Writing past `size` bytes fails with EFBIG, as on a full disk, after what fits has been written."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


def test_a_torn_line_does_not_tear_the_next(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = opened(path)
    with file_size_limit(10):
        lost = [file.write(b"first\nsecond\nthird\n"), file.write(b"fourth\n"), file.write(b"fifth\nsixth\n")]
    assert file.write(b"seventh\n") == 0
    assert file.write(b"eighth\n") == 0
    file.close()
    assert lost == [2, 1, 2]
    assert path.read_bytes() == b"first\nseco\nseventh\neighth\n"
    assert [record.getMessage() for record in caplog.records] == [
        f"access log: {path} cannot be written, lines are lost: File too large",
        f"access log: {path} can be written again, 5 lines are lost",
    ]


def test_a_failure_between_lines_tears_none(path: Path) -> None:
    file = opened(path)
    with file_size_limit(6):
        assert file.write(b"first\nsecond\n") == 1
    file.write(b"third\n")
    file.close()
    assert path.read_bytes() == b"first\nthird\n"


def test_a_failure_right_after_a_torn_line_was_ended(path: Path) -> None:
    file = opened(path)
    with file_size_limit(4):
        assert file.write(b"first\n") == 1
    with file_size_limit(5):
        assert file.write(b"second\nthird\n") == 2
    assert file.write(b"fourth\n") == 0
    file.close()
    assert path.read_bytes() == b"firs\nfourth\n"


def test_a_failure_to_close_is_logged(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = opened(path)
    (fd,) = (int(fd.name) for fd in Path("/proc/self/fd").iterdir() if os.path.realpath(fd) == str(path))
    os.close(fd)
    file.close()
    assert caplog.messages == [f"access log: {path} may have lost lines: Bad file descriptor"]


def test_a_file_moved_away_is_created_anew(path: Path) -> None:
    file = opened(path)
    file.write(b"one\n")
    path.rename(path.with_suffix(".1"))
    file.write(b"two\n")
    file.reopen()
    file.write(b"three\n")
    file.close()
    assert path.with_suffix(".1").read_bytes() == b"one\ntwo\n"
    assert path.read_bytes() == b"three\n"


def test_reopening_does_not_leak(path: Path) -> None:
    file = opened(path)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        file.reopen()
    assert len(os.listdir("/proc/self/fd")) == before
    file.close()
    assert len(os.listdir("/proc/self/fd")) == before - 1
    file.reopen()
    assert len(os.listdir("/proc/self/fd")) == before - 1


def test_a_file_that_cannot_be_reopened_is_kept(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = opened(path)
    former = path.with_suffix(".1")
    path.rename(former)
    path.mkdir()
    file.reopen()
    file.write(b"one\n")
    file.close()
    assert former.read_bytes() == b"one\n"
    assert caplog.messages == [
        f"access log: {path} cannot be reopened, the former file is kept: Is a directory"
    ]


def test_a_standard_output_that_does_not_block_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    monkeypatch.setattr("mreactor.logs.handlers.STDOUT", writer)
    lines = b"a line of the access log\n" * 20_000
    received = bytearray()

    def read() -> None:
        while len(received) < len(lines) and (piece := os.read(reader, 65536)):
            received.extend(piece)

    file = opened("")
    reading = threading.Thread(target=read)
    reading.start()
    assert file.write(lines) == 0
    reading.join(10)
    assert not reading.is_alive()
    assert bytes(received) == lines
    for fd in (reader, writer):
        os.close(fd)
    file.close()
