"""Message bodies: from bytes on the connection to the body's content (RFC 9112 sections 6 and 7).

A decoder is fed what arrives, keeps its place, and finds the body's end. The outcome does not depend on how the bytes
were split.
"""

from collections.abc import Callable

from ..config import Limits
from ..http import HTTPError, RequestHead
from .body_store import BodyStore
from .grammar import CHUNK_LINE, FIELD_LINE, FORBIDDEN

# A chunk's size with its extensions.
CHUNK_LINE_BYTES_MAX = 1024
# All chunk extensions of a body. They are read and dropped, which costs time.
EXTENSION_BYTES_MAX = 16 * 1024
TRAILER_BYTES_MAX = 8 * 1024
# Every chunk costs some microseconds, whatever its size. So chunks end a turn, and past FRAMING_BYTES_MAX a body whose
# framing is FRAMING_RATIO_MAX times its content is refused.
CHUNKS_A_TURN_MAX = 256
FRAMING_BYTES_MAX = 100 * 1024
FRAMING_RATIO_MAX = 4


class ContentLengthDecoder:
    """A body of announced length (RFC 9112 section 6.2).

    Attributes:
        store: keeps the content.
        received: bytes of content so far.
    """

    __slots__ = ("_missing", "received", "store")

    paused_at = -1  # never: it costs no more than the bytes

    def __init__(self, length: int, memory_max: int) -> None:
        self._missing = length
        self.store = BodyStore(memory_max, length)
        self.received = 0

    def feed(self, data: bytes, start: int) -> int | None:
        """Take the body's bytes from `data[start:]`.

        Returns:
            the offset past the body, or None while more is needed (then all of `data` is taken).
        """
        part = data[start : start + self._missing]
        self.store.append(part)
        self.received += len(part)
        self._missing -= len(part)
        return None if self._missing else start + len(part)


class ChunkedDecoder:
    """A body in chunked coding, trailers included (RFC 9112 section 7.1).

    Trailer fields are checked and dropped, so no handler mistakes them for header fields (RFC 9110 section 6.5.1).

    Attributes:
        store: keeps the content.
        received: bytes of content so far. Framing does not count towards a body's rate.
        paused_at: the offset at which the last `feed` stopped, because it has read enough chunks for one turn; else -1.
    """

    __slots__ = (
        "_chunks", "_extensions", "_framing", "_limits", "_line", "_missing", "_step", "_trailer_bytes",
        "_trailers", "paused_at", "received", "store",
    )  # fmt: skip

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.store = BodyStore(limits.body_memory_bytes_max)
        self._line = b""  # the part of a line that has come
        self._missing = 0  # bytes of the present chunk that have not come
        self._chunks = 0  # of this turn
        self._framing = 0  # bytes
        self._extensions = 0
        self._trailers = 0
        self._trailer_bytes = 0
        # A function, not a bound method: a bound method would make a reference cycle.
        self._step: Callable[[ChunkedDecoder, bytes, int], int] | None = ChunkedDecoder._read_size
        self.received = 0
        self.paused_at = -1

    def feed(self, data: bytes, start: int) -> int | None:
        """Take the body's bytes from `data[start:]`.

        Returns:
            the offset past the body, or None while more is needed. Then all of `data` is taken, or, if `paused_at` is
            set, what is before it: the next call continues with what follows.

        Raises:
            HTTPError: 400 malformed coding, 413 content too long, 431 trailers too long.
        """
        self.paused_at = -1
        while self._step is not None:
            if start >= len(data):
                return None
            if self._chunks >= CHUNKS_A_TURN_MAX:
                self._chunks = 0
                self.paused_at = start
                return None
            start = self._step(self, data, start)
        return start

    def _read_size(self, data: bytes, start: int) -> int:
        start, line = self._read_line(data, start, CHUNK_LINE_BYTES_MAX, 400)
        if line is None:
            return start
        match = CHUNK_LINE.fullmatch(line)
        if match is None:
            raise HTTPError(400, "A chunk's size is malformed.")
        self._extensions += len(line) - len(match[1])
        if self._extensions > EXTENSION_BYTES_MAX:
            raise HTTPError(400, "The chunk extensions are too long.")
        size = int(match[1], 16)
        if self.received + size > self._limits.body_bytes_max:
            raise HTTPError(413, "The body is too long.")
        self._chunks += 1
        self._framing += len(line) + len("\r\n\r\n")
        if self._framing > max(FRAMING_BYTES_MAX, FRAMING_RATIO_MAX * self.received):
            raise HTTPError(400, "The chunks are too small.")
        self._missing = size
        self._step = ChunkedDecoder._read_content if size else ChunkedDecoder._read_trailer
        return start

    def _read_content(self, data: bytes, start: int) -> int:
        part = data[start : start + self._missing]
        self.store.append(part)
        self.received += len(part)
        self._missing -= len(part)
        if not self._missing:
            self._step = ChunkedDecoder._read_chunk_end
        return start + len(part)

    def _read_chunk_end(self, data: bytes, start: int) -> int:
        expected = b"\r\n"[len(self._line) :]
        got = data[start : start + len(expected)]
        if not expected.startswith(got):
            raise HTTPError(400, "A chunk does not end with CR LF.")
        self._line += got
        if self._line == b"\r\n":
            self._line = b""
            self._step = ChunkedDecoder._read_size
        return start + len(got)

    def _read_trailer(self, data: bytes, start: int) -> int:
        start, line = self._read_line(data, start, TRAILER_BYTES_MAX - self._trailer_bytes, 431)
        if line is None:
            return start
        self._trailer_bytes += len(line) + 2
        if not line:
            self._step = None
            return start
        self._trailers += 1
        if self._trailers > self._limits.fields_max:
            raise HTTPError(431, "The request has too many trailer fields.")
        if FIELD_LINE.fullmatch(line) is None:
            raise HTTPError(400, "A trailer line is not NAME: VALUE.")
        return start

    def _read_line(self, data: bytes, start: int, length_max: int, refusal: int) -> tuple[int, bytes | None]:
        """Return the next offset, and the line without its CR LF, or None if it is incomplete."""
        last = start + max(0, length_max - len(self._line))
        end = data.find(b"\n", start, last)
        line = self._line + data[start : end if end >= 0 else last]
        complete = end >= 0
        # The checks come in this order because a line in pieces shows its faults in this order.
        if FORBIDDEN.search(line.removesuffix(b"\r")):
            raise HTTPError(400, "The chunked coding holds a control byte.")
        if complete and not line.endswith(b"\r"):
            raise HTTPError(400, "A line of the chunked coding does not end with CR LF.")
        if complete:
            self._line = b""
            return end + 1, line[:-1]
        if len(line) >= length_max:
            raise HTTPError(refusal, "A line of the chunked coding is too long.")
        self._line = line
        return len(data), None


def decoder_for(head: RequestHead, limits: Limits) -> ContentLengthDecoder | ChunkedDecoder | None:
    """Make the decoder of the body that a head announces; None if it announces none. Raises 413 before any byte."""
    if head.chunked:
        return ChunkedDecoder(limits)
    if head.content_length > limits.body_bytes_max:
        raise HTTPError(413, "The body is too long.")
    return ContentLengthDecoder(head.content_length, limits.body_memory_bytes_max) if head.content_length else None
