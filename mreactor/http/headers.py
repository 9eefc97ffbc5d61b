"""Header fields of a request: an immutable, case-insensitive view (RFC 9110 section 5)."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, overload

from ..runtime import hot

# Fields of requests that hold one value, which may have commas in it. If a client repeats one, the first counts.
SINGLE_FIELDS = frozenset(
    {"authorization", "content-type", "date", "from", "host", "if-modified-since", "if-range", "if-unmodified-since"}
    | {"max-forwards", "origin", "proxy-authorization", "range", "referer", "user-agent"}
)


@hot("__init__", "get")
class Headers(Mapping[str, str]):
    """Header fields by lower-case name.

    Repeated fields are joined with `, ` (RFC 9110 section 5.3), Cookie with `; ` (RFC 9113 section 8.2.3). Of fields
    that hold one value the first counts.

    Equal requests share one instance, so it cannot be changed. Names and values are decoded as ISO-8859-1, one
    character a byte, so nothing is lost.
    """

    __slots__ = ("_fields", "_joined")

    def __init__(self, fields: tuple[tuple[str, str], ...] = ()) -> None:
        self._fields = fields
        self._joined = dict(fields)
        if len(self._joined) < len(fields):
            self._joined = _join(fields)

    def __getitem__(self, name: str) -> str:
        """Return the value of a field; the case of the name does not matter.

        Raises:
            KeyError: the request has no such field.
        """
        return self._joined[name.lower()]

    @overload
    def get(self, name: str, default: None = None) -> str | None: ...
    @overload
    def get(self, name: str, default: str) -> str: ...
    @overload
    def get[T](self, name: str, default: T) -> str | T: ...

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a field, or the default, without the exception that `Mapping.get` raises and catches."""
        # Most callers pass a lower-case name, which needs no `lower`.
        value = self._joined.get(name)
        return self._joined.get(name.lower(), default) if value is None else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._joined)

    def __len__(self) -> int:
        return len(self._joined)

    def get_all(self, name: str) -> list[str]:
        """Return the values of all lines with this name, in the order received."""
        wanted = name.lower()
        return [value for field, value in self._fields if field == wanted]

    def __repr__(self) -> str:
        return f"Headers({self._fields!r})"


def parse_headers(lines: Iterable[bytes]) -> Headers:
    """Decode field lines, each checked and without its CR LF (RFC 9112 section 5)."""
    fields = []
    for line in lines:
        name, _, value = line.decode("latin-1").partition(":")
        fields.append((name.lower(), value.strip("\t ")))
    return Headers(tuple(fields))


def _join(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Join the values of fields with the same name."""
    values: dict[str, str] = {}
    for name, value in fields:
        joined = values.get(name)
        if joined is None:
            values[name] = value
        elif name not in SINGLE_FIELDS:
            values[name] = f"{joined}{'; ' if name == 'cookie' else ', '}{value}"
    return values
