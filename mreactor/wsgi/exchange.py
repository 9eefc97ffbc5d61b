"""One call of a WSGI application, from `start_response` to `close` (PEP 3333)."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from types import GeneratorType, TracebackType
from typing import Any, Final

from ..concurrency import Worker
from ..http import RawResponse, Response
from ..protocol import FileBody
from ..runtime import hot
from .environ import Environ
from .file_wrapper import FileWrapper
from .response_head import ResponseHead

log = logging.getLogger("mreactor")

type Application = Callable[[Environ, Any], Iterable[bytes]]
type ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

_END: Final = object()


class ClientGone(ConnectionError):
    """Raised by `write` when the client has left, so that the application ends."""


@hot("__init__", "run", "start_response", "_first_response", "_whole", "_response")
class Exchange:
    """A request's way through an application. It is the iterator over the parts of the content as well.

    All of it happens in one thread. The head is made with the first bytes of content, so that an application can put an
    error page in place of a response that it has not begun.
    """

    __slots__ = (
        "_app_is_called", "_error", "_head", "_is_over", "_is_sent", "_iterable", "_iterator", "_method", "_ready",
        "_sent",
    )  # fmt: skip

    def __init__(self, method: str) -> None:
        self._method = method
        self._head: ResponseHead | None = None
        # What the application has returned, to be closed once.
        self._iterable: Any = None
        self._iterator: Iterator[Any] | None = None
        # Bytes that the next part begins with.
        self._ready = b""
        self._sent = 0
        # The head is on its way, with the first bytes.
        self._is_sent = False
        self._is_over = False
        self._app_is_called = False
        self._error: BaseException | None = None

    def run(self, application: Application, environ: Environ) -> RawResponse:
        """Call the application. Return the response, of which this object is the body if there is more to come.

        Raises:
            BaseException: what the application raises before its first byte; what follows is raised by `__next__`.
        """
        try:
            self._iterable = application(environ, self.start_response)
            self._app_is_called = True
            if self._is_sent:
                # `write` has handed the response over.
                self._iterator = iter(self._iterable)
                return self._response(b"")
            return self._first_response()
        except BaseException as error:
            self._app_is_called = True
            if self._is_sent:
                # The response has begun: the next part fails.
                self._error = error
                return self._response(b"")
            if self._ready:
                self._error = error
                return self._begin(self._ready)
            self._close_quietly()
            raise

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """Take status and header fields; return `write`. The application calls this."""
        if exc_info is not None:
            try:
                if self._is_sent and exc_info[1] is not None:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                # A cycle would keep the frames of the application alive.
                exc_info = None
        elif self._head is not None:
            raise AssertionError("start_response was called twice, and without exc_info")
        self._head = ResponseHead(status, headers)
        return self.write

    def write(self, data: bytes) -> None:
        """Send bytes before the application returns. Waits until the client has taken them.

        Raises:
            ClientGone: the client has left.
        """
        if self._app_is_called:
            raise AssertionError("write() was called by the iterable that the application returned")
        part = self._check_part(data)
        if not part or not self._sends_content:
            return
        worker = threading.current_thread()
        if not isinstance(worker, Worker):
            # There is no pool, so nothing can be sent before the application returns.
            self._ready += part
            return
        if not self._is_over:
            next_job = worker.hand_over(part if self._is_sent else self._begin_written(part))
            # A job without a stream closes it.
            self._is_over = next_job is None or next_job.stream is None
        if self._is_over:
            raise ClientGone("the client is gone")

    # The iterator over the parts.

    def __iter__(self) -> "Exchange":
        return self

    def __next__(self) -> bytes:
        """Return the next part, not empty. Raises what the application raises."""
        if self._ready:
            part, self._ready = self._ready, b""
            return part
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        part = b"" if self._is_over else self._next_part()
        if part:
            return part
        raise StopIteration

    def unread(self, part: bytes) -> None:
        """Take the first part back, which is then the next one."""
        self._ready = part + self._ready

    def close(self) -> None:
        """Close what the application has returned, once."""
        self._is_over = True
        iterable, self._iterable, self._iterator = self._iterable, None, None
        # It holds the frames that hold this object.
        self._error = None
        close = getattr(iterable, "close", None)
        if close is not None:
            close()

    # How the response begins.

    def _first_response(self) -> RawResponse:
        """Return the response with its first bytes; with all of them if they are there."""
        iterable = self._iterable
        kind = type(iterable)
        if kind is list or kind is tuple:
            # Neither has anything to close.
            content = self._ready + b"".join(iterable) if self._ready or len(iterable) != 1 else iterable[0]
            if type(content) is bytes:
                return self._whole(content)
        if kind is FileWrapper and not self._ready and (region := iterable.region()) is not None:
            return self._whole(region)
        self._iterator = iter(iterable)
        part = self._ready
        if self._head is None or self._sends_content:
            part += self._next_part()
            if not self._is_over and self._is_complete and kind is not GeneratorType:
                # Nearly all such iterables end here. A generator may have work to do after its last part.
                part += self._next_part()
        return self._begin(part) if self._sends_content and not self._is_over else self._whole(part)

    def _whole(self, content: bytes | FileBody) -> RawResponse:
        """Return a response with all of its content; close the iterable."""
        head = self._head or self._require_head()
        length, size = head.length, len(content)
        if length is not None and length != size and self._sends_content:
            if size < length:
                if isinstance(content, FileBody):
                    content.close()
                raise ValueError(f"the application announced {length} bytes of content and returned {size}")
            _warn_of_excess()
            if isinstance(content, FileBody):
                content.remaining = length
            else:
                content = content[:length]
        self._is_over = True
        if hasattr(self._iterable, "close"):
            self._close_quietly()
        return self._response(content)

    def _begin(self, part: bytes) -> RawResponse:
        """Return a response of which the first part is there."""
        response = self._response(self)
        response.first_part = part
        self._is_sent = True
        self._ready = b""
        return response

    def _begin_written(self, part: bytes) -> RawResponse:
        """Return a response that begins before the application has returned."""
        return self._begin(part)

    def _response(self, body: Any) -> RawResponse:
        head = self._head or self._require_head()
        response = RawResponse(head.status, head.start, head.fields, body, head.length)
        if head.has_server or head.has_date:
            response.omits(server=head.has_server, date=head.has_date)
        return response

    def _require_head(self) -> ResponseHead:
        if self._head is None:
            raise AssertionError("the application did not call start_response")
        return self._head

    # Parts and their lengths.

    @property
    def _sends_content(self) -> bool:
        """The response has content, and the client wants it."""
        return self._method != "HEAD" and self._require_head().has_content

    @property
    def _is_complete(self) -> bool:
        """All of the announced content is there."""
        return self._head is not None and self._head.length == self._sent

    def _next_part(self) -> bytes:
        """Return the next part that is not empty; empty at the end."""
        iterator = self._iterator
        while iterator is not None and not self._is_over:
            part = next(iterator, _END)
            if part is _END:
                self._is_over = True
                self._check_end()
            elif part := self._check_part(part):
                return part
        return b""

    def _check_part(self, part: Any) -> bytes:
        """Return a part, or what of it lies within the announced length; then the content is over."""
        if not isinstance(part, bytes):
            raise TypeError(f"an application must return bytes, not {type(part).__name__}: {part!r:.60}")
        length = self._require_head().length
        self._sent += len(part)
        if length is None or self._sent <= length:
            return part
        _warn_of_excess()
        self._is_over = True
        return part[: len(part) - (self._sent - length)]

    def _check_end(self) -> None:
        length = self._require_head().length
        if length is not None and self._sent < length and self._sends_content:
            raise ValueError(f"the application announced {length} bytes of content and returned {self._sent}")

    def _close_quietly(self) -> None:
        """Close the iterable of a response that is complete, or that has failed already."""
        try:
            self.close()
        except BaseException:
            log.exception("close() of an application's iterable failed")


class HookedExchange(Exchange):
    """An exchange whose response goes through hooks before it is sent, also where `write` begins it.

    Args:
        finish: calls the hooks; it returns the response to send.

    Attributes:
        is_finished: `write` has sent a response that has gone through them.
    """

    __slots__ = ("_finish", "is_finished")

    def __init__(self, method: str, finish: Callable[[RawResponse], Response]) -> None:
        Exchange.__init__(self, method)
        self._finish = finish
        self.is_finished = False

    def _begin_written(self, part: bytes) -> RawResponse:
        response = self._begin(part)
        self._is_sent = False
        try:
            finished = self._finish(response)
        finally:
            # The hooks got the part with the stream, and it goes out with the head.
            self._ready = b""
        if type(finished) is not RawResponse or finished.parts[0] is not self:
            raise ValueError("a hook cannot replace the content of a response that write() has begun")
        finished.first_part = part
        self._is_sent = self.is_finished = True
        return finished


def _warn_of_excess() -> None:
    log.warning("an application returned more than its Content-Length; the rest is not sent")
