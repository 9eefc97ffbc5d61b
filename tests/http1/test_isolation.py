"""Context variables that handlers on a reactor set: they do not reach other requests."""

import sys
import types
from collections.abc import Iterator
from contextvars import ContextVar, copy_context
from decimal import Decimal, getcontext

import pytest

from mreactor.app.application import App
from mreactor.http.request import Request
from mreactor.http1.context import ReactorContext
from mreactor.http1.isolation import has_context_variables
from tests.support.responses import read_responses
from tests.support.vectors import LIMITS, Talk, get

TIMES = 4
user: ContextVar[str] = ContextVar("user", default="nobody")


def make_app() -> App:
    app = App()

    @app.get("/login/{name}")
    def login(request: Request, name: str) -> str:
        user.set(name)
        getcontext().prec = 3
        return "in"

    @app.get("/who")
    def who(request: Request) -> str:
        return f"{user.get()} {Decimal(1) / 3}"

    @app.get("/feed/{name}")
    def feed(request: Request, name: str) -> Iterator[str]:
        user.set(name)
        return parts()

    def parts() -> Iterator[str]:
        yield user.get()
        user.set("a part")
        yield " " + user.get()

    @app.get("/pair/{one}/{other}")
    def pair(request: Request, one: str, other: str) -> str:
        return f"{one} {other} {user.get()}"

    @app.get("/boom")
    def boom(request: Request) -> str:
        raise RuntimeError("boom")

    return app


def ask(context: ReactorContext, *targets: str) -> list[str]:
    """Send requests on a connection, each several times, so that in the end their routes are known."""
    talk = Talk(context, [get(target) for target in targets for _ in range(TIMES)])
    return [response.text for response in read_responses(talk.output)][::TIMES]


@pytest.fixture
def context() -> ReactorContext:
    return ReactorContext(LIMITS, make_app().routes, isolates=True)


NOBODY = "nobody 0.3333333333333333333333333333"


def test_what_a_handler_sets_does_not_reach_the_next_request(context: ReactorContext) -> None:
    assert ask(context, "/who", "/login/alice", "/who") == [NOBODY, "in", NOBODY]


def test_a_stream_has_what_its_handler_has_set_and_leaves_nothing(context: ReactorContext) -> None:
    assert ask(context, "/feed/bob", "/feed/carol", "/who") == ["bob a part", "carol a part", NOBODY]


def test_parameters_arrive_as_without(context: ReactorContext) -> None:
    assert ask(context, "/pair/a/b", "/nothing")[0] == "a b nobody"


def test_a_failure_names_the_handler(context: ReactorContext, caplog: pytest.LogCaptureFixture) -> None:
    ask(context, "/boom")
    assert "RuntimeError: boom" in caplog.text
    assert "in boom" in caplog.text


def test_the_first_variable_that_a_handler_sets_is_noticed_within_a_tick() -> None:
    """The application has its variables where none is seen at the start, such as in a local library."""

    def run() -> None:
        context = ReactorContext(LIMITS, make_app().routes)
        assert ask(context, "/login/alice") == ["in"]
        context.tick(0.0)
        assert ask(context, "/who", "/login/bob", "/who") == [NOBODY, "in", NOBODY]

    copy_context().run(run)


def test_handlers_that_set_nothing_are_called_as_they_are() -> None:
    def run() -> None:
        app = make_app()
        context = ReactorContext(LIMITS, app.routes)
        ask(context, "/pair/a/b")
        context.tick(0.0)
        handlers = [route.endpoint.handler for route in app.routes]
        (route,) = context.cache.routes.values()
        assert route[0] in handlers, "and the tick has cleared nothing"

    copy_context().run(run)


def test_variables_of_modules_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "modules", {"os": sys.modules["os"], "odd": object()})
    assert not has_context_variables()
    monkeypatch.setattr(sys.modules["os"], "a_variable", user, raising=False)
    assert not has_context_variables(), "the standard library's own"
    sys.modules[__name__] = types.ModuleType(__name__)
    assert not has_context_variables()
    sys.modules[__name__].user = user  # type: ignore[attr-defined]
    assert has_context_variables()


def test_a_handler_is_isolated_once_however_many_queries_lead_to_it() -> None:
    """Each call within a call would take a frame, and after a thousand queries there would be no frame left."""
    context = ReactorContext(LIMITS, make_app().routes, isolates=True)
    handlers = set()
    for number in range(50):
        line = context.parser.parse(get(f"/who?{number}")).line
        handlers.add(context.match(line).endpoint.handler)
    assert len(handlers) == 1


def test_requests_that_no_route_takes_leave_nothing_behind(context: ReactorContext) -> None:
    for method in (b"OPTIONS", b"GET"):
        for number in range(3):
            Talk(context, [method + b" /nothing/%d HTTP/1.1\r\nHost: a\r\n\r\n" % number])
    Talk(context, [b"OPTIONS /who HTTP/1.1\r\nHost: a\r\n\r\n"])
    assert context._isolated == {}


def test_hooks_and_error_handlers_are_isolated_where_no_route_responds() -> None:
    app = make_app()
    seen: list[str] = []

    @app.before
    def note(request: Request) -> None:
        seen.append(user.get())
        user.set("somebody")

    ask(ReactorContext(LIMITS, app.routes, isolates=True, errors=app.errors), "/nothing")
    assert seen == ["nobody"] * TIMES
