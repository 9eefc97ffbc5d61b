"""Routing: from method and path to an endpoint and its path parameters.

Routes are declared once and frozen. Each reactor builds a `Router` of its own from them, inside its own thread, since
a table that another thread has filled is slow to read. The literal segments of a path win over parameters, parameters
over `{name:path}`, and of two mounts the longer one.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import FunctionType, MethodType
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from ..http import METHODS, HTTPError, Request, RequestHead, Response
from ..metrics import RequestCounter
from ..runtime import hot

type Handler = Callable[..., Any]

CONVERTERS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "uuid": UUID,
    "path": str,
}

# What a segment must look like before its converter sees it: int() and float() take more than a URL should hold.
SHAPES = {
    "str": re.compile(r"[^/]+"),
    "int": re.compile(r"-?[0-9]{1,18}", re.ASCII),
    "float": re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", re.ASCII),
    "uuid": re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII),
    "path": re.compile(r".+", re.DOTALL),
}

PARAMETER = re.compile(r"\{([a-z_][a-z0-9_]*)(?::([a-z]+))?\}", re.ASCII)


class RouteError(ValueError):
    """A route that cannot be: found when it is declared, not when it is asked for."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What answers a request, and how.

    Attributes:
        handler: called with the request, and the path parameters by name.
        blocking: it may wait, so it runs in the thread pool.
        constant: its answer depends on the request's bytes alone, for a second at least.
        local: `handler` is a factory without arguments; each reactor calls it once, to have a handler of its own.
    """

    handler: Handler
    blocking: bool = False
    constant: bool = False
    local: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """One declared route: a method, a pattern such as `/users/{id:int}`, and an endpoint.

    A mount answers for all the paths below its pattern.
    """

    method: str
    pattern: str
    endpoint: Endpoint
    mount: bool = False


@hot()
@dataclass(slots=True)
class Match:
    """Where a request goes: the endpoint's properties, and the decoded path parameters.

    Attributes:
        counter: counts the requests that are answered with 200; the connection's memo.
        plain: the shortest way of encoding will do, see `HeadCache`; the connection's memo.
        argument: the only path parameter, where the handler takes it by position, behind the request, as is cheapest to
            call; otherwise None.
    """

    handler: Handler
    params: dict[str, Any]
    blocking: bool
    constant: bool
    counter: RequestCounter = field(default_factory=list)
    plain: bool = False
    argument: Any = None


# Endpoints by method, each with the names that its own pattern gives to the parameters on the way, and whether there is
# one that the handler takes by position.
type _Endpoints = dict[str, tuple[Endpoint, tuple[str, ...], bool]]

# The endpoints that a path leads to, the values of the parameters on the way, and whether they are a mount's.
type _Found = tuple[_Endpoints, tuple[Any, ...], bool]


@dataclass(slots=True)
class _Node:
    """One segment deep in the tree of patterns."""

    literals: dict[str, "_Node"] = field(default_factory=dict)
    parameters: list[tuple[str, "_Node"]] = field(default_factory=list)  # type, where it leads
    endpoints: _Endpoints = field(default_factory=dict)
    mounted: _Endpoints = field(default_factory=dict)  # for everything below


class Router:
    """The routes of one reactor."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        own: dict[Endpoint, Endpoint] = {}
        for route in routes:
            if route.endpoint not in own:
                own[route.endpoint] = _own(route.endpoint)
            node = _plant(self._root, route)
            names = tuple(name for name, _ in _parameters(route.pattern))
            endpoint = own[route.endpoint]
            leaf = endpoint, names, _takes_by_position(endpoint.handler, names)
            (node.mounted if route.mount else node.endpoints)[route.method] = leaf

    def match(self, head: RequestHead) -> Match:
        """Find what answers a head.

        HEAD goes to GET's handler where there is none of its own, and OPTIONS is answered here (RFC 9110 section 9.3).

        Raises:
            HTTPError: 404, no such path; 405 with Allow, the path has other methods.
        """
        if head.raw_path == "*":
            return _options(METHODS)
        segments = [unquote(s) if "%" in s else s for s in head.raw_path.split("/")[1:]]
        allowed: set[str] = set()
        for endpoints, values, is_mount in _walk(self._root, segments, 0, ()):
            if is_mount and allowed:
                continue  # a path that has routes of its own is not the mount's, whatever their methods
            leaf = endpoints.get(head.method) or (endpoints.get("GET") if head.method == "HEAD" else None)
            if leaf is not None:
                endpoint, names, by_position = leaf
                params = dict(zip(names, values, strict=True))
                argument = values[0] if by_position else None
                return Match(
                    endpoint.handler, params, endpoint.blocking, endpoint.constant, argument=argument
                )
            allowed.update(endpoints)
        if not allowed:
            raise HTTPError(404, "There is nothing at this address.")
        return _without_endpoint(head.method, allowed)


