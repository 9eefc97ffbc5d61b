"""The access log: a line per request, to a file or to standard output. See docs/decisions/021.

    reactor: AccessBuffer.log_request --Batch--> writer thread: AccessLog --> file

Each reactor collects lines in a buffer of its own, without a lock, and hands over a batch several times a second. One
thread writes them all, so no reactor waits for a disk. If the writer lags by more than `QUEUE_BYTES_MAX` for a reactor,
the lines of that reactor are dropped and counted.
"""

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from ..config import ConfigError
from ..http import Headers, RequestHead
from .access_formats import FORMATS, LineFormat, RequestDetails
from .log_file import LogFile

log = logging.getLogger("mreactor")

# A buffer hands over a batch that has this many lines, or this age, or this many bytes of new lines. At 80,000 requests
# a second the writer wakes 40 times a second, which costs next to nothing.
BATCH_LINES: Final = 2048
BATCH_BYTES: Final = 256 * 1024
BATCH_SECONDS: Final = 0.2

# Bytes of one reactor that wait for the writer: a second of lines at 80,000 requests a second.
QUEUE_BYTES_MAX: Final = 8 * 1024 * 1024

# Limits of the memos: under 1 MiB per reactor, without the heads that they hold. The parser holds these heads too, and
# both forget them when the second ends.
STARTS_MAX: Final = 1024
TAILS_MAX: Final = 512
TAIL_BYTES_MAX: Final = 512

# Between two warnings about dropped lines.
REPORT_SECONDS: Final = 5.0
# How long `close` waits for queued lines to be written.
CLOSE_SECONDS: Final = 5.0

NO_HEADERS: Final = Headers()


def resolve_file(spec: str) -> str:
    """Return the specification of an access log with the file's absolute path, which no later chdir changes."""
    line_format, _, path = spec.partition(":")
    return f"{line_format}:{os.path.abspath(path)}" if path and line_format in FORMATS else spec


class Batch(NamedTuple):
    """Lines on their way from a buffer to the writer."""

    buffer: "AccessBuffer"
    lines: bytes


# None only wakes the writer.
type Message = Batch | None


class AccessBuffer:
    """One reactor's lines, in a format that it owns. The reactor's thread only.

    Args:
        details: what `log_details` adds to the lines, in this order: names of `RequestDetails`, with hyphens or
            underscores.

    Attributes:
        details: see above, names of `RequestDetails`.
        dropped: number of lines dropped because the writer lagged. Any thread may read this.
        written: number of bytes that the writer has finished with. The writer sets this.
        owner: the thread that made the buffer.
    """

    __slots__ = (
        "_append", "_due", "_fields", "_format", "_lines", "_new_bytes", "_posted", "_put", "_starts", "_tails",
        "details", "dropped", "owner", "written",
    )  # fmt: skip

    def __init__(self, line_format: LineFormat, put: Callable[[Message], None], details: Sequence[str] = ()) -> None:
        self.details = tuple(name.replace("-", "_") for name in details)
        self.owner = threading.current_thread()
        self.dropped = 0
        self.written = 0
        self._format = line_format
        self._put = put
        # Bytes handed over so far.
        self._posted = 0
        self._lines: list[bytes] = []
        self._append = self._lines.append
        # Bytes of lines that were not put together from the memos, since the last batch.
        self._new_bytes = 0
        # Monotonic seconds at which the lines are old enough to hand over.
        self._due = 0.0
        # The memos of the present second: the start of a line by the peer's host, the rest by head and outcome, and the
        # part about header fields by their id. That entry holds the fields, so no other object can get the id.
        self._starts: dict[Any, bytes] = {}
        self._tails: dict[tuple[RequestHead | None, int, int], bytes] = {}
        self._fields: dict[int, tuple[Headers, bytes]] = {}
        self.begin_second(time.time())

    def log_request(
        self, peer: Sequence[Any], head: RequestHead | None, status: int, length: int, count: int = 1
    ) -> None:
        """Add the line of a request that has its response. Costs two lookups if the memos know both parts.

        Args:
            peer: the client's address from its socket; empty, or not a tuple, if it has no host.
            head: the request; None if it could not be parsed.
            status: the status of the response.
            length: bytes of the response's content, -1 if unknown.
            count: number of equal requests with equal responses.
        """
        try:
            line = self._starts[peer[0]] + self._tails[head, status, length]
        except LookupError:
            self._add_bulk((self._start(peer) + self._tail(head, status, length)) * count)
            return
        if count == 1:
            self._append(line)
        else:
            self._add_bulk(line * count)

    def log_incomplete(self, peer: Sequence[Any], head: RequestHead | None, status: int, length: int) -> None:
        """Add the line of a request whose response was cut off after `length` bytes of content."""
        self._add_bulk(self._format.mark_incomplete(self._render(peer, head, status, length)))

    def log_details(
        self,
        peer: Sequence[Any],
        head: RequestHead | None,
        status: int,
        length: int,
        details: RequestDetails,
        *,
        is_whole: bool,
    ) -> None:
        """Add the line of a request that says more of it. The response was cut off if it is not whole."""
        line = self._format.add_details(
            self._render(peer, head, status, length), {name: getattr(details, name) for name in self.details}
        )
        self._add_bulk(line if is_whole else self._format.mark_incomplete(line))

    def hand_over_due(self, now: float) -> None:
        """Hand over the lines if they are many, or old enough at `now` in monotonic seconds."""
        if self._lines and (now >= self._due or len(self._lines) >= BATCH_LINES):
            self._due = now + BATCH_SECONDS
            self.flush()

    def begin_second(self, wall: float) -> None:
        """Begin a second, in Unix time. Later lines have this time."""
        self._format.begin_second(wall)
        self._starts.clear()
        self._tails.clear()
        self._fields.clear()

    def flush(self) -> None:
        """Hand over all lines, or drop them if the writer lags. Never waits."""
        if not self._lines:
            return
        lines = b"".join(self._lines)
        self._lines.clear()
        self._new_bytes = 0
        if self._posted - self.written > QUEUE_BYTES_MAX:
            self.dropped += lines.count(b"\n")
        else:
            self._posted += len(lines)
            self._put(Batch(self, lines))

    def _add_bulk(self, lines: bytes) -> None:
        """Add lines that may be long or many, and hand over early if they become too large."""
        self._append(lines)
        self._new_bytes += len(lines)
        if self._new_bytes >= BATCH_BYTES:
            self.flush()

    def _render(self, peer: Sequence[Any], head: RequestHead | None, status: int, length: int) -> bytes:
        """Return a line that is not remembered."""
        headers = head.headers if head else NO_HEADERS
        return self._start(peer) + self._format.render_request(head, status, length) + self._fields_part(headers)

    def _start(self, peer: Sequence[Any]) -> bytes:
        """Return the start of a line, and remember it."""
        if not isinstance(peer, tuple) or not peer:
            return self._format.render_start(None)
        start = self._starts.get(peer[0])
        if start is None:
            if len(self._starts) >= STARTS_MAX:
                self._starts.clear()
            start = self._starts[peer[0]] = self._format.render_start(peer[0])
        return start

    def _tail(self, head: RequestHead | None, status: int, length: int) -> bytes:
        """Return the rest of a line, and remember it unless it is long."""
        tail = self._tails.get((head, status, length))
        if tail is None:
            headers = head.headers if head else NO_HEADERS
            tail = self._format.render_request(head, status, length) + self._fields_part(headers)
            if len(self._tails) >= TAILS_MAX:
                self._tails.clear()
            if len(tail) <= TAIL_BYTES_MAX:
                self._tails[head, status, length] = tail
        return tail

    def _fields_part(self, headers: Headers) -> bytes:
        """Return the part about header fields, and remember it. Parsers share equal blocks of fields between heads."""
        known = self._fields.get(id(headers))
        if known is None:
            if len(self._fields) >= TAILS_MAX:
                self._fields.clear()
            known = self._fields[id(headers)] = headers, self._format.render_fields(headers)
        return known[1]


