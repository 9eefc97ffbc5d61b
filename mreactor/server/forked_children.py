"""Forked children: a child that comes back from a handler ends there. See docs/decisions/081."""

import os
import sys
from typing import Any, Final

_PACKAGE: Final = __name__.partition(".")[0]
_is_registered = False


def end_at_return() -> None:
    """From now on a child that a handler forks ends as soon as it is back in the server's code. Idempotent.

    It has copies of sockets, epoll and rings. It would respond to the parent's clients, and take their requests.
    """
    global _is_registered
    if not _is_registered:
        _is_registered = True
        os.register_at_fork(after_in_child=_watch_callers)


def _watch_callers() -> None:
    """In the child: have the interpreter report the next instruction of the server's functions that have led here.

    The child's own code is not slowed down.
    """
    monitoring, frame = sys.monitoring, sys._getframe(1)
    codes = set()
    caller: Any = frame
    while caller is not None:
        if str(caller.f_globals.get("__name__")).partition(".")[0] == _PACKAGE:
            codes.add(caller.f_code)
        caller = caller.f_back
    tool = next((number for number in range(6) if monitoring.get_tool(number) is None), None)
    if not codes or tool is None:
        return
    monitoring.use_tool_id(tool, _PACKAGE)
    monitoring.register_callback(tool, monitoring.events.INSTRUCTION, _end)
    for code in codes:
        monitoring.set_local_events(tool, code, monitoring.events.INSTRUCTION)


def _end(*_: object) -> None:
    os._exit(0)
