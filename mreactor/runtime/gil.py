"""The GIL: whether it is on, and which extension module has switched it on.

A free-threaded interpreter switches the GIL on for good when it loads an extension module that does not say that it can
run without. That may happen within any request. The interpreter warns once, by a RuntimeWarning that names the module.
"""

import functools
import re
import sys
import threading
import warnings
from typing import Any

from .interpreter import IS_FREE_THREADED

_WARNING = re.compile(r"The global interpreter lock \(GIL\) has been enabled to load module '([^']+)'")

_lock = threading.Lock()
# What the interpreter has warned of; the lock guards it.
_modules: list[str] = []


def has_gil() -> bool:
    """Tell whether only one thread runs Python at a time. An extension may switch the GIL on at any time."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def watch_gil() -> None:
    """Note the interpreter's warning from now on, whatever the application does with warnings. Idempotent."""
    if not IS_FREE_THREADED or getattr(warnings.showwarning, "notes_gil", False):
        return
    show = warnings.showwarning

    def note(message: Warning | str, *arguments: Any, **keywords: Any) -> None:
        found = _WARNING.match(str(message))
        if found is None:
            show(message, *arguments, **keywords)
            return
        with _lock:
            _modules.append(found[1])

    note.notes_gil = True  # type: ignore[attr-defined]
    warnings.showwarning = note
    warnings.filterwarnings("always", _WARNING.pattern, RuntimeWarning)


def gil_cause() -> str:
    """Return why the GIL is on and what to do about it, in one line; empty if it is off."""
    if not has_gil():
        return ""
    if not IS_FREE_THREADED:
        return "the GIL is on: reactors do not run in parallel; use a free-threaded build such as python3.13t"
    with _lock:
        modules = _modules[:1]
    if not modules and getattr(sys.flags, "gil", None) == 1:
        return "the GIL is on: reactors do not run in parallel; start without PYTHON_GIL=1 and -X gil=1"
    if modules:
        who = f"the extension module {modules[0]}{_distribution_of(modules[0])} has switched it on"
    else:
        who = "an extension module has switched it on"
    return f"the GIL is on: {who}, so threads do not run in parallel; use a version that supports free threading"


@functools.cache
def _distribution_of(module: str) -> str:
    """Return the distribution that a module belongs to, in brackets; empty if that cannot be told."""
    # Its import would make each start slower, also without such a module.
    import importlib.metadata

    top = module.partition(".")[0]
    try:
        names = importlib.metadata.packages_distributions().get(top, [])
        return "".join(f" ({name} {importlib.metadata.version(name)})" for name in names[:1])
    except Exception:
        # Metadata of installed packages may be broken in many ways.
        return ""
