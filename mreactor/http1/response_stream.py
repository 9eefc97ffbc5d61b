"""A response's content that is computed part by part, as the client takes it."""

import logging
from collections.abc import Iterator
from typing import Final

from ..concurrency import Job
from ..http import encode_part
from ..protocol import FileBody
from .encoder import LAST_CHUNK, encode_chunk

log = logging.getLogger("mreactor")

# What an exhausted iterator yields here.
_NO_MORE: Final = object()


class Stream:
    """The content that follows a response's head.

    Args:
        parts: what the handler returned.
        chunked: the content is sent in chunked coding; otherwise it ends with the connection (HTTP/1.0).
        blocking: a part may take time, so the thread pool computes it.
    """

    __slots__ = ("_chunked", "_parts", "blocking", "is_over")

    def __init__(self, parts: Iterator[bytes | str], *, chunked: bool, blocking: bool) -> None:
        self._parts = parts
        self._chunked = chunked
        self.blocking = blocking
        self.is_over = False

    def next_part(self) -> Job:
        """Make the job that computes the next part."""
        job = Job(next, self._parts, _NO_MORE)
        job.stream = self
        return job

    def encode(self, job: Job) -> bytes:
        """Encode the part that a job has computed; empty for an empty part.

        Raises:
            TypeError: the part is neither bytes nor str.
            BaseException: what the handler's iterator raised.
        """
        # Taken off the job for the reason given in `dispatch.job_response`.
        error, job.error = job.error, None
        if error is not None:
            raise error
        if job.result is _NO_MORE:
            self.is_over = True
            return LAST_CHUNK if self._chunked else b""
        part = encode_part(job.result, self._parts)
        return encode_chunk(part) if self._chunked else part

    def close(self) -> None:
        """Close a generator, so that its `finally` runs. Other iterators have nothing to close."""
        close = getattr(self._parts, "close", None)
        if close is not None:
            close()


def close_stream(stream: FileBody | Stream) -> None:
    """Close a file, or a handler's generator, whose `finally` may fail."""
    try:
        stream.close()
    except BaseException:  # also sys.exit() in an application: it must not end the round
        log.exception("a stream failed when it was closed")
