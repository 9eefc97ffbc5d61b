"""The traffic in which no two requests are alike: its kinds, the program that sends it, and the application."""

import os
import shutil
import socketserver
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from bench import cases, generator, kinds, mix, race, servers, traffic
from bench.docroot import Docroot
from bench.kinds import Kind, Traffic, in_turn, kind
from bench.load import Load, LoadError, Outcome
from bench.placement import Placement
from bench.served.traffic import wsgi

SECONDS, RUNS_MAX = 0.3, 50
WELCOME = b"HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\nWelcome to mreactor"

type Head = list[bytes]
type Respond = Callable[[Head], bytes]

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


class Recorder(socketserver.ThreadingTCPServer):
    """A server that records each request and each connection. A response without a length ends the connection."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, respond: Respond) -> None:
        super().__init__(("127.0.0.1", 0), RecordingHandler)
        self.respond = respond
        self.forget()

    def forget(self) -> None:
        self.requests: list[tuple[Head, bytes]] = []
        self.connections = 0

    @property
    def port(self) -> int:
        port: int = self.server_address[1]
        return port


class RecordingHandler(socketserver.StreamRequestHandler):
    server: Recorder

    def handle(self) -> None:
        self.server.connections += 1
        try:
            while self.answer_one():
                pass
        except OSError:
            pass

    def answer_one(self) -> bool:
        head = list(iter(lambda: self.rfile.readline().rstrip(b"\r\n"), b""))
        if not head:
            return False
        body = self.rfile.read(int(field(head, b"Content-Length") or 0))
        self.server.requests.append((head, body))
        response = self.server.respond(head)
        self.wfile.write(response)
        return b"content-length" in response and b"close" not in response and field(head, b"Connection") != b"close"


@contextmanager
def recording(respond: Respond = lambda head: WELCOME) -> Iterator[Recorder]:
    with Recorder(respond) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def field(head: Head, name: bytes) -> bytes:
    """The value of a field; empty if there is none."""
    return next((line.partition(b": ")[2] for line in head if line.startswith(name + b": ")), b"")


def send(
    monkeypatch: pytest.MonkeyPatch, asked: Traffic, server: Recorder, *, connections: int = 2, bodies: bool = True
) -> Outcome:
    """One run. On a busy machine the first ones may end before anything has come."""
    monkeypatch.setitem(traffic.TRAFFIC, "this", lambda: asked)
    load = Load("/", connections, traffic="this", checks_bodies=bodies)
    for _ in range(RUNS_MAX):
        server.forget()
        outcome = generator.run(load, server.port, SECONDS)
        if outcome.requests or outcome.errors.total:
            return outcome
    pytest.fail(f"no response in {SECONDS} s")


class TestKinds:
    @pytest.mark.parametrize("name", [case.name for case in cases.TRAFFIC_CASES])
    def test_every_request_has_a_slot_and_every_response_repeats_its_requests_slots(self, name: str) -> None:
        for one in traffic.TRAFFIC[name]().kinds:
            slots = set(kinds.SLOT.findall(one.request))
            assert slots
            assert set(kinds.SLOT.findall(one.body or b"")) <= slots

    def test_nine_fields_of_a_head_are_sent_and_two_of_them_are_new(self) -> None:
        (one,) = traffic.unique_head().kinds
        assert len(one.fields) == 9
        assert [line.partition(":")[0] for line in one.fields if kinds.SLOT.search(line.encode())] == [
            "X-Request-Id",
            "traceparent",
        ]

    def test_orders_have_about_one_kibibyte_in_and_out(self) -> None:
        asked = traffic.unique_post().kinds
        lengths = [len(kinds.filled(one.content.encode())) for one in asked]
        assert len(set(lengths)) == len(asked)
        for one, length in zip(asked, lengths, strict=True):
            assert one.body is not None
            assert 900 < length < 1150
            assert 900 < len(kinds.filled(one.body)) < 1150

    def test_the_mix_has_its_shares_of_errors_and_new_connections(self) -> None:
        mixed = mix.mixed()
        turns = [mixed.kinds[number] for number in mixed.order]
        assert (len(mixed.kinds), set(mixed.order)) == (200, set(range(200)))
        assert sum(one.status >= 400 for one in turns) == 0.05 * len(turns)
        assert sum(one.closes for one in turns) == 0.1 * len(turns)
        assert {one.status for one in turns} == {200, 204, 400, 401, 404, 405}
        assert {one.method for one in turns} == {"GET", "POST", "PUT", "DELETE"}
        assert mixed == mix.mixed()

    def test_a_length_counts_the_digits_and_not_the_slots(self) -> None:
        asked = kind("POST", "/orders", (kinds.HOST,), "order <hex5> <number1>")
        assert b"\r\nContent-Length: 33\r\n" in asked.request
        assert asked.status == 400
        assert asked.body is None


class TestEncoding:
    def test_slots_lie_where_the_digits_go(self) -> None:
        number = generator.encode_numbers
        encoded = generator.encode_template(b"a<hex3>b<number0><session9>")
        slots = number(1, 0, 3, 0) + number(18, 1, 0, 0) + number(28, 0, 9, 10_000)
        assert encoded == number(44, 3) + slots + b"a" + b"0" * 16 + b"b" + b"0" * 26

    def test_bodies_may_be_left_out(self) -> None:
        asked = in_turn(Kind("GET", "/", (), body=b"secret", closes=True))
        assert b"secret" in generator.encode(asked)
        assert b"secret" not in generator.encode(asked, bodies=False)


@needs_compiler
class TestGenerator:
    def test_no_digits_come_again_within_a_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with recording() as server:
            outcome = send(monkeypatch, traffic.unique_head(), server)
        heads = [head for head, _ in server.requests]
        assert 0 < outcome.requests <= len(heads) <= outcome.requests + 2
        assert outcome.errors.total == 0
        traces = [field(head, b"traceparent").split(b"-") for head in heads]
        digits = [field(head, b"X-Request-Id") for head in heads]
        for one in (digits, [trace[1] for trace in traces], [trace[2] for trace in traces]):
            assert len(set(one)) == len(heads)
            assert {len(value) for value in one} <= {16, 32}
        assert len({tuple(line for line in head if b"race" not in line and b"Id" not in line) for head in heads}) == 1

    def test_no_two_runs_send_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with recording() as first:
            send(monkeypatch, traffic.unique_head(), first)
        with recording() as second:
            send(monkeypatch, traffic.unique_head(), second)
        ids = [{field(head, b"X-Request-Id") for head, _ in server.requests} for server in (first, second)]
        assert not ids[0] & ids[1]

    def test_numbers_and_contents_are_new_as_well(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = in_turn(*traffic.unique_path().kinds, *traffic.unique_query().kinds, *traffic.unique_post().kinds)
        with recording() as server:
            send(monkeypatch, asked, server, bodies=False)
        targets = Counter(head[0] for head, _ in server.requests)
        assert targets.pop(b"POST /orders HTTP/1.1") > 10
        assert set(targets.values()) == {1}
        contents = [body for _, body in server.requests if body]
        assert len(set(contents)) == len(contents)

    def test_sessions_come_in_turn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(generator, "SESSIONS", 7)
        with recording() as server:
            send(monkeypatch, traffic.cookies(), server, connections=1, bodies=False)
        sessions = [field(head, b"Cookie") for head, _ in server.requests]
        assert len(set(sessions[:7])) == 7
        assert len(sessions) > 14
        assert sessions[7:] == sessions[:-7]

    def test_the_digits_of_the_request_are_expected_in_the_response(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def greet(head: Head) -> bytes:
            name = head[0].split()[1].removeprefix(b"/hello/")
            return b"HTTP/1.1 200 OK\r\ncontent-length: 18\r\n\r\nHello, %b!" % name

        with recording(greet) as server:
            assert send(monkeypatch, traffic.unique_path(), server).errors.total == 0

    @pytest.mark.parametrize(
        ("response", "words"),
        [
            (WELCOME.replace(b"Welcome", b"Farewel"), "status 200, expected 200, and 19 bytes of body: Farewel to"),
            (WELCOME.replace(b"200 OK", b"404 No"), "status 404, expected 200, and 19 bytes of body: Welcome to"),
            (WELCOME.replace(b" 19", b" 18"), "status 0, expected 200, and 18 bytes of body: Welcome to"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "status 200, expected 200, and 0 bytes of body:"),
        ],
        ids=["body", "status", "more than its length", "empty"],
    )
    def test_a_wrong_response_is_described(self, response: bytes, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
        with recording(lambda head: response) as server, pytest.raises(LoadError) as error:
            send(monkeypatch, traffic.unique_head(), server)
        assert f"wrong response to GET / HTTP/1.1: {words}" in str(error.value)

    def test_a_response_in_pieces_is_read_whole(self, monkeypatch: pytest.MonkeyPatch) -> None:
        body = b"x" * 40_000
        asked = in_turn(Kind("GET", "/<hex0>", (kinds.HOST,), body=body))
        with recording(lambda head: b"HTTP/1.1 200 OK\r\ncontent-length: 40000\r\n\r\n" + body) as server:
            outcome = send(monkeypatch, asked, server)
        assert outcome.requests > 0
        assert outcome.errors.total == 0

    @pytest.mark.parametrize("closes", ["request", "response"])
    def test_a_connection_that_closes_is_replaced(self, closes: str, monkeypatch: pytest.MonkeyPatch) -> None:
        one = Kind("GET", "/<hex0>", (kinds.HOST,))
        asked = in_turn(one, one, replace(one, closes=True)) if closes == "request" else in_turn(one)
        response = WELCOME.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") if closes == "response" else WELCOME
        with recording(lambda head: response) as server:
            outcome = send(monkeypatch, asked, server)
        assert outcome.errors.total == 0
        share = 1 / 3 if closes == "request" else 1.0
        assert server.connections == pytest.approx(outcome.requests * share, abs=4)

    def test_a_connection_that_ends_too_early_is_an_error_and_replaced(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with recording(lambda head: b"HTTP/1.1 200 OK\r\n") as server:
            outcome = send(monkeypatch, traffic.unique_head(), server)
        assert outcome.requests == 0
        assert outcome.errors.read == outcome.errors.total > 0
        assert server.connections >= outcome.errors.read

    def test_a_port_without_a_server_is_an_error_in_words(self) -> None:
        with recording() as server:
            port = server.port
        with pytest.raises(LoadError, match="unable to connect"):
            generator.run(Load("/", 1, traffic="unique-head"), port, SECONDS)

    def test_it_is_compiled_once_and_kept(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path))
        generator.program.cache_clear()
        try:
            made = Path(generator.program())
            assert made.is_relative_to(tmp_path)
            assert list(made.parent.iterdir()) == [made]
            monkeypatch.setenv("PATH", "")
            generator.program.cache_clear()
            assert generator.program() == os.fspath(made)
        finally:
            generator.program.cache_clear()

    def test_what_does_not_compile_is_told(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        source = tmp_path / "broken.c"
        source.write_text("int main(void) { return nothing; }\n")
        monkeypatch.setattr(generator, "SOURCE", source)
        with pytest.raises(LoadError, match="does not compile"):
            generator.compile_to(tmp_path / "cache" / "broken")
        assert list((tmp_path / "cache").iterdir()) == []


def test_without_a_compiler_the_cases_are_skipped_in_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LoadError, match="no C compiler"):
        generator.compile_to(tmp_path / "cache" / "traffic")


class TestApplication:
    @pytest.mark.parametrize(
        ("method", "target", "status", "body"),
        [
            ("GET", "/", "200 OK", b"Welcome to mreactor"),
            ("GET", "/hello/world", "200 OK", b"Hello, world!"),
            ("GET", "/search", "200 OK", b"Results for a b, page 7"),
            ("GET", "/session", "200 OK", b"Session 1f"),
            ("GET", "/account", "401 Unauthorized", b"Unauthorized"),
            ("GET", "/hello", "404 Not Found", b"Not Found"),
            ("DELETE", "/orders/1", "204 No Content", b""),
            ("DELETE", "/search", "405 Method Not Allowed", b"Method Not Allowed"),
            ("POST", "/orders", "400 Bad Request", b"Bad Request"),
        ],
    )
    def test_wsgi_answers(self, method: str, target: str, status: str, body: bytes) -> None:
        environ = {"REQUEST_METHOD": method, "PATH_INFO": target, "QUERY_STRING": "q=a+b&page=7"}
        answered = self.ask(environ | {"HTTP_COOKIE": "a=b; session=1f; c=d"}, b"{")
        assert (answered[0], answered[2]) == (status, body)
        assert answered[1].get("Content-Length") == (None if status.startswith("204") else str(len(body)))

    def test_an_order_is_summed_up(self) -> None:
        content = (
            b'{"id":"7","customer":{},"lines":[{"sku":"a","quantity":2,"cents":50},'
            b'{"sku":"b","quantity":1,"cents":9}],"note":"\xc3\xa4"}'
        )
        _, fields, body = self.ask({"REQUEST_METHOD": "POST", "PATH_INFO": "/orders"}, content)
        assert fields["Content-Type"] == "application/json"
        assert body == (
            b'{"order":"7","status":"accepted","customer":{},"lines":[{"sku":"a","quantity":2,"cents":100},'
            b'{"sku":"b","quantity":1,"cents":9}],"cents":109,"note":"\xc3\xa4"}'
        )

    def ask(self, environ: dict[str, Any], content: bytes) -> tuple[str, dict[str, str], bytes]:
        started: list[tuple[str, dict[str, str]]] = []
        environ = environ | {"wsgi.input": BytesIO(content), "CONTENT_LENGTH": str(len(content))}
        body = b"".join(wsgi.application(environ, lambda status, fields: started.append((status, dict(fields)))))
        ((status, fields),) = started
        return status, fields, body


@needs_compiler
class TestServers:
    @pytest.mark.parametrize("name", list(traffic.TRAFFIC))
    def test_mreactor_answers_each_kind_as_expected(
        self, name: str, docroot: Docroot, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = in_turn(*traffic.TRAFFIC[name]().kinds)
        monkeypatch.setitem(traffic.TRAFFIC, "this", lambda: asked)
        with servers.running(servers.BY_NAME[cases.EPOLL], docroot, 1, frozenset(), traffic=True) as own:
            # On a busy machine it takes several runs until one of them comes round to all kinds.
            for _ in range(RUNS_MAX):
                outcome = generator.run(Load("/", 64, traffic="this"), own.port, SECONDS)
                assert outcome.errors.total == 0
                if outcome.requests > len(asked.kinds):
                    return
        pytest.fail(f"only {outcome.requests} requests in {SECONDS} s")

    def test_a_server_that_answers_wrongly_is_no_start(self) -> None:
        unfit = replace(servers.BY_NAME["floor"], unable={})
        plan = race.Plan((cases.BY_NAME["unique-path"],), (unfit,), 1, 0.1, 0.0, ())
        (one,), _ = race.run(plan, Placement())
        assert "wrong response to GET /hello/" in one.skipped["floor"]

    def test_cases_whose_requests_differ_stand_first(self) -> None:
        names = "unique-head unique-path unique-query unique-post cookies mixed repeated-head"
        assert list(cases.BY_NAME)[:7] == [case.load.traffic for case in cases.CASES[:7]] == names.split()
