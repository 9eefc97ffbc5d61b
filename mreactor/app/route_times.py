"""The time that handlers take, by route, where it is asked for. See docs/decisions/087.

Each reactor gets handlers of its own with a timer around them, so that no two reactors write the same number. The
threads of the pool share a blocking handler's timer, which has a lock. Otherwise handlers are called as they are.
"""

import dataclasses
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from ..http import Handler, Request
from ..metrics import RouteSnapshot
from .router import Endpoint, Route


class _Timer:
    """The calls of one handler, counted by the reactor that owns it or under the lock."""

    __slots__ = ("calls", "lock", "route", "seconds")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.calls = 0
        self.seconds = 0.0
        self.lock = threading.Lock()


class RouteTimes:
    """The timers of all reactors. Any thread may read them."""

    def __init__(self) -> None:
        self._timers: list[_Timer] = []

    def wrap(self, routes: Iterable[Route]) -> tuple[Route, ...]:
        """Return the routes with a timer around each handler. Call it before the reactors start."""
        return tuple(dataclasses.replace(route, endpoint=self._wrap_endpoint(route)) for route in routes)

    def read(self) -> tuple[RouteSnapshot, ...]:
        """Return the sums over all reactors, by method and pattern."""
        sums: dict[tuple[str, str], tuple[int, float]] = {}
        for timer in self._timers.copy():
            key = timer.route.method, timer.route.pattern
            calls, seconds = sums.get(key, (0, 0.0))
            sums[key] = calls + timer.calls, seconds + timer.seconds
        return tuple(
            RouteSnapshot(method=method, pattern=pattern, calls=calls, seconds=seconds)
            for (method, pattern), (calls, seconds) in sorted(sums.items())
        )

    def _wrap_endpoint(self, route: Route) -> Endpoint:
        endpoint = route.endpoint

        def make_handler() -> Handler:
            handler = endpoint.handler() if endpoint.local else endpoint.handler
            timer = _Timer(route)
            self._timers.append(timer)
            return _time_blocking(handler, timer) if endpoint.blocking else _time(handler, timer)

        return dataclasses.replace(endpoint, handler=make_handler, local=True)


def _time(handler: Handler, timer: _Timer, clock: Callable[[], float] = time.perf_counter) -> Handler:
    def call(request: Request, **params: Any) -> Any:
        began = clock()
        try:
            return handler(request, **params)
        finally:
            timer.calls += 1
            timer.seconds += clock() - began

    return call


def _time_blocking(handler: Handler, timer: _Timer, clock: Callable[[], float] = time.perf_counter) -> Handler:
    def call(request: Request, **params: Any) -> Any:
        began = clock()
        try:
            return handler(request, **params)
        finally:
            took = clock() - began
            with timer.lock:
                timer.calls += 1
                timer.seconds += took

    return call
