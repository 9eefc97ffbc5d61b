"""Routing: from method and path to an endpoint and its path parameters.

Routes are declared once and frozen. Each reactor builds its own `Router` from them, in its own thread (see
docs/decisions/001). Literal segments take precedence over parameters, parameters over `{name:path}`, routes over
mounts, and longer mounts over shorter ones.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any, NamedTuple
from urllib.parse import unquote
from uuid import UUID

from ..http import METHODS, Handler, HTTPError, Request, RequestLine, Response
from ..runtime import hot
from .handler_checks import RouteError, check_factory, check_handler

# What a route matches: see `route_key`.
type RouteKey = tuple[str, bool, str]

# The method of a mount that takes every method.
ANY_METHOD = "*"


class UnknownMethod(HTTPError):
    """The refusal of a method that no handler takes. What it does to the connection is unknown, so that must end."""

    def __init__(self, method: str) -> None:
        if method == "TRACE":
            HTTPError.__init__(self, 405, "The method TRACE is not supported.", (("Allow", ", ".join(METHODS)),))
        else:
            HTTPError.__init__(self, 501, "This method is not supported.")


class Converter(NamedTuple):
    """How a parameter gets its value."""

    # int() and float() alone would accept more than a URL should hold.
    accepts: Callable[[str], object]
    convert: Callable[[str], Any]
    # Lower ranks are tried first.
    rank: int = 0
    # The parameter takes the rest of the path, not one segment.
    takes_rest: bool = False


def _pattern(pattern: str) -> Callable[[str], object]:
    return re.compile(pattern, re.ASCII).fullmatch


CONVERTERS = {
    "str": Converter(_pattern(r"[^/]+"), str, rank=1),
    "int": Converter(_pattern(r"-?[0-9]{1,18}"), int),
    "float": Converter(_pattern(r"-?[0-9]{1,18}(\.[0-9]{1,18})?"), float),
    "uuid": Converter(_pattern(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"), UUID),
    # Any text but none.
    "path": Converter(bool, str, rank=2, takes_rest=True),
}

PARAMETER = re.compile(r"\{([a-z_][a-z0-9_]*)(?::([a-z]+))?\}", re.ASCII)
_FLASK_PARAMETER = re.compile(r"<(?:(\w+):)?(\w+)>", re.ASCII)


# Handlers may compare equal, or have no hash. An endpoint is therefore known by its identity.
@dataclass(frozen=True, slots=True, eq=False)
class Endpoint:
    """A handler and how to call it.

    Attributes:
        handler: called with the request, and the path parameters by name.
        blocking: the handler may wait, so it runs in the thread pool.
        constant: the response to the same request bytes stays the same for a second.
        local: `handler` is a factory without arguments. Each reactor calls it once, to get its own handler.
        pattern: that of the route, in a reactor's own endpoints; empty where no route responds.
        is_immediate: the handler is called for each request, in the reactor's thread.
    """

    handler: Handler
    _: dataclasses.KW_ONLY
    blocking: bool = False
    constant: bool = False
    local: bool = False
    pattern: str = ""
    is_immediate: bool = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_immediate", not (self.blocking or self.constant))


@dataclass(frozen=True, slots=True)
class Route:
    """One declared route: a method, a pattern such as `/users/{id:int}`, and an endpoint.

    A mount handles all paths below its pattern.
    """

    method: str
    pattern: str
    endpoint: Endpoint
    _: dataclasses.KW_ONLY
    mount: bool = False


@hot("__init__")
class Match:
    """Where a request goes: an endpoint and the decoded path parameters.

    Attributes:
        positional_param: the only path parameter, if the handler takes it by position behind the request, which is the
            cheapest call; otherwise None.
        keyword_params: the path parameters by name; empty if `positional_param` is set.
        refusal: why no route takes the request; None if one does.
    """

    __slots__ = ("_name", "endpoint", "keyword_params", "positional_param", "refusal")

    def __init__(
        self,
        endpoint: Endpoint,
        keyword_params: dict[str, Any],
        positional_param: Any = None,
        name: str = "",
        refusal: HTTPError | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.keyword_params = keyword_params
        self.positional_param = positional_param
        self._name = name
        self.refusal = refusal

    @classmethod
    def refused(cls, refusal: HTTPError) -> "Match":
        """Make the match of a request that no route takes. Its handler raises the refusal."""

        def refuse(request: Request) -> Response:
            # A new error each time: a traceback on the remembered one would keep the request alive, with its body.
            raise HTTPError(refusal.status, refusal.reason, refusal.headers)

        return cls(Endpoint(refuse), {}, refusal=refusal)

    @property
    def handler(self) -> Handler:
        """Called with the request, and the path parameters by name."""
        return self.endpoint.handler

    @property
    def params(self) -> dict[str, Any]:
        """All path parameters by name."""
        return {self._name: self.positional_param} if self._name else self.keyword_params


@hot("match")
class _Leaf:
    """An endpoint at the end of a pattern."""

    __slots__ = ("_endpoint", "_match", "_names", "_no_keywords", "_positional_name")

    def __init__(self, endpoint: Endpoint, names: tuple[str, ...]) -> None:
        self._endpoint = endpoint
        self._names = names
        self._no_keywords: dict[str, Any] = {}
        self._positional_name = names[0] if _takes_by_position(endpoint.handler, names) else ""
        # Paths without parameters share one match.
        self._match = None if names else Match(endpoint, self._no_keywords)

    def match(self, values: tuple[Any, ...]) -> Match:
        """Return the match of a path with these parameters."""
        if self._match is not None:
            return self._match
        if self._positional_name:
            return Match(self._endpoint, self._no_keywords, values[0], self._positional_name)
        return Match(self._endpoint, dict(zip(self._names, values, strict=True)))


class _Branch(NamedTuple):
    """A parameter in the tree of patterns, and the node behind it."""

    converter: Converter
    node: "_Node"


@hot("find")
class _Node:
    """One segment in the tree of patterns."""

    __slots__ = ("branches", "literals", "mounts", "routes")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.branches: list[_Branch] = []
        # Endpoints by method: of this path, and of a mount for all paths from here on.
        self.routes: dict[str, _Leaf] = {}
        self.mounts: dict[str, _Leaf] = {}

    def add(self, pattern: str) -> "_Node":
        """Return the node of a pattern. Creates what is missing."""
        node = self
        for segment in pattern.split("/")[1:]:
            parameter = PARAMETER.fullmatch(segment)
            if parameter is None:
                node = node.literals.setdefault(segment, _Node())
            else:
                node = node._add_branch(CONVERTERS[parameter[2] or "str"])
        return node

    def _add_branch(self, converter: Converter) -> "_Node":
        for branch in self.branches:
            if branch.converter is converter:
                return branch.node
        node = _Node()
        self.branches.append(_Branch(converter, node))
        self.branches.sort(key=lambda branch: branch.converter.rank)
        return node

    def find(
        self, method: str, segments: list[str], allowed: set[str], index: int = 0, values: tuple[Any, ...] = ()
    ) -> Match | None:
        """Find the endpoint of a path, in the order of precedence.

        It may try several branches, but none twice, so the work is bounded by the size of the tree.

        Args:
            allowed: takes the methods of endpoints that have the path, but not the method.
        """
        if index == len(segments):
            if (leaf := self.routes.get(method)) is not None:
                return leaf.match(values)
            allowed.update(self.routes)
        else:
            segment = segments[index]
            child = self.literals.get(segment)
            if child is not None and (match := child.find(method, segments, allowed, index + 1, values)) is not None:
                return match
            for converter, child in self.branches:
                text = "/".join(segments[index:]) if converter.takes_rest else segment
                if converter.accepts(text):
                    end = len(segments) if converter.takes_rest else index + 1
                    match = child.find(method, segments, allowed, end, (*values, converter.convert(text)))
                    if match is not None:
                        return match
        # A path with routes of its own does not belong to the mount, even if the routes have other methods.
        if not self.mounts or allowed:
            return None
        if (leaf := self.mounts.get(method) or self.mounts.get(ANY_METHOD)) is not None:
            return leaf.match(values)
        allowed.update(self.mounts)
        return None


@hot("match")
class Router:
    """The routes of one reactor."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        own: dict[Endpoint, Endpoint] = {}
        for route in routes:
            endpoint = own.get(route.endpoint) or own.setdefault(route.endpoint, _localize(route.endpoint))
            # A mount handles its own path with and without a final slash.
            node = self._root.add(route.pattern.rstrip("/") if route.mount else route.pattern)
            names = tuple(name for name, _ in _parse_parameters(route.pattern))
            leaf = _Leaf(dataclasses.replace(endpoint, pattern=route.pattern), names)
            leaves = node.mounts if route.mount else node.routes
            leaves[route.method] = leaf
            if route.method == "GET":
                # Unless the path has a HEAD of its own, before or after this.
                leaves.setdefault("HEAD", leaf)

    def match(self, line: RequestLine) -> Match:
        """Find the endpoint for a request line.

        HEAD goes to the handler of GET unless it has its own, and the router handles OPTIONS (RFC 9110 section 9.3).

        Raises:
            UnknownMethod: nothing here takes this method.
            HTTPError: 404, no such path; 405 with Allow, the path has other methods.
        """
        method, path = line.method, line.raw_path
        if path == "*":
            return _match_options(METHODS)
        segments = path.split("/")
        if "%" in path:
            segments = [unquote(segment) for segment in segments]
        allowed: set[str] = set()
        match = self._root.find(method, segments, allowed, 1)
        if match is not None:
            return match
        if method not in METHODS:
            raise UnknownMethod(method)
        if not allowed:
            raise HTTPError(404, "There is nothing at this address.")
        return _match_without_endpoint(method, allowed)


