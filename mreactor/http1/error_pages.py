"""Responses to what goes wrong: malformed messages, refusals, and handlers that fail."""

import logging
from html import escape
from typing import TYPE_CHECKING

from ..http import HTML, HTTPError, RequestHead, Response
from ..protocol import Peer

if TYPE_CHECKING:
    from .context import ReactorContext


log = logging.getLogger("mreactor")


def error_page(context: "ReactorContext", error: HTTPError) -> Response:
    """Render the page for an error: the status and one sentence."""
    title = context.encoder.status_text(error.status)
    page = (
        f"<!doctype html>\n<html lang=en><meta charset=utf-8><title>{title}</title>\n"
        f"<h1>{title}</h1>\n<p>{escape(error.reason)}</p>\n"
    )
    return Response(page, error.status, error.headers, content_type=HTML)


def failure_page(context: "ReactorContext", head: RequestHead, error: BaseException) -> Response:
    """Render the response to what a handler has raised. Log anything but an `HTTPError`; the response is then a 500."""
    if isinstance(error, HTTPError):
        try:
            return error_page(context, error)
        except Exception as unfit:  # a status, reason or header field that cannot be sent
            error = unfit
    _log_failure(context, head, error, "handler")
    return error_page(context, HTTPError(500, "The server failed to answer this request."))


def log_stream_failure(context: "ReactorContext", head: RequestHead, error: BaseException) -> None:
    """Count and log what a stream has raised. Its status, sent before, counts as a success."""
    _log_failure(context, head, error, "stream")


def _log_failure(context: "ReactorContext", head: RequestHead, error: BaseException, kind: str) -> None:
    context.counters.error(kind)
    log.error("the handler of %s %s failed", head.method, head.raw_path, exc_info=error)


def encode_refusal(context: "ReactorContext", peer: Peer, head: RequestHead | None, error: HTTPError) -> bytes:
    """Encode and log the response to a message whose end is unknown. It has a head if the fault lies behind that."""
    response = error_page(context, error)
    size = len(response.body) if isinstance(response.body, bytes) else -1
    if head is not None and head.method == "HEAD":
        size = 0
    context.counters.counter("-", error.status)[0] += 1
    if context.access is not None:
        context.access.log_request(peer, head, error.status, size)
    return context.encoder.encode(response, head, keep_alive=False)
