"""Responses on their way out: short writes, streams, files, failures."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mreactor.http.request import Request
from mreactor.http.response import Response
from mreactor.http.status import HTTPError
from mreactor.http1.connection import Connection
from mreactor.http1.states import CLOSED, IDLE, LINGERING, SENDING
from mreactor.protocol import FileBody
from tests.http1.steps import PEER, clear_up, connect, is_open, open_descriptor, serve, take_all
from tests.support.memory import return_job
from tests.support.responses import read_responses
from tests.support.vectors import FILE, Calls, Talk, get, make_context, take

# Short writes.


def test_a_response_cut_at_every_offset() -> None:
    context = make_context()
    for at in range(len(Talk(context, [get("/hello/a")]).output)):
        connection = Connection(context, PEER)
        response = connection.receive_data(get("/hello/a"))
        assert response is not None
        connection.queue_remainder(response, at)
        assert connection.state == SENDING
        assert bytes(connection.data_to_send()) == response[at:]
        for position in range(at, len(response)):
            assert bytes(connection.data_to_send()) == response[position:]
            connection.data_sent(1)
        assert connection.state == IDLE
        assert not connection.data_to_send()


@pytest.mark.parametrize("count", [1, 2, 100, 1 << 30])
def test_a_file_is_taken_in_pieces(count: int) -> None:
    connection = connect()
    connection.receive_data(get("/file"))
    (response,) = read_responses(take_all(connection, count))
    assert response.body == Path(FILE).read_bytes()
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
    (response,) = talk.responses()
    assert response.headers["transfer-encoding"] == "chunked"
    assert response.chunks == (b"part 0;", b"part 2;")


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


@pytest.mark.parametrize("how", ["iterator", "list iterator", "bytearrays", "memoryviews"])
def test_streams_of_each_type(how: str) -> None:
    content = {
        "iterator": lambda: map(str, range(3)),
        "list iterator": lambda: iter(["0", b"1", "2"]),
        "bytearrays": lambda: iter([bytearray(b"0"), bytearray(b"12")]),
        "memoryviews": lambda: iter([memoryview(b"01"), memoryview(b"2")]),
    }[how]
    (response,) = Talk(serve(lambda request: content()), [get("/")]).responses()
    assert response.body == b"012"


@pytest.mark.parametrize("target", ["/stream/fails", "/slow/stream/fails"], ids=["at once", "in another thread"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_stream_that_fails_is_cut_off(target: str, version: str, caplog: pytest.LogCaptureFixture) -> None:
    calls = Calls()
    talk = Talk(make_context(calls=calls), [get(target, version=version) + get("/hello/b")])
    head, _, body = talk.output.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == (b"6\r\nfirst;\r\n7\r\nsecond;\r\n" if version == "1.1" else b"first;second;")
    if version == "1.1":
        # The peer sees that the last chunk is missing, and loses nothing before it.
        assert (talk.connection.state, talk.connection.resets) == (LINGERING, False)
    else:
        # Only a reset tells the peer that something is missing.
        assert (talk.connection.state, talk.connection.resets) == (CLOSED, True)
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
            return_job(connection, job)
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
    (response,) = Talk(serve(lambda request: content), [get("/", method="HEAD")]).responses("HEAD")
    assert response.status == 200
    assert not begun
    assert content.is_closed


# Files.


@pytest.mark.parametrize(("method", "is_file"), [("GET", True), ("HEAD", True), ("GET", False)])
def test_more_follows_the_head_of_a_file(method: str, is_file: bool) -> None:
    """The kernel waits with a head for its file; with anything else it must not, since nothing would come."""
    _, file = open_descriptor()
    connection = Connection(serve(lambda request: file if is_file else "text"), PEER)
    response = connection.receive_data(get("/", method=method))
    follows = is_file and method == "GET"
    assert connection.more_follows == follows
    assert (response is None) == follows
    if follows:
        connection.data_sent(len(connection.data_to_send()))
        connection.data_sent(50)
        assert not connection.more_follows
    file.close()


@pytest.mark.parametrize("blocking", [False, True])
def test_a_part_of_a_file(blocking: bool) -> None:
    fd, file = open_descriptor()
    talk = Talk(serve(lambda request: file, blocking=blocking), [get("/")], write_max=7)
    (response,) = talk.responses()
    assert response.body == Path(FILE).read_bytes()[10:60]
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
    assert talk.responses(method)[0].status == status
    assert not is_open(fd)


def test_an_empty_file() -> None:
    fd, file = open_descriptor()
    file.remaining = 0
    talk = Talk(serve(lambda request: file), [get("/")])
    assert talk.responses()[0].headers["content-length"] == "0"
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
    (response,) = talk.responses("HEAD")
    assert (response.status, response.headers["connection"]) == (status, "close")
    assert talk.output.endswith(b"\r\n\r\n")


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
    assert [response.status for response in talk.responses()] == [status] * 3
    assert talk.connection.state == IDLE
    assert (caplog.text != "") == (status == 500)
    assert context.counters.errors.get("handler", 0) == (3 if status == 500 else 0)
    assert context.counters.counter("GET", status) == [3]


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize("result", [5, object(), 1.5, "\ud800", {"a": float("nan")}, {"a": object()}, True])
def test_a_handler_that_returns_what_cannot_be_sent(result: object, blocking: bool) -> None:
    talk = Talk(serve(lambda request: result, blocking=blocking), [get("/"), get("/")])
    assert [response.status for response in talk.responses()] == [500, 500]
    assert talk.connection.state == IDLE


def test_the_reason_of_an_error_is_text_and_no_html() -> None:
    def handler(request: Request) -> str:
        raise HTTPError(400, "<script>alert(1)</script>")

    (response,) = Talk(serve(handler), [get("/")]).responses()
    assert b"<script>" not in response.body
    assert response.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("repeated", [False, True], ids=["first", "cached route"])
@pytest.mark.parametrize("blocking", [False, True], ids=["", "blocking"])
def test_a_tuple_is_a_failure_whose_log_line_names_the_handler(
    blocking: bool, repeated: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(request: Request) -> tuple[str, int]:
        return "there is no such thing", 404

    talk = Talk(serve(missing, blocking=blocking), [get("/")] * (2 if repeated else 1))
    assert [response.status for response in talk.responses()] == [500] * (2 if repeated else 1)
    assert "write Response(content, status, headers)" in caplog.text
    name = f"{missing.__qualname__} ({__file__}, line {missing.__code__.co_firstlineno})"
    assert caplog.text.count(name) == (2 if repeated else 1)


def test_a_failure_is_logged_and_not_sent(caplog: pytest.LogCaptureFixture) -> None:
    (response,) = Talk(make_context(), [get("/boom?secret")]).responses()
    assert b"boom" not in response.body
    assert "GET /boom" in caplog.text
    assert "ZeroDivisionError: boom" in caplog.text
