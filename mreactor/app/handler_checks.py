"""What a handler must be, and what is said of one that is not: read when a route is declared."""

import inspect
from typing import Any

from ..http import Handler, Response, describe_handler, underlying_function


class RouteError(ValueError):
    """An invalid route. Raised when the route is declared, not when it is requested."""


def check_factory(factory: Any, pattern: str) -> None:
    """Check that what makes the handler of a mount can be called. Raises as `check_handler`."""
    if not callable(factory):
        hint = f"; for the files of a directory write StaticFiles({factory!r})" if isinstance(factory, str) else ""
        raise RouteError(f"{factory!r}, mounted at {pattern!r}, is not a function that makes a handler{hint}")
    if _is_async(factory):
        raise RouteError(f"what makes the handler of {pattern!r} is async; use a plain function")


def check_handler(handler: Handler, pattern: str, names: list[str]) -> None:
    """Check that a handler is a plain function or object that takes the request and the parameters of the pattern.

    Raises:
        RouteError: it is not; the text says why.
    """
    if isinstance(handler, type) and not issubclass(handler, Response):
        raise RouteError(f"the handler of {pattern!r} is a class; use an instance with __call__, or a method")
    if _is_async(handler):
        raise RouteError(f"the handler of {pattern!r} is async; use a plain function, with blocking=True if it waits")
    try:
        inspect.signature(handler).bind(None, **dict.fromkeys(names))
    except (TypeError, ValueError) as error:
        why = _explain(handler, names) or str(error)
        raise RouteError(
            f"the handler of {pattern!r}, {describe_handler(handler)}, does not fit its parameters: {why}"
        ) from None


def _is_async(handler: Handler) -> bool:
    function = underlying_function(handler)
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _explain(handler: Handler, names: list[str]) -> str:
    """Return what is wrong with a handler's parameters and how they should be; empty if that is something unusual."""
    try:
        parameters = inspect.signature(handler).parameters
    except (TypeError, ValueError):
        return ""
    kinds = {one.kind for one in parameters.values()}
    first = next((one.name for one in parameters.values() if one.kind <= one.POSITIONAL_OR_KEYWORD), "")
    wanted = ", ".join(["request", *names])
    if (first in names and first != "request") or (not first and inspect.Parameter.VAR_POSITIONAL not in kinds):
        return f"its first parameter must be the request; write ({wanted})"
    missing = [repr(name) for name in names if name not in parameters]
    if missing and inspect.Parameter.VAR_KEYWORD not in kinds:
        return f"it does not take {' and '.join(missing)}; write ({wanted})"
    needed = [one.name for one in parameters.values() if one.default is one.empty and one.kind <= one.KEYWORD_ONLY
              and one.kind != one.VAR_POSITIONAL]  # fmt: skip
    more = [f"{{{name}}}" for name in needed if name not in (first, *names)]
    return f"the pattern has no {' and '.join(more)}; write ({wanted})" if more else ""
