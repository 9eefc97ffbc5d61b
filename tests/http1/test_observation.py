"""Requests that are told apart: their ids, and the lines of the access log that say more. With a clock of its own."""

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from mreactor.addresses import TrustedProxies
from mreactor.app.application import App
from mreactor.config import Config
from mreactor.http import Request, Response
from mreactor.http1 import Redirector
from mreactor.http1.context import ReactorContext
from mreactor.http1.observation import Observation
from mreactor.http1.observing import observation_maker
from mreactor.logs import AccessBuffer
from mreactor.logs.access_formats import FORMATS
from mreactor.protocol import FileBody, Peer
from mreactor.proxy import Forwarding
from tests.logs.access_lines import MemoryWriter, a_head
from tests.support.memory import PEER, UNLIMITED, Session
from tests.support.vectors import FILE, LIMITS, get, post

MADE = re.compile(r"[0-9a-f]{32}")
PROXY: Peer = ("10.0.0.1", 1)
NETWORKS = ("10.0.0.0/8",)
ALL = ("duration", "route", "request-id")


def make_app() -> App:
    app = App()

    @app.get("/hello/{name}")
    def hello(request: Request, name: str) -> str:
        return f"{name} {request.id}"

    @app.get("/constant", constant=True)
    def constant(request: Request) -> str:
        return request.id

    @app.get("/blocking", blocking=True)
    def blocking(request: Request) -> str:
        return request.id

    @app.post("/body")
    def body(request: Request) -> str:
        return f"{len(request.body)} {request.id}"

    @app.get("/parts")
    def parts(request: Request) -> Iterator[str]:
        yield "12345"
        yield request.id

    @app.get("/own")
    def own(request: Request) -> Response:
        return Response("own", 200, [("x-request-id", "of the application")])

    @app.get("/file")
    def file(request: Request) -> FileBody:
        return FileBody(os.open(FILE, os.O_RDONLY | os.O_CLOEXEC), 0, 5000)

    @app.get("/failing")
    def failing(request: Request) -> str:
        raise RuntimeError("no reason")

    @app.get("/failing/parts")
    def failing_parts(request: Request) -> Iterator[str]:
        yield "12345"
        raise RuntimeError("no reason")

    @app.error(404)
    def missing(request: Request, error: Exception) -> str:
        return f"missing {request.id}"

    @app.error(400)
    def malformed(request: Request, error: Exception) -> str:
        return f"malformed {request.id}"

    def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [environ.get("mreactor.request_id", "none").encode()]

    app.mount_wsgi("/wsgi", wsgi, inline=True)
    app.freeze()
    return app


