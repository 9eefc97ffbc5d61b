"""The handler that calls a WSGI application."""

from contextvars import Context

from ..http import Request, Response
from ..runtime import hot
from .environ import EnvironMaker
from .exchange import Application, Exchange


@hot("__call__")
class WSGIHandler:
    """A handler for all requests below a path. Any thread may call it.

    Args:
        application: called as PEP 3333 says.
        prefix: the path that it is mounted at. It becomes SCRIPT_NAME.
        address: host and port of the server, for SERVER_NAME and SERVER_PORT.
        inline: it is called in a reactor's thread, which is no place to wait, instead of the thread pool.
    """

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
        exchange = Exchange(request.head.line.method)
        if not self._inline:
            return exchange.run(self._application, self._environ.make(request))
        # The pool gives each job a context of its own. A reactor's would be that of all its clients.
        context = Context()
        response = context.run(exchange.run, self._application, self._environ.make(request))
        response.context = context
        return response
