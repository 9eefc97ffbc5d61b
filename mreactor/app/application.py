"""The application: declares routes with decorators. The server freezes them when it starts.

    app = App()

    @app.get("/hello/{name}")
    def hello(request, name):
        return f"Hello, {name}!"

A handler gets the request and its path parameters. It returns a `Response` or its content: `str`, `bytes`, a `dict`,
`list` or dataclass (JSON), an iterator (streamed) or None (no content). It runs in a reactor's thread, in parallel with
the other reactors, and must not wait. A handler that waits is declared `blocking=True` and runs in the thread pool.
"""

import dataclasses
import inspect
import logging
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType
from typing import Any

from ..http import Handler, describe_handler, underlying_function
from ..wsgi import Application, WSGIHandler
from .handler_checks import RouteError, check_handler
from .router import ANY_METHOD, Endpoint, Route, RouteKey, check_route, route_key
from .scope import AfterHook, BeforeHook, ErrorHandler, ErrorKind, ErrorResponder, Scope, is_below
from .static_files import StaticFiles

log = logging.getLogger("mreactor")


class App:
    """A collection of routes. Declare them from one thread; they are read-only once a server has started.

    Args:
        name: for the live page. The command line sets it to the name of the module if it is empty.

    Attributes:
        address: host and port of the server, for WSGI applications. The server sets it when it starts.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.address = ("localhost", 80)
        self._routes: list[Route] = []
        # The patterns of all routes, by what they match.
        self._patterns: dict[RouteKey, str] = {}
        self._scope = Scope()
        self._included: list[tuple[str, App]] = []
        self._on_start: list[Callable[[], Any]] = []
        self._on_stop: list[Callable[[], Any]] = []
        # All routes with what surrounds them, once they are frozen.
        self._frozen: tuple[Route, ...] | None = None

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes declared so far, those of included applications among them."""
        return self._frozen if self._frozen is not None else tuple(self._compile(self, "", Scope()))

    @property
    def errors(self) -> ErrorResponder | None:
        """Responds to what goes wrong outside of handlers; None if the application leaves it to the server."""
        scopes: dict[str, Scope] = {}
        for prefix, scope in self._scopes("", Scope()):
            # A group of routes without a prefix has no paths but theirs.
            scopes.setdefault(prefix, scope)
        if all(scope.is_empty for scope in scopes.values()):
            return None
        return ErrorResponder(scopes, [prefix for prefix in scopes if _is_blocking(self.routes, prefix)])

    def route[H: Handler](
        self, pattern: str, methods: Iterable[str] = ("GET",), *, blocking: bool = False, constant: bool = False
    ) -> Callable[[H], H]:
        """Declare a handler for a pattern and one or more methods.

        Args:
            pattern: a path. `{name}` matches one segment; `{name:int}`, `:float` and `:uuid` also convert it;
                `{name:path}` matches the rest.
            methods: the methods, or one of them. GET includes HEAD, and the server handles OPTIONS.
            blocking: the handler may wait, so it runs in the thread pool.
            constant: the response to the same request bytes stays the same for a second, so it may be cached.

        Raises:
            RouteError: the pattern is malformed, taken or does not fit the handler, or the server has started.
            TypeError: the pattern is a function, because the decorator has no parentheses.
        """
        if not isinstance(pattern, str):
            raise TypeError(f"the pattern is missing, as in @app.get('/'); it is a str, not {pattern!r:.80}")
        each = (methods,) if isinstance(methods, str) else tuple(methods)

        def declare(handler: H) -> H:
            endpoint = Endpoint(handler, blocking=blocking, constant=constant)
            for method in each:
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
        self,
        prefix: str,
        make_handler: Callable[[], Handler] | StaticFiles,
        *,
        blocking: bool = False,
        constant: bool = False,
    ) -> None:
        """Declare a handler for GET and HEAD below a prefix. Each reactor makes its own.

        Args:
            prefix: a path such as `/` or `/assets/`, without parameters. Routes below it take precedence.
            make_handler: returns a handler that is called with the request. Called once in each reactor's thread. Of
                `StaticFiles` each reactor gets a copy, with this prefix.
            blocking, constant: as for `route`.

        Raises:
            RouteError: as for `route`.
        """
        if isinstance(make_handler, StaticFiles) and make_handler.prefix != "/":
            _check_prefix(make_handler, prefix)
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

        endpoint = Endpoint(_WSGIMount(application, inline), blocking=not inline, local=True)
        self._add(Route(ANY_METHOD, prefix, endpoint, mount=True))

    def include(self, prefix: str, app: "App") -> None:
        """Serve another application below a prefix, and freeze it.

        Its routes have its own hooks and error handlers inside those of this application. Its error handlers also
        respond to paths below the prefix that no route takes.

        Args:
            prefix: a path such as `/api`, without parameters. With `/` the patterns stay as they are: the application
                is a group of routes with hooks and error handlers of their own. Paths that no route takes have those of
                this application then.

        Raises:
            RouteError: the prefix is invalid, or a route is declared already, or the server has started.
        """
        if not prefix.startswith("/") or "{" in prefix or "}" in prefix:
            raise RouteError(f"the prefix {prefix!r} is not a path such as /api, or / for none")
        prefix = prefix.rstrip("/")
        self._check_open()
        if self in app._applications():
            raise RouteError("an application cannot include itself")
        self._claim([dataclasses.replace(route, pattern=prefix + route.pattern) for route in app.freeze()])
        self._included.append((prefix, app))

    def before[H: BeforeHook](self, hook: H) -> H:
        """Declare a function that is called with the request before each handler, in the handler's thread.

        If it returns anything but None, that is the response, and the handler is not called. It is called for requests
        that no route takes as well: in a reactor's thread, or in the pool's if all routes are blocking.
        """
        return self._surround(hook, 1, before=(hook,))

    def after[H: AfterHook](self, hook: H) -> H:
        """Declare a function that is called with the request and the response after each handler.

        It may change the response's header fields, or return another response. It is called for errors as well, and for
        requests that no route takes. The hook declared last is called first.
        """
        return self._surround(hook, 2, after=(hook,))

    def error[H: ErrorHandler](self, *kinds: ErrorKind) -> Callable[[H], H]:
        """Declare a handler of errors, called with the request and the exception.

        Content that it returns is sent with the status of the error, 500 for an exception that has none.

        Args:
            kinds: statuses from 400 to 599, and classes of exceptions. A class takes its subclasses; but refusals are
                taken by `HTTPError` and their status only, and not by `Exception`.

        Raises:
            RouteError: a kind is something else or taken.
            TypeError: the only kind is a function, because the decorator has no parentheses.
        """
        needed = "name what the error handler is for, such as @app.error(404) or @app.error(KeyError)"
        if not kinds:
            raise RouteError(needed)
        if isinstance(kinds[0], FunctionType):
            raise TypeError(needed)
        for kind in kinds:
            is_status = isinstance(kind, int) and 400 <= kind <= 599
            if not is_status and not (isinstance(kind, type) and issubclass(kind, BaseException)):
                raise RouteError(f"{kind!r} is neither the status of an error nor a class of exceptions")

        def declare(handler: H) -> H:
            for kind in kinds:
                if any(kind == known for known, _ in self._scope.errors):
                    raise RouteError(f"{kind!r} has an error handler already")
            return self._surround(handler, 2, what="error handler", errors=tuple((kind, handler) for kind in kinds))

        return declare

    def on_start[H: Callable[[], Any]](self, hook: H) -> H:
        """Declare a function that is called before the first request, in the thread that starts the server."""
        self._check_hook(hook, 0)
        self._on_start.append(hook)
        return hook

    def on_stop[H: Callable[[], Any]](self, hook: H) -> H:
        """Declare a function that is called after the last request. The one declared last is called first."""
        self._check_hook(hook, 0)
        self._on_stop.append(hook)
        return hook

    def freeze(self) -> tuple[Route, ...]:
        """Refuse further declarations and return the routes. The server calls this when it starts."""
        if self._frozen is None:
            self._frozen = tuple(self._compile(self, "", Scope()))
        return self._frozen

    def start(self) -> None:
        """Freeze, and call the hooks for the start, included applications' first. The server calls this.

        The hooks of an application that is included several times are called once.
        """
        self.freeze()
        for app in self._applications():
            for hook in app._on_start:
                try:
                    hook()
                except Exception as error:
                    error.add_note(f"It was raised by the hook for the start {describe_handler(hook)}.")
                    raise

    def stop(self) -> None:
        """Call the hooks for the end. One that fails is logged, and the others are called. The server calls this."""
        for app in reversed(self._applications()):
            for hook in reversed(app._on_stop):
                try:
                    hook()
                except Exception:
                    log.exception("the hook %s failed", getattr(hook, "__qualname__", hook))

    # Declaring.

    def _add(self, route: Route) -> None:
        self._check_open()
        check_route(route)
        self._claim([route])
        self._routes.append(route)

    def _surround[H: Callable[..., Any]](self, hook: H, parameters: int, what: str = "hook", **scope: Any) -> H:
        self._check_hook(hook, parameters, what)
        added = Scope(**scope)
        own = self._scope
        # Of one application the hook declared last is the innermost.
        self._scope = Scope((*own.before, *added.before), (*added.after, *own.after), (*own.errors, *added.errors))
        return hook

    def _check_open(self) -> None:
        if self._frozen is not None:
            raise RouteError(
                "this application is frozen, because a server has started, a test client was made, or another "
                "application includes this one; declare everything before that"
            )

    def _claim(self, routes: list[Route]) -> None:
        """Remember what new routes match; nothing if one of them matches what another one does."""
        patterns = {route_key(route): route.pattern for route in routes}
        for route in routes:
            if known := self._patterns.get(route_key(route)):
                raise RouteError(f"{route.method} {route.pattern} is declared twice; {known!r} takes the same requests")
        self._patterns.update(patterns)

    def _check_hook(self, hook: Callable[..., Any], parameters: int, what: str = "hook") -> None:
        self._check_open()
        if not callable(hook):
            raise RouteError(f"{hook!r} is not a function")
        name = describe_handler(hook)
        if inspect.iscoroutinefunction(underlying_function(hook)):
            raise RouteError(f"the {what} {name} is async; use a plain function")
        try:
            inspect.signature(hook).bind(*[None] * parameters)
        except (TypeError, ValueError) as error:
            second = "the exception" if what == "error handler" else "the response"
            expected = ("without arguments", "with the request", f"with the request and {second}")[parameters]
            raise RouteError(f"the {what} {name} is called {expected}: {error}") from None

    # Compiling.

    def _applications(self) -> dict["App", None]:
        """Return this application and all that it includes, each once, behind those that it includes itself."""
        found: dict[App, None] = {}
        for _, app in self._included:
            found.update(app._applications())
        found[self] = None
        return found

    def _compile(self, root: "App", prefix: str, outer: Scope) -> Iterator[Route]:
        """Yield all routes, each with its prefix and with what surrounds its handler.

        Args:
            root: the application that includes this one and is served, or this one.
        """
        scope = outer.enter(self._scope)
        wrapped: dict[int, Endpoint] = {}
        for route in self._routes:
            pattern = prefix + route.pattern
            endpoint = route.endpoint
            if endpoint.local:
                endpoint = dataclasses.replace(endpoint, handler=_make_local(endpoint.handler, root, pattern, scope))
            elif not scope.is_empty:
                # The routes of several methods share an endpoint.
                endpoint = wrapped.get(id(endpoint)) or wrapped.setdefault(id(endpoint), _wrap(endpoint, scope))
            yield dataclasses.replace(route, pattern=pattern, endpoint=endpoint)
        for inner_prefix, app in self._included:
            yield from app._compile(root, prefix + inner_prefix, scope)

    def _scopes(self, prefix: str, outer: Scope) -> Iterator[tuple[str, Scope]]:
        scope = outer.enter(self._scope)
        yield prefix, scope
        for inner_prefix, app in self._included:
            yield from app._scopes(prefix + inner_prefix, scope)


