"""The access log: a line for each request, in common, combined or JSON form, to standard output or to a file.

    reactor: AccessBuffer.note --a batch of lines, one bytes object--> writer thread: AccessLog --> file

Each reactor notes its requests in a buffer of its own, without a lock, and hands over a batch some times a second. One
thread writes them all. A reactor never waits for a disk: when the writer lags by more than `QUEUE_BYTES_MAX` for a
reactor, that reactor's further lines are dropped and counted (`AccessLog.dropped`), and the log says how many.

What a peer sends is escaped as nginx does it, so that it can neither end a line nor leave its quotes.
"""

import json
import logging
import queue
import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from ..config import ConfigError
from ..http import MONTHS, Headers, RequestHead
from .handlers import LogFile

log = logging.getLogger("mreactor")

# A batch is handed over when it has this many lines, or is this old, or this large by lines that are new. At 80,000
# requests a second that is 40 times a second, so waking the writer costs next to nothing.
BATCH_LINES: Final = 2048
BATCH_BYTES: Final = 256 * 1024
BATCH_SECONDS: Final = 0.2

# What may wait for the writer, of each reactor: a second of lines at 80,000 requests a second.
QUEUE_BYTES_MAX: Final = 8 * 1024 * 1024

# Bounds of the memos: under 1 MiB a reactor, beside the heads that they keep alive. Those are no more than the parser
# keeps, and are let go when the second ends.
STARTS_MAX: Final = 1024
TAILS_MAX: Final = 512
TAIL_BYTES_MAX: Final = 512

REPORT_SECONDS: Final = 5.0  # between two warnings that lines are dropped
CLOSE_SECONDS: Final = 5.0  # at the end, for what is queued to be written

type Message = tuple[AccessBuffer, bytes] | None


class AccessBuffer:
    """One reactor's share of the access log; made, used and flushed by that reactor's thread.

    Args:
        form: one of `FORMS`.
        put: hands a batch to the writer, with the buffer that it comes from.

    Attributes:
        dropped: lines that were dropped because the writer lagged; written by the reactor, read by anybody.
        written: bytes that the writer is done with; written by the writer.
        owner: the thread that made the buffer.
    """

    __slots__ = (
        "_append",
        "_bulk",
        "_due",
        "_ends",
        "_form",
        "_lines",
        "_posted",
        "_put",
        "_starts",
        "_tails",
        "dropped",
        "owner",
        "written",
    )

    def __init__(self, form: str, put: Callable[[Message], None]) -> None:
        self.owner = threading.current_thread()
        self.dropped = 0
        self.written = 0
        self._form = FORMS[form]()
        self._put = put
        self._posted = 0  # bytes handed over so far
        self._lines: list[bytes] = []
        self._append = self._lines.append
        self._bulk = 0  # bytes of the lines that were new, or many at once
        self._due = 0.0  # monotonic seconds at which the lines are old enough to go
        self._ends: dict[
            int, tuple[Headers, bytes]
        ] = {}  # by id: what lines say of header fields, and end with
        self._starts: dict[Any, bytes] = {}  # by the peer's host: the line up to the request
        self._tails: dict[tuple[RequestHead | None, int, int], bytes] = {}  # the rest of the line
        self.begin_second(time.time())

    def note(
        self, peer: Sequence[Any], head: RequestHead | None, status: int, length: int, count: int = 1
    ) -> None:
        """Note that a request was answered.

        Args:
            peer: the client's address as its socket reports it; empty, or no tuple, where it has no host.
            head: the request; None where none could be read.
            status: the answer's status.
            length: bytes of the answer's content, -1 where they are not known.
            count: how many equal requests were answered alike.
        """
        # 0.3 µs on 3.13t, since parsers share equal heads and the parts of the line are rendered once a second. A head
        # that is new costs 3 µs.
        try:
            line = self._starts[peer[0]] + self._tails[head, status, length]
        except LookupError:
            self._add((self._start(peer) + self._tail(head, status, length)) * count)
            return
        if count == 1:
            self._append(line)
        else:
            self._add(line * count)

    def turn(self, now: float) -> None:
        """End a round of the event loop at `now`, in monotonic seconds: hand over lines that are many or old enough."""
        if self._lines and (now >= self._due or len(self._lines) >= BATCH_LINES):
            self._due = now + BATCH_SECONDS
            self.flush()

    def begin_second(self, wall: float) -> None:
        """Begin a second, given in Unix time: lines carry it from now on."""
        self._form.begin_second(wall)
        self._starts.clear()
        self._tails.clear()
        self._ends.clear()

    def flush(self) -> None:
        """Hand over all lines, or drop them if the writer lags; never waits."""
        if not self._lines:
            return
        batch = b"".join(self._lines)
        self._lines.clear()
        self._bulk = 0
        if self._posted - self.written > QUEUE_BYTES_MAX:
            self.dropped += batch.count(b"\n")
        else:
            self._posted += len(batch)
            self._put((self, batch))

    def _add(self, lines: bytes) -> None:
        """Add what may be long, and so is counted by its bytes."""
        self._append(lines)
        self._bulk += len(lines)
        if self._bulk >= BATCH_BYTES:
            self.flush()

    def _start(self, peer: Sequence[Any]) -> bytes:
        if not isinstance(peer, tuple) or not peer:
            return self._form.start(None)
        start = self._starts.get(peer[0])
        if start is None:
            if len(self._starts) >= STARTS_MAX:
                self._starts.clear()
            start = self._starts[peer[0]] = self._form.start(peer[0])
        return start

    def _tail(self, head: RequestHead | None, status: int, length: int) -> bytes:
        tail = self._tails.get((head, status, length))
        if tail is None:
            tail = self._form.outcome(head, status, length) + self._end(head.headers if head else NO_HEADERS)
            if len(self._tails) >= TAILS_MAX:
                self._tails.clear()
            if len(tail) <= TAIL_BYTES_MAX:
                self._tails[head, status, length] = tail
        return tail

    def _end(self, headers: Headers) -> bytes:
        """Parsers share equal header blocks between heads; the entry keeps its block alive, so the id stays its own."""
        known = self._ends.get(id(headers))
        if known is None:
            if len(self._ends) >= TAILS_MAX:
                self._ends.clear()
            known = self._ends[id(headers)] = headers, self._form.end(headers)
        return known[1]


