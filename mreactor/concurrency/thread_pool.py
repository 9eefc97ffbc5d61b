"""The thread pool that runs blocking handlers, so that reactors never wait. See docs/decisions/037.

The pool starts threads on demand, up to a limit. They are daemons: a handler that never returns cannot keep the process
alive. Jobs wait in a bounded queue. The pool rejects a job that finds the queue full.
"""

import logging
import queue
import threading
from collections.abc import Callable
from typing import NamedTuple

from .job import Job

log = logging.getLogger("mreactor")

type Done = Callable[[], None]


class QueuedJob(NamedTuple):
    """A job and its callback."""

    job: Job
    done: Done


class ThreadPool:
    """A pool of at most `threads_max` threads and `queue_max` waiting jobs, for all reactors of a server."""

    def __init__(self, threads_max: int, queue_max: int) -> None:
        self._threads_max = threads_max
        # None ends the thread that takes it.
        self._queue: queue.Queue[QueuedJob | None] = queue.Queue(queue_max)
        self._lock = threading.Lock()
        self._started = 0
        # Jobs that are submitted and not done.
        self._outstanding = 0

    def submit(self, job: Job, done: Done) -> bool:
        """Run a job soon and then call `done` in the pool's thread. Safe to call from any thread.

        Return False if the queue is full, or if not even one thread could start.
        """
        with self._lock:
            if self._started < min(self._outstanding + 1, self._threads_max):
                self._start_thread()
            if not self._started:
                return False
            try:
                self._queue.put_nowait(QueuedJob(job, done))
            except queue.Full:
                return False
            self._outstanding += 1
        return True

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._work, name=f"blocking-{self._started + 1}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            # The running threads take the job when they are free.
            log.error("cannot start a thread for blocking handlers: %s; raise the limit on processes", error)
        else:
            self._started += 1

    def close(self) -> None:
        """Let the threads end once the queue is empty. Does not wait for them."""
        with self._lock:
            started = self._started
        for _ in range(started):
            try:
                self._queue.put_nowait(None)
            except queue.Full:
                # The process can end without them: they are daemons.
                return

    def _work(self) -> None:
        while (queued := self._queue.get()) is not None:
            queued.job.run()
            queued.done()
            with self._lock:
                self._outstanding -= 1
            # Free the request's body: the next job may be long in coming.
            del queued
