"""A response's content that is computed part by part, as the client takes it."""

import logging
from collections.abc import Iterator
from contextvars import Context
from typing import Any, Final

from ..concurrency import Closable, Job, Worker
from ..http import Pause, SizedStream, encode_part
from .encoder import LAST_CHUNK, encode_chunk

log = logging.getLogger("mreactor")

# What an exhausted iterator yields here.
_NO_MORE: Final = object()


class Stream:
    """The content that follows a response's head. It closes its parts when it is over.

    Args:
        parts: what the handler returned.
        is_11: the peer understands chunked coding.
        length: the bytes of all parts together, if the response announces them; a `SizedStream` knows it itself.
        context: the context variables that the parts see, from the first to the closing.
        blocking: a part may take time, so the thread pool computes it.

    Attributes:
        chunked: the content is sent in chunked coding.
        ends_with_connection: it has neither length nor chunks (HTTP/1.0), so a peer takes any end for the whole.
        is_over: the last part has been computed, or one has failed.
        pause: seconds until the next part is to be asked for; 0 for none.
        worker: the thread that computes the parts; None for the reactor's own.
    """

    __slots__ = ("_context", "_parts", "blocking", "chunked", "ends_with_connection", "is_over", "pause", "worker")

    def __init__(
        self, parts: Iterator[bytes | str], *, is_11: bool, context: Context, blocking: bool, length: int | None = None
    ) -> None:
        self._parts = parts
        self._context = context
        is_sized = length is not None or isinstance(parts, SizedStream)
        self.chunked = is_11 and not is_sized
        self.ends_with_connection = not is_11 and not is_sized
        self.blocking = blocking
        self.is_over = False
        self.pause = 0.0
        self.worker: Worker | None = None

    def next_part(self) -> Job:
        """Make the job that computes and encodes the next part."""
        job = PartJob(self._encode_next, context=self._context)
        job.stream, job.worker, job.is_admitted = self, self.worker, True
        return job

    def closing(self) -> Job:
        """Make the job that closes the stream before its end."""
        job = Job(close_stream, self, context=self._context)
        job.worker, job.is_admitted = self.worker, True
        return job

    def _encode_next(self) -> bytes:
        """Compute the next part and encode it; empty for an empty part and for a pause.

        Raises:
            TypeError: the part is neither bytes nor str.
            BaseException: what the handler's iterator raised.
        """
        try:
            part = next(self._parts, _NO_MORE)
            if part is _NO_MORE:
                self.is_over = True
                close_stream(self)
                return LAST_CHUNK if self.chunked else b""
            if isinstance(part, Pause):
                self.pause = part.seconds
                return b""
            return self.encode(part)
        except BaseException:
            self.is_over = True
            close_stream(self)
            raise

    def encode(self, part: Any) -> bytes:
        """Encode a part. Raises TypeError: it is neither bytes nor str."""
        content = encode_part(part, self._parts)
        return encode_chunk(content) if self.chunked else content

    def close(self) -> None:
        """Close a generator, so that its `finally` runs. Other iterators have nothing to close."""
        close = getattr(self._parts, "close", None)
        if close is not None:
            close()


class PartJob(Job):
    """The job of a stream's part. Its thread is free after the last one."""

    __slots__ = ()

    def accept(self, result: Any) -> None:
        """Take a part while the handler's call runs."""
        stream = self.stream
        assert isinstance(stream, Stream), "the job computes a part of it"
        self.result = stream.encode(result)

    def _call(self) -> Any:
        stream = self.stream
        assert isinstance(stream, Stream), "the job computes a part of it"
        try:
            return Job._call(self)
        finally:
            if stream.is_over:
                self.stream = None


def close_stream(stream: Closable) -> None:
    """Close a file, or a handler's generator, whose `finally` may fail."""
    try:
        stream.close()
    except BaseException:  # also sys.exit() in an application: it must not end the round
        log.exception("a stream failed when it was closed")


def discard(body: Any) -> None:
    """Close content that is not sent, if it can be closed: a file or a stream."""
    if hasattr(body, "close"):
        close_stream(body)
