"""Jobs and the thread pool: each submitted job runs, in as many threads as it takes, up to the limit."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from mreactor.concurrency.job import Job
from mreactor.concurrency.thread_pool import ThreadPool

SECONDS_MAX = 60.0


def job(call: Callable[..., Any], *args: Any, **keywords: Any) -> Job:
    return Job(call, *args, keywords=keywords)


class Pool:
    """Makes pools and gates. After the test it opens the gates and closes the pools, so that no thread outlives it."""

    def __init__(self) -> None:
        self.gates: list[threading.Event] = []
        self.pools: list[ThreadPool] = []

    def make(self, threads_max: int, queue_max: int = 1000, streams_max: int = 256) -> ThreadPool:
        self.pools.append(ThreadPool(threads_max, queue_max, streams_max))
        return self.pools[-1]

    def gate(self) -> threading.Event:
        self.gates.append(threading.Event())
        return self.gates[-1]


@pytest.fixture
def pool() -> Iterator[Pool]:
    before = set(threading.enumerate())
    made = Pool()
    yield made
    for gate in made.gates:
        gate.set()
    for jobs in made.pools:
        jobs.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(SECONDS_MAX)
        assert not thread.is_alive(), "the threads of a closed pool end"


class Running:
    """A job that reports its start and ends when its gate opens."""

    def __init__(self, gate: threading.Event) -> None:
        self.gate = gate
        self.begun = threading.Event()
        self.done = threading.Event()
        self.thread = ""
        self.job = job(self.run)

    def run(self) -> None:
        self.thread = threading.current_thread().name
        self.begun.set()
        self.gate.wait(SECONDS_MAX)


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that a thread does right after a job."""
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def run_to_the_end(jobs: ThreadPool, one: Job) -> None:
    done = threading.Event()
    assert jobs.submit(one, done.set)
    assert done.wait(SECONDS_MAX)


# --- Jobs. ---


def test_a_job_keeps_its_result() -> None:
    one = job(lambda a, *, b: a + b, 1, b=2)
    one.run()
    assert one.result == 3
    assert one.error is None


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(1), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_a_job_keeps_what_it_raised(error: BaseException) -> None:
    """The failure of a handler becomes a response. It does not end the thread."""

    def fail() -> None:
        raise error

    one = job(fail)
    one.run()
    assert one.error is error
    assert one.result is None


# --- The pool. ---


def test_a_job_runs_in_another_thread(pool: Pool) -> None:
    one = job(lambda: threading.current_thread().name)
    run_to_the_end(pool.make(1), one)
    assert one.result.startswith("blocking-")


def test_done_is_called_after_the_job_in_the_same_thread(pool: Pool) -> None:
    events: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()

    def record(what: str) -> None:
        events.put((what, threading.current_thread().name))

    assert pool.make(1).submit(job(record, "job"), lambda: record("done"))
    (first, one), (second, other) = events.get(timeout=SECONDS_MAX), events.get(timeout=SECONDS_MAX)
    assert (first, second) == ("job", "done")
    assert one == other != threading.current_thread().name


def test_done_is_called_after_a_job_that_exits(pool: Pool) -> None:
    """Otherwise its client would never get a response, and the pool would lose a thread."""
    jobs = pool.make(1)
    for _ in range(3):
        one = job(lambda: (_ for _ in ()).throw(SystemExit(1)))
        run_to_the_end(jobs, one)
        assert isinstance(one.error, SystemExit)
    run_to_the_end(jobs, job(int))


def test_jobs_run_in_parallel_up_to_the_limit(pool: Pool) -> None:
    jobs, gate = pool.make(3), pool.gate()
    running = [Running(gate) for _ in range(5)]
    for one in running:
        assert jobs.submit(one.job, one.done.set)
    for one in running[:3]:
        assert one.begun.wait(SECONDS_MAX)
    assert not any(one.begun.is_set() for one in running[3:])
    gate.set()
    for one in running:
        assert one.done.wait(SECONDS_MAX)
    assert len({one.thread for one in running}) <= 3


