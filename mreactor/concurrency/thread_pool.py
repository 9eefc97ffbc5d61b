"""The thread pool that runs blocking handlers, so that reactors never wait. See docs/decisions/037 and 056.

The pool starts threads on demand. They are daemons: a handler that never returns cannot keep the process alive.

At most `threads_max` threads compute at a time; the others wait. New jobs wait in a bounded queue, and the pool rejects
one that finds it full. Jobs that continue an accepted one are never rejected. The two kinds take turns, so neither
starves the other.

A stream keeps its thread until it is over. Between two parts the thread waits for the client and does not count as
computing, so slow clients do not keep other jobs waiting. There are at most `streams_max` such threads. If there are
more streams, their threads count as computing also while they wait.
"""

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from typing import Any, Final, NamedTuple, Protocol

from ..runtime import every_tick, hot
from .job import Job

log = logging.getLogger("mreactor")

# A thread that has had no job for so long looks after what other threads have left it to free, and then sleeps.
IDLE_SECONDS = 0.5
# After so many jobs a thread returns empty pages of memory, as reactors do in each tick: docs/decisions/007.
TICK_JOBS = 512
# Waiting times are counted by the number of binary digits of their microseconds.
WAIT_BUCKETS: Final = 32


class QueuedJob(Protocol):
    """A job in the pool's hands. `done` is called in the pool's thread when the job has run."""

    job: Job

    def done(self) -> None: ...


class _Queued:
    """A job with its callback."""

    def __init__(self, job: Job, done: Callable[[], None]) -> None:
        self.job = job
        self.done = done


class PoolStatus(NamedTuple):
    """The pool at one moment, and its counts since the start.

    Attributes:
        threads: threads that exist; threads_max of them compute at a time.
        busy: threads that compute now.
        streams: threads that wait for the clients of streams.
        queued: new jobs that wait for a thread.
        refused: jobs that found the queue full.
        waits: how many new jobs have waited, by the binary digits of the microseconds.
        waited: seconds that they have waited together.
    """

    threads: int
    threads_max: int
    busy: int
    streams: int
    queued: int
    refused: int
    waits: tuple[int, ...]
    waited: float


@hot("run", "_receive", "_begin", "_give_back")
class Worker(threading.Thread):
    """One thread of a pool.

    Attributes:
        messages: jobs that the pool has given to this thread; True to look for one; None ends it. `wake` follows.
        keeps_slot: the thread waits for its stream's next job and counts as computing. The pool's lock guards it.
        has_next: its stream's next job has been submitted and has not begun.
        waits, waited: this thread's part of `PoolStatus`.
    """

    def __init__(self, pool: "ThreadPool", number: int) -> None:
        super().__init__(name=f"blocking-{number}", daemon=True)
        self.messages: deque[QueuedJob | bool | None] = deque()
        self.keeps_slot = False
        self.has_next = False
        self.waits = [0] * WAIT_BUCKETS
        self.waited = 0.0
        self._pool = pool
        # One for each message. A lock will not do: a thread that waits for one spins first.
        self._wakings: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._running: QueuedJob | None = None
        self._begun = 0

    def wake(self) -> None:
        """Have the thread look at its messages. Any thread may call it."""
        self._wakings.put(None)

    def run(self) -> None:
        """Run jobs until the pool ends the thread."""
        queued = self._receive()
        while queued is not None:
            queued.job.run()
            if self._running is not queued:
                # The call has handed over parts and is over. What was asked for meanwhile comes next.
                queued = self._running
                if queued is None:
                    return
                queued.job.run()
            # Free the request's body: the next job may be long in coming.
            queued = None
            queued = self._give_back() or self._receive()

    def hand_over(self, result: Any) -> Job | None:
        """Give the running job back with a first or further result while its call still runs. Called within that call.

        Return when the stream's next job has come, which is the running one from now on: the part that follows, or the
        closing. Return None if the pool ends the thread.
        """
        assert self._running is not None, "a call is running"
        self._running.job.accept(result)
        queued = self._give_back() or self._receive()
        return None if queued is None else queued.job

    def _receive(self) -> QueuedJob | None:
        """Sleep until there is a job, which then is the running one."""
        while True:
            while not self.messages:
                try:
                    self._wakings.get(timeout=IDLE_SECONDS)
                except queue.Empty:
                    self._sleep()
            message = self.messages.popleft()
            if message is True:
                message = self._pool.look(self)
            if message is not False:
                assert message is not True, "it has looked"
                return self._begin(message)

    def _sleep(self) -> None:
        """Wait for a message. The interpreter frees what others have left at the start of this function."""
        every_tick()
        self._wakings.get()

    def _begin(self, queued: QueuedJob | None) -> QueuedJob | None:
        self._running = queued
        if queued is not None:
            self._begun += 1
            if self._begun % TICK_JOBS == 0:
                every_tick()
            self.has_next = False
            job = queued.job
            job.worker = self
            if job.since != inf:
                wait = max(0.0, time.monotonic() - job.since)
                self.waited += wait
                self.waits[min(int(wait * 1e6).bit_length(), WAIT_BUCKETS - 1)] += 1
        return queued

    def _give_back(self) -> QueuedJob | None:
        """Report the running job as done. Return the next one, which then is the running one; None if none waits."""
        queued, self._running = self._running, None
        assert queued is not None, "a job is running"
        # Read before `done`: then the job belongs to another thread.
        has_stream = queued.job.stream is not None
        queued.done()
        del queued
        following = self._pool.release(self, has_stream=has_stream)
        return None if following is None else self._begin(following)


