"""The handler that calls a WSGI application."""

from collections.abc import Callable
from contextvars import Context
from functools import partial

from ..http import Request, Response
from ..runtime import hot
from .environ import EnvironMaker
from .exchange import Application, Exchange, HookedExchange


@hot("__call__")
class WSGIHandler:
    """A handler for all requests below a path. Any thread may call it.

    Args:
        application: called as PEP 3333 says.
        prefix: the path that it is mounted at. It becomes SCRIPT_NAME.
        address: host and port of the server, for SERVER_NAME and SERVER_PORT.
        inline: it is called in a reactor's thread, which is no place to wait, instead of the thread pool.

    Attributes:
        finish: calls hooks with the request and the response, and returns the response to send; None for no hooks.
    """

    finish: Callable[[Request, Response], Response] | None = None

    def __init__(
        self,
        application: Application,
        prefix: str = "/",
        address: tuple[str, int] = ("localhost", 80),
        *,
        inline: bool = False,
    ) -> None:
        self._inline = inline
        self._application = application
        self._environ = EnvironMaker(prefix.rstrip("/"), address)

    def __call__(self, request: Request) -> Response:
        """Call the application and return its response. Raises what the application raises before its first byte."""
        if self.finish is not None:
            return self._call_with_hooks(request, self.finish)
        return self._run(Exchange(request.head.line.method), request)

    def _call_with_hooks(self, request: Request, finish: Callable[[Request, Response], Response]) -> Response:
        exchange = HookedExchange(request.head.line.method, partial(finish, request))
        response = self._run(exchange, request)
        return response if exchange.is_finished else finish(request, response)

    def _run(self, exchange: Exchange, request: Request) -> Response:
        if not self._inline:
            return exchange.run(self._application, self._environ.make(request))
        # The pool gives each job a context of its own. A reactor's would be that of all its clients.
        context = Context()
        response = context.run(exchange.run, self._application, self._environ.make(request))
        response.context = context
        return response
