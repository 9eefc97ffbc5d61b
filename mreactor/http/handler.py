"""Handlers as Python functions: which code a callable runs, and how a message names it."""

from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from inspect import get_annotations, unwrap
from types import CodeType, FunctionType, MethodType
from typing import Any, get_args, get_origin

from .pause import Pause

type Handler = Callable[..., Any]


class MustWait(Exception):
    """A handler that runs in a reactor has found that this request makes it wait, for a disk for example.

    It raises this, and the server calls it again for the same request in the thread pool, as if it were blocking.
    """


def underlying_function(handler: Handler) -> FunctionType | None:
    """Return the Python function that a call of the handler runs; None if there is none, as for a class.

    It looks through partials, decorators that keep what they wrap, methods, and objects with `__call__`.
    """
    # Each step leads to a simpler callable.
    while not isinstance(handler, FunctionType):
        if isinstance(handler, partial):
            handler = handler.func
        elif isinstance(handler, MethodType):
            handler = handler.__func__
        elif not isinstance(handler, type) and isinstance(call := type(handler).__call__, FunctionType):
            handler = call
        else:
            return None
    return handler


def describe_handler(handler: Handler) -> str:
    """Return the handler's name, and the file and line of its code."""
    function = underlying_function(handler)
    if function is None:
        return repr(handler)
    inner = unwrap(function)
    if not isinstance(inner, FunctionType):
        # A decorator has wrapped an object.
        return describe_handler(inner)
    return describe_code(inner.__code__)


def describe_code(code: CodeType) -> str:
    """Return the name, the file and the line of a function's code."""
    return f"{code.co_qualname} ({code.co_filename}, line {code.co_firstlineno})"


def yields_text(handler: Handler) -> bool:
    """Whether the handler is annotated to return an iterator of `str`, such as `Iterator[str]`, also with pauses."""
    function = underlying_function(handler)
    if function is None:
        return False
    try:
        returned = get_annotations(unwrap(function), eval_str=True).get("return")
    except (NameError, TypeError, SyntaxError, AttributeError):
        # An annotation may name what is imported for type checkers only.
        return False
    if get_origin(returned) not in (Iterator, Iterable, Generator):
        return False
    (part, *_) = get_args(returned)
    return {*(get_args(part) or (part,))} - {Pause} == {str}
