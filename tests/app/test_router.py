"""Routing: which handler a path leads to, its parameters, and which declarations are refused."""

import gc
import math
import re
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any
from uuid import UUID

import pytest

from mreactor import App, Config, Response, Server, StartError
from mreactor.app.handler_checks import RouteError
from mreactor.app.router import Endpoint, Match, Route, Router, check_route
from mreactor.config import Limits
from mreactor.http.request import Request
from mreactor.http.request_head import METHODS, RequestHead, RequestLine
from mreactor.http.status import HTTPError
from mreactor.http1.head_parser import Parser

PARSER = Parser(Limits())


def head(target: str, method: str = "GET") -> RequestHead:
    return PARSER.parse(f"{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())


def line(target: str, method: str = "GET") -> RequestLine:
    return head(target, method).line


def handler_named(name: str) -> Callable[..., str]:
    """A handler that its name tells from others."""

    def handler(request: Request, **params: Any) -> str:
        return name

    handler.__name__ = name
    return handler


def route(pattern: str, name: str = "", method: str = "GET", **properties: bool) -> Route:
    return Route(method, pattern, Endpoint(handler_named(name or pattern), **properties))


def mount(pattern: str, name: str = "") -> Route:
    handler = handler_named(name or f"mount {pattern}")
    return Route("GET", pattern, Endpoint(lambda: handler, local=True), mount=True)


def found(match: Match) -> str:
    """The name of the handler found."""
    return match.handler.__name__


def refusal(router: Router, target: str, method: str = "GET") -> HTTPError:
    with pytest.raises(HTTPError) as caught:
        router.match(line(target, method))
    return caught.value


# --- Literal paths. ---


@pytest.mark.parametrize("pattern", ["/", "/a", "/a/", "/a/b", "/a//b", "//", "/a.b-c_d~e"])
def test_a_literal_path_leads_to_its_handler(pattern: str) -> None:
    match = Router([route(pattern)]).match(line(pattern))
    assert found(match) == pattern
    assert match.params == {}


@pytest.mark.parametrize(
    ("pattern", "target"),
    [
        ("/", "//"),
        ("/", "/a"),
        ("/a", "/"),
        ("/a", "/a/"),
        ("/a/", "/a"),
        ("/a", "/A"),
        ("/a", "/ab"),
        ("/a", "/a/b"),
        ("/a/b", "/a"),
        ("/a/b", "/a//b"),
        ("/a/b", "/a%2Fb"),  # an encoded slash separates nothing (RFC 3986 section 2.2)
        ("/a", "/./a"),
        ("/a", "/b/../a"),  # dot segments are not resolved: nothing here is a directory
    ],
)
def test_other_paths_are_404(pattern: str, target: str) -> None:
    assert refusal(Router([route(pattern)]), target).status == 404


@pytest.mark.parametrize("target", ["/caf%C3%A9/a%20b", "/caf%c3%a9/%61%20b"])
def test_patterns_are_written_decoded(target: str) -> None:
    assert found(Router([route("/caf\xe9/a b")]).match(line(target))) == "/caf\xe9/a b"


def test_the_query_is_ignored() -> None:
    assert found(Router([route("/a")]).match(line("/a?/b"))) == "/a"


def test_the_authority_is_ignored() -> None:
    assert found(Router([route("/a")]).match(line("http://b/a"))) == "/a"


def test_no_routes() -> None:
    assert refusal(Router([]), "/").status == 404


# --- Parameters. ---


@pytest.mark.parametrize(
    ("pattern", "target", "params"),
    [
        ("/{a}", "/b", {"a": "b"}),
        ("/{a}/c", "/b/c", {"a": "b"}),
        ("/{a}/{b}", "/c/d", {"a": "c", "b": "d"}),
        ("/x/{a}/y/{b}", "/x/c/y/d", {"a": "c", "b": "d"}),
        ("/{a:str}", "/b", {"a": "b"}),
        ("/{a}", "/%C3%A9%20%25", {"a": "\xe9 %"}),
        ("/{a}", "/%2541", {"a": "%41"}),  # decoded once
        ("/{a}", "/%0a", {"a": "\n"}),
        ("/{a:int}", "/0", {"a": 0}),
        ("/{a:int}", "/-17", {"a": -17}),
        ("/{a:int}", "/007", {"a": 7}),
        ("/{a:int}", "/%31", {"a": 1}),
        ("/{a:int}", "/" + "9" * 18, {"a": 10**18 - 1}),
        ("/{a:float}", "/2.5", {"a": 2.5}),
        ("/{a:float}", "/-2", {"a": -2.0}),
        ("/{a:uuid}", "/12345678-1234-5678-1234-567812345678", {"a": UUID("12345678-1234-5678-1234-567812345678")}),
        ("/{a:path}", "/b", {"a": "b"}),
        ("/{a:path}", "/b/c/", {"a": "b/c/"}),
        ("/x/{a:path}", "/x//b", {"a": "/b"}),
        ("/x/{b:int}/{a:path}", "/x/1/c/d", {"a": "c/d", "b": 1}),
        ("/{a:path}", "/b%0a/c", {"a": "b\n/c"}),
    ],
)
def test_parameters(pattern: str, target: str, params: dict[str, Any]) -> None:
    match = Router([route(pattern)]).match(line(target))
    assert match.params == params
    assert list(map(type, match.params.values())) == list(map(type, (params[name] for name in match.params)))


def test_parameters_come_in_the_order_of_the_path() -> None:
    assert list(Router([route("/{b}/{a}/{c}")]).match(line("/1/2/3")).params) == ["b", "a", "c"]


class Callables:
    """Handlers that are not plain functions."""

    def method(self, request: Request, a: str) -> str:
        return a

    def by_name(self, request: Request, *, a: str) -> str:
        return a

    def __call__(self, request: Request, a: str) -> str:
        return a

    @staticmethod
    def static(request: Request, a: str) -> str:
        return a


def by_position(request: Request, a: Any) -> str:
    return str(a)


def with_default(request: Request, a: str = "") -> str:
    return a


def by_name(request: Request, *, a: str) -> str:
    return a


def behind_another(request: Request, b: str = "", a: str = "") -> str:
    return a


def all_names(request: Request, **a: str) -> str:
    return a["a"]


def all_positions(request: Request, *b: str, a: str = "") -> str:
    return a


@wraps(by_position)
def wrapped(request: Request, **names: Any) -> str:
    return by_position(request, **names)


@pytest.mark.parametrize(
    ("handler", "taken"),
    [
        (by_position, True),
        (with_default, True),
        (Callables().method, True),
        (Callables.static, True),
        (by_name, False),
        (behind_another, False),
        (all_names, False),
        (all_positions, False),
        (wrapped, False),
        (partial(by_position), False),
        (Callables().by_name, False),
        (Callables(), False),
    ],
)
def test_a_single_parameter_is_passed_by_position_if_that_is_equivalent(
    handler: Callable[..., str], taken: bool
) -> None:
    route = Route("GET", "/{a}", Endpoint(handler))
    check_route(route)
    match = Router([route]).match(line("/value"))
    assert match.positional_param == ("value" if taken else None)
    assert match.params == {"a": "value"}
    request = Request(head("/value"), b"", ())
    assert handler(request, **match.params) == "value"
    assert not taken or handler(request, match.positional_param) == "value"


def test_several_parameters_are_passed_by_name() -> None:
    def handler(request: Request, a: str, b: str) -> str:
        return a + b

    assert Router([Route("GET", "/{a}/{b}", Endpoint(handler))]).match(line("/1/2")).positional_param is None


def test_a_parameter_of_zero_is_passed_by_position() -> None:
    match = Router([Route("GET", "/{a:int}", Endpoint(by_position))]).match(line("/0"))
    assert match.positional_param == 0


@pytest.mark.parametrize(
    ("pattern", "target"),
    [
        ("/{a}", "/"),
        ("/{a}", "/b/"),
        ("/{a}", "/b/c"),
        ("/{a}", "/b%2Fc"),  # a segment holds no slash, however it is written
        ("/x/{a}", "/x"),
        ("/x/{a}", "/x/"),
        ("/{a:int}", "/"),
        ("/{a:int}", "/x"),
        ("/{a:int}", "/+1"),
        ("/{a:int}", "/--1"),
        ("/{a:int}", "/1_0"),
        ("/{a:int}", "/%201"),
        ("/{a:int}", "/1%0a"),
        ("/{a:int}", "/1.0"),
        ("/{a:int}", "/0x1"),
        ("/{a:int}", "/%D9%A1"),  # an Arabic one
        ("/{a:int}", "/%C2%B2"),  # a superscript two
        ("/{a:int}", "/" + "9" * 19),
        ("/{a:int}", "/" + "9" * 5000),
        ("/{a:float}", "/inf"),
        ("/{a:float}", "/nan"),
        ("/{a:float}", "/1e5"),
        ("/{a:float}", "/1."),
        ("/{a:float}", "/.5"),
        ("/{a:float}", "/1_0.0"),
        ("/{a:float}", "/1.0%0a"),
        ("/{a:uuid}", "/12345678123456781234567812345678"),
        ("/{a:uuid}", "/%7B12345678-1234-5678-1234-567812345678%7D"),
        ("/{a:uuid}", "/12345678-1234-5678-1234-56781234567g"),
        ("/{a:path}", "/"),
        ("/x/{a:path}", "/x/"),
        ("/x/{a:path}", "/x"),
    ],
)
def test_segments_that_do_not_fit_their_parameter_are_404(pattern: str, target: str) -> None:
    assert refusal(Router([route(pattern)]), target).status == 404


def test_a_float_is_finite() -> None:
    value = Router([route("/{a:float}")]).match(line("/" + "9" * 18 + "." + "9" * 18)).params["a"]
    assert math.isfinite(value)


# --- Precedence. ---

ALL_KINDS = ["/x/{a:path}", "/x/{a}", "/x/{a:uuid}", "/x/{a:float}", "/x/{a:int}", "/x/1"]


@pytest.mark.parametrize("patterns", [ALL_KINDS, ALL_KINDS[::-1]], ids=["in this order", "the other way round"])
@pytest.mark.parametrize(
    ("target", "pattern"),
    [
        ("/x/1", "/x/1"),
        ("/x/2.5", "/x/{a:float}"),
        ("/x/12345678-1234-5678-1234-567812345678", "/x/{a:uuid}"),
        ("/x/y", "/x/{a}"),
        ("/x/y/z", "/x/{a:path}"),
        ("/x/1/z", "/x/{a:path}"),
    ],
)
def test_the_narrower_pattern_wins(patterns: list[str], target: str, pattern: str) -> None:
    assert found(Router(map(route, patterns)).match(line(target))) == pattern


def test_a_branch_that_leads_nowhere_is_abandoned() -> None:
    router = Router(map(route, ["/a/b/c", "/a/{x}/d", "/{x}/b/e", "/{x:path}"]))
    assert found(router.match(line("/a/b/c"))) == "/a/b/c"
    assert found(router.match(line("/a/b/d"))) == "/a/{x}/d"
    assert found(router.match(line("/a/b/e"))) == "/{x}/b/e"
    assert found(router.match(line("/a/b/f"))) == "/{x:path}"
    assert found(router.match(line("/a"))) == "/{x:path}"


def test_parameters_of_an_abandoned_branch_are_dropped() -> None:
    router = Router([route("/{a}/x/{b}"), route("/{c}/{d}/y")])
    assert router.match(line("/1/x/y")).params == {"a": "1", "b": "y"}
    assert router.match(line("/1/2/y")).params == {"c": "1", "d": "2"}


def test_the_cost_is_bounded_by_the_number_of_branches() -> None:
    """Each node is visited at most once, so alternatives at many levels do not multiply."""
    deep = "/{a:int}/{b:int}/{c:int}/{d:int}/{e:int}/{f:int}/{g:int}/{h:int}"
    patterns = [deep, deep.replace(":int", ":float"), deep.replace(":int", "")]
    router = Router(map(route, patterns))
    begun = time.thread_time()
    for _ in range(20):
        refusal(router, "/1" * 1000)
        refusal(router, "/1/1/1/1/1/1/1/")
    assert time.thread_time() - begun < 0.5


# --- Methods. ---


def test_each_method_has_its_handler() -> None:
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
    router = Router([route("/a", method, method) for method in methods])
    for method in methods:
        assert found(router.match(line("/a", method))) == method


def test_head_uses_the_handler_of_get() -> None:
    assert found(Router([route("/{a}")]).match(line("/b", "HEAD"))) == "/{a}"


@pytest.mark.parametrize(
    ("declared", "asked", "allow"),
    [
        (["GET"], "POST", "GET, HEAD, OPTIONS"),
        (["GET", "POST"], "DELETE", "GET, HEAD, OPTIONS, POST"),
        (["POST"], "GET", "OPTIONS, POST"),
        (["POST"], "HEAD", "OPTIONS, POST"),
        (["PUT", "DELETE"], "PATCH", "DELETE, OPTIONS, PUT"),
        (["HEAD"], "GET", "HEAD, OPTIONS"),
    ],
)
def test_another_method_is_405_with_allow(declared: list[str], asked: str, allow: str) -> None:
    router = Router([route("/a", method=method) for method in declared])
    refused = refusal(router, "/a", asked)
    assert refused.status == 405
    assert refused.headers == (("Allow", allow),)


def test_a_missing_path_is_404_whatever_the_method() -> None:
    router = Router([route("/a")])
    for method in METHODS:
        assert refusal(router, "/b", method).status == 404


@pytest.mark.parametrize(
    ("target", "allow"),
    [
        ("/a", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("*", {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}),
        ("http://a", {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}),
    ],
)
def test_the_router_handles_options(target: str, allow: set[str]) -> None:
    router = Router([route("/a"), route("/a", method="POST")])
    asked = head(target, "OPTIONS")
    match = router.match(asked.line)
    response = match.handler(Request(asked, b"", ()), **match.params)
    assert response.status == 204
    ((name, value),) = response.headers
    assert name == "Allow"
    assert set(value.split(", ")) == allow


def test_methods_of_one_path_may_name_its_parameters_differently() -> None:
    router = Router([route("/u/{id}", "read"), route("/u/{name}", "write", "POST")])
    read, write = router.match(line("/u/5")), router.match(line("/u/5", "POST"))
    assert (found(read), read.params) == ("read", {"id": "5"})
    assert (found(write), write.params) == ("write", {"name": "5"})
    assert refusal(router, "/u/5", "PUT").headers == (("Allow", "GET, HEAD, OPTIONS, POST"),)


# --- Endpoints. ---


def test_a_match_leads_to_its_endpoint() -> None:
    router = Router([route("/a"), route("/b", blocking=True), route("/c", constant=True)])
    endpoints = [router.match(line(target)).endpoint for target in ("/a", "/b", "/c")]
    assert [(endpoint.blocking, endpoint.constant) for endpoint in endpoints] == [
        (False, False),
        (True, False),
        (False, True),
    ]
    assert [endpoint.is_immediate for endpoint in endpoints] == [True, False, False]


def test_only_paths_without_parameters_share_a_match() -> None:
    router = Router([route("/a"), route("/b/{c}")])
    assert router.match(line("/a")) is router.match(line("/a"))
    assert router.match(line("/b/1")) is not router.match(line("/b/1"))


def test_a_router_remembers_no_path() -> None:
    """Paths that never repeat would else grow it without end."""
    router = Router([route("/a/{b}"), route("/a/{b}/c", method="POST"), mount("/m")])
    lines = [line(f"/{first}/{number}{rest}", method) for number in range(100) for first in ("a", "m", "x")
             for rest in ("", "/c") for method in ("GET", "HEAD", "OPTIONS")]  # fmt: skip

    def match_all() -> None:
        for asked in lines:
            with suppress(HTTPError):
                router.match(asked)

    match_all()
    gc.collect()
    tracemalloc.start()
    try:
        match_all()
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 16 * 1024, "a few bytes a path are none that it holds"


def test_each_path_is_routed_by_itself() -> None:
    """A path's match says nothing of another one's, in whatever order they come."""
    router = Router([route("/a/{b:int}"), route("/a/{b}", "text"), route("/a/0", "literal", "POST"), mount("/a/x")])
    expected = {"1": ("/a/{b:int}", {"b": 1}), "y": ("text", {"b": "y"}), "x": ("mount /a/x", {})}
    for segment in ("1", "y", "x", "1", "x", "y", "y", "1"):
        match = router.match(line(f"/a/{segment}"))
        assert (found(match), match.params) == expected[segment]
        assert found(router.match(line("/a/x/y"))) == "mount /a/x"
        assert refusal(router, "/a/0", "DELETE").headers == (("Allow", "GET, HEAD, OPTIONS, POST"),)


def test_a_local_handler_is_made_once_for_each_router() -> None:
    made: list[Callable[..., str]] = []

    def make() -> Callable[..., str]:
        made.append(handler_named(f"number {len(made)}"))
        return made[-1]

    endpoint = Endpoint(make, local=True)
    routes = [Route("GET", "/a", endpoint), Route("GET", "/b", endpoint, mount=True), Route("POST", "/a", endpoint)]
    one, two = Router(routes), Router(routes)
    assert len(made) == 2
    assert [found(one.match(line(path))) for path in ("/a", "/b", "/b/c")] == ["number 0"] * 3
    assert found(one.match(line("/a", "POST"))) == "number 0"
    assert found(two.match(line("/a"))) == "number 1"


# --- Mounts. ---


@pytest.mark.parametrize("prefix", ["/a", "/a/"])
@pytest.mark.parametrize("target", ["/a", "/a/", "/a/b", "/a/b/c/", "/a//", "/a/..%2f"])
def test_a_mount_handles_all_paths_below(prefix: str, target: str) -> None:
    match = Router([mount(prefix, "files")]).match(line(target))
    assert found(match) == "files"
    assert match.params == {}


@pytest.mark.parametrize("target", ["/", "/ab", "/A", "/b/a", "//a", "/a%2Fb"])
def test_a_mount_handles_no_other_paths(target: str) -> None:
    assert refusal(Router([mount("/a")]), target).status == 404


@pytest.mark.parametrize("target", ["/", "//", "/a", "/a/b", "/%2F"])
def test_a_mount_at_the_root_handles_every_path(target: str) -> None:
    assert found(Router([mount("/", "files")]).match(line(target))) == "files"


def test_routes_take_precedence_over_mounts_and_longer_mounts_over_shorter() -> None:
    router = Router([mount("/"), mount("/a"), mount("/a/b"), route("/a/b/c"), route("/a/{x}/d"), route("/")])
    expected = {
        "/": "/",
        "/x": "mount /",
        "/a": "mount /a",
        "/a/x": "mount /a",
        "/a/x/d": "/a/{x}/d",
        "/a/b/d": "mount /a/b",  # the literal segment leads into the mount
        "/a/b/c": "/a/b/c",
        "/a/b/c/d": "mount /a/b",
        "/a/b": "mount /a/b",
        "/ab": "mount /",
    }
    assert {target: found(router.match(line(target))) for target in expected} == expected


def test_a_mount_refuses_other_methods_with_allow() -> None:
    router = Router([mount("/a")])
    refused = refusal(router, "/a/b", "POST")
    assert refused.status == 405
    assert refused.headers == (("Allow", "GET, HEAD, OPTIONS"),)
    assert found(router.match(line("/a/b", "HEAD"))) == "mount /a"


# --- Declarations. ---


def plain(request: Request) -> str:
    return ""


def with_id(request: Request, id: int) -> str:  # noqa: A002
    return ""


def default_id(request: Request, id: int = 0) -> str:  # noqa: A002
    return ""


def with_any(request: Request, **params: Any) -> str:
    return ""


def keyword_only(request: Request, *, id: int) -> str:  # noqa: A002
    return ""


def nothing() -> str:
    return ""


def only_id(id: str) -> str:  # noqa: A002
    return id


@pytest.mark.parametrize(
    ("pattern", "handler"),
    [
        ("/", plain),
        ("/a/b.c", plain),
        ("/{id}", with_id),
        ("/{id:int}", keyword_only),
        ("/", default_id),
        ("/{id}", default_id),
        ("/{a}/{b:path}", with_any),
        ("/{id}", lambda request, id: ""),  # noqa: A006
    ],
)
def test_a_valid_route(pattern: str, handler: Callable[..., Any]) -> None:
    check_route(Route("GET", pattern, Endpoint(handler)))


@pytest.mark.parametrize(
    ("pattern", "handler", "complaint"),
    [
        ("", plain, "does not start with /"),
        ("a", plain, "does not start with /"),
        ("{id}", with_id, "does not start with /"),
        ("*", plain, "does not start with /"),
        ("/{id}/{id}", with_id, "twice"),
        ("/{}", plain, "is not {name}"),
        ("/{id", with_id, "is not {name}"),
        ("/id}", with_id, "is not {name}"),
        ("/x{id}", with_id, "is not {name}"),
        ("/{id}x", with_id, "is not {name}"),
        ("/{id}{id}", with_id, "is not {name}"),
        ("/{Id}", with_any, "is not {name}"),
        ("/{1d}", with_any, "is not {name}"),
        ("/{id:}", with_id, "is not {name}"),
        ("/{id: int}", with_id, "is not {name}"),
        ("/{id:INT}", with_id, "is not {name}"),
        ("/{id:number}", with_id, "'number'"),
        ("/{id:path}/x", with_id, "must come last"),
        ("/{id:path}/", with_id, "must come last"),
        ("/", with_id, "does not fit"),
        ("/{id}", plain, "does not fit"),
        ("/{name}", with_id, "does not fit"),
        ("/{request}", with_any, "does not fit"),
        ("/", lambda: "", "does not fit"),
        ("/", lambda request, more: "", "does not fit"),
    ],
)
def test_an_invalid_route(pattern: str, handler: Callable[..., Any], complaint: str) -> None:
    with pytest.raises(RouteError) as caught:
        check_route(Route("GET", pattern, Endpoint(handler)))
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "handler", "complaint"),
    [
        ("/", nothing, "nothing (FILE, line N), does not fit its parameters: its first parameter must be the request; "
                       "write (request)"),
        ("/{id}", nothing, "its first parameter must be the request; write (request, id)"),
        ("/{id}", only_id, "only_id (FILE, line N), does not fit its parameters: its first parameter must be the "
                           "request; write (request, id)"),
        ("/{id}", plain, "it does not take 'id'; write (request, id)"),
        ("/{a}/{b}", plain, "it does not take 'a' and 'b'; write (request, a, b)"),
        ("/", with_id, "the pattern has no {id}; write (request)"),
        ("/{name}", with_id, "it does not take 'name'; write (request, name)"),
        ("/x/<id>", with_id, "'<id>' in '/x/<id>' is not a parameter; write {id}"),
        ("/<int:id>", with_id, "write {id:int}"),
        ("/<string:id>", with_id, "write {id}"),
        ("/{id}.csv", with_id, "a parameter takes a whole segment of the path"),
    ],
)  # fmt: skip
def test_an_error_of_a_route_says_what_to_write(pattern: str, handler: Callable[..., Any], complaint: str) -> None:
    with pytest.raises(RouteError) as caught:
        check_route(Route("GET", pattern, Endpoint(handler)))
    assert complaint in re.sub("line [0-9]+", "line N", str(caught.value).replace(__file__, "FILE"))


