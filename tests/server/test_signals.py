"""The queue of signals: what is queued, what ends the process at once, and what counts as a second signal."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from mreactor.server.signals import ENDING, SignalQueue, sigpipe_blocked

pytestmark = pytest.mark.slow


@pytest.fixture
def signals() -> Iterator[SignalQueue]:
    """A queue that receives all its signals; the handlers are put back afterwards."""
    before = {number: signal.getsignal(number) for number in (*ENDING, signal.SIGHUP)}
    received = SignalQueue()
    received.prepare_start()
    received.prepare_service()
    yield received
    for number, handler in before.items():
        signal.signal(number, handler)


def send(*numbers: int) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


def test_an_empty_queue_returns_0_after_its_time(signals: SignalQueue) -> None:
    assert signals.wait(0.001) == 0
    assert signals.second() == 0


@pytest.mark.parametrize("number", [*ENDING, signal.SIGHUP])
def test_a_signal_is_received_once(signals: SignalQueue, number: int) -> None:
    send(number)
    assert signals.wait(60.0) == number
    assert signals.wait(0.001) == 0


def test_signals_come_in_order(signals: SignalQueue) -> None:
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        send(number)
    assert [signals.wait(60.0) for _ in range(3)] == [signal.SIGHUP, signal.SIGINT, signal.SIGTERM]


def test_the_second_ending_signal_stays_the_second(signals: SignalQueue) -> None:
    send(signal.SIGTERM)
    assert signals.wait(60.0) == signal.SIGTERM
    send(signal.SIGHUP)
    assert signals.second() == 0, "log rotation does not end a drain"
    send(signal.SIGINT)
    assert signals.second() == signal.SIGINT
    send(signal.SIGTERM)
    assert signals.second() == signal.SIGINT


def test_during_the_start_only_sighup_is_queued(signals: SignalQueue) -> None:
    signals.prepare_start()
    assert [signal.getsignal(number) for number in ENDING] == [signal.SIG_DFL, signal.SIG_DFL]
    send(signal.SIGHUP)
    assert signals.wait(60.0) == signal.SIGHUP


@pytest.mark.parametrize(("disposition", "is_blocked"), [(signal.SIG_DFL, True), (signal.SIG_IGN, False)])
def test_threads_block_a_sigpipe_that_the_process_does_not_ignore(
    disposition: signal.Handlers, is_blocked: bool
) -> None:
    """The threads of those threads, too: the pool starts its own later."""
    seen: list[bool] = []

    def look() -> None:
        seen.append(signal.SIGPIPE in signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    def begin() -> None:
        inner = threading.Thread(target=look)
        inner.start()
        inner.join()

    before = signal.signal(signal.SIGPIPE, disposition)
    try:
        with sigpipe_blocked():
            outer = threading.Thread(target=begin)
            outer.start()
            outer.join()
        look()
    finally:
        signal.signal(signal.SIGPIPE, before)
    assert seen == [is_blocked, False]


def test_former_handlers_can_be_put_back() -> None:
    numbers = (*ENDING, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    received = SignalQueue()
    received.prepare_start()
    received.prepare_service()
    assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN
    received.restore()
    assert [signal.getsignal(number) for number in numbers] == before
