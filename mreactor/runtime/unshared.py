"""Constants that belong to one thread.

On the free-threaded build every use of an object counts a reference to it, and a count that two cores change
at once costs each of them a multiple of a private one (measured on 3.13t: four loads of such an int 0.06 µs,
0.18 µs with a second thread at it). Ints up to 256 are exempt, and so are the constants of a module that was
loaded from its compiled file. But those of a module that was compiled at this very start (a first run, a
read-only directory, PYTHONDONTWRITEBYTECODE) are not, and every reactor would count the same object.
"""


def private_int(value: int) -> int:
    """A new int object with the same value, for its maker's hot path."""
    return int.from_bytes(value.to_bytes(8))


def private_bytes(value: bytes) -> bytes:
    """The same for bytes."""
    return bytes(bytearray(value))
