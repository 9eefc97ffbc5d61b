"""A bounded memory of what was made of bytes or texts that may come again. See docs/decisions/091."""

from collections.abc import Callable, Hashable
from typing import Any

from ..runtime import hot

# Of each generation. What is made of a head takes up to fifty times its bytes, so 64 KiB of keys lead to some 3 MiB.
ENTRIES_MAX = 512
KEY_BYTES_MAX = 4096
BYTES_MAX = 64 * 1024

# A key that comes again before about half as many others is recognised.
SIGHTINGS = 2048


@hot("__missing__")
class Memo[K: Hashable, V](dict[K, V]):
    """A dict for one thread that makes what it does not know: `memo[key]`.

    It remembers a value from its key's second sight on, so what never repeats drives out nothing. It knows a second
    sight by the hash, among those of the last keys. The dict has two generations: when the young one is full, it
    becomes the old one, from which an entry returns when it is used. So the memory is bounded, and entries in use stay.

    Args:
        make: makes the value of a key, never None. What it raises is not remembered.
        size: the bytes of a key.
    """

    __slots__ = ("_bytes", "_find_old", "_make", "_seen", "_size")

    def __init__(self, make: Callable[[K], V], size: Callable[[Any], int] = len) -> None:
        self._make = make
        self._size = size
        self._bytes = 0
        old: dict[K, V] = {}
        self._find_old: Callable[[K], V | None] = old.get
        self._seen: set[int] = set()

    def __missing__(self, key: K) -> V:
        value = self._find_old(key)
        if value is None:
            value = self._make(key)
            seen = self._seen
            if (number := hash(key)) not in seen:
                if len(seen) >= SIGHTINGS:
                    seen.clear()
                seen.add(number)
                return value
        size = self._size(key)
        if size <= KEY_BYTES_MAX:
            self._bytes += size
            if len(self) >= ENTRIES_MAX or self._bytes > BYTES_MAX:
                self._find_old = self.copy().get
                self.clear()
                self._bytes = size
            self[key] = value
        return value
