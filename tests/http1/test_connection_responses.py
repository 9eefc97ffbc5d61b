"""Answers of every kind on their way out: streams, files, jobs in other threads, failures, and the reply cache."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mreactor.app.application import App
from mreactor.concurrency.job import Job
from mreactor.config import Limits
from mreactor.http.request import Request
from mreactor.http.response import Response
from mreactor.http.status import HTTPError
from mreactor.http1 import response_cache as cache
from mreactor.http1.connection import Connection
from mreactor.http1.context import ReactorContext
from mreactor.http1.states import CLOSED, IDLE, LINGERING, READY, SENDING, WAITING
from mreactor.logs.access import AccessLog
from mreactor.protocol import FileBody
from tests.support.responses import ReceivedResponse, read_response, read_responses, without_dates
from tests.support.vectors import (
    FILE,
    GOOD,
    LIMITS,
    Calls,
    Talk,
    Vector,
    get,
    make_app,
    make_context,
    post,
    take,
)

PEER = ("192.0.2.1", 1)


def connect(calls: Calls | None = None) -> Connection:
    return Connection(make_context(calls=calls), PEER)


def serve(handler: Callable[..., Any], *, blocking: bool = False, constant: bool = False) -> ReactorContext:
    """A context whose one route, `/`, is answered by `handler`."""
    app = App()
    app.get("/", blocking=blocking, constant=constant)(handler)
    context = ReactorContext(LIMITS, app.routes)
    context.begin_round(1000.0)
    return context


def start_job(connection: Connection, target: str = "/slow") -> Job:
    assert connection.receive_data(get(target)) is None
    assert connection.state == WAITING
    job = connection.next_job()
    assert job is not None
    return job


def clear_up(connection: Connection) -> None:
    """Closing what nobody waits for may take time as well, so it is a job."""
    if (job := connection.next_job()) is not None:
        job.run()


def take_all(connection: Connection, count: int = 1 << 30) -> bytes:
    """Take what is pending, `count` bytes at a time."""
    taken = b""
    while output := connection.data_to_send():
        taken += take(connection, output, count)
    return taken


# Short writes.


def test_an_answer_cut_at_every_offset() -> None:
    context = make_context()
    for at in range(len(Talk(context, [get("/hello/a")]).output)):
        connection = Connection(context, PEER)
        answer = connection.receive_data(get("/hello/a"))
        assert answer is not None
        connection.queue_remainder(answer, at)
        assert connection.state == SENDING
        assert bytes(connection.data_to_send()) == answer[at:]
        for position in range(at, len(answer)):
            assert bytes(connection.data_to_send()) == answer[position:]
            connection.data_sent(1)
        assert connection.state == IDLE
        assert not connection.data_to_send()


@pytest.mark.parametrize("count", [1, 2, 100, 1 << 30])
def test_a_file_is_taken_in_pieces(count: int) -> None:
    connection = connect()
    connection.receive_data(get("/file"))
    (answer,) = read_responses(take_all(connection, count))
    assert answer.body == Path(FILE).read_bytes()
    assert connection.state == IDLE


def test_nothing_taken_changes_nothing() -> None:
    connection = connect()
    connection.receive_data(get("/file"))
    connection.data_sent(0)
    head = bytes(connection.data_to_send())
    connection.data_sent(len(head))
    connection.data_sent(0)
    body = connection.data_to_send()
    assert isinstance(body, FileBody)
    assert len(body) == os.path.getsize(FILE)
    assert connection.state == SENDING


# Streams.


def test_each_part_is_a_chunk_and_an_empty_one_is_none() -> None:
    talk = Talk(make_context(), [get("/stream/3")])
    (answer,) = talk.answers()
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.chunks == (b"part 0;", b"part 2;")


def test_a_part_is_fetched_when_the_one_before_is_gone() -> None:
    fetched: list[int] = []

    def stream(request: Request) -> Iterator[bytes]:
        for number in range(3):
            fetched.append(number)
            yield bytes([48 + number])

    connection = Connection(serve(stream), PEER)
    connection.receive_data(get("/"))
    assert fetched == []
    for count in (1, 2, 3):
        output = connection.data_to_send()
        assert not isinstance(output, FileBody)
        connection.data_sent(len(output) - 1)
        assert len(fetched) == count - 1
        connection.data_sent(1)
        assert len(fetched) == count


@pytest.mark.parametrize("how", ["iterator", "list iterator", "tuple", "bytearrays", "memoryviews"])
def test_what_can_be_streamed(how: str) -> None:
    content = {
        "iterator": lambda: map(str, range(3)),
        "list iterator": lambda: iter(["0", b"1", "2"]),
        "tuple": lambda: ("0", "1", "2"),
        "bytearrays": lambda: iter([bytearray(b"0"), bytearray(b"12")]),
        "memoryviews": lambda: iter([memoryview(b"01"), memoryview(b"2")]),
    }[how]
    (answer,) = Talk(serve(lambda request: content()), [get("/")]).answers()
    assert answer.body == b"012"


@pytest.mark.parametrize(
    "target", ["/stream/fails", "/slow/stream/fails"], ids=["at once", "in another thread"]
)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_stream_that_fails_is_cut_off(target: str, version: str, caplog: pytest.LogCaptureFixture) -> None:
    calls = Calls()
    talk = Talk(make_context(calls=calls), [get(target, version=version) + get("/hello/b")])
    head, _, body = talk.output.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == (b"6\r\nfirst;\r\n7\r\nsecond;\r\n" if version == "1.1" else b"first;second;")
    assert talk.connection.state == LINGERING, (
        "the peer sees that something is missing, and loses nothing before it"
    )
    assert calls.ended == ["failing parts"]
    assert calls.paths == []
    assert "ZeroDivisionError: in the middle of a stream" in caplog.text


def test_a_part_of_a_type_that_cannot_be_sent_is_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    talk = Talk(make_context(), [get("/stream/odd")])
    assert talk.output.endswith(b"\r\n\r\n6\r\nbefore\r\n")
    assert talk.connection.state == LINGERING
    assert "TypeError" in caplog.text


@pytest.mark.parametrize("target", ["/stream/3", "/slow/stream/3"])
def test_a_stream_that_nobody_reads_on_is_closed(target: str) -> None:
    calls = Calls()
    talk = Talk(make_context(calls=calls), write_max=1)
    connection = talk.connection
    connection.receive_data(get(target))
    while not calls.ended and b"part 0;" not in talk.output:
        if (job := connection.next_job()) is not None:
            job.run()
            connection.job_done(job)
        output = connection.data_to_send()
        if output:
            talk.output += take(connection, output, 1)
    assert calls.ended == []
    connection.abort()
    clear_up(connection)
    assert calls.ended == ["parts"]


def test_a_stream_that_fails_as_it_is_closed_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def stream(request: Request) -> Iterator[str]:
        try:
            yield "x"
        finally:
            raise ZeroDivisionError("at the end")

    connection = Connection(serve(stream), PEER)
    connection.receive_data(get("/"))
    take(connection, connection.data_to_send(), 1 << 30)
    connection.abort()
    assert connection.state == CLOSED
    assert "ZeroDivisionError: at the end" in caplog.text


def test_a_stream_is_closed_unread_where_only_its_head_is_wanted() -> None:
    begun: list[bool] = []

    class Parts:
        is_closed = False

        def __iter__(self) -> Iterator[bytes]:
            return self

        def __next__(self) -> bytes:
            begun.append(True)
            return b"x"

        def close(self) -> None:
            self.is_closed = True

    content = Parts()
    (answer,) = Talk(serve(lambda request: content), [get("/", method="HEAD")]).answers("HEAD")
    assert answer.status == 200
    assert not begun
    assert content.is_closed


# Files.


def open_descriptor() -> tuple[int, FileBody]:
    fd = os.open(FILE, os.O_RDONLY | os.O_CLOEXEC)
    return fd, FileBody(fd, 10, 50)


@pytest.mark.parametrize(("method", "is_file"), [("GET", True), ("HEAD", True), ("GET", False)])
def test_it_is_known_that_a_file_follows_its_head(method: str, is_file: bool) -> None:
    """The kernel waits with a head for its file; with anything else it must not, since nothing would come."""
    _, file = open_descriptor()
    connection = Connection(serve(lambda request: file if is_file else "text"), PEER)
    answer = connection.receive_data(get("/", method=method))
    follows = is_file and method == "GET"
    assert connection.more_follows == follows
    assert (answer is None) == follows
    if follows:
        connection.data_sent(len(connection.data_to_send()))
        connection.data_sent(50)
        assert not connection.more_follows
    file.close()


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("blocking", [False, True])
def test_a_part_of_a_file(blocking: bool) -> None:
    fd, file = open_descriptor()
    talk = Talk(serve(lambda request: file, blocking=blocking), [get("/")], write_max=7)
    (answer,) = talk.answers()
    assert answer.body == Path(FILE).read_bytes()[10:60]
    assert talk.connection.state == IDLE
    assert not is_open(fd), "the connection closes it when it is sent"


@pytest.mark.parametrize("taken", [0, 1, 10_000])
def test_a_file_is_closed_with_its_connection(taken: int) -> None:
    fd, file = open_descriptor()
    connection = Connection(serve(lambda request: file), PEER)
    connection.receive_data(get("/"))
    if taken:
        take(connection, connection.data_to_send(), taken)
    connection.abort()
    assert not is_open(fd)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_a_file_that_is_not_wanted_is_closed(method: str, status: int) -> None:
    fd, file = open_descriptor()
    talk = Talk(serve(lambda request: Response(file, status)), [get("/", method=method)])
    assert talk.answers(method)[0].status == status
    assert not is_open(fd)


def test_an_empty_file() -> None:
    fd, file = open_descriptor()
    file.remaining = 0
    talk = Talk(serve(lambda request: file), [get("/")])
    assert talk.answers()[0].headers["content-length"] == "0"
    assert talk.connection.state == IDLE
    assert not is_open(fd)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (get("/", "Content-Length: 5000", method="HEAD"), 413),
        (get("/none", "Content-Length: 5", "Expect: 100-continue", method="HEAD"), 404),
        (get("/", "Transfer-Encoding: chunked", method="HEAD") + b"x", 400),
        (get("/", "Content-Length: 5", "Connection: keep-alive", method="HEAD", version="1.0"), 400),
    ],
)
def test_a_refusal_of_head_has_no_content(data: bytes, status: int) -> None:
    """RFC 9110 section 9.3.2: the Content-Length is that of the page, which is left out."""
    talk = Talk(make_context(), [data])
    talk.end()
    (answer,) = talk.answers("HEAD")
    assert (answer.status, answer.headers["connection"]) == (status, "close")
    assert talk.output.endswith(b"\r\n\r\n")


# ThreadPool.


def test_a_job_is_run_and_handed_back() -> None:
    connection = connect()
    job = start_job(connection)
    assert not connection.wants_read
    assert not connection.data_to_send()
    job.run()
    assert not connection.data_to_send(), "it is not handed back yet"
    connection.job_done(job)
    assert read_responses(take_all(connection))[0].text == "slow"
    assert connection.state == IDLE


@pytest.mark.parametrize("target", ["/slow", "/slow/stream/3", "/slow/file"])
def test_a_job_that_nobody_waits_for_any_more_is_ignored(target: str) -> None:
    connection = connect()
    job = start_job(connection, target)
    connection.abort()
    job.run()
    connection.job_done(job)
    clear_up(connection)
    assert connection.state == CLOSED
    assert not connection.data_to_send()
    if isinstance(job.result, FileBody):
        assert not is_open(job.result.fd), "nobody else will close it"


def test_a_job_of_another_connection_is_ignored() -> None:
    connection, other = connect(), connect()
    job, others_job = start_job(connection), start_job(other)
    others_job.run()
    connection.job_done(others_job)
    assert connection.state == WAITING
    job.run()
    connection.job_done(job)
    assert connection.state == SENDING


def test_a_job_handed_back_twice_is_answered_once() -> None:
    connection = connect()
    job = start_job(connection)
    job.run()
    connection.job_done(job)
    connection.job_done(job)
    assert len(read_responses(take_all(connection))) == 1


def test_a_job_that_was_refused_is_answered_with_the_refusal() -> None:
    connection = connect()
    job = start_job(connection)
    job.error = HTTPError(503, "Too many requests are waiting.")
    connection.job_done(job)
    (answer,) = read_responses(take_all(connection))
    assert answer.status == 503
    assert connection.state == IDLE


def test_requests_behind_a_blocking_one_wait_their_turn() -> None:
    calls = Calls()
    connection = connect(calls)
    assert connection.receive_data(get("/slow") + get("/hello/b") + get("/slow")) is None
    job = connection.next_job()
    assert job is not None
    assert calls.paths == []
    job.run()
    connection.job_done(job)
    assert len(read_responses(take_all(connection))) == 1
    assert connection.state == READY
    connection.resume()
    assert read_responses(take_all(connection))[0].text == "Hello, b!"
    connection.resume()
    assert connection.state == WAITING


def test_a_blocking_stream_fetches_each_part_in_a_job_of_its_own() -> None:
    connection = connect()
    job: Job | None = start_job(connection, "/slow/stream/3")
    fetched = []
    while job is not None:
        job.run()
        connection.job_done(job)
        fetched.append(take_all(connection))
        if connection.state == WAITING:
            job = connection.next_job()
            assert job is not None
        else:
            job = None
    assert b"".join(fetched[1:]) == b"7\r\npart 0;\r\n7\r\npart 2;\r\n0\r\n\r\n"
    assert connection.state == IDLE


def test_a_stream_that_has_begun_persists_while_the_server_drains() -> None:
    """Its head has said so. The next answer is the one that says `close`."""
    context = make_context()
    connection = Connection(context, PEER)
    first = start_job(connection, "/slow/stream/3")
    first.run()
    connection.job_done(first)
    take_all(connection)
    context.drain()
    while (job := connection.next_job()) is not None:
        job.run()
        connection.job_done(job)
        take_all(connection)
    assert connection.state == IDLE
    last = connection.receive_data(get("/hello/a"))
    if last is None:
        last = take_all(connection)
    assert read_responses(last)[0].headers["connection"] == "close"


def test_what_was_answered_before_a_stream_fails_arrives() -> None:
    """A connection that is closed over unread bytes is reset, and takes along what the client has not read yet."""
    connection = connect()
    requests = get("/hello/a") + get("/stream/fails") + get("/hello/b")
    assert connection.receive_data(requests) is None
    assert connection.state == SENDING
    said = take_all(connection, 10)
    assert b"Hello, a!" in said
    assert said.endswith(b"second;\r\n")
    assert connection.state == LINGERING


def test_the_client_leaves_while_a_part_is_being_computed(caplog: pytest.LogCaptureFixture) -> None:
    """A generator that another thread runs cannot be closed; it is, as soon as the thread is done."""
    entered, released = threading.Event(), threading.Event()
    ended: list[bool] = []

    def stream(request: Request) -> Iterator[str]:
        try:
            entered.set()
            released.wait(10)
            yield "x"
        finally:
            ended.append(True)

    connection = Connection(serve(stream, blocking=True), PEER)
    job = start_job(connection, "/")
    job.run()
    connection.job_done(job)
    take_all(connection)
    part = connection.next_job()
    assert part is not None
    thread = threading.Thread(target=part.run)
    thread.start()
    assert entered.wait(10)
    connection.abort()
    assert connection.state == CLOSED
    assert ended == []
    released.set()
    thread.join(10)
    connection.job_done(part)
    clear_up(connection)
    assert ended == [True]
    assert caplog.text == ""


# Failures.


class Unfinished(HTTPError):
    """One whose author has forgotten that its base has something to keep."""

    def __init__(self) -> None:
        pass


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ZeroDivisionError("boom"), 500),
        (SystemExit(1), 500),
        (KeyboardInterrupt(), 500),
        (RecursionError(), 500),
        (HTTPError(418, "Short and stout."), 418),
        (HTTPError(503, "Later.", (("Retry-After", "1"),)), 503),
        (HTTPError(400, "bad", (("X", "a\r\nSet-Cookie: b"),)), 500),
        (HTTPError(503, "busy", (("Retry-After", 5),)), 500),  # type: ignore[arg-type]
        (HTTPError(400, ValueError("x")), 500),  # type: ignore[arg-type]
        (Unfinished(), 500),
    ],
    ids=repr,
)
def test_a_handler_that_raises(
    error: BaseException, status: int, blocking: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(request: Request) -> str:
        raise error

    context = serve(handler, blocking=blocking)
    talk = Talk(context)
    for _ in range(3):  # on one connection, which stays usable
        talk.send(get("/"))
    assert [answer.status for answer in talk.answers()] == [status] * 3
    assert talk.connection.state == IDLE
    assert (caplog.text != "") == (status == 500)
    assert context.counters.errors.get("handler", 0) == (3 if status == 500 else 0)
    assert context.counters.counter("GET", status) == [3]


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize("result", [5, object(), 1.5, "\ud800", {"a": float("nan")}, {"a": object()}, True])
def test_a_handler_that_returns_what_cannot_be_sent(result: object, blocking: bool) -> None:
    talk = Talk(serve(lambda request: result, blocking=blocking), [get("/"), get("/")])
    assert [answer.status for answer in talk.answers()] == [500, 500]
    assert talk.connection.state == IDLE


def test_the_reason_of_an_error_is_text_and_no_html() -> None:
    def handler(request: Request) -> str:
        raise HTTPError(400, "<script>alert(1)</script>")

    (answer,) = Talk(serve(handler), [get("/")]).answers()
    assert b"<script>" not in answer.body
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_what_went_wrong_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    (answer,) = Talk(make_context(), [get("/boom?secret")]).answers()
    assert b"boom" not in answer.body
    assert "GET /boom" in caplog.text
    assert "ZeroDivisionError: boom" in caplog.text


# The reply cache, and the memory of calls.


def constant_service(made: list[str], status: int = 200) -> ReactorContext:
    """Its one route is constant, and says how often it was called."""

    def handler(request: Request) -> Response:
        made.append(request.target)
        return Response(f"call {len(made)}", status)

    return serve(handler, constant=True)


@pytest.mark.parametrize("vector", GOOD, ids=lambda vector: vector.name)
def test_every_lane_gives_the_same_bytes(vector: Vector) -> None:
    context = make_context()
    outputs = [without_dates(Talk(context, [vector.data]).output) for _ in range(4)]
    context.cache.close()  # from here on nothing comes from memory
    outputs.append(without_dates(Talk(context, [vector.data]).output))
    assert set(outputs) == {outputs[0]}


def by_name(request: Request, *, name: str) -> str:
    return f"{name!r}"


def by_position(request: Request, name: object) -> str:
    return f"{name!r}"


def two(request: Request, name: str, other: str = "none") -> str:
    return f"{name!r} {other!r}"


@pytest.mark.parametrize(
    ("pattern", "target", "handler", "text"),
    [
        ("/{name}", "/a", by_position, b"'a'"),
        ("/{name:int}", "/0", by_position, b"0"),
        ("/{name:float}", "/0", by_position, b"0.0"),
        ("/{name}", "/a", by_name, b"'a'"),
        ("/{name}", "/a", two, b"'a' 'none'"),
        ("/{name}/{other}", "/a/b", two, b"'a' 'b'"),
        ("/{other}/{name}", "/a/b", two, b"'b' 'a'"),
    ],
)
def test_every_lane_calls_a_handler_with_its_parameters(
    pattern: str, target: str, handler: Callable[..., str], text: bytes
) -> None:
    app = App()
    app.get(pattern)(handler)
    app.post(pattern)(handler)
    context = ReactorContext(LIMITS, app.routes)
    context.begin_round(1000.0)
    talk = Talk(context)
    for _ in range(3):
        talk.send(get(target))
        talk.send(post(target, b"body"))
    assert [answer.body for answer in talk.answers()] == [text] * 6
    assert context.cache.routes
    assert context.cache.body_routes


@pytest.mark.parametrize("count", [1, 2, 4])
def test_an_answer_is_kept_for_a_second(count: int) -> None:
    made: list[str] = []
    context = constant_service(made)
    request = get("/") * count
    first = [Talk(context, [request]).output for _ in range(3)]
    assert len(made) == count
    assert len(set(first)) == 1
    assert len(read_responses(first[0])) == count
    context.begin_second(context.now)
    Talk(context, [request])
    assert len(made) == 2 * count


def test_other_bytes_are_another_request() -> None:
    made: list[str] = []
    context = constant_service(made)
    requests = [
        get("/"),
        get("/", "X: 1"),
        get("/?"),
        get("/", "x: 1"),
        b"\r\n" + get("/"),
        get("/", method="HEAD"),
    ]
    for request in requests:
        Talk(context, [request])
    assert len(made) == len(requests)


def test_a_handler_that_computes_is_called_each_time() -> None:
    calls = Calls()
    talk = Talk(make_context(calls=calls))
    for _ in range(3):
        talk.send(get("/hello/a"))
        talk.send(post("/echo", b"x"))
    assert calls.paths == ["/hello/a", "/echo"] * 3


@pytest.mark.parametrize(
    "before",
    [
        [get("/") + get("/hello/a")[:9]],
        [get("/") + get("/slow")],
        [post("/", b"body", method="GET")[:-2], b"dy"],
        [get("/") + get("/nothing")],
        [get("/") + get("/boom")],
    ],
)
def test_a_constant_answer_leaves_nothing_to_a_computed_one_behind_it(before: list[bytes]) -> None:
    calls = Calls()
    context = make_context(calls=calls)
    rest = get("/hello/a")[9:] if before[0].endswith(get("/hello/a")[:9]) else get("/hello/a")
    for _ in range(2):
        Talk(context, [*before, rest, get("/hello/a"), get("/hello/a")])
    assert calls.paths.count("/hello/a") == 6
    assert get("/hello/a") not in context.cache.responses


@pytest.mark.parametrize("status", [404, 500, 503])
def test_only_good_answers_are_kept(status: int) -> None:
    made: list[str] = []
    context = constant_service(made, status)
    for _ in range(3):
        Talk(context, [get("/")])
    assert len(made) == 3
    assert not context.cache.responses


@pytest.mark.parametrize("data", [get("/", "Connection: close"), get("/", version="1.0")])
def test_the_last_answer_of_a_connection_is_kept_apart(data: bytes) -> None:
    """It is given by the way that ends the connection, and never by the one that leaves it open."""
    made: list[str] = []
    context = constant_service(made)
    talks = [Talk(context, [data]) for _ in range(3)]
    assert all(talk.has_ended for talk in talks)
    assert len({talk.output for talk in talks}) == len(made) == 1
    assert not context.cache.responses
    context.begin_second(context.now)
    assert sum(counter[0] for counter in context.counters.requests.values()) == len(talks)


def test_a_remembered_farewell_ends_the_connection_as_the_first_one_did() -> None:
    """At once: it has no body of which more could come, whatever the request before it had."""
    context = make_context()
    for body in (b"a", b"of another length"):
        talk = Talk(context, [post("/echo", body), get("/", "Connection: close")])
        assert len(talk.answers()) == 2
        assert talk.connection.state == CLOSED
    assert context.cache.closing_responses


def test_what_is_refused_behind_a_kept_answer_is_not_kept_with_it() -> None:
    context = constant_service([])
    data = get("/") + b"bad\r\n\r\n"
    for _ in range(2):
        assert [answer.status for answer in Talk(context, [data]).answers()] == [200, 400]
    assert not context.cache.responses
    assert not context.cache.closing_responses


def test_a_body_may_come_later_than_a_head_that_is_known() -> None:
    context = make_context()
    whole = post("/echo", b"first")
    head = whole[: -len(b"first")]
    assert [answer.body for answer in Talk(context, [whole, whole]).answers()] == [b"first"] * 2
    assert head in context.cache.body_routes
    for pieces in (
        [head, b"later"],
        [head + b"l", b"ater"],
        [head + b"later" + get("/hello/a")],
        [head[:9], head[9:], b"later"],
    ):
        assert Talk(context, pieces).answers()[0].body == b"later"
    assert not Talk(context, [head]).output


def test_a_known_head_is_told_from_one_that_is_longer() -> None:
    """What is compared is all up to the empty line, not what the head happens to begin with."""
    context = make_context()
    Talk(context, [post("/echo", b"12345")])
    known = next(iter(context.cache.body_routes))
    assert [answer.status for answer in Talk(context, [known[:-2] + b"Host: b\r\n\r\n12345"]).answers()] == [
        400
    ]


def test_bytes_that_were_asked_before_may_be_a_body() -> None:
    context = make_context()
    Talk(context, [get("/"), get("/hello/a")])
    for known in (get("/"), get("/hello/a")):
        whole = post("/echo", known)
        talk = Talk(context, [whole[: -len(known)], known])
        assert [answer.body for answer in talk.answers()] == [known]


def test_bytes_that_were_asked_before_may_be_the_rest_of_a_head() -> None:
    context = make_context()
    Talk(context, [get("/"), get("/hello/a")])
    for known in (get("/"), get("/hello/a")):
        talk = Talk(context, [b"GET /nothing HTTP/1.1\r\nHost: b\r\nX: ", known])
        assert [answer.status for answer in talk.answers()] == [400]  # "Host: a" is its second Host


def test_the_memory_has_bounds_in_entries() -> None:
    context = make_context()
    talk = Talk(context)
    for number in range(cache.ENTRIES_MAX + 10):
        talk.send(get("/", f"X: {number}"))
        talk.send(get(f"/hello/{number}"))
    assert len(context.cache.responses) == len(context.cache.routes) == cache.ENTRIES_MAX
    assert talk.send(get("/", "X: new")).endswith(b"root")
    assert talk.send(get("/hello/new")).endswith(b"new!")


def test_the_memory_has_bounds_in_bytes() -> None:
    context = serve(lambda request: "x" * 60_000, constant=True)
    talk = Talk(context)
    for number in range(200):
        talk.send(get("/", f"X: {number}"))
    kept = sum(len(key) + len(reply[0]) for key, reply in context.cache.responses.items())
    assert cache.BYTES_MAX - 100_000 < kept <= cache.BYTES_MAX


@pytest.mark.parametrize(
    ("size", "padding", "is_kept"),
    [
        (10, 10, True),
        (10, cache.KEY_BYTES_MAX, False),
        (cache.RESPONSE_BYTES_MAX, 10, False),
    ],
)
def test_large_ones_are_not_kept(size: int, padding: int, is_kept: bool) -> None:
    app = App()
    app.get("/", constant=True)(lambda request: "x" * size)
    context = ReactorContext(Limits(), app.routes)
    Talk(context, [get("/", f"X: {'x' * padding}")])
    assert bool(context.cache.responses) == is_kept


def test_a_draining_server_remembers_nothing() -> None:
    calls = Calls()
    context = make_context(calls=calls)
    talk = Talk(context, [get("/"), get("/hello/a")])
    context.drain()
    talk.connection.drain()
    assert not context.cache.responses
    assert not context.cache.routes
    assert read_responses(talk.send(get("/")))[0].says_close
    for _ in range(2):
        assert read_responses(Talk(context, [get("/")]).output)[0].says_close
        assert read_responses(Talk(context, [get("/hello/a")]).output)[0].says_close
    assert calls.paths.count("/") == 4
    assert not context.cache.responses


def test_a_remembered_call_may_come_to_another_result(caplog: pytest.LogCaptureFixture) -> None:
    fd, file = open_descriptor()
    results: list[Any] = [
        "first", "second", {"a": 1}, Response("no", 403), None, iter(["a", "b"]), file, ZeroDivisionError(), "last",
    ]  # fmt: skip

    def handler(request: Request) -> Any:
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    context = serve(handler)
    talk = Talk(context)
    answers: list[ReceivedResponse] = []
    for _ in range(9):
        read = read_response(talk.send(get("/")))
        assert read is not None
        answers.append(read[0])
    assert [a.status for a in answers] == [200, 200, 200, 403, 200, 200, 200, 500, 200]
    assert [a.text for a in answers[:6]] == ["first", "second", '{"a":1}', "no", "", "ab"]
    assert answers[-1].text == "last"
    assert not is_open(fd)
    assert context.cache.routes
    assert talk.connection.state == IDLE


def test_a_remembered_call_gets_a_request_of_its_own() -> None:
    seen: list[Request] = []

    def handler(request: Request) -> str:
        seen.append(request)
        return str(request.peer)

    context = serve(handler)
    for _ in range(3):
        Talk(context, [get("/?a=1")])
    assert len({id(request) for request in seen}) == 3
    assert [dict(request.query) for request in seen] == [{"a": "1"}] * 3


@pytest.mark.parametrize("count", [1, 3])
def test_requests_from_memory_are_counted(count: int) -> None:
    context = make_context()
    talk = Talk(context)
    for _ in range(5):
        talk.send(get("/") * count)
        talk.send(get("/hello/a"))
    context.begin_second(context.now)
    assert context.counters.counter("GET", 200) == [5 * count + 5]
    assert context.counters.cache_hits == [4 * count]


def test_requests_from_memory_are_in_the_access_log(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(f"common:{path}")
    log.open()
    log.start()
    buffer = log.buffer()
    context = ReactorContext(LIMITS, make_app().routes, buffer)
    for _ in range(3):
        Talk(context, [get("/") * 2, get("/hello/a"), get("/nothing"), get("/slow")])
    buffer.flush()
    log.close()
    lines = path.read_text().splitlines()
    assert len(lines) == 15
    assert sum('"GET / HTTP/1.1" 200 4' in line for line in lines) == 6
    assert sum('"GET /hello/a HTTP/1.1" 200 9' in line for line in lines) == 3


class Restless(Response):
    """A response that somebody is changing all the time: each look finds another body."""

    looks = 0

    @property
    def body(self) -> bytes:  # type: ignore[override]
        self.looks += 1
        return b"x" * self.looks


@pytest.mark.parametrize("blocking", [False, True])
def test_length_and_content_agree_whatever_becomes_of_a_response(blocking: bool) -> None:
    """What would be left of a longer body would be taken for the beginning of the next answer."""
    talk = Talk(serve(lambda request: Restless(b"", 201), blocking=blocking), [get("/"), get("/")])
    assert [answer.body for answer in talk.answers()] == [b"x", b"x"]


@pytest.mark.parametrize("blocking", [False, True])
def test_an_answer_may_be_changed_after_it_was_made(blocking: bool) -> None:
    def handler(request: Request) -> Response:
        response = Response("gone")
        response.status = 410
        response.headers = (("X-Why", "sold"),)
        return response

    context = serve(handler, blocking=blocking)
    for _ in range(2):  # the long way, and a known call
        (answer,) = Talk(context, [get("/")]).answers()
        assert (answer.status, answer.headers["x-why"]) == (410, "sold")
