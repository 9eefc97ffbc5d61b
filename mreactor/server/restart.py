"""A restart without loss: a new process takes the listening sockets and answers, then this one drains.

    this process   SIGUSR2 --command line, listening sockets--> new process      waits on a pipe, and serves on
    new process    starts as always, with those sockets         --what it took--> this process
    this process   drains; or, if the new one fails, serves on and says why

See docs/decisions/075.
"""

import json
import logging
import os
import select
import subprocess
import time
from collections.abc import Sequence

from ..net import Listener
from .notify import Notifier
from .startup import HANDOVER, Startup

log = logging.getLogger("mreactor")

# How often the main thread looks whether the new process has answered.
POLL_SECONDS = 0.05
EXIT_SECONDS_MAX = 5.0
ANSWER_BYTES_MAX = 64 * 1024


class Restart:
    """The restarts of a server. Main thread only.

    Args:
        startup: what this process was started with.
        notifier: hears of the state.
        seconds: the time that a new process has to start.

    Attributes:
        successor: the new process; None if there is none.
    """

    def __init__(self, startup: Startup, notifier: Notifier, seconds: float) -> None:
        self._startup = startup
        self._notifier = notifier
        self._seconds = seconds
        self.successor: Successor | None = None

    def begin(self, listeners: Sequence[Listener]) -> None:
        """Start a new process. `is_complete` waits for it."""
        if self.successor is not None:
            log.info("SIGUSR2: a new process is already starting")
            return
        if os.getpid() == 1:
            log.error("SIGUSR2: process 1 cannot be replaced, because its container ends with it")
            return
        self._notifier.reloading("starting a new process")
        try:
            self.successor = Successor(self._startup, listeners, self._seconds)
        except OSError as error:
            self._go_on(f"the new process cannot be started: {error.strerror}")
            return
        log.info("SIGUSR2: starting process %d", self.successor.pid)

    def is_complete(self) -> bool:
        """Return whether the new process serves. If it has failed, this process keeps serving."""
        successor = self.successor
        if successor is None or not successor.has_answered():
            return False
        if successor.failure:
            self._go_on(f"process {successor.pid} does not serve, so this one keeps serving: {successor.failure}")
        return self.successor is not None

    def cancel(self) -> None:
        """End a new process that has not answered yet."""
        if self.successor is not None:
            self.successor.end()

    def _go_on(self, failure: str) -> None:
        self.successor = None
        log.error("%s", failure)
        self._notifier.ready(failure)


class Successor:
    """The new process while it starts. Main thread only.

    Args:
        startup: what this process was started with.
        listeners: the sockets to hand over.
        seconds: after so long it is ended.

    Attributes:
        pid: its process.
        failure: why it does not serve; empty while it may.
        taken: keys of the listeners that it serves, once it does.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, startup: Startup, listeners: Sequence[Listener], seconds: float) -> None:
        self._reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        sockets = [(listener.key, listener.sock.fileno()) for listener in listeners]
        handover = json.dumps({"pid": os.getpid(), "reply": writer, "sockets": sockets})
        try:
            self._process = subprocess.Popen(
                startup.command,
                cwd=startup.folder,
                env={**startup.environment, HANDOVER: handover},
                pass_fds=(writer, *(fd for _, fd in sockets)),
            )
        except BaseException:
            os.close(self._reader)
            raise
        finally:
            os.close(writer)
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._answer = b""
        self.pid = self._process.pid
        self.failure = ""
        self.taken: list[str] = []

    def has_answered(self) -> bool:
        """Return whether it serves, or has failed."""
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        while poll.poll(0):
            if data := os.read(self._reader, ANSWER_BYTES_MAX):
                self._answer += data
                continue
            self._conclude()
            return True
        if time.monotonic() > self._deadline:
            self._fail(f"it did not start within {self._seconds:g} s")
            return True
        return False

    def end(self) -> None:
        """Ask it to end: this process is about to end as well."""
        os.close(self._reader)
        self._process.terminate()

    def _conclude(self) -> None:
        """Read the answer, which is complete since the pipe is closed."""
        try:
            answer = json.loads(self._answer)
            self.failure, self.taken = answer.get("failure", ""), answer.get("taken", [])
        except ValueError:
            self.failure = "it ended without a word"
        if self.failure:
            self._fail(self.failure)
        else:
            os.close(self._reader)

    def _fail(self, failure: str) -> None:
        os.close(self._reader)
        try:
            code = self._process.wait(EXIT_SECONDS_MAX if self._answer or time.monotonic() < self._deadline else 0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self.failure = f"{failure} (exit code {code})"
