"""Times of handlers by route: counted for each call, by any caller and however it ends, and summed over reactors."""

import threading
from typing import Any

import pytest

from mreactor import App, HTTPError, Request, StaticFiles
from mreactor.app import Router, RouteTimes
from mreactor.app import route_times as module


def make_app(folder: Any) -> App:
    app = App()

    @app.get("/hello/{name}")
    def hello(request: Request, name: str) -> str:
        return f"hello {name}"

    @app.route("/both", ("GET", "PUT"), blocking=True)
    def both(request: Request) -> str:
        raise HTTPError(404)

    app.mount("/files/", StaticFiles(folder))
    return app


def handlers(routes: Any) -> list[Any]:
    """Make a reactor's own handlers, as a router does."""
    return [route.endpoint.handler() for route in routes]


def test_calls_are_counted_by_method_and_pattern(tmp_path: Any) -> None:
    times = RouteTimes()
    routes = times.wrap(make_app(tmp_path).routes)
    assert all(route.endpoint.local for route in routes)
    assert [route.endpoint.blocking for route in routes] == [False, True, True, False]
    one, other = handlers(routes), handlers(routes)
    assert (one[0](None, name="a"), other[0](None, name="b")) == ("hello a", "hello b")
    with pytest.raises(HTTPError):
        one[1](None)
    read = {(each.method, each.pattern): each.calls for each in times.read()}
    assert read == {("GET", "/hello/{name}"): 2, ("GET", "/both"): 1, ("PUT", "/both"): 0, ("GET", "/files/"): 0}


def test_the_time_is_that_of_the_handler() -> None:
    now = iter([1.0, 1.5, 10.0, 12.0])
    timer = module._Timer(_route())
    call = module._time(lambda request: "x", timer, lambda: next(now))
    call(None)
    call(None)
    assert (timer.calls, timer.seconds) == (2, 2.5)


def _route() -> Any:
    app = App()
    app.get("/")(lambda request: "x")
    return app.routes[0]


def test_threads_of_the_pool_share_a_timer() -> None:
    timer = module._Timer(_route())
    call = module._time_blocking(lambda request: "x", timer)
    threads = [threading.Thread(target=lambda: [call(None) for _ in range(2000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert timer.calls == 8000


def test_a_router_takes_the_routes(tmp_path: Any) -> None:
    times = RouteTimes()
    routes = times.wrap(make_app(tmp_path).routes)
    for _ in range(3):
        Router(routes)
    assert len(times.read()) == 4