def check_route(route: Route) -> None:
    """Check the pattern of a route, and that the handler accepts its parameters.

    Raises:
        RouteError: the route is invalid; the text says why.
    """
    if route.method not in METHODS and not (route.mount and route.method == ANY_METHOD):
        raise RouteError(f"{route.method!r} is not one of {', '.join(METHODS)}")
    if not route.pattern.startswith("/"):
        raise RouteError(f"the pattern {route.pattern!r} does not start with /")
    names = [name for name, _ in _parse_parameters(route.pattern)]
    if names and route.mount:
        raise RouteError(f"the path {route.pattern!r} of a mount has a parameter")
    if len(set(names)) != len(names):
        raise RouteError(f"the pattern {route.pattern!r} names a parameter twice")
    if route.endpoint.local:
        check_factory(route.endpoint.handler, route.pattern)
    else:
        check_handler(route.endpoint.handler, route.pattern, names)


def route_key(route: Route) -> RouteKey:
    """Return what a route matches. Of two routes with the same key one would never be reached.

    It has the pattern without the names of its parameters, and for a mount without the final slash.
    """
    shape = PARAMETER.sub(lambda match: "{:%s}" % (match[2] or "str"), route.pattern)
    return route.method, route.mount, shape.rstrip("/") if route.mount else shape


