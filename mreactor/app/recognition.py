"""From an imported object to the App that is served: whatever the application's interface is."""

from typing import Any

from ..wsgi import Interface, interface_of
from .application import App


def adapt(found: Any, interface: str, *, inline: bool = False) -> App:
    """Return the App that serves an application.

    Args:
        interface: `native`, `wsgi` or `auto`.
        inline: a WSGI application is called in the reactors' threads.

    Raises:
        LookupError: the object has another interface, or none that can be told.
    """
    if isinstance(found, App) and interface != "wsgi":
        return found
    if interface == "native":
        raise LookupError("it is not an App")
    if not callable(found):
        raise LookupError(f"{found!r:.80} is neither an App nor a WSGI application")
    told = Interface.WSGI if interface == "wsgi" else interface_of(found)
    if told == Interface.ASGI:
        raise LookupError("it is an ASGI application, which is not supported; WSGI applications and Apps are")
    if told == Interface.UNKNOWN:
        raise LookupError(
            "it is no App, and it does not take the two arguments of a WSGI application; "
            "write make() to call it, or pass --interface wsgi"
        )
    app = App()
    app.mount_wsgi("/", found, inline=inline)
    return app
