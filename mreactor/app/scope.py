"""What surrounds an application's handlers: hooks before and after them, and handlers of errors.

An application without hooks and error handlers has its handlers called as they are. Otherwise `Scope.wrap` puts a
function around each handler when the routes are frozen, so nothing is looked up for a request. See docs/decisions/085.
"""

import dataclasses
import functools
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..http import FAILED, Body, Handler, HTTPError, MustWait, RawResponse, Request, Response, render_error, respond
from ..wsgi import WSGIHandler
from .router import Endpoint

log = logging.getLogger("mreactor")

type BeforeHook = Callable[[Request], Any]
type AfterHook = Callable[[Request, Response], Any]
type ErrorHandler = Callable[[Request, Any], Any]
# A status, or a class of exceptions.
type ErrorKind = int | type[BaseException]


class HandlerFailure(Exception):
    """A handler has failed, and the application has made the response. The cause is to be logged and counted."""

    def __init__(self, response: Response) -> None:
        Exception.__init__(self, response)
        self.response = response


@dataclass(frozen=True, slots=True)
class Scope:
    """The hooks and error handlers of an application and of those that include it. Immutable; any thread may use it.

    Attributes:
        before: in the order of calls, the outermost application's first.
        after: in the order of calls, the innermost application's first.
        errors: the first that fits is called. Those of the innermost application come first.
    """

    before: tuple[BeforeHook, ...] = ()
    after: tuple[AfterHook, ...] = ()
    errors: tuple[tuple[ErrorKind, ErrorHandler], ...] = ()

    def enter(self, inner: "Scope") -> "Scope":
        """Return the scope of an application that this one includes."""
        return Scope(
            (*self.before, *inner.before), (*inner.after, *self.after), (*_by_rank(inner.errors), *self.errors)
        )

    @property
    def is_empty(self) -> bool:
        """There is nothing to call."""
        return not (self.before or self.after or self.errors)

    def wrap(self, handler: Handler) -> Handler:
        """Return a handler with the hooks and error handlers around it; the handler itself if there are none."""
        if self.is_empty:
            return handler

        before, after, finish = self.before, self.after, self._finish
        finishes_itself = isinstance(handler, WSGIHandler)
        if after and isinstance(handler, WSGIHandler):
            # Its response may begin before it returns.
            handler.finish = finish

        def call(request: Request, **params: Any) -> Any:
            try:
                for hook in before:
                    result = hook(request)
                    if result is not None:
                        result = respond(result, hook)
                        break
                else:
                    result = handler(request, **params)
                    if finishes_itself:
                        return result
                if not after:
                    return result
                response = respond(result, handler)
                # A handler may return the same response again and again.
                return finish(request, response.copy() if type(result) is Response else response)
            except MustWait:
                # The thread pool calls all of this again.
                raise
            except BaseException as error:
                return self.recover(request, error)

        # Signatures and messages are those of the handler.
        functools.update_wrapper(call, handler, updated=())
        return call

    def respond_to(self, request: Request, error: BaseException) -> tuple[Response, BaseException | None]:
        """Make the response to what was raised, by the first error handler that fits or as the built-in page.

        Returns:
            the response, and the exception to log: what led to a status of 500 and more and is no `HTTPError`.
        """
        failure = None if isinstance(error, HTTPError) else error
        # An error handler may raise an `HTTPError`, which another one may handle.
        for _ in range(2):
            try:
                response = self._handle(request, error)
            except HTTPError as other:
                error = other
            except BaseException as other:
                return _render(HTTPError(500, FAILED), request), other
            else:
                return response, failure if response.status >= 500 else None
        return _render(error, request), failure

    def _finish(self, request: Request, response: Response) -> Response:
        """Call the hooks after a response, which may change it or make another one."""
        if type(response) is RawResponse:
            response.unpack()
        body = response.parts[0]
        try:
            for hook in self.after:
                result = hook(request, response)
                if result is not None:
                    response = respond(result, hook)
        except BaseException:
            _discard(body)
            raise
        # A stream may be one of the parts of another one.
        if response.parts[0] is not body and isinstance(response.parts[0], bytes):
            _discard(body)
        return response

    def recover(self, request: Request, error: BaseException) -> Response:
        """Make the response to what was raised, and call the hooks after it.

        Raises:
            HandlerFailure: the response is that of a failure.
        """
        response, failure = self.respond_to(request, error)
        try:
            response = self._finish(request, response)
        except BaseException as other:
            response, failure = _render(HTTPError(500, FAILED), request), other
        if failure is None:
            return response
        try:
            raise HandlerFailure(response) from failure
        finally:
            # It leads to this frame. The cycle would keep the request alive.
            del failure

    def _handle(self, request: Request, error: BaseException) -> Response:
        handler = self._find(error)
        if handler is None and not isinstance(error, HTTPError):
            error = HTTPError(500, FAILED)
            handler = self._find(error)
        return _render(error, request) if handler is None else _complete(handler(request, error), error, handler)

    def _find(self, error: BaseException) -> ErrorHandler | None:
        return next((handler for kind, handler in self.errors if _fits(kind, error)), None)