def _is_blocking(routes: Iterable[Route], prefix: str) -> bool:
    """Whether all routes below a prefix are blocking."""
    below = [route.endpoint.blocking for route in routes if is_below(route.pattern, prefix)]
    return bool(below) and all(below)


def _wrap(endpoint: Endpoint, scope: Scope) -> Endpoint:
    return dataclasses.replace(endpoint, handler=scope.wrap(endpoint.handler))


@dataclasses.dataclass(frozen=True, slots=True)
class _WSGIMount:
    """A mounted WSGI application. The prefix and the address are known once the routes are frozen."""

    application: Application
    inline: bool

    def __call__(self, prefix: str, address: tuple[str, int]) -> WSGIHandler:
        """Make the handler of one reactor."""
        return WSGIHandler(self.application, prefix, address, inline=self.inline)


def _make_local(
    factory: Callable[..., Handler] | StaticFiles, root: App, pattern: str, scope: Scope
) -> Callable[[], Handler]:
    """Return the function with which each reactor makes its handler of a mount."""

    def make_handler() -> Handler:
        handler: Handler
        if isinstance(factory, StaticFiles):
            handler = factory.copy(pattern)
        elif isinstance(factory, _WSGIMount):
            handler = factory(pattern, root.address)
        else:
            handler = factory()
        check_handler(handler, pattern, [])
        _check_prefix(handler, pattern)
        return scope.wrap(handler)

    return make_handler


def _check_prefix(handler: Handler, pattern: str) -> None:
    """Check that static files are mounted where they expect it, with or without a final slash."""
    if isinstance(handler, StaticFiles) and handler.prefix.rstrip("/") != pattern.rstrip("/"):
        raise RouteError(
            f"StaticFiles with the prefix {handler.prefix!r} is mounted at {pattern!r}; pass StaticFiles itself to "
            "mount, without a prefix"
        )
