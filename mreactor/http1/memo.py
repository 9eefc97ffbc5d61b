"""A bounded memory of what was made of received bytes."""

from ..runtime import hot

# What is made of a head takes up to thirty times its bytes, so 64 KiB of keys lead to some 2 MiB.
ENTRIES_MAX = 512
KEY_BYTES_MAX = 2048
BYTES_MAX = 64 * 1024


@hot("store")
class Memo[K, V](dict[K, V]):
    """A dict for one reactor that empties itself when it is full.

    A client that never repeats itself makes the others' heads be parsed again now and then, and can do no more.
    """

    def __init__(self) -> None:
        self._bytes = 0

    def store(self, key: K, value: V, size: int) -> V:
        """Keep a value, unless its key is too large; returns the value.

        Args:
            size: the bytes of the key.
        """
        if size <= KEY_BYTES_MAX:
            self._bytes += size
            if len(self) >= ENTRIES_MAX or self._bytes > BYTES_MAX:
                self.clear()
                self._bytes = size
            self[key] = value
        return value
