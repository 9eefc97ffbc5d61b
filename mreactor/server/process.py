"""What belongs to the whole process: its standard descriptors, and its end. Main thread only."""

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from ..logs import flush

log = logging.getLogger("mreactor")

# What the application's threads and exit handlers get at least, and the flushing of standard output.
EXIT_SECONDS_MIN = 1.0


def open_standard_descriptors() -> None:
    """Open /dev/null on each standard descriptor that is closed. Otherwise a socket or a log file gets its number."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            # The kernel gives the lowest free number, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def end_process(code: int, deadline: float = 0.0) -> NoReturn:
    """End the process with an exit code, by `deadline` or soon after.

    Like the interpreter, wait for the application's threads and executors, call its `atexit` handlers, and flush the
    standard streams. The interpreter does so without a bound. It also aborts the process if a daemon thread holds the
    buffer of standard output, and on free-threaded builds it can wait for a lock of a thread that it has stopped.

    Args:
        code: the exit code.
        deadline: monotonic seconds.
    """
    seconds = max(deadline - time.monotonic(), EXIT_SECONDS_MIN)
    try:
        threading.Thread(target=_exit_after, args=(seconds, code), name="exit", daemon=True).start()
        # The order is that of `Py_FinalizeEx`.
        for step in (threading._shutdown, atexit._run_exitfuncs, _flush):  # type: ignore[attr-defined]
            _run(step)
    finally:
        # If that thread cannot start, nothing bounds the steps, and they are left out.
        os._exit(code)


def _run(step: Callable[[], object]) -> None:
    try:
        step()
    except BaseException:
        log.exception("the application failed while the process was ending")


def _flush() -> None:
    flush()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            # It was closed at the start, its reader is gone, or the application has closed it.
            pass


def _exit_after(seconds: float, code: int) -> NoReturn:
    """Exit, however long the main thread takes. The interpreter is not finalizing, so this thread still runs."""
    time.sleep(seconds)
    os._exit(code)
