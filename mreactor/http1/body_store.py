"""Where a request body is kept while it arrives: in memory while it is small, otherwise in a temporary file."""

import errno
import logging

from ..http import HTTPError, SpooledBody

log = logging.getLogger("mreactor")

# What a full disk says; EFBIG is what a limit on the size of files says.
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

# Smaller parts wait for others: each write costs a microsecond or more.
WRITE_BYTES = 16 * 1024


class BodyStore:
    """The content of one body. Reactor thread only, until `content` is called.

    Args:
        memory_max: bytes that are kept in memory.
        length: of the whole body, if it is known: what does not fit into memory goes to the file from the beginning.
    """

    __slots__ = ("_content", "_held_max", "_spooled")

    def __init__(self, memory_max: int, length: int = 0) -> None:
        # With a file, the bytes that wait for the next write.
        self._held_max = min(memory_max, WRITE_BYTES) if length > memory_max else memory_max
        self._content: bytes | bytearray = b""
        self._spooled: SpooledBody | None = None

    @property
    def in_memory(self) -> int:
        """Bytes that are held in memory."""
        return len(self._content)

    def append(self, part: bytes) -> None:
        """Add the next bytes. Raises HTTPError: 507, the disk is full; 503, the file cannot be created or written."""
        content = self._content
        if len(content) + len(part) > self._held_max:
            self._spool(part)
        elif not content:
            # Most bodies come in one piece, which is then never copied.
            self._content = part
        else:
            # A list of parts would take 30 times the size of tiny ones.
            if isinstance(content, bytes):
                self._content = content = bytearray(content)
            content += part

    def content(self) -> bytes | SpooledBody:
        """Return the whole body, which then belongs to the caller. Raises as `append`."""
        if self._spooled is None:
            return bytes(self._content)
        self._spool(b"")
        spooled, self._spooled = self._spooled, None
        return spooled

    def close(self) -> None:
        """Drop what has come."""
        self._content = b""
        if self._spooled is not None:
            self._spooled.close()

    def _spool(self, part: bytes) -> None:
        """Write what is held, and a part, to the file."""
        try:
            if self._spooled is None:
                self._spooled = SpooledBody()
                self._held_max = min(self._held_max, WRITE_BYTES)
            for piece in (self._content, part):
                self._spooled.append(piece)
            self._content = b""
        except OSError as error:
            log.error("cannot keep a request body in a temporary file: %s; see TMPDIR", error.strerror)
            if error.errno in NO_SPACE:
                raise HTTPError(507, "The server has no room for this request.") from None
            raise HTTPError(503, "The server cannot keep this request now.") from None