def test_a_job_may_wait_for_a_later_one(pool: Pool) -> None:
    jobs, gate = pool.make(2), pool.gate()
    first = Running(gate)
    assert jobs.submit(first.job, first.done.set)
    assert first.begun.wait(SECONDS_MAX)
    assert jobs.submit(job(gate.set), lambda: None)
    assert first.done.wait(SECONDS_MAX)


def test_a_thread_that_is_slow_to_wake_finds_all_jobs(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """No second thread is woken meanwhile. When it wakes it takes one job, and another thread the other."""
    taken, go_on = threading.Event(), pool.gate()

    class Slow(queue.SimpleQueue[Any]):
        """A queue that delays the thread that takes the first entry."""

        def get(self, *args: Any, **keywords: Any) -> Any:
            entry = super().get(*args, **keywords)
            if not taken.is_set():
                taken.set()
                go_on.wait(SECONDS_MAX)
            return entry

    monkeypatch.setattr(queue, "SimpleQueue", Slow)
    jobs = pool.make(2)
    assert jobs.submit(job(int), lambda: None)
    assert taken.wait(SECONDS_MAX)
    first, second = Running(pool.gate()), Running(pool.gate())
    for one in (first, second):
        assert jobs.submit(one.job, one.done.set)
    assert jobs.status().threads == 1
    go_on.set()
    assert first.begun.wait(SECONDS_MAX)
    assert second.begun.wait(SECONDS_MAX)
    assert first.thread != second.thread


def test_a_batch_of_short_jobs_wakes_few_threads(pool: Pool) -> None:
    jobs = pool.make(16, 1000)
    ended: queue.SimpleQueue[int] = queue.SimpleQueue()

    class Short:
        def __init__(self, number: int) -> None:
            self.number = number
            self.job = job(int)

        def done(self) -> None:
            ended.put(self.number)

    for _ in range(20):
        assert jobs.submit_all([Short(number) for number in range(50)]) == []
        assert sorted(ended.get(timeout=SECONDS_MAX) for _ in range(50)) == list(range(50))
    assert jobs.status().threads <= 16


def test_the_status_tells_what_the_pool_does(pool: Pool) -> None:
    jobs = pool.make(2, 3)
    gate = pool.gate()
    running = [Running(gate) for _ in range(6)]
    accepted = []
    for one in running:
        one.job.since = time.monotonic()
        accepted.append(jobs.submit(one.job, one.done.set))
        until(lambda: jobs.status().queued == 0 or jobs.status().busy == 2)
    assert accepted == [True] * 5 + [False]
    until(lambda: jobs.status().busy == 2)
    status = jobs.status()
    assert (status.threads, status.threads_max, status.busy, status.queued, status.refused) == (2, 2, 2, 3, 1)
    time.sleep(0.01)
    gate.set()
    for one in running[:5]:
        assert one.done.wait(SECONDS_MAX)
    until(lambda: jobs.status().busy == 0)
    status = jobs.status()
    assert (status.queued, sum(status.waits)) == (0, 5)
    assert status.waited > 0.03
    jobs.close()
    assert jobs.status()[6:] == status[6:], "the counts of ended threads are kept"


def test_an_idle_thread_is_reused(pool: Pool) -> None:
    jobs = pool.make(100, 100)
    before = threading.active_count()
    for _ in range(100):
        run_to_the_end(jobs, job(int))
    assert threading.active_count() - before < 10  # one, and a few more if it was slow to become idle


def test_a_new_pool_has_no_thread(pool: Pool) -> None:
    before = threading.active_count()
    pool.make(8)
    assert threading.active_count() == before


@pytest.mark.parametrize("queue_max", [1, 3])
def test_a_full_queue_refuses_a_job(pool: Pool, queue_max: int) -> None:
    jobs, gate = pool.make(1, queue_max), pool.gate()
    first = Running(gate)
    assert jobs.submit(first.job, first.done.set)
    assert first.begun.wait(SECONDS_MAX)
    waiting = [Running(gate) for _ in range(queue_max)]
    for one in waiting:
        assert jobs.submit(one.job, one.done.set)
    refused = Running(gate)
    assert not jobs.submit(refused.job, refused.done.set)
    gate.set()
    for one in (first, *waiting):
        assert one.done.wait(SECONDS_MAX)
    assert not refused.begun.is_set()
    run_to_the_end(jobs, job(int))


def test_many_threads_may_submit(pool: Pool) -> None:
    jobs = pool.make(4, 10_000)
    submitters, each = 4, 500
    start = threading.Barrier(submitters)
    done: queue.SimpleQueue[int] = queue.SimpleQueue()

    def submit(first: int) -> None:
        start.wait(SECONDS_MAX)
        for number in range(first, first + each):
            assert jobs.submit(job(int), partial(done.put, number))

    threads = [threading.Thread(target=submit, args=(index * each,)) for index in range(submitters)]
    for thread in threads:
        thread.start()
    numbers = {done.get(timeout=SECONDS_MAX) for _ in range(submitters * each)}
    for thread in threads:
        thread.join(SECONDS_MAX)
    assert numbers == set(range(submitters * each))


def test_waiting_jobs_run_after_close(pool: Pool) -> None:
    jobs, gate = pool.make(1), pool.gate()
    running = [Running(gate) for _ in range(3)]
    for one in running:
        assert jobs.submit(one.job, one.done.set)
    jobs.close()
    gate.set()
    for one in running:
        assert one.done.wait(SECONDS_MAX)


def test_closing_does_not_wait(pool: Pool) -> None:
    """Neither for a job that never ends, nor for room in the queue."""
    jobs, gate = pool.make(1, 1), pool.gate()
    first, second = Running(gate), Running(gate)
    assert jobs.submit(first.job, first.done.set)
    assert first.begun.wait(SECONDS_MAX)
    assert jobs.submit(second.job, second.done.set)
    jobs.close()
    assert not first.done.is_set()
    gate.set()
    assert second.done.wait(SECONDS_MAX)


def test_threads_are_daemons(pool: Pool) -> None:
    jobs, gate = pool.make(1), pool.gate()
    one = Running(gate)
    assert jobs.submit(one.job, one.done.set)
    assert one.begun.wait(SECONDS_MAX)
    (thread,) = [thread for thread in threading.enumerate() if thread.name == one.thread]
    assert thread.daemon


# --- Jobs of one stream. ---


class Parts:
    """A stream: its jobs report the thread that they run in."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    def close(self) -> None:
        pass

    def begin(self) -> Job:
        one = Job(self.record)
        one.stream = self
        return one

    def part(self, before: Job, *, is_last: bool = False) -> Job:
        one = Job(self.record)
        one.worker = before.worker
        if not is_last:
            one.stream = self
        return one

    def record(self) -> None:
        self.threads.append(threading.get_ident())


def test_jobs_of_a_stream_share_a_thread(pool: Pool) -> None:
    jobs = pool.make(2)
    streams = [Parts() for _ in range(8)]
    last = [parts.begin() for parts in streams]
    for step in range(5):
        for number, parts in enumerate(streams):
            run_to_the_end(jobs, last[number])
            last[number] = parts.part(last[number], is_last=step == 3)
    assert all(len(set(parts.threads)) == 1 for parts in streams)
    assert len({parts.threads[0] for parts in streams}) == 8


def test_streams_that_wait_do_not_keep_other_jobs_waiting(pool: Pool) -> None:
    jobs = pool.make(1)
    for _ in range(5):
        run_to_the_end(jobs, Parts().begin())
    run_to_the_end(jobs, job(int))


def test_threads_of_waiting_streams_are_bounded(pool: Pool) -> None:
    """Past the bound a stream counts as a job that runs, also while it waits."""
    jobs = pool.make(1, streams_max=2)
    streams = [Parts() for _ in range(3)]
    begun = [parts.begin() for parts in streams]
    for one in begun:
        run_to_the_end(jobs, one)
    until(lambda: begun[2].worker is not None and begun[2].worker.keeps_slot)
    waiting = Running(pool.gate())
    assert jobs.submit(waiting.job, waiting.done.set)
    assert not waiting.begun.is_set()
    # The one that counts continues and ends.
    run_to_the_end(jobs, streams[2].part(begun[2]))
    until(lambda: begun[2].worker is not None and begun[2].worker.keeps_slot)
    assert not waiting.begun.is_set()
    run_to_the_end(jobs, streams[2].part(begun[2], is_last=True))
    assert waiting.begun.wait(SECONDS_MAX)


def test_a_full_queue_refuses_no_part(pool: Pool) -> None:
    jobs, gate = pool.make(1, 1), pool.gate()
    parts = Parts()
    first = parts.begin()
    run_to_the_end(jobs, first)
    running, waiting = Running(gate), Running(gate)
    assert jobs.submit(running.job, running.done.set)
    assert jobs.submit(waiting.job, waiting.done.set)
    assert not jobs.submit(job(int), lambda: None)
    done = threading.Event()
    assert jobs.submit(parts.part(first, is_last=True), done.set)
    gate.set()
    assert done.wait(SECONDS_MAX)
    assert waiting.done.wait(SECONDS_MAX)


def test_a_job_that_is_cancelled_is_not_begun(pool: Pool) -> None:
    jobs, gate = pool.make(1), pool.gate()
    running, cancelled = Running(gate), Running(gate)
    assert jobs.submit(running.job, running.done.set)
    assert jobs.submit(cancelled.job, cancelled.done.set)
    cancelled.job.is_cancelled = True
    gate.set()
    assert cancelled.done.wait(SECONDS_MAX)
    assert not cancelled.begun.is_set()


def test_threads_beyond_the_limit_end_with_their_streams(pool: Pool) -> None:
    jobs = pool.make(1)
    before = threading.active_count()
    streams = [Parts() for _ in range(10)]
    begun = [parts.begin() for parts in streams]
    for one in begun:
        run_to_the_end(jobs, one)
    for parts, one in zip(streams, begun, strict=True):
        run_to_the_end(jobs, parts.part(one, is_last=True))
    until(lambda: threading.active_count() <= before + 1)


# --- The disposal of a job. ---


class Closing:
    """A stream or a result that counts how often it is closed, and may fail."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.closed = 0
        self.error = error

    def close(self) -> None:
        self.closed += 1
        if self.error is not None:
            raise self.error


def test_a_job_without_stream_and_result_needs_no_disposal() -> None:
    one = job(lambda: None)
    one.run()
    assert one.disposal() is None


def test_a_disposal_closes_stream_result_and_body(caplog: pytest.LogCaptureFixture) -> None:
    """Each of them, although the one before fails."""
    stream, result = Closing(ValueError("no")), Closing(SystemExit(1))
    result.body = Closing()  # type: ignore[attr-defined]
    one = job(lambda: result)
    one.stream = stream
    one.run()
    disposal = one.disposal()
    assert disposal is not None
    disposal.run()
    assert (stream.closed, result.closed, result.body.closed) == (1, 1, 1)  # type: ignore[attr-defined]
    assert disposal.error is None
    assert caplog.messages == ["cannot close an abandoned response"] * 2


def test_an_idle_thread_frees_what_others_have_dropped(pool: Pool) -> None:
    """CPython 3.13t frees an object in the thread that has made it, so that thread must wake for it."""
    jobs = pool.make(1)
    freed = threading.Event()

    class Resource:
        def __del__(self) -> None:
            freed.set()

    one = job(Resource)
    run_to_the_end(jobs, one)
    assert isinstance(one.result, Resource)
    one.result = None
    del one
    assert freed.wait(SECONDS_MAX)
