"""Request heads: from bytes to `RequestHead` (RFC 9112 sections 2, 3 and 5).

Seldom are two heads equal, but most of their lines have come before. `Parser` looks up the request line and the block
of fields. It splits a new block into lines, looks those up, and judges only new ones. `HeadReader` reads heads that
come in pieces, and checks each line as soon as it can. The parser leaves to it whatever is unusual or faulty, so the
outcome depends neither on how the bytes were split nor on what is remembered. Reactor thread only. See
docs/decisions/091.
"""

from functools import partial

from ..config import Limits
from ..http import HeaderFields, HTTPError, Memo, RequestHead, RequestLine
from ..runtime import hot
from .framing import read_framing
from .grammar import FIELD_LINE, FORBIDDEN, PLAIN_FIELD_LINE
from .request_line import decode_path, parse_request_line

# One sentence for two faults: which of them is noticed first depends on how the bytes were split.
FORBIDDEN_BYTE = "The request head holds a control byte, or a line that does not end with CR LF."

END_OF_HEAD = b"\r\n\r\n"


@hot("__init__")
class HeadReader:
    """Reads one head that may come in pieces, and keeps its place between calls."""

    __slots__ = ("_field_lines", "_judged", "_limits", "_line", "_line_start", "_start")

    def __init__(self, limits: Limits, start: int = 0) -> None:
        self._limits = limits
        self._start = self._line_start = start
        # Bytes before this offset are checked. Otherwise each byte that comes would have all bytes checked again.
        self._judged = start
        self._line: RequestLine | None = None
        self._field_lines: list[bytes] = []

    def read(self, data: bytes) -> tuple[RequestLine, list[bytes], int] | None:
        """Continue in `data`, which holds all bytes since the first call.

        Returns:
            the request line, the field lines and the offset past the head; None while more bytes are needed.

        Raises:
            HTTPError: 400, 405, 414, 431, 501 or 505, for the first faulty line.
        """
        while (line := self._next_line(data)) is not None:
            if self._line is None:
                # One empty line before a request is ignored (RFC 9112 section 2.2). A second one is a fault.
                if line or self._line_start != self._start + 2:
                    self._line = parse_request_line(line)
            elif line:
                self._add_field(line)
            else:
                return self._line, self._field_lines, self._line_start
        return None

    def rebase(self) -> None:
        """Note that the data now begins with this head: what was before it is dropped."""
        self._line_start -= self._start
        self._judged -= self._start
        self._start = 0

    def _next_line(self, data: bytes) -> bytes | None:
        start = self._line_start
        last = self._start + self._limits.head_bytes_max
        if self._line is None:
            last = min(last, start + self._limits.request_line_bytes_max + 2)
        end = data.find(b"\n", max(start, self._judged), last)
        if end < 0:
            self._judge_unfinished(data, max(start, self._judged), last)
            return None
        if data[end - 1 : end] != b"\r" or end == start:
            raise HTTPError(400, FORBIDDEN_BYTE)
        line = data[start : end - 1]
        _refuse_forbidden(line)
        self._line_start = self._judged = end + 1
        return line

    def _judge_unfinished(self, data: bytes, start: int, last: int) -> None:
        rest = data[start:last]
        # A CR at the very end may be half of a line's end, so it is checked again with what follows.
        judged = rest.removesuffix(b"\r")
        _refuse_forbidden(judged)
        self._judged = start + len(judged)
        if len(data) >= last:
            if self._line is None:
                raise HTTPError(414, "The request line is too long.")
            raise HTTPError(431, "The request head is too long.")

    def _add_field(self, line: bytes) -> None:
        _read_field_line(line)
        if len(self._field_lines) >= self._limits.fields_max:
            raise HTTPError(431, "The request has too many header fields.")
        self._field_lines.append(line)


@hot("parse_plain", "_read_block")
class Parser:
    """Parses one reactor's heads."""

    __slots__ = ("_blocks", "_fields_max", "_framings", "_limits", "_lines", "_plain_bytes_max", "_read_line")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # No bound can be exceeded in such a head, but that on the number of fields.
        self._fields_max = limits.fields_max
        self._plain_bytes_max = min(limits.head_bytes_max, limits.request_line_bytes_max)
        self._lines: Memo[bytes, RequestLine] = Memo(parse_request_line)
        # Fields that say something about framing lead to themselves, others to b"".
        self._read_line = Memo(_read_field_line).__getitem__
        # By minor version: what framing lines say, and blocks of field lines.
        self._framings = [Memo(partial(read_framing, minor=minor), _size_of_lines) for minor in (0, 1)]
        self._blocks = [Memo(partial(self._read_block, minor=0)), Memo(self._read_block)]

    def parse(self, raw: bytes) -> RequestHead:
        """Parse a complete head: `raw` ends with its first empty line. Raises as `HeadReader.read` and `finish`."""
        head = self.parse_plain(raw)
        if head is not None:
            return head
        read = HeadReader(self._limits).read(raw)
        assert read is not None, "raw holds a whole head"
        line, field_lines, _ = read
        return self.finish(line, field_lines)

    def parse_plain(self, raw: bytes) -> RequestHead | None:
        """Parse bytes that end with an empty line, if they are one head without a fault; return None for all else."""
        if len(raw) > self._plain_bytes_max:
            return None
        end = raw.find(b"\r\n")
        try:
            line = self._lines[raw[:end]]
            fields = self._blocks[line.version[1]][raw[end + 2 :]]
            if "%" in line.path:
                decode_path(line)
        except HTTPError:
            # `HeadReader` finds out which fault comes first.
            return None
        head = RequestHead()
        head.line = line
        head.fields = fields
        return head

    def reader(self, start: int) -> HeadReader:
        """Make the reader of a head that comes in pieces, the first of them at `start`."""
        return HeadReader(self._limits, start)

    def finish(self, line: RequestLine, field_lines: list[bytes]) -> RequestHead:
        """Make a head from what a reader has read.

        Raises:
            HTTPError: 400, 417 or 501, for fields that contradict each other or the protocol.
        """
        block = b"".join(field_line + b"\r\n" for field_line in field_lines) + b"\r\n"
        head = RequestHead()
        head.line = line
        head.fields = self._blocks[line.version[1]][block]
        if "%" in line.path:
            decode_path(line)
        return head

    def _read_block(self, block: bytes, minor: int = 1) -> HeaderFields:
        """Read a block of field lines, with the empty line that ends it. Raises HTTPError for any fault."""
        lines = block[:-4].split(b"\r\n") if len(block) > 2 else []
        if len(lines) > self._fields_max:
            raise HTTPError(431, "The request has too many header fields.")
        fields = HeaderFields()
        fields.lines = lines
        fields.framing = self._framings[minor][tuple(filter(None, map(self._read_line, lines)))]
        fields.decoded = None
        fields.is_repeated = False
        return fields


def _read_field_line(line: bytes) -> bytes:
    """Return the line if it says something about framing, else nothing."""
    if PLAIN_FIELD_LINE.fullmatch(line):
        return b""
    if FIELD_LINE.fullmatch(line):
        return line
    raise HTTPError(400, "A header line is not NAME: VALUE.")


def _size_of_lines(lines: tuple[bytes, ...]) -> int:
    return sum(map(len, lines))


def _refuse_forbidden(line: bytes) -> None:
    if FORBIDDEN.search(line):
        raise HTTPError(400, FORBIDDEN_BYTE)
