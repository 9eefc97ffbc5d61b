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
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from .job import Job

log = logging.getLogger("mreactor")

type Done = Callable[[], None]


class QueuedJob(NamedTuple):
    """A job and its callback."""

    job: Job
    done: Done


class Worker(threading.Thread):
    """One thread of a pool.

    Attributes:
        inbox: jobs that the pool has given to this thread. None ends it.
        keeps_slot: the thread waits for its stream's next job and counts as computing. The pool's lock guards it.
        has_next: its stream's next job has been submitted and has not begun.
    """

    def __init__(self, pool: "ThreadPool", number: int) -> None:
        super().__init__(name=f"blocking-{number}", daemon=True)
        self.inbox: queue.SimpleQueue[QueuedJob | None] = queue.SimpleQueue()
        self.keeps_slot = False
        self.has_next = False
        self._pool = pool
        self._running: QueuedJob | None = None

    def run(self) -> None:
        """Run jobs until the pool ends the thread."""
        while (queued := self._next()) is not None:
            queued.job.run()
            if self._running is not queued:
                # The call has handed over parts and is over. What was asked for meanwhile comes next.
                queued = self._running
                if queued is None:
                    return
                queued.job.run()
            # Free the request's body: the next job may be long in coming.
            del queued
            self._give_back()

    def hand_over(self, result: Any) -> Job | None:
        """Give the running job back with a first or further result while its call goes on. Called within that call.

        Return when the stream's next job has come, which is the running one from now on: the part that follows, or the
        closing. Return None if the pool ends the thread.
        """
        assert self._running is not None, "a call is running"
        self._running.job.accept(result)
        self._give_back()
        queued = self._next()
        return None if queued is None else queued.job

    def _next(self) -> QueuedJob | None:
        """Wait for the next job, which then is the running one."""
        self._running = queued = self.inbox.get()
        if queued is not None:
            self.has_next = False
            queued.job.worker = self
        return queued

    def _give_back(self) -> None:
        """Report the running job as done."""
        queued, self._running = self._running, None
        assert queued is not None, "a job is running"
        # Read before `done`: then the job belongs to another thread.
        has_stream = queued.job.stream is not None
        queued.done()
        del queued
        self._pool.release(self, has_stream=has_stream)


class ThreadPool:
    """A pool for all reactors of a server.

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
        # Threads that belong to a stream.
        self._held: set[Worker] = set()
        self._workers = 0
        self._computing = 0
        self._started = 0
        self._is_closed = False

    def submit(self, job: Job, done: Done) -> bool:
        """Run a job soon and then call `done` in the pool's thread. Safe to call from any thread.

        Return False if a new job finds the queue full, or if not even one thread could start.
        """
        queued = QueuedJob(job, done)
        with self._lock:
            if job.worker is not None and job.worker.keeps_slot:
                job.worker.keeps_slot = False
                job.worker.inbox.put(queued)
            elif job.worker is not None or job.is_admitted:
                if job.worker is not None:
                    job.worker.has_next = True
                self._continued.append(queued)
                self._start_jobs()
            else:
                return self._submit_new(queued)
        return True

    def _submit_new(self, queued: QueuedJob) -> bool:
        if len(self._new) >= self._queue_max and self._computing >= self._threads_max:
            return False
        self._new.append(queued)
        self._start_jobs()
        if not self._workers:
            self._new.remove(queued)
            return False
        return True

    def release(self, worker: Worker, *, has_stream: bool) -> None:
        """Note that a thread has finished a job. Called in that thread."""
        with self._lock:
            if has_stream:
                self._held.add(worker)
                worker.keeps_slot = not worker.has_next and len(self._held) > self._streams_max
                if worker.keeps_slot:
                    return
            else:
                self._held.discard(worker)
                self._idle.append(worker)
            self._computing -= 1
            self._start_jobs()
            self._end_surplus()

    def close(self) -> None:
        """Let the threads end once the queue is empty. Does not wait for them."""
        with self._lock:
            self._is_closed = True
            self._end_surplus()

    def _start_jobs(self) -> None:
        """Give waiting jobs to threads while fewer than `threads_max` compute."""
        while self._computing < self._threads_max and (jobs := self._next_queue()):
            worker = jobs[0].job.worker or self._find_worker()
            if worker is None:
                # A thread that finishes its job takes it.
                return
            self._computing += 1
            self._new_is_next = jobs is self._continued
            worker.inbox.put(jobs.popleft())

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
        self._workers += 1
        return worker

    def _end_surplus(self) -> None:
        """End idle threads beyond `threads_max`; in a closed pool all that have nothing to do."""
        while self._idle and (self._is_closed or self._workers - len(self._held) > self._threads_max):
            self._workers -= 1
            self._idle.pop().inbox.put(None)
        if self._is_closed:
            # Their streams have ended with the server, unless a job is left that closes them.
            for worker in [worker for worker in self._held if not worker.has_next]:
                self._held.remove(worker)
                worker.inbox.put(None)
