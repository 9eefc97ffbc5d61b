"""The application: declaring routes, and what is refused."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from mreactor.app.application import App
from mreactor.app.handler_checks import RouteError
from mreactor.http.request import Request


def plain(request: Request) -> str:
    return ""


def with_params(request: Request, **params: Any) -> str:
    return ""


def declared(app: App) -> list[tuple[str, str]]:
    return [(route.method, route.pattern) for route in app.routes]


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
def test_a_decorator_declares_its_method_and_returns_the_handler(method: str) -> None:
    app = App()
    assert getattr(app, method)("/a")(plain) is plain
    (route,) = app.routes
    assert (route.method, route.pattern, route.mount) == (method.upper(), "/a", False)
    assert route.endpoint.handler is plain
    properties = route.endpoint.blocking, route.endpoint.constant, route.endpoint.local
    assert properties == (False, False, False)


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
def test_any_method_may_be_blocking(method: str) -> None:
    app = App()
    getattr(app, method)("/a", blocking=True)(plain)
    assert app.routes[0].endpoint.blocking


def test_get_may_be_constant() -> None:
    app = App()
    app.get("/a", constant=True)(plain)
    assert app.routes[0].endpoint.constant


def test_one_handler_for_several_methods_and_patterns() -> None:
    app = App()
    app.route("/a", ("GET", "post"))(plain)
    app.get("/b")(plain)
    assert declared(app) == [("GET", "/a"), ("POST", "/a"), ("GET", "/b")]
    assert app.routes[0].endpoint is app.routes[1].endpoint


def test_get_is_the_default_method() -> None:
    app = App()
    app.route("/a")(plain)
    assert declared(app) == [("GET", "/a")]


def test_a_mount_is_local_and_handles_get() -> None:
    app = App()

    def make() -> Callable[[Request], str]:
        return plain

    app.mount("/files", make, blocking=True, constant=True)
    (route,) = app.routes
    assert (route.method, route.pattern, route.mount) == ("GET", "/files", True)
    assert route.endpoint.handler() is plain
    assert route.endpoint.local
    assert route.endpoint.blocking
    assert route.endpoint.constant


def test_similar_routes_are_not_the_same() -> None:
    app = App()
    for pattern in ("/a", "/a/", "/{x}", "/{x:int}", "/{x:path}", "/{x}/a"):
        app.get(pattern)(with_params)
    app.post("/a")(plain)
    app.mount("/a", lambda: plain)
    app.mount("/", lambda: plain)
    assert len(app.routes) == 9


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/a", "/a"),
        ("/{x}", "/{x}"),
        ("/{x}", "/{y}"),  # the second could never be reached
        ("/{x}", "/{y:str}"),
        ("/a/{x:int}/b", "/a/{y:int}/b"),
        ("/{x:path}", "/{y:path}"),
    ],
)
def test_a_route_that_is_taken_is_refused(one: str, other: str) -> None:
    app = App()
    app.get(one)(with_params)
    with pytest.raises(RouteError, match="twice; " + re.escape(repr(one))):
        app.get(other)(with_params)
    assert len(app.routes) == 1


@pytest.mark.parametrize(("one", "other"), [("/a", "/a"), ("/a", "/a/"), ("/a/", "/a"), ("/", "/")])
def test_a_mount_that_is_taken_is_refused(one: str, other: str) -> None:
    """With or without a final slash, a mount handles the same paths."""
    app = App()
    app.mount(one, lambda: plain)
    with pytest.raises(RouteError, match="twice"):
        app.mount(other, lambda: plain)


@pytest.mark.parametrize("methods", ["PUT", ["PUT"], iter(["PUT"]), {"PUT"}])
def test_methods_may_be_one_or_any_collection(methods: Any) -> None:
    app = App()
    app.route("/a", methods)(plain)
    assert declared(app) == [("PUT", "/a")]


def test_a_method_named_twice_is_refused() -> None:
    with pytest.raises(RouteError, match="twice"):
        App().route("/a", ("GET", "get"))(plain)


@pytest.mark.parametrize("methods", [("FETCH",), ("CONNECT",), ("",)])
def test_an_unsupported_method_is_refused(methods: Any) -> None:
    with pytest.raises(RouteError):
        App().route("/a", methods)(plain)


def test_an_invalid_pattern_is_refused_when_it_is_declared() -> None:
    app = App()
    with pytest.raises(RouteError, match="does not start"):
        app.get("a")(plain)
    with pytest.raises(RouteError, match="does not fit"):
        app.get("/{a}")(plain)
    with pytest.raises(RouteError):
        app.mount("a", lambda: plain)
    assert app.routes == ()


def test_freezing_ends_the_declarations() -> None:
    app = App()
    app.get("/a")(plain)
    declare = app.get("/b")
    assert app.freeze() == app.routes
    for late in (lambda: declare(plain), lambda: app.mount("/c", lambda: plain)):
        with pytest.raises(RouteError, match="has started"):
            late()
    assert declared(app) == [("GET", "/a")]
    assert app.freeze() == app.routes  # a second server may start with it


def test_routes_returned_earlier_do_not_change() -> None:
    app = App()
    before = app.routes
    app.get("/a")(plain)
    assert before == ()
