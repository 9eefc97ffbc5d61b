"""What a connection owes its peer: bytes, and the file or stream that follows them."""

from typing import TYPE_CHECKING

from ..concurrency import Job
from ..protocol import FileBody
from ..runtime import hot
from .dispatch import close
from .response_stream import Stream

if TYPE_CHECKING:
    from .context import ReactorContext


ANSWERS_BYTES_MAX = 256 * 1024  # of one turn: a client that asks for more before it reads waits for the rest


@hot("__init__", "begin", "deadline", "add", "data_sent", "data_to_send")
class SendBuffer:
    """One connection's unsent answers, used by the connection alone.

    Attributes:
        output: bytes that are ready.
        stream: what comes after them; closed when it is used up or dropped.
        in_pieces: sending took more than one step, in which the peer may have sent more.
    """

    __slots__ = ("_since", "_taken", "in_pieces", "output", "stream")

    def __init__(self) -> None:
        self.output: bytes | memoryview = b""
        self.stream: FileBody | Stream | None = None
        self._since = 0.0  # when sending began
        self._taken = 0  # bytes that the peer has taken since
        self.in_pieces = False

    def begin(self, now: float) -> None:
        """Sending begins, or goes on with a new part."""
        self._since = now
        self._taken = 0
        self.in_pieces = False

    def deadline(self, context: "ReactorContext") -> float:
        """Monotonic seconds by which the peer must have taken more: soon after the last byte, and at a rate."""
        limits = context.limits
        grace_ends = self._since + limits.write_stall_seconds
        return min(context.now + limits.write_stall_seconds, grace_ends + self._taken / limits.write_rate_min)

    def add(self, output: bytes) -> None:
        """Put bytes behind those that wait."""
        self.output = bytes(self.output) + output if self.output else output

    def take_part(self, job: Job) -> BaseException | None:
        """Take the stream's next part from the job that has fetched it; returns what went wrong instead."""
        assert isinstance(self.stream, Stream), "the job fetched a part of it"
        try:
            self.add(self.stream.encode(job))
        except BaseException as error:
            return error
        if self.stream.is_over:
            self.drop_stream()
        return None

    def data_to_send(self) -> bytes | memoryview | FileBody:
        """What can be sent now; empty for nothing."""
        if self.output or not isinstance(self.stream, FileBody):
            return self.output
        return self.stream

    def data_sent(self, count: int) -> None:
        """`count` bytes of `pending` are gone."""
        self._taken += count
        if self.output:
            # Not an empty view: it would keep the whole answer alive.
            self.output = memoryview(self.output)[count:] if count < len(self.output) else b""
        elif isinstance(self.stream, FileBody):
            self.stream.advance(count)
            if not self.stream.remaining:
                self.drop_stream()
        if self.output or self.stream is not None:
            self.in_pieces = True

    def give_up(self, is_running: bool) -> Job | None:
        """Drop everything; see `end_stream`."""
        self.output = b""
        return self.end_stream(is_running)

    def end_stream(self, is_running: bool) -> Job | None:
        """Drop what follows, whoever has to close it.

        Args:
            is_running: another thread computes the stream's next part, so it cannot be closed now.

        Returns:
            the work of closing a blocking stream, which may wait.
        """
        stream = self.stream
        if not isinstance(stream, Stream) or not stream.blocking:
            self.drop_stream()
            return None
        self.stream = None
        return None if is_running else Job(stream.close)

    def drop_stream(self) -> None:
        """Close what follows."""
        stream, self.stream = self.stream, None
        if stream is not None:
            close(stream)
