"""What a reactor asks of a connection, and what both share."""

import os


class FileBody:
    """A part of an open regular file, to be sent by the kernel. Its owner closes it when the answer is over."""

    __slots__ = ("fd", "offset", "remaining")

    def __init__(self, fd: int, offset: int, length: int) -> None:
        self.fd = fd
        self.offset = offset
        self.remaining = length

    def __len__(self) -> int:
        return self.remaining

    def advance(self, count: int) -> None:
        """Note that `count` bytes have gone out."""
        self.offset += count
        self.remaining -= count

    def close(self) -> None:
        """Close the file; again does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
