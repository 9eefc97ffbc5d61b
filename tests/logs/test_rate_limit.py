"""The rate limit of log lines, and the summaries of the lines that it holds back."""

import io
import logging
import re
import threading
from collections.abc import Callable

import pytest

from mreactor.logs import flush
from mreactor.logs.formatters import PlainFormatter
from mreactor.logs.handlers import LineHandler, configure
from mreactor.logs.rate_limit import KINDS_MAX, LINES_PER_SECOND_MAX, RateLimit
from tests.support.drivers import PATIENCE_SECONDS

log = logging.getLogger("mreactor")


class Clock:
    """Monotonic seconds that a test moves forward."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def stream() -> io.StringIO:
    """A stream that tests may read within a second of the limit: reading it does not flush, which ends the second."""
    return io.StringIO()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limited(stream: io.StringIO, clock: Clock) -> Callable[[], list[str]]:
    """Set the logger up with a limit of three lines a second. Return a function that takes the messages written."""
    handler = LineHandler(stream, RateLimit(3, clock))
    handler.setFormatter(PlainFormatter())
    log.handlers[:] = [handler]
    log.setLevel(logging.DEBUG)
    log.propagate = False

    def take() -> list[str]:
        handler.flush(PATIENCE_SECONDS)
        lines = stream.getvalue().splitlines()
        stream.seek(0)
        stream.truncate()
        return [re.sub(r"^\S+Z \S+ +\S+ ", "", line) for line in lines]

    return take


def test_lines_of_one_kind_are_limited(limited: Callable[[], list[str]], clock: Clock) -> None:
    for number in range(10):
        log.info("client %d", number)
    assert limited() == ["client 0", "client 1", "client 2"]
    clock.now += 0.999
    log.info("client %d", 10)
    assert limited() == []
    clock.now += 0.001
    log.info("client %d", 11)
    assert limited() == ["... and 8 more like it, such as: client 3", "client 11"]
    clock.now += 5
    log.info("client %d", 12)
    assert limited() == ["client 12"]


def test_a_summary_comes_before_the_next_line_of_any_kind(limited: Callable[[], list[str]], clock: Clock) -> None:
    for number in range(5):
        log.info("client %d", number)
    log.info("another")
    clock.now += 1
    log.info("a third")
    assert limited()[3:] == ["another", "... and 2 more like it, such as: client 3", "a third"]


def test_levels_and_loggers_make_different_kinds(limited: Callable[[], list[str]]) -> None:
    for _ in range(5):
        log.info("-")
        log.error("-")
        logging.getLogger("mreactor.part").info("-")
    assert len(limited()) == 9


def test_closing_writes_the_summaries(limited: Callable[[], list[str]], stream: io.StringIO) -> None:
    for _ in range(4):
        log.warning("trouble")
    handler = log.handlers[0]
    handler.close()
    assert limited()[-1] == "... and 1 more like it, such as: trouble"
    handler.close()
    assert limited() == []
    assert not stream.closed


def test_the_number_of_kinds_is_limited(limited: Callable[[], list[str]], clock: Clock) -> None:
    extra = 10
    for number in range(KINDS_MAX + extra):
        log.info(f"kind {number}")  # noqa: G004 - the mistake under test
    assert len(limited()) == KINDS_MAX + 3
    clock.now += 1
    log.info("next")
    assert limited() == [f"... and {extra - 3} more of many kinds, such as: kind {KINDS_MAX + 3}", "next"]


def test_a_start_report_is_within_the_limit(stream: io.StringIO) -> None:
    configure("info", "plain", stream)
    for number in range(LINES_PER_SECOND_MAX):
        log.info("%s", f"line {number} of the start report")
    flush(PATIENCE_SECONDS)
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

    def log_lines(number: int) -> None:
        for count in range(lines_count):
            log.info("thread %d line %d", number, count)

    threads = [threading.Thread(target=log_lines, args=(number,)) for number in range(threads_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    handler.close(PATIENCE_SECONDS)
    *lines, summary = stream.getvalue().splitlines()
    assert len(lines) == 100
    assert all(re.fullmatch(r".* thread \d line \d+", line) for line in lines)
    held_back = threads_count * lines_count - 100
    assert re.search(rf"\.\.\. and {held_back} more like it, such as: thread \d line \d+$", summary)
    assert handler.lost == 0


# Lines with a traceback: the kind is where the application failed.


def run_handler(handler: Callable[[], object], path: str) -> None:
    """Do what the server does with a handler that fails. The traceback begins with the handler here."""
    with pytest.raises((KeyError, RuntimeError)) as caught:
        handler()
    error = caught.value.with_traceback(caught.tb.tb_next)
    log.error("the handler of %s %s failed", "GET", path, exc_info=error)


def scan() -> object:
    found: dict[str, object] = {}
    return found["no such key"]


def pay() -> object:
    raise RuntimeError("the payment was taken, the order not written")


def test_a_noisy_handler_does_not_hide_the_failures_of_others(limited: Callable[[], list[str]], clock: Clock) -> None:
    for number in range(100):
        run_handler(scan, f"/bot/{number}")
    run_handler(pay, "/pay")
    lines = limited()
    assert sum(line.endswith(" failed") for line in lines) == 4
    assert "    RuntimeError: the payment was taken, the order not written" in lines
    clock.now += 1
    log.info("next")
    place = f"{__file__}:{scan.__code__.co_firstlineno + 2}"
    assert limited() == [
        f"... and 97 more like it, such as: the handler of GET /bot/3 failed (KeyError in {place})",
        "next",
    ]


def test_handlers_that_fail_in_the_same_function_are_told_apart(limited: Callable[[], list[str]]) -> None:
    def other() -> object:
        return scan()

    for _ in range(5):
        run_handler(scan, "/one")
        run_handler(other, "/two")
    assert [line for line in limited() if line.endswith(" failed")] == [
        f"the handler of GET {path} failed" for path in ("/one", "/two") * 3
    ]
