"""The application: what people write. Routes are declared with decorators and frozen when the server starts.

    app = App()

    @app.get("/hello/{name}")
    def hello(request, name):
        return f"Hello, {name}!"

A handler is called with the request and its path parameters, and returns a `Response` or what becomes one: `str`,
`bytes`, a `dict` or `list` (JSON), an iterable (streamed), None (no content). It runs on a reactor thread, in parallel
with the other reactors, and must not wait; one that does is declared `blocking=True` and runs in a thread pool.
"""

from collections.abc import Callable

from .router import Endpoint, Handler, Route, RouteError, check_route, is_same


class App:
    """A collection of routes. Declared from one thread; read-only once a server has started it."""

    def __init__(self) -> None:
        self._routes: list[Route] = []
        self._frozen = False

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes declared so far."""
        return tuple(self._routes)

    def route[H: Handler](
        self,
        pattern: str,
        methods: tuple[str, ...] = ("GET",),
        *,
        blocking: bool = False,
        constant: bool = False,
    ) -> Callable[[H], H]:
        """Declare a handler for a pattern and one or more methods.

        Args:
            pattern: a path; `{name}` takes one segment, `{name:int}`, `:float` and `:uuid` convert it, and
                `{name:path}` takes the rest.
            methods: which methods; HEAD comes with GET, OPTIONS is answered by the server.
            blocking: the handler may wait, so it runs in the thread pool.
            constant: the same request bytes have the same answer for a second, so they may be answered from memory.

        Raises:
            RouteError: the pattern is malformed, taken, or does not fit the handler, or the server has started.
        """

        def declare(handler: H) -> H:
            endpoint = Endpoint(handler, blocking=blocking, constant=constant)
            for method in methods:
                self._add(Route(method.upper(), pattern, endpoint))
            return handler

        return declare

    def get[H: Handler](
        self, pattern: str, *, blocking: bool = False, constant: bool = False
    ) -> Callable[[H], H]:
        """Declare a handler for GET, and HEAD with it."""
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
        self,
        prefix: str,
        make_handler: Callable[[], Handler],
        *,
        blocking: bool = False,
        constant: bool = False,
    ) -> None:
        """Answer GET below a prefix with a handler that each reactor makes for itself.

        Args:
            prefix: such as `/` or `/assets/`; declared routes win over it.
            make_handler: called once in each reactor's thread; what it returns is called with the request.
            blocking, constant: as for `route`.

        Raises:
            RouteError: as for `route`.
        """
        endpoint = Endpoint(make_handler, blocking=blocking, constant=constant, local=True)
        self._add(Route("GET", prefix, endpoint, mount=True))

    def freeze(self) -> tuple[Route, ...]:
        """End the declarations and return them; called by the server when it starts."""
        self._frozen = True
        return self.routes

    def _add(self, route: Route) -> None:
        if self._frozen:
            raise RouteError("the server has started: routes are declared before")
        check_route(route)
        if any(is_same(route, known) for known in self._routes):
            raise RouteError(f"{route.method} {route.pattern} is declared twice")
        self._routes.append(route)
