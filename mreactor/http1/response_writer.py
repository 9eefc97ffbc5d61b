"""What a connection sends: bytes, and the file or stream that follows them; and the jobs that compute it."""

from typing import TYPE_CHECKING

from ..concurrency import Job
from ..protocol import FileBody
from ..runtime import hot
from .response_stream import Stream, close_stream

if TYPE_CHECKING:
    from .context import ReactorContext


@hot("__init__", "begin", "deadline", "add", "data_sent", "data_to_send")
class ResponseWriter:
    """One connection's unsent responses. Exists only while something is being sent or computed.

    Attributes:
        output: bytes that are ready.
        stream: what follows them; closed when it is used up or dropped.
        in_pieces: sending took more than one step, in which the peer may have sent more.
        awaited_job: the job whose result the connection waits for.
        next_job: the job that the reactor has not taken yet.
    """

    __slots__ = ("_since", "_taken", "awaited_job", "in_pieces", "next_job", "output", "stream")

    def __init__(self) -> None:
        self.output: bytes | memoryview = b""
        self.stream: FileBody | Stream | None = None
        self.awaited_job: Job | None = None
        self.next_job: Job | None = None
        # Monotonic seconds when sending began, and the bytes that the peer has taken since.
        self._since = 0.0
        self._taken = 0
        self.in_pieces = False

    def begin(self, now: float) -> None:
        """Note that sending begins, or continues with a new part."""
        self._since = now
        self._taken = 0
        self.in_pieces = False

    def deadline(self, context: "ReactorContext") -> float:
        """Compute when the peer must have taken more: soon after the last byte, and at a rate. Monotonic seconds."""
        limits = context.limits
        grace_ends = self._since + limits.write_stall_seconds
        return min(context.now + limits.write_stall_seconds, grace_ends + self._taken / limits.write_rate_min)

    def add(self, output: bytes) -> None:
        """Put bytes behind those that wait."""
        self.output = bytes(self.output) + output if self.output else output

    @property
    def needs_next(self) -> bool:
        """All that is ready has been sent: the stream's next part is due, or the response is over."""
        return not self.output and not isinstance(self.stream, FileBody)

    def data_to_send(self) -> bytes | memoryview | FileBody:
        """Return what can be sent now; empty for nothing."""
        if self.output or not isinstance(self.stream, FileBody):
            return self.output
        return self.stream

    def data_sent(self, count: int) -> None:
        """Note that the kernel has taken `count` bytes of `data_to_send`."""
        self._taken += count
        if self.output:
            # Not an empty view: it would keep the whole response alive.
            self.output = memoryview(self.output)[count:] if count < len(self.output) else b""
        elif isinstance(self.stream, FileBody):
            self.stream.advance(count)
            if not self.stream.remaining:
                self.drop_stream()
        if self.output or self.stream is not None:
            self.in_pieces = True

    def take_next_job(self) -> Job | None:
        """Return the job to start, once."""
        job, self.next_job = self.next_job, None
        return job

    def take_back(self, job: Job) -> bool:
        """Take a finished job back. Returns False if it is not awaited; another job then closes its result."""
        if job is not self.awaited_job:
            self.next_job = job.disposal() or self.next_job
            return False
        self.awaited_job = None
        return True

    def take_part(self, job: Job) -> BaseException | None:
        """Put the part that a job has computed behind the output. Returns the error instead if there is one."""
        assert isinstance(self.stream, Stream), "the job computed a part of it"
        try:
            self.add(self.stream.encode(job))
        except BaseException as error:
            return error
        if self.stream.is_over:
            self.drop_stream()
        return None

    def abandon(self) -> None:
        """Drop everything. A part that another thread is computing is closed when its job comes back."""
        self.output = b""
        self.next_job = None
        if self.awaited_job is not None and isinstance(self.stream, Stream):
            self.stream = None
        else:
            self.end_stream()
        self.awaited_job = None

    def end_stream(self) -> None:
        """Drop what follows the output. A job closes a blocking stream, because that may take time."""
        if isinstance(self.stream, Stream) and self.stream.blocking:
            self.next_job = Job(self.stream.close)
            self.stream = None
        else:
            self.drop_stream()

    def drop_stream(self) -> None:
        """Close what follows the output, here and now."""
        stream, self.stream = self.stream, None
        if stream is not None:
            close_stream(stream)
