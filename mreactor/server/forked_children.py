"""Forked children: a child that comes back from a handler ends there. See docs/decisions/081."""

import os
import sys
from types import FrameType
from typing import Any, Final, NoReturn

_PACKAGE: Final = __name__.partition(".")[0]
_is_registered = False
# What the locals of the server's functions were: dropping an object could close something.
_kept: list[Any] = []


class _End:
    """An object that ends the process, whatever is done with it."""

    def _end(self, *_: Any) -> NoReturn:
        os._exit(0)

    __getattribute__ = __setattr__ = __call__ = __getitem__ = __setitem__ = __iter__ = __next__ = __bool__ = _end
    __len__ = __eq__ = __lt__ = __gt__ = __le__ = __ge__ = __add__ = __radd__ = __sub__ = __rsub__ = __and__ = _end
    __iadd__ = __contains__ = __enter__ = __exit__ = __str__ = __repr__ = __index__ = __int__ = _end
    __hash__ = None  # type: ignore[assignment]


def end_at_return() -> None:
    """From now on a child that a handler forks ends as soon as it is back in the server's code. Idempotent.

    It has copies of sockets, epoll and rings. It would respond to the parent's clients, and take their requests.
    """
    global _is_registered
    if not _is_registered:
        _is_registered = True
        os.register_at_fork(after_in_child=_replace_locals)


def _replace_locals() -> None:
    """In the child: give the server's functions that have led here nothing to go on with.

    Takes no lock and stops no thread: another thread may have held any lock when the process forked.
    """
    end = _End()
    caller: FrameType | None = sys._getframe(1)
    while caller is not None:
        if str(caller.f_globals.get("__name__")).partition(".")[0] == _PACKAGE:
            variables = caller.f_locals
            for name in list(variables):
                _kept.append(variables[name])
                variables[name] = end
        caller = caller.f_back
