"""Request bodies that are too large for memory: in a temporary file without a name.

The reactor writes the file while the body arrives, as nginx does: the bytes go to the page cache. Afterwards any one
thread reads it.
"""

import io
import os
import tempfile
from typing import IO, Any

READ_BYTES = 64 * 1024


class SpooledBody:
    """A body in a file in the directory for temporary files (TMPDIR). The file is gone when this object is.

    Raises:
        OSError: the file cannot be created.
    """

    __slots__ = ("_file", "_length")

    def __init__(self) -> None:
        self._length = 0
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115

    def __del__(self) -> None:
        # Not there if the constructor failed.
        file = getattr(self, "_file", None)
        if file is not None:
            file.close()

    def __len__(self) -> int:
        return self._length

    def append(self, part: bytes | bytearray) -> None:
        """Write one more part. Raises OSError: the disk is full, or a quota is used up."""
        view = memoryview(part)
        while view:
            count = self._file.write(view) or 0
            self._length += count
            view = view[count:]

    def read(self) -> bytes:
        """Return the whole body."""
        with self.open() as stream:
            return stream.read()

    def open(self) -> IO[bytes]:
        """Return a new stream over the body, from its beginning."""
        return io.BufferedReader(_SpoolReader(self), READ_BYTES)

    def close(self) -> None:
        """Give the file back. Idempotent."""
        self._file.close()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._file.fileno()


class _SpoolReader(io.RawIOBase):
    """Reads a body from a position of its own."""

    def __init__(self, body: SpooledBody) -> None:
        self._body = body
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = os.preadv(self._body.fileno(), [buffer], self._position)
        self._position += count
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = (0, self._position, len(self._body))[whence]
        if start + offset < 0:
            raise ValueError("negative seek position")
        self._position = start + offset
        return self._position