class AccessLog:
    """The writer: one thread that writes the batches of all buffers.

    Each reactor calls `buffer`. Any thread or signal handler may call `reopen`. The server's thread calls the rest.

    Args:
        spec: `FORMAT` for standard output, or `FORMAT:FILE`; FORMAT is one of `FORMATS`.
        details: names of `RequestDetails` that the lines say too.

    Attributes:
        lost: number of lines that could not be written, for instance because the disk was full.

    Raises:
        ConfigError: the specification is invalid.
    """

    def __init__(self, spec: str, details: Sequence[str] = ()) -> None:
        self._details = details
        self._format, colon, path = resolve_file(spec).partition(":")
        if self._format not in FORMATS or (colon and not path):
            raise ConfigError(
                f"--access-log: {spec!r} is neither a format nor FORMAT:FILE; the formats are {', '.join(FORMATS)}"
            )
        self.lost = 0
        self._file = LogFile(path)
        self._queue: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._buffers: list[AccessBuffer] = []
        self._writer: threading.Thread | None = None
        self._is_stale = False
        self._is_closing = False
        self._reported = 0
        self._report_due = 0.0

    @property
    def dropped(self) -> int:
        """Number of lines that reactors have dropped because the writer lagged."""
        return sum(buffer.dropped for buffer in self._buffers)

    def open(self) -> None:
        """Open the file for appending; create it if necessary.

        Raises:
            ConfigError: the file cannot be opened.
        """
        try:
            self._file.open()
        except OSError as error:
            raise ConfigError(f"--access-log: cannot write {self._file}: {error.strerror}") from error

    def start(self) -> None:
        """Start the writer."""
        writer = threading.Thread(target=self._run, name="access-log", daemon=True)
        writer.start()
        self._writer = writer

    def buffer(self) -> AccessBuffer:
        """Make a buffer for the calling thread."""
        buffer = AccessBuffer(FORMATS[self._format](), self._queue.put, self._details)
        self._buffers.append(buffer)
        return buffer

    def reopen(self) -> None:
        """Make the writer open the file again, before it writes anything else: it may have been moved away."""
        self._is_stale = True
        self._queue.put(None)

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Write the lines of reactors that have ended, then end. Reactors that still run lose theirs. Idempotent.

        Wait `seconds` at most: the file may be a pipe without a reader.
        """
        for buffer in self._buffers:
            if buffer.owner is threading.current_thread() or not buffer.owner.is_alive():
                buffer.flush()
        self._is_closing = True
        self._queue.put(None)
        if self._writer is not None:
            self._writer.join(seconds)
            if self._writer.is_alive():
                log.warning("access log: %s takes no more lines, the last ones are lost", self._file)
                return
        self._file.close()

    def _run(self) -> None:
        while not (self._is_closing and self._queue.empty()):
            batch = self._queue.get()
            if self._is_stale:
                self._is_stale = False
                self._file.reopen()
            if batch is not None:
                self.lost += self._file.write(batch.lines)
                batch.buffer.written += len(batch.lines)
            self._report()
        self._report_due = 0.0
        self._report()

    def _report(self) -> None:
        """Warn about dropped lines, at most once in `REPORT_SECONDS`."""
        dropped, now = self.dropped, time.monotonic()
        if dropped > self._reported and now >= self._report_due:
            log.warning("access log: %s is too slow, %d lines dropped", self._file, dropped - self._reported)
            self._reported, self._report_due = dropped, now + REPORT_SECONDS
