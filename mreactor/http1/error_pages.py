"""Responses to what goes wrong: malformed messages, refusals, and handlers that fail."""

import logging
from typing import TYPE_CHECKING

from ..app import ErrorResponder, HandlerFailure
from ..http import (
    FAILED,
    HTTPError,
    Request,
    RequestHead,
    Response,
    has_body,
    render_error,
    render_traceback,
    unread_head,
)
from ..logs import format_error, summarize_error
from ..protocol import Peer
from .cache_entries import LogEntry
from .encoder import Encoder, render_overload
from .response_stream import discard
from .routed_request import RoutedRequest

if TYPE_CHECKING:
    from .context import ReactorContext


log = logging.getLogger("mreactor")


def failure_page(context: "ReactorContext", request: Request, error: BaseException) -> Response:
    """Make the response to what a handler has raised, by the application's error handlers if it has any.

    Log anything but an `HTTPError`; the response is then a 500, unless the application has made another one.
    """
    # No branch keeps an exception in a variable of this frame: its traceback leads here, and the cycle would keep the
    # request alive.
    try:
        return _recover(context, request, error)
    except HandlerFailure as failure:
        return _fail(context, request, failure.__cause__ or failure, failure.response)
    except Exception as unfit:  # a status, reason or header field that cannot be sent
        return _fail(context, request, unfit)


def _recover(context: "ReactorContext", request: Request, error: BaseException) -> Response:
    if isinstance(error, HandlerFailure):
        return _fail(context, request, error.__cause__ or error, error.response)
    if context.errors is not None:
        return context.errors.recover(request, error)
    if isinstance(error, HTTPError):
        return _render(request, error)
    return _fail(context, request, error)


def _fail(
    context: "ReactorContext", request: Request, error: BaseException, response: Response | None = None
) -> Response:
    """Count and log a failure. Return the application's response, the built-in page, or for debugging the traceback."""
    _log_failure(context, request, error, "handler")
    if context.debug:
        if response is not None:
            discard(response.body)
        return render_traceback(summarize_error(error), format_error(error), request.headers.get("accept", ""))
    return response or _render(request, HTTPError(500, FAILED))


def _render(request: Request, error: HTTPError) -> Response:
    return render_error(error, request.headers.get("accept", ""))


def log_stream_failure(context: "ReactorContext", request: RoutedRequest, error: BaseException) -> None:
    """Count and log what a stream has raised. Its status, sent before, counts as a success."""
    _log_failure(context, request, error, "stream")


def _log_failure(context: "ReactorContext", request: Request | RoutedRequest, error: BaseException, kind: str) -> None:
    context.counters.error(kind)
    method, path = request.head.method, request.head.raw_path
    if request.id:
        known = {"request_id": request.id}
        log.error("the handler of %s %s failed (request %s)", method, path, request.id, exc_info=error, extra=known)
    else:
        log.error("the handler of %s %s failed", method, path, exc_info=error)


def refusal_page(
    context: "ReactorContext", peer: Peer, head: RequestHead | None, error: HTTPError, request_id: str = ""
) -> Response:
    """Make the response to a message whose end is unknown. Content that is not in memory is not sent."""
    request = Request(head or unread_head(), b"", peer)
    if request_id:
        request.id = request_id
    if context.errors is not None:
        try:
            response = context.errors.refuse(request, error)
        except HandlerFailure as failure:
            _log_failure(context, request, failure.__cause__ or failure, "handler")
            response = failure.response
        if isinstance(response.body, bytes):
            return response
        discard(response.body)
        log.error("the error handler of %s returned a stream, which a refusal cannot send", error.status)
    return _render(request, error)


def encode_overload(errors: ErrorResponder | None) -> bytes:
    """Encode the response to clients that find no room: 503, by the application's error handler if it has one.

    It is encoded once, when the server starts, so it has no Date.
    """
    if errors is None:
        return render_overload()
    refusal = HTTPError(503, "This server has too many connections.", (("Retry-After", "1"),))
    try:
        response = errors.refuse(Request(unread_head(), b"", ()), refusal)
    except HandlerFailure as failure:
        log.error("the error handler of 503 failed", exc_info=failure.__cause__)
        return render_overload()
    if not isinstance(response.body, bytes):
        discard(response.body)
        return render_overload()
    return Encoder().encode(response, None, keep_alive=False)


def encode_refusal(
    context: "ReactorContext", peer: Peer, head: RequestHead | None, error: HTTPError, request_id: str = ""
) -> tuple[bytes, LogEntry]:
    """Encode the response to a message whose end is unknown. It has a head if the fault lies behind that.

    Returns:
        the response, and what the access log says of it.
    """
    response = refusal_page(context, peer, head, error, request_id)
    has_content = has_body(response.status) and (head is None or head.method != "HEAD")
    body = response.body
    assert isinstance(body, bytes), "refusal_page returns no other"
    size = len(body) if has_content else 0
    context.counters.counter("-", response.status)[0] += 1
    return context.encoder.encode(response, head, keep_alive=False), LogEntry(head, response.status, size)
