"""Calls of handlers: in the reactor's thread, or as jobs in the thread pool."""

from typing import TYPE_CHECKING

from ..concurrency import Job
from ..http import Request, Response, respond
from ..protocol import Peer
from .error_pages import failure_page
from .routed_request import RoutedRequest

if TYPE_CHECKING:
    from .context import ReactorContext


def call_handler(context: "ReactorContext", peer: Peer, request: RoutedRequest, body: bytes) -> Response:
    """Call a request's handler here and now."""
    match, head = request.match, request.head
    try:
        return respond(match.handler(Request(head, body, peer), **match.params), match.handler)
    except BaseException as error:
        return failure_page(context, head, error)


def make_job(context: "ReactorContext", peer: Peer, request: RoutedRequest, body: bytes) -> Job:
    """Make the job of a blocking handler. It reserves the body's bytes until it is done, and raises as that does."""
    context.reserve_body_bytes(len(body))
    match, argument = request.match, Request(request.head, body, peer)
    return Job(match.handler, argument, keywords=match.params, size=len(body), since=context.now)


def job_response(context: "ReactorContext", request: RoutedRequest, job: Job) -> Response:
    """Return the response of a handler that ran in another thread."""
    # The error's traceback leads back to the job. That cycle would keep the request alive.
    error, job.error = job.error, None
    try:
        if error is None:
            return respond(job.result, request.match.handler)
        return failure_page(context, request.head, error)
    except BaseException as unfit:
        return failure_page(context, request.head, unfit)
