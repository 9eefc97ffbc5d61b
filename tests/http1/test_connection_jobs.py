"""Blocking handlers and streams: jobs that other threads run."""

import threading
from collections.abc import Iterator

import pytest

from mreactor import App, Pause
from mreactor.concurrency.job import Job
from mreactor.http.handler import MustWait
from mreactor.http.request import Request
from mreactor.http.status import HTTPError
from mreactor.http1.connection import Connection
from mreactor.http1.context import ReactorContext
from mreactor.http1.encoded_response import LOGGED_AT_ONCE_MAX
from mreactor.http1.states import CLOSED, IDLE, LINGERING, READY, SENDING, WAITING
from mreactor.protocol import FileBody
from tests.http1.steps import PEER, clear_up, connect, is_open, serve, start_job, take_all
from tests.logs.access_lines import MemoryWriter, a_buffer
from tests.support.memory import MemoryReactor, return_job
from tests.support.responses import read_responses
from tests.support.vectors import LIMITS, Calls, Talk, get, make_context

# ThreadPool.


def test_a_job_is_run_and_handed_back() -> None:
    connection = connect()
    job = start_job(connection)
    assert not connection.wants_read
    assert not connection.data_to_send()
    job.run()
    assert not connection.data_to_send(), "it is not handed back yet"
    return_job(connection, job)
    assert read_responses(take_all(connection))[0].text == "slow"
    assert connection.state == IDLE


@pytest.mark.parametrize("target", ["/slow", "/slow/stream/3", "/slow/file"])
def test_a_job_that_nobody_waits_for_any_more_is_ignored(target: str) -> None:
    connection = connect()
    job = start_job(connection, target)
    connection.abort()
    job.run()
    return_job(connection, job)
    clear_up(connection)
    assert connection.state == CLOSED
    assert not connection.data_to_send()
    if isinstance(job.result, FileBody):
        assert not is_open(job.result.fd), "nobody else will close it"


@pytest.mark.parametrize("behind", [b"", get("/hello/b"), get("/hello/b")[:9], b"eof"])
@pytest.mark.parametrize("fields", [(), ("Connection: close",)], ids=["persistent", "last"])
def test_a_whole_response_comes_back_with_the_job(behind: bytes, fields: tuple[str, ...]) -> None:
    """Unless there is something else to do behind it."""
    connection = connect()
    assert connection.receive_data(get("/slow", *fields)) is None
    if behind:
        connection.receive_data(b"" if behind == b"eof" else behind)
    job = connection.next_job()
    assert job is not None
    job.run()
    response = connection.job_done(job)
    if behind or fields:
        assert (response, connection.state) == (None, SENDING)
    else:
        assert connection.state == IDLE
        assert not connection.data_to_send()
        assert response is not None
        assert read_responses(response)[0].text == "slow"


def test_a_response_that_comes_back_may_be_sent_in_pieces() -> None:
    connection = connect()
    for _ in range(2):
        job = start_job(connection)
        job.run()
        response = connection.job_done(job)
        assert response is not None
        connection.queue_remainder(response, 10)
        assert connection.state == SENDING
        assert read_responses(response[:10] + take_all(connection, 3))[0].text == "slow"
        assert connection.state == IDLE


def test_a_job_of_another_connection_is_ignored() -> None:
    connection, other = connect(), connect()
    job, others_job = start_job(connection), start_job(other)
    others_job.run()
    return_job(connection, others_job)
    assert connection.state == WAITING
    job.run()
    return_job(connection, job)
    assert connection.state == SENDING


def test_a_job_handed_back_twice_is_answered_once() -> None:
    connection = connect()
    job = start_job(connection)
    job.run()
    return_job(connection, job)
    return_job(connection, job)
    assert len(read_responses(take_all(connection))) == 1


def test_a_job_that_was_refused_is_answered_with_the_refusal() -> None:
    connection = connect()
    job = start_job(connection)
    job.error = HTTPError(503, "Too many requests are waiting.")
    return_job(connection, job)
    (response,) = read_responses(take_all(connection))
    assert response.status == 503
    assert connection.state == IDLE


def test_requests_behind_a_blocking_one_wait_their_turn() -> None:
    calls = Calls()
    connection = connect(calls)
    assert connection.receive_data(get("/slow") + get("/hello/b") + get("/slow")) is None
    job = connection.next_job()
    assert job is not None
    assert calls.paths == []
    job.run()
    return_job(connection, job)
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
        return_job(connection, job)
        fetched.append(take_all(connection))
        if connection.state == WAITING:
            job = connection.next_job()
            assert job is not None
        else:
            job = None
    assert b"".join(fetched[1:]) == b"7\r\npart 0;\r\n7\r\npart 2;\r\n0\r\n\r\n"
    assert connection.state == IDLE


def test_a_stream_that_has_begun_persists_while_the_server_drains() -> None:
    """Its head has said so. The next response is the one that says `close`."""
    context = make_context()
    connection = Connection(context, PEER)
    first = start_job(connection, "/slow/stream/3")
    first.run()
    return_job(connection, first)
    take_all(connection)
    context.drain()
    while (job := connection.next_job()) is not None:
        job.run()
        return_job(connection, job)
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
    return_job(connection, job)
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
    return_job(connection, part)
    clear_up(connection)
    assert ended == [True]
    assert caplog.text == ""


@pytest.mark.parametrize("blocking", [False, True])
def test_a_stream_that_pauses_waits_until_its_deadline(blocking: bool) -> None:
    app = App()
    closed: list[bool] = []

    @app.get("/", blocking=blocking)
    def parts(request: Request) -> Iterator[str | Pause]:
        try:
            yield "one"
            yield Pause(10.0)
            yield Pause(5.0)
            yield "two"
            yield Pause(1000.0)
        finally:
            closed.append(True)

    reactor = MemoryReactor(lambda: ReactorContext(LIMITS, app.routes))
    session = reactor.connect()
    session.arrive(get("/"))
    session.drive()
    assert session.take_sent().endswith(b"3\r\none\r\n")
    assert session.connection.state == WAITING
    reactor.pass_time(9.9)
    assert session.connection.deadline == pytest.approx(reactor.now + 0.1)
    reactor.pass_time(0.2)
    assert session.connection.deadline == pytest.approx(reactor.now + 5.0), "the second pause"
    assert not session.take_sent()
    reactor.pass_time(5.1)
    session.drive()
    assert session.take_sent() == b"3\r\ntwo\r\n"
    assert not closed
    session.reset()
    session.drive()
    assert closed == [True]
    assert reactor.context.counters.timeouts == {}
    reactor.close()


def test_a_handler_that_must_wait_is_refused_where_the_buffers_are_full() -> None:
    """A 503 as for any other job, not the end of the connection without a word."""

    def handler(request: Request) -> str:
        raise MustWait

    context = serve(handler)
    context.counters.buffered = 1 << 40
    raw = b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
    (response,) = Talk(context, [raw]).responses()
    assert (response.status, response.says_close) == (503, True)


def test_content_is_encoded_once_however_long_it_is() -> None:
    """Another thread may change the value between two encodings."""
    made: list[list[str]] = []

    class Counted(list[str]):
        def __iter__(self) -> Iterator[str]:
            made.append(self)
            return list.__iter__(self)

    app = App()
    app.get("/")(lambda request: Counted(["x" * (LOGGED_AT_ONCE_MAX + 1)]))
    buffer = a_buffer(MemoryWriter(), "common")
    Talk(ReactorContext(LIMITS, app.routes, buffer), [get("/")])
    assert len(made) == 1