class Observed:
    """A context that observes its requests, and what its access log has got. The clock stands still until it is set."""

    def __init__(self, form: str = "json", details: tuple[str, ...] = ALL, field: str = "X-Request-Id") -> None:
        self.now = 1000.0
        self._writer = MemoryWriter()
        self._buffer = AccessBuffer(FORMATS[form](), self._writer.put, details)
        app, has_ids = make_app(), bool(field) or "request-id" in details
        observation = Observation(field, NETWORKS, has_ids=has_ids, clock=lambda: self.now)
        self.context = ReactorContext(
            LIMITS,
            app.routes,
            self._buffer,
            forwarding=Forwarding(TrustedProxies(NETWORKS), "x-forwarded"),
            errors=app.errors,
            observation=observation,
        )
        self.pass_time(0.0)

    def session(self, peer: Peer = PEER, **options: Any) -> Session:
        return Session(self.context, peer, **options)

    def redirect_to(self, port: int) -> None:
        """Let the clients be those of a plain address whose requests are redirected to HTTPS."""
        self.context.connect = Redirector(self.context, port, TrustedProxies(NETWORKS)).connect  # type: ignore[method-assign]

    def pass_time(self, seconds: float) -> None:
        """Begin a round so much later."""
        self.now += seconds
        self.context.begin_round(self.now)

    def text(self) -> str:
        return self._writer.take(self._buffer)

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines since the last call."""
        return [json.loads(line) for line in self.text().splitlines()]


def ask(session: Session, request: bytes) -> str:
    session.arrive(request)
    session.drive()
    return session.take_sent().decode("latin-1")


def id_in(response: str) -> str:
    """Return the id in the head of a response; fail unless there is one."""
    (found,) = re.findall(r"(?i)\r\nX-Request-Id: (.*)\r\n", response.partition("\r\n\r\n")[0] + "\r\n")
    return str(found)


# Ids.


@pytest.mark.parametrize("target", ["/hello/a", "/constant", "/blocking", "/parts", "/wsgi", "/nowhere"])
@pytest.mark.parametrize("fast", [False, True])
def test_each_request_has_an_id_which_handler_response_and_line_agree_on(target: str, fast: bool) -> None:
    observed, seen = Observed(), set()
    session = observed.session(uses_fast_path=fast)
    for _ in range(4):
        response = ask(session, get(target))
        made = id_in(response)
        assert MADE.fullmatch(made)
        assert made in response.partition("\r\n\r\n")[2]
        assert [line["request_id"] for line in observed.lines()] == [made]
        seen.add(made)
    assert len(seen) == 4


def test_ids_of_two_reactors_differ() -> None:
    ids = [id_in(ask(Observed().session(), get("/hello/a"))) for _ in range(50)]
    assert len(set(ids)) == 50


def test_pipelined_requests_have_their_own() -> None:
    observed = Observed()
    session = observed.session()
    response = ask(session, get("/hello/a") * 9)
    ids = re.findall(r"X-Request-Id: (\w+)", response)
    assert ids == re.findall(r"a ([0-9a-f]{32})", response) == [line["request_id"] for line in observed.lines()]
    assert len(set(ids)) == 9


def test_redirections_to_https_are_observed_as_well() -> None:
    observed = Observed()
    observed.redirect_to(8443)
    response = ask(observed.session(), get("/hello/a"))
    assert "Location: https://a:8443/hello/a\r\n" in response
    (line,) = observed.lines()
    assert (line["status"], line["request_id"], line["duration"]) == (301, id_in(response), 0.0)


@pytest.mark.parametrize("fast", [False, True])
def test_a_trusted_peer_chooses_the_id(fast: bool) -> None:
    observed = Observed()
    session = observed.session(PROXY, uses_fast_path=fast)
    for number in (1, 1, 1, 2):
        response = ask(session, get("/hello/a", f"X-Request-Id: req-{number}"))
        assert id_in(response) == f"req-{number}"
        assert response.endswith(f"a req-{number}")
        assert [line["request_id"] for line in observed.lines()] == [f"req-{number}"]


def test_another_peer_does_not() -> None:
    assert MADE.fullmatch(id_in(ask(Observed().session(), get("/hello/a", "X-Request-Id: chosen"))))


@pytest.mark.parametrize("sent", ["", "two words", "x" * 129, "tab\tbed", "caf\xe9"])
def test_what_is_no_token_is_replaced(sent: str) -> None:
    request = get("/hello/a", "X-Request-Id: @").replace(b"@", sent.encode("latin-1"))
    assert MADE.fullmatch(id_in(ask(Observed().session(PROXY), request)))


def test_two_fields_are_no_token() -> None:
    request = get("/hello/a", "X-Request-Id: a", "X-Request-Id: b")
    assert MADE.fullmatch(id_in(ask(Observed().session(PROXY), request)))


def test_the_longest_id_is_taken() -> None:
    assert id_in(ask(Observed().session(PROXY), get("/hello/a", "X-Request-Id: " + "~" * 128))) == "~" * 128


def test_the_application_may_send_another_one() -> None:
    observed = Observed()
    assert id_in(ask(observed.session(), get("/own"))) == "of the application"
    assert MADE.fullmatch(observed.lines()[0]["request_id"])


def test_the_field_has_the_name_of_the_option() -> None:
    response = ask(Observed(field="Trace").session(PROXY), get("/hello/a", "TRACE: t1"))
    assert response.startswith("HTTP/1.1 200 OK\r\nTrace: t1\r\n")


def test_without_the_option_ids_are_in_the_log_only() -> None:
    observed = Observed(field="")
    response = ask(observed.session(PROXY), get("/hello/a", "X-Request-Id: chosen"))
    made = observed.lines()[0]["request_id"]
    assert MADE.fullmatch(made)
    assert response.endswith(f"a {made}")
    assert "X-Request-Id" not in response


def test_refusals_have_ids_too() -> None:
    observed = Observed()
    # Nothing of this request could be read.
    response = ask(observed.session(), b"GET\r\n\r\n")
    assert response.endswith(f"malformed {id_in(response)}")
    (line,) = observed.lines()
    assert (line["target"], line["status"], line["request_id"]) == (None, 400, id_in(response))
    # Its head could.
    response = ask(observed.session(PROXY), post("/body", b"x" * 2000, "X-Request-Id: large"))
    assert id_in(response) == "large"
    (line,) = observed.lines()
    assert (line["target"], line["status"], line["request_id"], line["route"]) == ("/body", 413, "large", "/body")


@pytest.mark.parametrize("target", ["/failing", "/failing/parts"])
def test_the_log_names_the_request_of_a_failure(target: str, caplog: pytest.LogCaptureFixture) -> None:
    ask(Observed().session(PROXY), get(target, "X-Request-Id: r1"))
    (record,) = caplog.records
    assert record.getMessage() == f"the handler of GET {target} failed (request r1)"
    assert vars(record)["request_id"] == "r1"
    ask(Observed(details=(), field="").session(), get(target))
    assert caplog.records[1].getMessage() == f"the handler of GET {target} failed"
    assert caplog.records[1].levelno == logging.ERROR


# Lines.


def test_the_time_runs_from_the_head_to_the_last_byte() -> None:
    observed = Observed()
    session = observed.session(window=1000, runs_jobs=False)
    session.arrive(get("/file")[:10])
    session.drive()
    observed.pass_time(7.0)
    session.arrive(get("/file")[10:])
    session.drive()
    observed.pass_time(0.25)
    session.take_sent()
    session.drive()
    assert observed.lines() == []
    observed.now += 1.25
    while session.take_sent():
        session.drive()
    (line,) = observed.lines()
    assert (line["duration"], line["bytes"], line["route"]) == (1.5, 5000, "/file")


def test_the_time_includes_that_of_the_body() -> None:
    observed = Observed()
    session = observed.session()
    request = post("/body", b"x" * 600)
    session.arrive(request[:-500])
    session.drive()
    for start in (-500, -200):
        observed.pass_time(0.5)
        session.arrive(request[start:][:300])
        session.drive()
    observed.now += 0.125
    assert [line["duration"] for line in observed.lines()] == [1.0]
    # The next request has its own beginning.
    observed.pass_time(1.0)
    ask(session, get("/hello/a"))
    assert [line["duration"] for line in observed.lines()] == [0.0]


def test_the_time_includes_that_of_the_thread_pool() -> None:
    observed = Observed()
    session = observed.session(runs_jobs=False)
    ask(session, get("/blocking"))
    observed.pass_time(2.5)
    session.run_job()
    session.drive()
    assert [line["duration"] for line in observed.lines()] == [2.5]


@pytest.mark.parametrize(
    ("request_", "route"),
    [
        (get("/hello/some%20body"), "/hello/{name}"),
        (get("/hello/a").replace(b"GET", b"HEAD"), "/hello/{name}"),
        (get("/constant"), "/constant"),
        (get("/wsgi/below"), "/wsgi"),
        (get("/nowhere"), None),
        (get("/constant").replace(b"GET", b"POST"), None),
        (get("*").replace(b"GET", b"OPTIONS"), None),
    ],
)
def test_the_route_is_its_pattern(request_: bytes, route: str | None) -> None:
    observed = Observed()
    session = observed.session()
    for _ in range(3):
        ask(session, request_)
        assert [line["route"] for line in observed.lines()] == [route]


def test_bytes_are_those_really_sent_of_short_responses_too() -> None:
    observed = Observed()
    session = observed.session(window=200)
    session.arrive(get("/hello/" + "a" * 60))
    session.drive()
    head = bytes(session.sent).index(b"\r\n\r\n") + 4
    assert observed.lines() == []
    session.reset()
    (line,) = observed.lines()
    assert (line["bytes"], line["incomplete"]) == (200 - head, True)


def test_the_client_of_a_proxy_stands_in_the_line() -> None:
    observed = Observed()
    session = observed.session(PROXY, window=300)
    session.arrive(get("/file", "X-Forwarded-For: 192.0.2.77"))
    session.drive()
    session.reset()
    ask(observed.session(PROXY, window=UNLIMITED), get("/hello/a", "X-Forwarded-For: 192.0.2.78"))
    ask(observed.session(PEER), get("/hello/a", "X-Forwarded-For: 192.0.2.79"))
    assert [line["peer"] for line in observed.lines()] == ["192.0.2.77", "192.0.2.78", PEER[0]]


def test_ids_alone_change_no_line() -> None:
    observed = Observed("common", details=())
    session = observed.session(uses_fast_path=True)
    assert MADE.fullmatch(id_in(ask(session, get("/constant") * 3)))
    for line in observed.text().splitlines():
        assert line.endswith('"GET /constant HTTP/1.1" 200 32')


# The configuration.


def test_nothing_is_observed_unless_asked_for() -> None:
    assert observation_maker(Config()) is None
    assert observation_maker(Config(access_log="common")) is None
    # There is no log to say it in.
    assert observation_maker(Config(access_log_fields="route")) is None
    assert observation_maker(Config(request_id_header="X-Request-Id")) is not None
    make = observation_maker(Config(access_log="common", access_log_fields="route"))
    assert make is not None
    assert make().choose_id(a_head(), is_trusted=True) == ""


def test_what_observes_is_loaded_only_then() -> None:
    program = "import sys, mreactor.cli; print([name for name in sys.modules if 'observ' in name])"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown == "['mreactor.http1.observing']\n"
