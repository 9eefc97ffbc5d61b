"""What a connection sends: bytes, and the file or stream that follows them; and the jobs that compute it."""

from ..concurrency import Job
from ..protocol import FileBody
from ..runtime import hot
from .cache_entries import LogEntry
from .response_stream import Stream, close_stream


@hot("__init__", "begin", "add", "data_sent", "data_to_send")
class ResponseWriter:
    """One connection's unsent responses. Exists only while something is being sent or computed.

    Attributes:
        output: bytes that are ready.
        stream: what follows them; closed when it is used up or dropped.
        in_pieces: sending took more than one step, in which the peer may have sent more.
        awaited_job: the job whose result the connection waits for.
        next_job: the job that the reactor has not taken yet.
        resets: the connection must end by a reset: what is sent looks whole and is not, or the peer sends on and on.
        late_bytes, linger_ends: bytes discarded while lingering, and the monotonic seconds at which that ends.
        has_failed: the stream has raised, so the response is not whole.
        unlogged: what the access log says of the response once it is sent or cut off, with the bytes of content that
            come with the head; None for nothing.
        ends_with_connection: the response has neither length nor chunks, so a peer takes any end for the whole.
    """

    __slots__ = (
        "_content_begins", "_sent", "awaited_job", "ends_with_connection", "has_failed", "in_pieces", "late_bytes",
        "linger_ends", "next_job", "output", "resets", "stream", "unlogged",
    )  # fmt: skip

    def __init__(self) -> None:
        self.output: bytes | memoryview = b""
        self.stream: FileBody | Stream | None = None
        self.awaited_job: Job | None = None
        self.next_job: Job | None = None
        # All bytes that the kernel has taken, and how many of them come before the content of the `unlogged` response.
        self._sent = 0
        self._content_begins = -1
        self.in_pieces = False
        self.has_failed = False
        self.unlogged: LogEntry | None = None
        self.ends_with_connection = False
        self.resets = False
        self.late_bytes = 0
        self.linger_ends = 0.0

    def begin(self) -> None:
        """Note that sending begins, or continues with a new part."""
        self.in_pieces = False

    def add(self, output: bytes) -> None:
        """Put bytes behind those that wait."""
        self.output = bytes(self.output) + output if self.output else output
        if self.unlogged is not None and self._content_begins < 0:
            # The head, with the content as far as it is in memory.
            self._content_begins = self._sent + len(self.output) - self.unlogged.content_length

    @property
    def content_sent(self) -> int:
        """Bytes of the `unlogged` response that the kernel has taken, without its head."""
        return max(self._sent - self._content_begins, 0)

    @property
    def needs_next(self) -> bool:
        """All that is ready has been sent: the stream's next part is due, or the response is over."""
        return not self.output and not isinstance(self.stream, FileBody)

    @property
    def is_spare(self) -> bool:
        """Nothing was sent, and nothing is left: another connection can use it."""
        return not self.output and self.stream is None and self.next_job is None and self.unlogged is None

    @property
    def file_follows(self) -> bool:
        """A file is to be sent, and its next piece is not being loaded."""
        return isinstance(self.stream, FileBody) and self.awaited_job is None

    def load_job(self) -> Job | None:
        """Return the job that loads a file's next piece, if that is on the disk only; None if it can be sent."""
        if self.output or not isinstance(self.stream, FileBody) or not self.stream.must_load():
            return None
        return Job(self.stream.load)

    def data_to_send(self) -> bytes | memoryview | FileBody:
        """Return what can be sent now; empty for nothing."""
        if not self.output and isinstance(self.stream, FileBody) and self.awaited_job is None:
            return self.stream
        return self.output

    def data_sent(self, count: int) -> None:
        """Note that the kernel has taken `count` bytes of `data_to_send`."""
        self._sent += count
        if self.output:
            # Not an empty view: it would keep the whole response alive.
            self.output = memoryview(self.output)[count:] if count < len(self.output) else b""
        elif isinstance(self.stream, FileBody):
            self.stream.advance(count)
            if not self.stream.remaining:
                self.output = self.stream.next_region()
                if not self.stream.remaining:
                    self.end_stream()
        if self.output or self.stream is not None:
            self.in_pieces = True

    def take_next_job(self) -> Job | None:
        """Return the job to start, once."""
        job, self.next_job = self.next_job, None
        return job

    def begin_stream(self, stream: FileBody | Stream) -> None:
        """Note what follows the output."""
        self.stream = stream
        self.ends_with_connection = isinstance(stream, Stream) and stream.ends_with_connection

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
        if self.stream.is_over:
            # The job has closed it.
            self.stream = None
        # Taken off the job for the reason given in `dispatch.job_response`.
        error, job.error = job.error, None
        if error is None:
            self.add(job.result)
        return error

    def take_pause(self) -> float:
        """Return the seconds that the stream wants to wait, once; 0 for none."""
        stream = self.stream
        if not isinstance(stream, Stream):
            return 0.0
        pause, stream.pause = stream.pause, 0.0
        return pause

    def abandon(self) -> None:
        """Drop everything. What another thread is computing is closed when its job comes back."""
        self.output = b""
        job, self.awaited_job = self.awaited_job, None
        if job is not None and job is not self.next_job:
            # The pool has it.
            job.is_cancelled = True
            if isinstance(self.stream, Stream):
                self.stream = None
        self.next_job = None
        self.end_stream()

    def end_stream(self) -> None:
        """Drop what follows the output. A job closes a blocking stream, because that may take time."""
        stream, self.stream = self.stream, None
        if isinstance(stream, Stream) and stream.blocking:
            self.next_job = stream.closing()
        elif isinstance(stream, Stream):
            stream.closing().run()
        elif stream is not None:
            close_stream(stream)
