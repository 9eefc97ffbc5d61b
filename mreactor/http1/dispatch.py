"""Calls of handlers: in the reactor's thread, or as jobs in the thread pool."""

from typing import TYPE_CHECKING, Any

from ..concurrency import Job
from ..http import MustWait, RawResponse, Request, RequestHead, Response, SpooledBody, has_body, respond
from ..protocol import FileBody, Peer
from ..runtime import hot
from .error_pages import failure_page
from .response_stream import Stream, close_stream
from .routed_request import RoutedRequest

if TYPE_CHECKING:
    from .context import ReactorContext


# The body of a request.
type RequestBody = bytes | SpooledBody


def call_handler(context: "ReactorContext", peer: Peer, request: RoutedRequest, body: RequestBody) -> Response:
    """Call a request's handler here and now. Raises MustWait if it has to run in the thread pool."""
    match = request.match
    argument = request.make_argument(body, peer)
    try:
        return respond(match.handler(argument, **match.params), match.handler)
    except MustWait:
        raise
    except BaseException as error:
        return failure_page(context, argument, error)


@hot("__init__", "_call", "_prepare")
class HandlerJob(Job):
    """The call of a blocking handler. Its content is made in the pool as well: that may take time.

    If the response is a stream, `stream` is set after the call: the parts follow in the same thread and context. A
    stream that is not sent is closed at once.
    """

    __slots__ = ("_head", "request")

    def __init__(self, request: RoutedRequest, argument: Request, size: int, since: float) -> None:
        match = request.match
        Job.__init__(self, match.endpoint.handler, argument, keywords=match.params, size=size, since=since)
        self._head: RequestHead = request.head
        self.request = argument

    def accept(self, result: Any) -> None:
        """Take the response before the handler has returned: its first part is there, and others will follow."""
        self.result = self._prepare(result)

    def _call(self) -> Response:
        keywords = self._keywords
        handler, arguments = self._function, self._args
        result: Response = handler(*arguments, **keywords) if keywords else handler(*arguments)
        if ((kind := type(result)) is Response or kind is RawResponse) and type(result.parts[0]) is bytes:
            return result
        return self._prepare(result)

    def _prepare(self, result: Any) -> Response:
        """Make a response of what the handler has returned, and a stream of its body."""
        response = result if isinstance(result, Response) else respond(result, self._function)
        body, head = response.parts[0], self._head
        if type(body) is not bytes and not isinstance(body, bytes | FileBody):
            stream = Stream(
                body, is_11=head.version == (1, 1), context=self.context, blocking=True, length=response.length
            )
            if head.method == "HEAD" or not has_body(response.status):
                close_stream(stream)
            else:
                self.stream, stream.worker = stream, self.worker
        return response

    def disposal(self) -> Job | None:
        """Return the job that closes an abandoned response. Bytes, and a stream that is closed, need none."""
        if self.stream is not None or isinstance(getattr(self.result, "body", None), FileBody):
            return Job.disposal(self)
        return None

    def _close(self) -> None:
        """Close the stream or the file."""
        close_stream(self.result.body if self.stream is None else self.stream)


def make_job(context: "ReactorContext", peer: Peer, request: RoutedRequest, body: RequestBody) -> Job:
    """Make the job of a blocking handler. It reserves the body's memory until it is done, and raises as that does."""
    size = len(body) if isinstance(body, bytes) else 0
    if size:
        context.reserve_body_bytes(size)
    argument = request.make_argument(body, peer)
    argument.may_wait = True
    return HandlerJob(request, argument, size, context.now)


def job_response(context: "ReactorContext", job: Job) -> Response:
    """Return the response of a handler that ran in another thread."""
    # The error's traceback leads back to the job. That cycle would keep the request alive.
    error, job.error = job.error, None
    if error is not None:
        assert isinstance(job, HandlerJob), "the parts of a stream do not come here"
        return failure_page(context, job.request, error)
    response: Response = job.result
    return response
