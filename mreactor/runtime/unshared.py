"""Copies of constants, so that two reactors never count references to the same object. See docs/decisions/004."""

from .interpreter import IS_FREE_THREADED


def private_int(value: int) -> int:
    """Return a new int object with the same value. Call it in the thread that uses the int."""
    return int.from_bytes(value.to_bytes(8)) if IS_FREE_THREADED else value


def private_bytes(value: bytes) -> bytes:
    """Return a new bytes object with the same value. Call it in the thread that uses the bytes."""
    return bytes(bytearray(value)) if IS_FREE_THREADED else value