class AccessLog:
    """The writer: one thread that writes what all buffers hand over.

    `buffer` is called by each reactor, `reopen` by any thread or signal handler, all else by the server's thread.

    Args:
        spec: `FORMAT` for standard output, or `FORMAT:FILE`; FORMAT is one of `FORMS`.

    Attributes:
        lost: lines that could not be written, because of a full disk for instance.

    Raises:
        ConfigError: the specification is neither.
    """

    def __init__(self, spec: str) -> None:
        self._form, colon, path = spec.partition(":")
        if self._form not in FORMS or (colon and not path):
            raise ConfigError(
                f"--access-log: {spec!r} is not FORMAT or FORMAT:FILE, FORMAT one of {', '.join(FORMS)}"
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
        """How many lines reactors have dropped because the writer lagged."""
        return sum(buffer.dropped for buffer in self._buffers)

    def open(self) -> None:
        """Open the file, to append to it; it is created if need be.

        Raises:
            ConfigError: that cannot be done; the text says why.
        """
        try:
            self._file.open()
        except OSError as error:
            raise ConfigError(f"--access-log: cannot write {self._file}: {error.strerror}") from error

    def start(self) -> None:
        """Start the writer."""
        self._writer = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._writer.start()

    def buffer(self) -> AccessBuffer:
        """A buffer for the calling thread."""
        buffer = AccessBuffer(self._form, self._queue.put)
        self._buffers.append(buffer)
        return buffer

    def reopen(self) -> None:
        """Open the file anew before anything else is written: what had its name may have been moved away."""
        self._is_stale = True
        self._queue.put(None)

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Write what reactors have left behind, then end; again does nothing. Reactors that still run lose their lines.

        Args:
            seconds: how long to wait for the writer, whose file may be a pipe that nobody reads.
        """
        for buffer in self._buffers:
            if buffer.owner is threading.current_thread() or not buffer.owner.is_alive():
                buffer.flush()
        self._is_closing = True
        self._queue.put(None)
        if self._writer is not None:
            self._writer.join(seconds)
            if self._writer.is_alive():
                log.warning("access log: %s took no more lines, the last ones are lost", self._file)
                return
        self._file.close()

    def _run(self) -> None:
        while not (self._is_closing and self._queue.empty()):
            message = self._queue.get()
            if self._is_stale:
                self._is_stale = False
                self._file.reopen()
            if message is not None:
                buffer, batch = message
                self.lost += self._file.write(batch)
                buffer.written += len(batch)
            self._report()
        self._report_due = 0.0
        self._report()

    def _report(self) -> None:
        """Warn, now and then, that lines are dropped."""
        dropped, now = self.dropped, time.monotonic()
        if dropped > self._reported and now >= self._report_due:
            log.warning(
                "access log: %s takes lines too slowly, %d dropped", self._file, dropped - self._reported
            )
            self._reported, self._report_due = dropped, now + REPORT_SECONDS


class CommonForm:
    """Common Log Format: `192.0.2.1 - - [22/Nov/2026:21:39:15 +0000] "GET /x HTTP/1.1" 200 13`."""

    def __init__(self) -> None:
        self._time = ""

    def begin_second(self, wall: float) -> None:
        """Begin a second, in Unix time. No locale is consulted."""
        t = time.gmtime(wall)
        clock = f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"
        self._time = f"{t.tm_mday:02}/{MONTHS[t.tm_mon - 1]}/{t.tm_year:04}:{clock} +0000"

    def start(self, host: str | None) -> bytes:
        """The line up to the request."""
        return f"{quote(host)} - - [{self._time}] ".encode("ascii")

    def outcome(self, head: RequestHead | None, status: int, length: int) -> bytes:
        """The request line and what came of it; see `AccessBuffer.note`."""
        size = length if length >= 0 else "-"
        if head is None:
            return f'"-" {status} {size}'.encode("ascii")
        version = f"{head.version[0]}.{head.version[1]}"
        return f'"{head.method} {quote(head.target)} HTTP/{version}" {status} {size}'.encode("ascii")

    def end(self, headers: Headers) -> bytes:
        """What the line says of header fields, and its end."""
        return b"\n"


class CombinedForm(CommonForm):
    """Combined Log Format: the common one, and `"REFERER" "USER-AGENT"`."""

    def end(self, headers: Headers) -> bytes:
        """What the line says of header fields, and its end."""
        return f' "{quote(headers.get("referer"))}" "{quote(headers.get("user-agent"))}"\n'.encode("ascii")


class JsonForm:
    """One JSON object a line, in ASCII; what is not known is null. Header values are ISO-8859-1, a character a byte."""

    def __init__(self) -> None:
        self._time = ""
        self._encode = json.JSONEncoder(separators=(",", ":")).encode

    def begin_second(self, wall: float) -> None:
        """Begin a second, in Unix time."""
        self._time = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall))

    def start(self, host: str | None) -> bytes:
        """The object up to the request."""
        return self._encode({"time": self._time, "peer": host})[:-1].encode("ascii") + b","

    def outcome(self, head: RequestHead | None, status: int, length: int) -> bytes:
        """The request and what came of it; see `AccessBuffer.note`."""
        size = length if length >= 0 else "null"
        if head is None:
            request = '"method":null,"target":null,"version":null'
        else:
            version = f"{head.version[0]}.{head.version[1]}"
            request = f'"method":"{head.method}","target":{self._encode(head.target)},"version":"{version}"'
        return f'{request},"status":{status},"bytes":{size},'.encode("ascii")

    def end(self, headers: Headers) -> bytes:
        """What the object says of header fields, and its end."""
        fields = {"referer": headers.get("referer"), "user_agent": headers.get("user-agent")}
        return self._encode(fields)[1:].encode("ascii") + b"\n"


FORMS: dict[str, type[CommonForm | JsonForm]] = {
    "common": CommonForm,
    "combined": CombinedForm,
    "json": JsonForm,
}

NO_HEADERS: Final = Headers()

# The quote, the backslash, and all that is not a printable ASCII character.
_UNSAFE = re.compile(r"[^ !#-\[\]-~]")


def quote(text: str | None) -> str:
    """Text for a line in common or combined form: unsafe bytes as `\\xHH`, as nginx writes them; `-` for none."""
    if not text:
        return "-"
    return _UNSAFE.sub(_hex, text) if _UNSAFE.search(text) else text


def _hex(match: re.Match[str]) -> str:
    return f"\\x{ord(match[0]):02X}"
