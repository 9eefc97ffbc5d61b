"""Tracebacks as an application's author needs them: without the frames of the server that lead to the application."""

import importlib
import os
import traceback
from pathlib import Path
from types import TracebackType

# The server's own files, and the import machinery.
_INNER = (str(Path(__file__).parents[1]) + os.sep, str(importlib.__file__), "<frozen importlib", "<frozen runpy")


def format_error(error: BaseException) -> str:
    """Format an error and its causes. Each traceback begins at the application's first frame, if it has one."""
    whole = traceback.TracebackException.from_exception(error)
    _trim(whole, set())
    return "".join(whole.format()).rstrip("\n")


def summarize_error(error: BaseException) -> str:
    """Return the line of a traceback that names the error, without its frames and notes."""
    whole = traceback.TracebackException.from_exception(error)
    whole.__notes__ = None
    # The lines before the last one show the place of a syntax error.
    *_, text = whole.format_exception_only()
    return text.partition("\n")[0]


def application_frames(steps: TracebackType) -> list[traceback.FrameSummary]:
    """Return the frames of a traceback that are neither the server's nor those of the import machinery."""
    return [frame for frame in traceback.extract_tb(steps) if not is_inner(frame.filename)]


def _trim(error: traceback.TracebackException, seen: set[int]) -> None:
    """Drop the frames before the application's first one, in an error and in what led to it."""
    if id(error) in seen:
        return
    seen.add(id(error))
    # A note names the handler whose frame is gone.
    none = len(error.stack) if error.__notes__ else 0
    first = next((place for place, frame in enumerate(error.stack) if not is_inner(frame.filename)), none)
    del error.stack[:first]
    # A syntax error shows its own place. The frames of the import say nothing about it.
    while hasattr(error, "offset") and error.stack and is_inner(error.stack[-1].filename):
        error.stack.pop()
    for other in (error.__cause__, error.__context__, *(error.exceptions or ())):
        if other is not None:
            _trim(other, seen)


def is_inner(filename: str) -> bool:
    """Whether a file is the server's own, or one of the import machinery."""
    return filename.startswith(_INNER)