class ErrorResponder:
    """Responds to what goes wrong outside of handlers: no route, a message that cannot be read, a full server.

    Args:
        scopes: by the prefix of the paths that each is for.
        blocking: the prefixes whose routes are all blocking, so that their hooks may wait.
    """

    def __init__(self, scopes: dict[str, Scope], blocking: Iterable[str] = ()) -> None:
        # The longest first. Tuples, because threads read them without a lock.
        longest_first = sorted(scopes.items(), key=lambda item: -len(item[0]))
        self._scopes = tuple((prefix, scope, prefix in blocking) for prefix, scope in longest_first)

    def surround(self, endpoint: Endpoint, path: str) -> Endpoint:
        """Return the endpoint that refuses requests for a path, with the hooks and error handlers around it."""
        scope, blocking = self._find(path)
        if scope.is_empty:
            return endpoint
        return dataclasses.replace(endpoint, handler=scope.wrap(endpoint.handler), blocking=blocking)

    def recover(self, request: Request, error: BaseException) -> Response:
        """Make the response to what a handler without hooks has raised. Raises as `Scope.recover`."""
        return self._find(request.path)[0].recover(request, error)

    def refuse(self, request: Request, error: HTTPError) -> Response:
        """Make the response to a message that is no complete request. No hook is called."""
        response, failure = self._find(request.path)[0].respond_to(request, error)
        if failure is not None:
            raise HandlerFailure(response) from failure
        return response

    def _find(self, path: str) -> tuple[Scope, bool]:
        for prefix, scope, blocking in self._scopes:
            if is_below(path, prefix):
                return scope, blocking
        return Scope(), False


def is_below(path: str, prefix: str) -> bool:
    """Whether a path is the prefix or lies below it."""
    return path.startswith(prefix) and (len(path) == len(prefix) or path[len(prefix)] == "/" or not prefix)


def _discard(body: Body) -> None:
    """Close content that is not sent: a file, or a stream."""
    close = getattr(body, "close", None)
    if close is not None:
        try:
            close()
        except BaseException:
            log.exception("a stream failed when it was closed")


def _by_rank(errors: tuple[tuple[ErrorKind, ErrorHandler], ...]) -> Iterator[tuple[ErrorKind, ErrorHandler]]:
    """Order the error handlers of one application: those of a status first, then subclasses before their bases."""
    return iter(sorted(errors, key=lambda item: -1000 if isinstance(item[0], int) else -len(item[0].__mro__)))


def _fits(kind: ErrorKind, error: BaseException) -> bool:
    if isinstance(kind, int):
        return isinstance(error, HTTPError) and error.status == kind
    # A handler of Exception is for failures. That of a refusal names HTTPError, or the status.
    return isinstance(error, kind) and (issubclass(kind, HTTPError) or not isinstance(error, HTTPError))


def _complete(result: Any, error: BaseException, handler: ErrorHandler) -> Response:
    """Return the response that an error handler's result stands for: content gets the status of the error."""
    if isinstance(result, Response):
        response = result.copy()
    else:
        response = respond(result, handler)
        response.status = error.status if isinstance(error, HTTPError) else 500
    if isinstance(error, HTTPError):
        # Some must be there, such as Allow with a 405.
        missing = [(name, value) for name, value in error.headers if name not in response.headers]
        for name, value in missing:
            response.headers.add(name, value)
    return response


def _render(error: BaseException, request: Request) -> Response:
    assert isinstance(error, HTTPError), "a failure has become a 500"
    return render_error(error, request.headers.get("accept", ""))
