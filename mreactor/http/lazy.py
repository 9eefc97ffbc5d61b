"""Attributes that are computed on first use and kept in a slot."""

from collections.abc import Callable
from typing import Any, overload

_NOTHING: Any = object()


class Lazy[T]:
    """A property that is computed once. Its class has a slot `_kept_NAME` for it.

    `functools.cached_property` keeps its values in the object's `__dict__`. Making that for an object of one request
    takes 11 µs on CPython 3.13t, and takes a lock that all objects of the class share. See docs/decisions/092.
    """

    def __init__(self, func: Callable[[Any], T]) -> None:
        self.func = func
        self.__doc__ = func.__doc__
        self._slot = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._slot = f"_kept_{name.lstrip('_')}"

    @overload
    def __get__(self, instance: None, owner: type) -> "Lazy[T]": ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> "Lazy[T] | T":
        """Return the value, computed now if it has not been before; of the class the property itself."""
        if instance is None:
            return self
        value = getattr(instance, self._slot, _NOTHING)
        if value is _NOTHING:
            value = self.func(instance)
            setattr(instance, self._slot, value)
        result: T = value
        return result
