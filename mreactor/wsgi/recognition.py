"""What an imported object is: an App of mreactor's, a WSGI application, or something else."""

import inspect
from enum import StrEnum
from typing import Any

from ..http import underlying_function


class Interface(StrEnum):
    """The ways in which a server may call an application."""

    WSGI = "wsgi"
    ASGI = "asgi"
    UNKNOWN = "unknown"


def interface_of(found: Any) -> Interface:
    """Tell by its signature how a callable wants to be called.

    WSGI applications take two arguments, `environ` and `start_response`; ASGI applications are coroutine functions
    with three.
    """
    if not callable(found) or inspect.isclass(found):
        return Interface.UNKNOWN
    if inspect.iscoroutinefunction(underlying_function(found)):
        return Interface.ASGI
    try:
        inspect.signature(found).bind({}, None)
    except (TypeError, ValueError):
        return Interface.UNKNOWN
    return Interface.WSGI