@hot("submit_all", "release", "look", "_next_job", "_start_jobs", "_wake_one", "_next_queue", "_find_worker")
class ThreadPool:
    """A pool for all reactors of a server.

    A reactor submits all jobs of a round at once, and one thread at most is woken for them. If it finds that more jobs
    wait, it wakes the next one before it begins. So short jobs cost few wake-ups, and long ones soon have all threads.

    Args:
        threads_max: threads that compute at a time.
        queue_max: new jobs that wait.
        streams_max: threads of streams that wait for their clients, beside `threads_max`.
    """

    def __init__(self, threads_max: int, queue_max: int, streams_max: int = 256) -> None:
        self._threads_max = threads_max
        self._queue_max = queue_max
        self._streams_max = streams_max
        self._lock = threading.Lock()
        # The lock guards all that follows.
        self._new: deque[QueuedJob] = deque()
        self._continued: deque[QueuedJob] = deque()
        self._new_is_next = True
        self._idle: list[Worker] = []
        # Threads that have got a message.
        self._to_wake: list[Worker] = []
        # Threads that belong to a stream.
        self._held: set[Worker] = set()
        self._workers: set[Worker] = set()
        self._computing = 0
        # A thread has been woken to look for a job and has not looked yet.
        self._is_waking = False
        self._started = 0
        self._refused = 0
        # What ended threads have counted.
        self._waits = [0] * WAIT_BUCKETS
        self._waited = 0.0
        self._is_closed = False

    def submit(self, job: Job, done: Callable[[], None]) -> bool:
        """Run a job soon and then call `done` in the pool's thread. Safe to call from any thread.

        Return False if a new job finds the queue full, or if not even one thread could start.
        """
        return not self.submit_all((_Queued(job, done),))

    def submit_all[Q: QueuedJob](self, batch: Sequence[Q]) -> list[Q]:
        """Run jobs soon. Return those that are refused, as `submit` says. Safe to call from any thread."""
        refused = []
        with self._lock:
            for queued in batch:
                job = queued.job
                worker = job.worker
                if worker is not None and worker.keeps_slot:
                    worker.keeps_slot = False
                    self._give(worker, queued)
                elif worker is not None or job.is_admitted:
                    if worker is not None:
                        worker.has_next = True
                    self._continued.append(queued)
                elif self._computing - self._is_waking + len(self._new) < self._threads_max + self._queue_max:
                    self._new.append(queued)
                else:
                    refused.append(queued)
            self._start_jobs()
            if not self._workers:
                refused += [queued for queued in batch if queued in self._new]
                self._new.clear()
            self._refused += len(refused)
        self._wake_all()
        return refused

    def release(self, worker: Worker, *, has_stream: bool) -> QueuedJob | None:
        """Note that a thread has finished a job; return its next one, if one waits. Called in that thread."""
        following = None
        with self._lock:
            if not has_stream:
                self._held.discard(worker)
                self._computing -= 1
                following = self._next_job(worker)
            else:
                self._held.add(worker)
                worker.keeps_slot = not worker.has_next and len(self._held) > self._streams_max
                if not worker.keeps_slot:
                    self._computing -= 1
                    self._start_jobs()
                    self._end_surplus()
        self._wake_all()
        return following

    def look(self, worker: Worker) -> QueuedJob | bool | None:
        """Return a job for a thread that was woken; False if none is left, None if the thread must end."""
        with self._lock:
            self._is_waking = False
            self._computing -= 1
            following = self._next_job(worker)
        self._wake_all()
        return following or False

    def close(self) -> None:
        """Let the threads end once the queue is empty. Does not wait for them."""
        with self._lock:
            self._is_closed = True
            self._end_surplus()
        self._wake_all()

    def status(self) -> PoolStatus:
        """Return what the pool does. Safe to call from any thread."""
        with self._lock:
            workers = list(self._workers)
            waits, waited = self._waits.copy(), self._waited
            numbers = (len(workers), self._threads_max, self._computing - self._is_waking, len(self._held))
            queued, refused = len(self._new), self._refused
        for worker in workers:
            waited += worker.waited
            waits = [a + b for a, b in zip(waits, worker.waits.copy(), strict=True)]
        return PoolStatus(*numbers, queued, refused, tuple(waits), waited)

    def oldest_wait(self) -> float:
        """Return for how many seconds the first of the new jobs has waited; 0 if none waits. Any thread may call it."""
        with self._lock:
            since = self._new[0].job.since if self._new else inf
        return time.monotonic() - since if since < inf else 0.0

    def _give(self, worker: Worker, message: QueuedJob | bool | None) -> None:
        worker.messages.append(message)
        self._to_wake.append(worker)

    def _wake_all(self) -> None:
        """Wake the threads that have got a message. Called without the lock, since they take it first."""
        while self._to_wake:
            with suppress(IndexError):
                self._to_wake.pop().wake()

    def _next_job(self, worker: Worker) -> QueuedJob | None:
        """Return the next job for a thread that has none; otherwise the thread is idle."""
        queued = self._start_jobs(worker)
        if queued is None:
            self._idle.append(worker)
            self._end_surplus()
        return queued

    def _start_jobs(self, worker: Worker | None = None) -> QueuedJob | None:
        """Let waiting jobs begin while fewer than `threads_max` threads compute.

        A job of a stream goes to its thread. Of the others the calling thread gets one, and one thread is woken.
        """
        taken = None
        while self._computing < self._threads_max and (jobs := self._next_queue()):
            owner = jobs[0].job.worker
            if owner is None and (worker is None or taken is not None):
                self._wake_one()
                break
            self._computing += 1
            self._new_is_next = jobs is self._continued
            if owner is None:
                taken = jobs.popleft()
            else:
                self._give(owner, jobs.popleft())
        return taken

    def _wake_one(self) -> None:
        """Have an idle or a new thread look for a job, unless one is about to look."""
        if not self._is_waking and (worker := self._find_worker()) is not None:
            self._is_waking = True
            self._computing += 1
            self._give(worker, True)

    def _next_queue(self) -> deque[QueuedJob]:
        """Return the queue whose turn it is, unless it is empty."""
        first, second = self._new, self._continued
        if not self._new_is_next:
            first, second = second, first
        return first or second

    def _find_worker(self) -> Worker | None:
        """Return an idle thread or a new one; None if none can start."""
        if self._idle:
            return self._idle.pop()
        worker = Worker(self, self._started + 1)
        try:
            worker.start()
        except RuntimeError as error:
            log.error("cannot start a thread for blocking handlers: %s; raise the limit on processes", error)
            return None
        self._started += 1
        self._workers.add(worker)
        return worker

    def _end_surplus(self) -> None:
        """End idle threads beyond `threads_max`; in a closed pool all that have nothing to do."""
        while self._idle and (self._is_closed or len(self._workers) - len(self._held) > self._threads_max):
            self._end(self._idle.pop())
        if self._is_closed:
            # Their streams have ended with the server, unless a job is left that closes them.
            for worker in [worker for worker in self._held if not worker.has_next]:
                self._held.remove(worker)
                self._end(worker)

    def _end(self, worker: Worker) -> None:
        self._workers.discard(worker)
        self._waited += worker.waited
        self._waits = [a + b for a, b in zip(self._waits, worker.waits, strict=True)]
        self._give(worker, None)
