"""A context for each call of a handler on a reactor, for applications that use context variables.

Other applications do not pay for it. See docs/decisions/080.
"""

import sys
from contextvars import Context, ContextVar
from typing import Any

from ..http import Handler, underlying_function


def has_context_variables() -> bool:
    """Return whether a module of the application, or of a library that it uses, has a context variable."""
    for name, module in sys.modules.copy().items():
        if name.partition(".")[0] not in sys.stdlib_module_names:
            values = getattr(module, "__dict__", {}).copy().values()
            if ContextVar in map(type, values):
                return True
    return False


def isolate(handler: Handler, latest: list[Context]) -> Handler:
    """Return a handler that calls another one in a new context, in which nothing is set.

    Args:
        latest: its only element becomes the context of the call.
    """

    def call(request: Any, *value: Any, **keywords: Any) -> Any:
        latest[0] = context = Context()
        # Not `*value, **keywords` at once: that costs as much as the context.
        if keywords:
            return context.run(handler, request, **keywords)
        return context.run(handler, request, value[0]) if value else context.run(handler, request)

    function = underlying_function(handler)
    if function is not None:
        # Log lines name the handler by what it wraps.
        call.__dict__["__wrapped__"] = function
    return call
