"""Answers: from what a handler returned or raised to the bytes that go out, and what follows them."""

import logging
from html import escape
from typing import TYPE_CHECKING, Any

from ..concurrency import Job
from ..http import HTML, HTTPError, Request, RequestHead, Response, encode_fields, has_body, respond
from ..protocol import FileBody
from ..runtime import hot
from .response_cache import CacheTicket
from .response_stream import Stream

if TYPE_CHECKING:
    from .context import ReactorContext


log = logging.getLogger("mreactor")


@hot("__init__")
class EncodedResponse:
    """An answer that is ready to be sent.

    Attributes:
        output: the head, and the content where it is in memory.
        stream: the content that follows, if it is not; its owner closes it.
        keep_alive: the connection persists after it.
        kept: set if the reply cache may keep it.
    """

    __slots__ = ("keep_alive", "kept", "output", "stream")

    def __init__(
        self, output: bytes, stream: FileBody | Stream | None, keep_alive: bool, kept: CacheTicket | None
    ) -> None:
        self.output = output
        self.stream = stream
        self.keep_alive = keep_alive
        self.kept = kept


def encode_response(
    context: "ReactorContext", peer: tuple[Any, ...], head: RequestHead, response: Response, keep_alive: bool
) -> EncodedResponse:
    """Make the answer to a request, count it and note it in the access log."""
    # Read once: whoever returned it may be changing it still, and its length must be that of what is sent.
    status, body = response.status, response.body
    is_11 = head.version == (1, 1)
    stream: FileBody | Stream | None = None
    if isinstance(body, FileBody):
        stream = body
    elif not isinstance(body, bytes):
        stream = Stream(body, chunked=is_11, blocking=head.match.blocking)
    if not head.keep_alive or (isinstance(stream, Stream) and not is_11):
        keep_alive = False
    output = context.encode_parts(status, body, encode_fields(response), head, keep_alive)
    may_be_kept = head.match.constant and stream is None and status in (200, 304)
    content_length = len(body) if isinstance(body, bytes | FileBody) else -1
    if head.method == "HEAD" or not has_body(status):
        content_length = 0
    if stream is not None and content_length == 0:
        close(stream)
        stream = None
    counter = context.counters.counter(head.method, status)
    counter[0] += 1
    note = None
    if context.access is not None:
        note = (head, status, content_length)
        context.access.log_request(peer, *note)
    return EncodedResponse(output, stream, keep_alive, (counter, note) if may_be_kept else None)


def encode_refusal(
    context: "ReactorContext", peer: tuple[Any, ...], head: RequestHead | None, error: HTTPError
) -> bytes:
    """The answer to a message that cannot be read. Where it ends is not known, so the connection ends with it.

    Args:
        head: the message's head, if the fault lies behind it.
    """
    response = error_response(context, error)
    size = len(response.body) if isinstance(response.body, bytes) else -1
    if head is not None and head.method == "HEAD":
        size = 0
    context.counters.counter("-", error.status)[0] += 1
    if context.access is not None:
        context.access.log_request(peer, head, error.status, size)
    return context.encode(response, head, False)


def call_handler(
    context: "ReactorContext", peer: tuple[Any, ...], head: RequestHead, body: bytes
) -> Response:
    """The response that a request's handler comes to, here and now."""
    try:
        return respond(head.match.handler(Request(head, body, peer), **head.match.params))
    except BaseException as error:
        return failure(context, head, error)


def make_job(context: "ReactorContext", peer: tuple[Any, ...], head: RequestHead, body: bytes) -> Job:
    """The call of a blocking handler, which keeps the body in memory until it is done.

    Raises:
        HTTPError: 503, too much is kept already.
    """
    context.reserve_body_bytes(len(body))
    match, request = head.match, Request(head, body, peer)
    return Job(match.handler, request, keywords=match.params, size=len(body), since=context.now)


def job_response(context: "ReactorContext", head: RequestHead, job: Job) -> Response:
    """The response that a handler has come to in another thread."""
    error, job.error = (
        job.error,
        None,
    )  # its traceback leads back to the job: a cycle that would keep the request alive
    try:
        return respond(job.result) if error is None else failure(context, head, error)
    except BaseException as unfit:
        return failure(context, head, unfit)


def failure(context: "ReactorContext", head: RequestHead, error: BaseException) -> Response:
    """The response to what a handler has raised; anything but an `HTTPError` is logged and becomes a 500."""
    if isinstance(error, HTTPError):
        try:
            return error_response(context, error)
        except Exception as unfit:  # a status, reason or header field that cannot be sent
            error = unfit
    context.counters.error("handler")
    log.error("the handler of %s %s failed", head.method, head.raw_path, exc_info=error)
    return error_response(context, HTTPError(500, "The server failed to answer this request."))


def error_response(context: "ReactorContext", error: HTTPError) -> Response:
    """The page for an error: the status, and one sentence."""
    title = context.status_text(error.status)
    page = (
        f"<!doctype html>\n<html lang=en><meta charset=utf-8><title>{title}</title>\n"
        f"<h1>{title}</h1>\n<p>{escape(error.reason)}</p>\n"
    )
    return Response(page, error.status, error.headers, content_type=HTML)


def close(stream: FileBody | Stream) -> None:
    """Close a file or a handler's generator, whose `finally` may fail."""
    try:
        stream.close()
    except BaseException:  # even sys.exit(): it is an application's, and must not end the round
        log.exception("a stream failed when it was closed")
