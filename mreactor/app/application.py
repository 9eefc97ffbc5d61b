"""The application: declares routes with decorators. The server freezes them when it starts.

    app = App()

    @app.get("/hello/{name}")
    def hello(request, name):
        return f"Hello, {name}!"

A handler gets the request and its path parameters. It returns a `Response` or its content: `str`, `bytes`, a `dict` or
`list` (JSON), an iterator (streamed) or None (no content). It runs in a reactor's thread, in parallel with the other
reactors, and must not wait. A handler that waits is declared `blocking=True` and runs in the thread pool.
"""

from collections.abc import Callable

from ..http import Handler
from ..wsgi import Application, WSGIHandler
from .router import ANY_METHOD, Endpoint, Route, RouteError, check_route, is_same


class App:
    """A collection of routes. Declare them from one thread; they are read-only once a server has started.

    Attributes:
        address: host and port of the server, for WSGI applications. The server sets it when it starts.
    """

    def __init__(self) -> None:
        self.address = ("localhost", 80)
        self._routes: list[Route] = []
        self._frozen = False

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes declared so far."""
        return tuple(self._routes)

    def route[H: Handler](
        self, pattern: str, methods: tuple[str, ...] = ("GET",), *, blocking: bool = False, constant: bool = False
    ) -> Callable[[H], H]:
        """Declare a handler for a pattern and one or more methods.

        Args:
            pattern: a path. `{name}` matches one segment; `{name:int}`, `:float` and `:uuid` also convert it;
                `{name:path}` matches the rest.
            methods: the methods. GET includes HEAD, and the server handles OPTIONS.
            blocking: the handler may wait, so it runs in the thread pool.
            constant: the response to the same request bytes stays the same for a second, so it may be cached.

        Raises:
            RouteError: the pattern is malformed, taken or does not fit the handler, or the server has started.
        """

        def declare(handler: H) -> H:
            endpoint = Endpoint(handler, blocking=blocking, constant=constant)
            for method in methods:
                self._add(Route(method.upper(), pattern, endpoint))
            return handler

        return declare

    def get[H: Handler](self, pattern: str, *, blocking: bool = False, constant: bool = False) -> Callable[[H], H]:
        """Declare a handler for GET and HEAD."""
        return self.route(pattern, ("GET",), blocking=blocking, constant=constant)

    def post[H: Handler](self, pattern: str, *, blocking: bool = False) -> Callable[[H], H]:
        """Declare a handler for POST."""
        return self.route(pattern, ("POST",), blocking=blocking)

    def put[H: Handler](self, pattern: str, *, blocking: bool = False) -> Callable[[H], H]:
        """Declare a handler for PUT."""
        return self.route(pattern, ("PUT",), blocking=blocking)

    def patch[H: Handler](self, pattern: str, *, blocking: bool = False) -> Callable[[H], H]:
        """Declare a handler for PATCH."""
        return self.route(pattern, ("PATCH",), blocking=blocking)

    def delete[H: Handler](self, pattern: str, *, blocking: bool = False) -> Callable[[H], H]:
        """Declare a handler for DELETE."""
        return self.route(pattern, ("DELETE",), blocking=blocking)

    def mount(
        self, prefix: str, make_handler: Callable[[], Handler], *, blocking: bool = False, constant: bool = False
    ) -> None:
        """Declare a handler for GET and HEAD below a prefix. Each reactor makes its own.

        Args:
            prefix: a path such as `/` or `/assets/`. Routes below it take precedence.
            make_handler: returns a handler that is called with the request. Called once in each reactor's thread.
            blocking, constant: as for `route`.

        Raises:
            RouteError: as for `route`.
        """
        endpoint = Endpoint(make_handler, blocking=blocking, constant=constant, local=True)
        self._add(Route("GET", prefix, endpoint, mount=True))

    def mount_wsgi(self, prefix: str, application: Application, *, inline: bool = False) -> None:
        """Declare a WSGI application for all methods below a prefix, which becomes its SCRIPT_NAME.

        It is called in the thread pool, by several threads at a time. Routes and longer mounts take precedence.

        Args:
            inline: call it in the reactors' threads instead, which costs less. While it waits for anything, all clients
                of that reactor wait.

        Raises:
            RouteError: as for `route`.
        """

        def make_handler() -> Handler:
            return WSGIHandler(application, prefix, self.address, inline=inline)

        endpoint = Endpoint(make_handler, blocking=not inline, local=True)
        self._add(Route(ANY_METHOD, prefix, endpoint, mount=True))

    def freeze(self) -> tuple[Route, ...]:
        """Refuse further declarations and return the routes. The server calls this when it starts."""
        self._frozen = True
        return self.routes

    def _add(self, route: Route) -> None:
        if self._frozen:
            raise RouteError("the server has started; declare routes before that")
        check_route(route)
        for known in self._routes:
            if is_same(route, known):
                raise RouteError(
                    f"{route.method} {route.pattern} is declared twice; {known.pattern!r} takes the same requests"
                )
        self._routes.append(route)
