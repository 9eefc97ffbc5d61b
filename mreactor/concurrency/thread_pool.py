"""The thread pool in which blocking handlers run, so that reactors never wait.

Threads are started as they are needed, up to a bound, and are daemons: a handler that never returns cannot keep the
process from ending. Work waits in a bounded queue; what finds it full is refused.
"""

import logging
import queue
import threading
from collections.abc import Callable

from .job import Job

log = logging.getLogger("mreactor")

type Done = Callable[[], None]


class ThreadPool:
    """A pool for all reactors of a server.

    Args:
        threads_max: threads at most.
        queue_max: jobs waiting at most.
    """

    def __init__(self, threads_max: int, queue_max: int) -> None:
        self._threads_max = threads_max
        self._queue: queue.Queue[tuple[Job, Done] | None] = queue.Queue(queue_max)
        self._lock = threading.Lock()
        self._started = 0
        self._outstanding = 0  # submitted and not done

    def submit(self, job: Job, done: Done) -> bool:
        """Run a job soon and then call `done` in the pool's thread; False where too many are waiting.

        Called by reactor threads.
        """
        with self._lock:
            if self._started < min(self._outstanding + 1, self._threads_max):
                self._start()
            if not self._started:
                return False  # nobody would ever take it
            try:
                self._queue.put_nowait((job, done))
            except queue.Full:
                return False
            self._outstanding += 1
        return True

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name=f"blocking-{self._started + 1}", daemon=True)
        try:
            thread.start()
        except (
            RuntimeError
        ) as error:  # the system has no more threads to give; those that run take the job in time
            log.error(
                "a thread for blocking handlers could not be started: %s; raise the limit on processes", error
            )
        else:
            self._started += 1

    def close(self) -> None:
        """Let the threads end once the queue is empty; does not wait for them."""
        with self._lock:
            started = self._started
        for _ in range(started):
            try:
                self._queue.put_nowait(None)
            except queue.Full:
                return  # they are daemons: the process can end without them

    def _work(self) -> None:
        while True:
            entry = self._queue.get()
            if entry is None:
                return
            job, done = entry
            job.run()
            done()
            with self._lock:
                self._outstanding -= 1
            del entry, job, done  # the next wait may be long, and a request's body large
