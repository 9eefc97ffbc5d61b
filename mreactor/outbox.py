"""What a connection owes its peer: bytes, and the file or stream that follows them."""

from .answer import close
from .http1.response import FileBody
from .stream import Stream


class Outbox:
    """One connection's unsent answers, used by the connection alone.

    Attributes:
        output: bytes that are ready.
        stream: what comes after them; closed when it is used up or dropped.
    """

    __slots__ = ("output", "stream")

    def __init__(self) -> None:
        self.output: bytes | memoryview = b""
        self.stream: FileBody | Stream | None = None

    def add(self, output: bytes) -> None:
        """Put bytes behind those that wait."""
        self.output = bytes(self.output) + output if self.output else output

    def pending(self) -> bytes | memoryview | FileBody:
        """What can be sent now; empty for nothing."""
        if self.output or not isinstance(self.stream, FileBody):
            return self.output
        return self.stream

    def sent(self, count: int) -> None:
        """`count` bytes of `pending` are gone."""
        if self.output:
            self.output = memoryview(self.output)[count:]
        elif isinstance(self.stream, FileBody):
            self.stream.advance(count)
            if not self.stream.remaining:
                self.drop_stream()

    def drop_stream(self) -> None:
        """Close what follows."""
        stream, self.stream = self.stream, None
        if stream is not None:
            close(stream)