@pytest.mark.parametrize("method", ["", "get", "FETCH", "CONNECT", "TRACE", "GET "])
def test_an_unsupported_method(method: str) -> None:
    with pytest.raises(RouteError, match="is not one of GET"):
        check_route(Route(method, "/", Endpoint(plain)))


@pytest.mark.parametrize("pattern", ["a", "/{id", "/{id:path}/x"])
def test_an_invalid_mount(pattern: str) -> None:
    with pytest.raises(RouteError):
        check_route(Route("GET", pattern, Endpoint(lambda: plain, local=True), mount=True))


# --- Handlers of the wrong kind. ---


async def numbers(request: Request) -> AsyncIterator[str]:
    yield "1"


async def slow(request: Request) -> str:
    return "slow"


class Shop:
    async def __call__(self, request: Request) -> str:
        return "shop"

    async def show(self, request: Request) -> str:
        return "shown"


class Stall:
    async def __call__(self, request: Request) -> AsyncIterator[str]:
        yield "stall"


def decorated(handler: Any) -> Any:
    @wraps(handler)
    def call(request: Request) -> str:
        return str(handler(request))

    return call


UNFIT = [
    (slow, "is async"),
    (numbers, "is async"),
    (partial(numbers), "is async"),
    (partial(partial(slow)), "is async"),
    (Shop(), "is async"),
    (partial(Shop()), "is async"),
    (Shop().show, "is async"),
    (Stall(), "is async"),
    (Shop, "is a class"),
    (dict, "is a class"),
    (max, "does not fit its parameters: no signature"),
    (None, "does not fit"),
    ((part for part in "ab"), "does not fit"),
]