def check_route(route: Route) -> None:
    """Refuse a route whose pattern is malformed, or whose handler does not take its parameters.

    Raises:
        RouteError: saying what is wrong with it.
    """
    if route.method not in METHODS:
        raise RouteError(f"{route.method!r} is not one of {', '.join(METHODS)}")
    if not route.pattern.startswith("/"):
        raise RouteError(f"the pattern {route.pattern!r} does not start with /")
    names = [name for name, _ in _parameters(route.pattern)]
    if len(set(names)) != len(names):
        raise RouteError(f"the pattern {route.pattern!r} names a parameter twice")
    if route.endpoint.local or route.mount:
        return
    if inspect.iscoroutinefunction(route.endpoint.handler):
        raise RouteError(
            f"the handler of {route.pattern!r} is async: handlers are plain functions, see blocking=True"
        )
    try:
        inspect.signature(route.endpoint.handler).bind(None, **dict.fromkeys(names))
    except TypeError as error:
        raise RouteError(f"the handler of {route.pattern!r} does not fit its parameters: {error}") from None


def is_same(one: Route, other: Route) -> bool:
    """Whether two routes answer exactly the same requests, so that one of them would never be reached."""
    return (one.method, one.mount, _shape(one)) == (other.method, other.mount, _shape(other))


def _shape(route: Route) -> str:
    """The pattern without its parameters' names, and for a mount without the final slash."""
    shape = PARAMETER.sub(lambda match: "{:%s}" % (match[2] or "str"), route.pattern)
    return shape.rstrip("/") if route.mount else shape


def _takes_by_position(handler: Handler, names: tuple[str, ...]) -> bool:
    """Whether `handler(request, value)` is `handler(request, name=value)`, for one name: read off the code itself."""
    function = handler.__func__ if isinstance(handler, MethodType) else handler
    if len(names) != 1 or not isinstance(function, FunctionType):
        return False  # whatever else can be called may do anything with its arguments
    positions = function.__code__.co_varnames[: function.__code__.co_argcount]
    first = 1 if function is handler else 2  # behind the request, and behind `self`
    return positions[first : first + 1] == names


def _own(endpoint: Endpoint) -> Endpoint:
    if not endpoint.local:
        return endpoint
    return Endpoint(endpoint.handler(), endpoint.blocking, endpoint.constant)


def _segments(pattern: str) -> list[str]:
    return pattern.split("/")[1:]


def _parameters(pattern: str) -> list[tuple[str, str]]:
    """Names and types of a pattern's parameters, in order."""
    segments = _segments(pattern)
    parameters = []
    for index, segment in enumerate(segments):
        match = PARAMETER.fullmatch(segment)
        if match is None:
            if "{" in segment or "}" in segment:
                raise RouteError(f"{segment!r} in {pattern!r} is not {{name}} or {{name:type}}")
            continue
        kind = match[2] or "str"
        if kind not in CONVERTERS:
            raise RouteError(f"{kind!r} in {pattern!r} is not one of {', '.join(CONVERTERS)}")
        if kind == "path" and index < len(segments) - 1:
            raise RouteError(f"{segment!r} in {pattern!r} takes the rest of the path, so it comes last")
        parameters.append((match[1], kind))
    return parameters


def _plant(node: _Node, route: Route) -> _Node:
    """The node of a route, grown where it is missing. A mount takes in its own path, with and without a final slash."""
    for segment in _segments(route.pattern.rstrip("/") if route.mount else route.pattern):
        match = PARAMETER.fullmatch(segment)
        if match is None:
            node = node.literals.setdefault(segment, _Node())
        else:
            node = _parameter(node, match[2] or "str")
    return node


def _parameter(node: _Node, kind: str) -> _Node:
    for known, child in node.parameters:
        if known == kind:
            return child
    child = _Node()
    node.parameters.append((kind, child))
    node.parameters.sort(key=_width)
    return child


def _width(parameter: tuple[str, _Node]) -> int:
    """The order in which parameters are tried: /{id:int} before /{name}, and {rest:path} last."""
    return {"str": 1, "path": 2}.get(parameter[0], 0)


def _walk(node: _Node, segments: list[str], index: int, values: tuple[Any, ...]) -> Iterator[_Found]:
    """Where a path leads, the closest first. It may try several branches, but never one twice: patterns are finite."""
    if index == len(segments):
        if node.endpoints:
            yield node.endpoints, values, False
        if node.mounted:
            yield node.mounted, values, True
        return
    segment = segments[index]
    child = node.literals.get(segment)
    if child is not None:
        yield from _walk(child, segments, index + 1, values)
    for kind, child in node.parameters:
        text = segment if kind != "path" else "/".join(segments[index:])
        if SHAPES[kind].fullmatch(text):
            next_index = index + 1 if kind != "path" else len(segments)
            yield from _walk(child, segments, next_index, (*values, CONVERTERS[kind](text)))
    if node.mounted:
        yield node.mounted, values, True


def _without_endpoint(method: str, found: set[str]) -> Match:
    allowed = found | {"OPTIONS"} | ({"HEAD"} if "GET" in found else set())
    if method == "OPTIONS":
        return _options(sorted(allowed))
    raise HTTPError(405, f"{method} is not possible here.", (("Allow", ", ".join(sorted(allowed))),))


def _options(allowed: Iterable[str]) -> Match:
    return Match(_answer_options, {"allow": ", ".join(allowed)}, False, False)


def _answer_options(request: Request, allow: str) -> Response:
    return Response(None, 204, (("Allow", allow),))
