"""`wsgi.file_wrapper`: files that an application returns, sent by the kernel where that can be had."""

import io
import os
import stat
import tempfile
from collections.abc import Callable
from typing import Any, Final, Self

from ..protocol import FileBody

# A smaller file is read: two system calls of its own would cost more than the copy.
SENDFILE_BYTES_MIN: Final = 64 * 1024
# Only of these is the descriptor known to hold the very bytes that `read` returns. Others have one, too: GzipFile.
PLAIN_FILES: Final = (io.BufferedReader, io.BufferedRandom, io.FileIO)


class FileWrapper:
    """An iterable over the rest of a file, in blocks (PEP 3333). Closing it closes the file.

    Args:
        filelike: an object with `read`.
        block_size: bytes that one `read` asks for.
    """

    def __init__(self, filelike: Any, block_size: int = 64 * 1024) -> None:
        self.filelike = filelike
        self.block_size = block_size
        # Also a file without `close` can be sent.
        self.close: Callable[[], object] = getattr(filelike, "close", _nothing)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        block: bytes = self.filelike.read(self.block_size)
        if block:
            return block
        raise StopIteration

    def region(self) -> FileBody | bytes | None:
        """Return the rest of a plain file, with a descriptor of its own or read if it is small; None for other objects.

        Raises:
            OSError: the file cannot be read, or no descriptor is free.
        """
        file = self.filelike
        if isinstance(file, tempfile._TemporaryFileWrapper):
            file = file.file
        if type(file) not in PLAIN_FILES:
            return None
        fd = file.fileno()
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        # `tell` knows what has been read ahead, and `flush` writes what has not been written.
        file.flush()
        offset = file.tell()
        length = max(0, os.fstat(fd).st_size - offset)
        if length < SENDFILE_BYTES_MIN:
            return bytes(file.read())
        return FileBody(os.dup(fd), offset, length)


def _nothing() -> None:
    """Close nothing."""
