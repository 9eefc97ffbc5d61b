"""The registry of the request path: its classes, and the methods that a request passes through.

Classes register when they are defined, in the thread that imports them. Afterwards the registry is only read.
"""

from collections.abc import Callable

HOT: dict[type, tuple[str, ...]] = {}


def hot[C: type](*methods: str) -> Callable[[C], C]:
    """Mark a class of the request path, so that its attribute names do not collide in the type cache.

    Args:
        methods: the methods that the commonest requests pass through: a new connection, its first request, and later
            requests. Give none for a class whose attributes only other classes' methods use.

    Raises:
        AttributeError: the class has no such method. A renamed method fails at import.
    """

    def mark(cls: C) -> C:
        for method in methods:
            getattr(cls, method)
        HOT[cls] = methods
        return cls

    return mark