@pytest.mark.parametrize(("handler", "message"), UNFIT, ids=lambda value: str(value)[:30])
def test_a_handler_of_the_wrong_kind_is_refused_when_it_is_declared(handler: Any, message: str) -> None:
    with pytest.raises(RouteError, match=message):
        App().get("/")(handler)


@pytest.mark.parametrize(("handler", "message"), UNFIT, ids=lambda value: str(value)[:30])
def test_what_a_factory_makes_is_refused_when_the_server_starts(handler: Any, message: str) -> None:
    app = App()
    app.mount("/m/", lambda: handler)
    with pytest.raises(StartError, match=f"the handler of '/m/'.*{message}"):
        Server(Config(port=0, threads=1), app).start()


@pytest.mark.parametrize(("factory", "message"), [(slow, "is async"), (Shop(), "is async"), (7, "is not a function")])
def test_a_factory_of_the_wrong_kind_is_refused_when_it_is_declared(factory: Any, message: str) -> None:
    with pytest.raises(RouteError, match=message):
        App().mount("/m/", factory)


class Greeting(Response):
    def __init__(self, request: Request) -> None:
        super().__init__("hello")


@pytest.mark.parametrize(
    "handler", [Greeting, decorated(slow), partial(handler_named("a")), handler_named("a").__call__]
)
def test_other_callables_are_handlers(handler: Any) -> None:
    app = App()
    app.get("/")(handler)
    assert Router(app.routes).match(line("/")).handler is handler


