"""An answer that is computed part by part, as its client takes it."""

from collections.abc import Iterator
from typing import Final

from ..concurrency import Job
from ..http import LAST_CHUNK, encode_chunk

_NO_MORE: Final = object()  # what an exhausted iterator is made to yield


class Stream:
    """The content that follows an answer's head.

    Args:
        parts: what the handler returned.
        chunked: in chunked coding; otherwise the content ends with the connection (HTTP/1.0).
        blocking: the next part may take time, so it is fetched in another thread.
    """

    __slots__ = ("_chunked", "_parts", "blocking", "is_over")

    def __init__(self, parts: Iterator[bytes | str], *, chunked: bool, blocking: bool) -> None:
        self._parts = parts
        self._chunked = chunked
        self.blocking = blocking
        self.is_over = False

    def next_part(self) -> Job:
        """The work of fetching the next part."""
        job = Job(next, self._parts, _NO_MORE)
        job.stream = self
        return job

    def encode(self, job: Job) -> bytes:
        """The bytes to send for a part that was fetched; empty for an empty part.

        Raises:
            TypeError: the part is neither bytes nor str.
            BaseException: what the handler's iterator raised.
        """
        error, job.error = job.error, None  # see `answer.job_response`
        if error is not None:
            raise error
        if job.result is _NO_MORE:
            self.is_over = True
            return LAST_CHUNK if self._chunked else b""
        part = job.result.encode() if isinstance(job.result, str) else bytes(memoryview(job.result))
        return encode_chunk(part) if self._chunked else part

    def close(self) -> None:
        """Close a generator, so that its `finally` runs; other iterators have nothing to close."""
        close = getattr(self._parts, "close", None)
        if close is not None:
            close()
