"""From an imported module to the App that is served: whatever the application's interface is."""

from types import ModuleType
from typing import Any

from ..wsgi import Interface, interface_of
from .application import App

# The names that are tried in a module, in this order, if none is given.
USUAL_NAMES = ("application", "app")


def find(module: ModuleType, attribute: str) -> Any:
    """Return the object that `attribute` names: `shop`, `shop.site`, or `make()`, which is called.

    Raises:
        LookupError: the module has no such attribute. What a call raises is not caught.
    """
    if not attribute:
        names = [name for name in USUAL_NAMES if hasattr(module, name)]
        if not names:
            raise LookupError(f"the module has neither {' nor '.join(USUAL_NAMES)}; name one, as in shop:app")
        attribute = names[0]
    found: Any = module
    for name in attribute.removesuffix("()").split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise LookupError(f"{module.__name__} has no {attribute}") from None
    if not attribute.endswith("()"):
        return found
    if not callable(found):
        raise LookupError(f"{attribute.removesuffix('()')} cannot be called")
    return found()


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
        raise LookupError(f"it is neither an App nor a WSGI application, but {found!r:.80}")
    told = Interface.WSGI if interface == "wsgi" else interface_of(found)
    if told == Interface.ASGI:
        raise LookupError("it is an ASGI application, which is not supported; WSGI applications and Apps are")
    if told == Interface.UNKNOWN:
        raise LookupError(
            "it is neither an App nor takes the two arguments of a WSGI application; "
            "write make() to call it, or pass --interface wsgi"
        )
    app = App()
    app.mount_wsgi("/", found, inline=inline)
    return app