# --- Handlers that compare equal, and such as have no hash. ---


@dataclass(frozen=True)
class Page:
    title: str
    body: str = field(compare=False)

    def __call__(self, request: Request) -> str:
        return self.body


@dataclass
class Unhashable:
    body: str

    def __call__(self, request: Request) -> str:
        return self.body


@pytest.mark.parametrize("make", [lambda body: Page("x", body), lambda body: Unhashable(body)])
def test_each_route_has_its_own_handler(make: Callable[[str], Any]) -> None:
    app = App()
    app.get("/a")(make("A"))
    app.get("/b")(make("B"))
    app.mount("/m/", lambda: make("C"))
    router = Router(app.routes)
    request: Any = None
    assert [router.match(line(target)).handler(request) for target in ("/a", "/b", "/m/x")] == ["A", "B", "C"]


def test_each_mount_has_a_handler_of_its_own() -> None:
    """Also if one factory makes both."""
    app = App()
    app.mount("/one/", lambda: Unhashable("x"))
    factory = app.routes[0].endpoint.handler
    app.mount("/two/", factory)
    router = Router(app.routes)
    one, two = (router.match(line(target)).handler for target in ("/one/x", "/two/x"))
    assert one is not two


def test_the_methods_of_one_declaration_share_a_handler() -> None:
    app = App()
    app.route("/a", ("GET", "POST"))(Unhashable("x"))
    router = Router(app.routes)
    assert router.match(line("/a")).handler is router.match(line("/a", "POST")).handler
