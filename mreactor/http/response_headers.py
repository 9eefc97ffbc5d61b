"""The header fields of a response: pairs in the order in which they are sent, read and changed by name."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from .response import Response

type Fields = tuple[tuple[str, str], ...]


class ResponseHeaders:
    """A view of a response's header fields. Names are case-insensitive. Each change is checked, as `Response` does.

    Iteration yields pairs, and two views are equal if their pairs are.
    """

    __slots__ = ("_response",)

    def __init__(self, response: "Response") -> None:
        self._response = response

    @overload
    def __getitem__(self, name: str) -> str: ...
    @overload
    def __getitem__(self, name: int) -> tuple[str, str]: ...
    @overload
    def __getitem__(self, name: slice) -> Fields: ...

    def __getitem__(self, name: str | int | slice) -> str | tuple[str, str] | Fields:
        """Return the first value of a field; of a number or a slice the pairs there.

        Raises:
            KeyError: the response has no such field.
        """
        if not isinstance(name, str):
            return self._response.parts[3][name]
        for value in self.get_all(name):
            return value
        raise KeyError(name)

    def __setitem__(self, name: str, value: str) -> None:
        """Set a field, in place of all others of this name."""
        self._response.headers = (*self._without(name), (name, value))

    def __delitem__(self, name: str) -> None:
        """Remove all fields of a name.

        Raises:
            KeyError: the response has no such field.
        """
        if name not in self:
            raise KeyError(name)
        self._response.headers = self._without(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.get_all(name))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._response.parts[3])

    def __len__(self) -> int:
        return len(self._response.parts[3])

    def __add__(self, more: Fields) -> Fields:
        return (*self, *more)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Iterable) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the first value of a field, or the default."""
        return next(iter(self.get_all(name)), default)

    def get_all(self, name: str) -> list[str]:
        """Return all values of a field, in order."""
        wanted = name.lower()
        return [value for field, value in self if field.lower() == wanted]

    def add(self, name: str, value: str) -> None:
        """Add a field behind those that are there, also of the same name."""
        self._response.headers = (*self, (name, value))

    def setdefault(self, name: str, value: str) -> str:
        """Set a field unless it is there. Return its value."""
        if name not in self:
            self.add(name, value)
        return self[name]

    def _without(self, name: str) -> Fields:
        wanted = name.lower()
        return tuple((field, value) for field, value in self if field.lower() != wanted)

    def __repr__(self) -> str:
        return f"ResponseHeaders({tuple(self)!r})"