def _takes_by_position(handler: Handler, names: tuple[str, ...]) -> bool:
    """Whether `handler(request, value)` means the same as `handler(request, name=value)`.

    Read from the code object: any other callable may treat the two differently.
    """
    function = handler.__func__ if isinstance(handler, MethodType) else handler
    if len(names) != 1 or not isinstance(function, FunctionType):
        return False
    positions = function.__code__.co_varnames[: function.__code__.co_argcount]
    # Skip the request, and `self` of a method.
    first = 1 if function is handler else 2
    return positions[first : first + 1] == names


def _localize(endpoint: Endpoint) -> Endpoint:
    """Return the endpoint with this reactor's own handler. `App` has its factory check what it makes."""
    return dataclasses.replace(endpoint, handler=endpoint.handler(), local=False) if endpoint.local else endpoint


def _parse_parameters(pattern: str) -> list[tuple[str, Converter]]:
    """Return the names and converters of a pattern's parameters, in order."""
    segments = pattern.split("/")[1:]
    parameters = []
    for index, segment in enumerate(segments):
        match = PARAMETER.fullmatch(segment)
        if match is None:
            _check_literal(segment, pattern)
            continue
        kind = match[2] or "str"
        if kind not in CONVERTERS:
            raise RouteError(f"{kind!r} in {pattern!r} is not one of {', '.join(CONVERTERS)}")
        if CONVERTERS[kind].takes_rest and index < len(segments) - 1:
            raise RouteError(f"{segment!r} in {pattern!r} takes the rest of the path, so it must come last")
        parameters.append((match[1], CONVERTERS[kind]))
    return parameters


def _check_literal(segment: str, pattern: str) -> None:
    """Check that a segment is not a parameter in another spelling."""
    if found := _FLASK_PARAMETER.fullmatch(segment):
        name = found[2] + (f":{found[1]}" if found[1] in CONVERTERS else "")
        raise RouteError(f"{segment!r} in {pattern!r} is not a parameter; write {{{name}}}")
    if "{" in segment or "}" in segment:
        raise RouteError(
            f"{segment!r} in {pattern!r} is not {{name}} or {{name:type}}; a parameter takes a whole segment of the "
            "path, and its name is in lower case"
        )


def _match_without_endpoint(method: str, found: set[str]) -> Match:
    """Handle OPTIONS, or refuse a method that the path does not have."""
    allowed = found | {"OPTIONS"} | ({"HEAD"} if "GET" in found else set())
    if method == "OPTIONS":
        return _match_options(sorted(allowed))
    raise HTTPError(405, f"{method} is not possible here.", (("Allow", ", ".join(sorted(allowed))),))


def _match_options(allowed: Iterable[str]) -> Match:
    return Match(Endpoint(_respond_to_options), {"allow": ", ".join(allowed)})


def _respond_to_options(request: Request, allow: str) -> Response:
    return Response(None, 204, (("Allow", allow),))
