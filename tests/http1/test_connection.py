"""The connection as a machine from bytes to bytes: a stream has one outcome, however it is cut into pieces."""

import random
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from mreactor.http1.connection import Connection
from mreactor.http1.context import ReactorContext
from mreactor.http1.states import BODY, CLOSED, HEAD, IDLE, LINGERING, READY, SENDING
from tests.support.responses import read_responses, without_dates
from tests.support.vectors import (
    BAD,
    CHUNKS,
    CONTINUE,
    FILE,
    GOOD,
    LAST,
    LIMITS,
    VECTORS,
    Calls,
    Talk,
    Vector,
    get,
    make_context,
    post,
    post_chunked,
)

PEER = ("192.0.2.1", 1)
MARK = get("/hello/mark")


@pytest.fixture(scope="module")
def warm() -> ReactorContext:
    """A context whose memos and caches hold all vectors already."""
    context = make_context()
    for vector in VECTORS * 2:
        Talk(context, [vector.data])
    return context


def outcome(context: ReactorContext, pieces: list[bytes], write_max: int = 1 << 30) -> tuple[bytes, bool]:
    """The responses without Date and interim responses, and whether the connection ends with them."""
    talk = Talk(context, pieces, write_max)
    return without_dates(talk.output).replace(CONTINUE, b""), talk.has_ended


def each(vectors: tuple[Vector, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", vectors, ids=lambda vector: vector.name)


def splits(data: bytes) -> Iterator[list[bytes]]:
    return ([data[:at], data[at:]] for at in range(1, len(data)))


@pytest.mark.parametrize(
    "pieces",
    [
        [get("/hello/a")],
        [get("/hello/a")[:9], get("/hello/a")[9:]],
        [post("/echo", b"12345")[:-2], b"45"],
        [get("/slow")],
        [get("/stream/3")],
        [get("/hello/a") * 3],
    ],
    ids=["whole", "head in pieces", "body in pieces", "blocking", "stream", "pipelined"],
)
def test_an_idle_connection_holds_no_more_than_it_must(pieces: list[bytes]) -> None:
    talk = Talk(make_context(), pieces)
    assert talk.connection.state == IDLE
    assert talk.connection._reader is None
    assert talk.connection._writer is None


def test_connections_that_take_turns_do_not_get_each_others_bytes() -> None:
    """They borrow the same reader."""
    context = make_context()
    whole, part, body = (Connection(context, PEER) for _ in range(3))
    request, upload = get("/hello/part"), post("/echo", b"of body")
    part.receive_data(request[:12])
    body.receive_data(upload[:-4])
    assert (whole.receive_data(get("/hello/whole")) or b"").endswith(b"Hello, whole!")
    assert (part.receive_data(request[12:]) or b"").endswith(b"Hello, part!")
    body.abort()
    assert context.counters.buffered == 0
    assert (part.receive_data(get("/hello/again")) or b"").endswith(b"Hello, again!")
    assert (whole.receive_data(upload) or b"").endswith(b"of body")


# One stream, many cuts.


@each(VECTORS)
def test_whole(vector: Vector) -> None:
    talk = Talk(make_context(), [vector.data])
    assert tuple(response.status for response in talk.responses(*vector.methods)) == vector.statuses
    assert talk.has_ended == vector.ends


@each(VECTORS)
@pytest.mark.slow
def test_at_every_split(vector: Vector, warm: ReactorContext) -> None:
    expected = outcome(make_context(), [vector.data])
    for pieces in splits(vector.data):
        assert outcome(warm, pieces) == expected, pieces


@each(VECTORS)
def test_byte_by_byte(vector: Vector, warm: ReactorContext) -> None:
    expected = outcome(make_context(), [vector.data])
    pieces = [vector.data[at : at + 1] for at in range(len(vector.data))]
    assert outcome(make_context(), pieces) == expected
    assert outcome(warm, pieces) == expected


@each(VECTORS)
def test_again_from_memory(vector: Vector, warm: ReactorContext) -> None:
    expected = outcome(make_context(), [vector.data])
    for _ in range(3):
        assert outcome(warm, [vector.data]) == expected


@each(GOOD)
def test_with_another_request_behind(vector: Vector, warm: ReactorContext) -> None:
    output, _ = outcome(make_context(), [vector.data])
    mark, _ = outcome(make_context(), [MARK])
    data = vector.data + MARK
    assert outcome(make_context(), [data]) == (output + mark, False)
    for at in (len(vector.data), len(vector.data) + 1, len(data) - 1):
        assert outcome(warm, [data[:at], data[at:]]) == (output + mark, False)


@each(LAST + BAD)
def test_nothing_after_the_end_is_answered(vector: Vector, warm: ReactorContext) -> None:
    expected = outcome(make_context(), [vector.data])
    for pieces in ([vector.data + MARK], [vector.data, MARK], [vector.data[:-1], vector.data[-1:] + MARK]):
        calls = Calls()
        assert outcome(make_context(calls=calls), pieces) == expected
        assert "/hello/mark" not in calls.paths
        assert outcome(warm, pieces) == expected


@each(VECTORS)
@pytest.mark.parametrize("write_max", [1, 7])
@pytest.mark.slow
def test_to_a_peer_that_takes_little_at_a_time(vector: Vector, write_max: int) -> None:
    assert outcome(make_context(), [vector.data], write_max) == outcome(make_context(), [vector.data])


@pytest.mark.slow
def test_random_requests_in_random_pieces(warm: ReactorContext) -> None:
    dice = random.Random(2616)
    for _ in range(200):
        vectors = [dice.choice(GOOD) for _ in range(dice.randrange(1, 7))]
        if dice.random() < 0.3:
            vectors.append(dice.choice(LAST + BAD))
        data = b"".join(vector.data for vector in vectors)
        cuts = sorted(dice.randrange(len(data)) for _ in range(dice.randrange(12)))
        pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]
        expected = b"".join(outcome(make_context(), [vector.data])[0] for vector in vectors)
        assert outcome(warm, pieces) == (expected, vectors[-1].ends), pieces


# Contents of responses.


@pytest.mark.parametrize(
    ("request_", "content_type", "body"),
    [
        (get("/"), "text/plain; charset=utf-8", b"root"),
        (get("/hello/w%C3%B6rld"), "text/plain; charset=utf-8", "Hello, wörld!".encode()),
        (get("/json?a=%2B&b"), "application/json", b'{"method":"GET","query":{"a":"+","b":""},"host":"a"}'),
        (get("http://b:81/json"), "application/json", b'{"method":"GET","query":{},"host":"b:81"}'),
        (post("/echo", b"hello", "Content-Type: a/b"), "a/b", b"hello"),
        (post_chunked("/echo", CHUNKS, "Content-Type: a/b"), "a/b", b"hello world"),
        (get("/file"), "text/x-python", Path(FILE).read_bytes()),
        (get("/stream/3"), "text/plain; charset=utf-8", b"part 0;part 2;"),
        (get("/slow/stream/3"), "text/plain; charset=utf-8", b"part 0;part 2;"),
        (post("/slow", b"hello"), "application/octet-stream", b"hello"),
    ],
)
def test_what_responses_hold(request_: bytes, content_type: str, body: bytes) -> None:
    (response,) = Talk(make_context(), [request_]).responses()
    assert (response.status, response.headers["content-type"], response.body) == (200, content_type, body)
    assert response.headers["server"] == "mreactor"


def test_a_method_that_is_not_allowed_gets_a_list_of_the_others() -> None:
    (response,) = Talk(make_context(), [post("/json", b"")]).responses()
    assert (response.status, response.headers["allow"]) == (405, "DELETE, GET, HEAD, OPTIONS, PATCH, PUT")


def test_options_lists_the_methods() -> None:
    (response,) = Talk(make_context(), [get("/json", method="OPTIONS")]).responses()
    assert (response.status, response.headers["allow"]) == (204, "DELETE, GET, HEAD, OPTIONS, PATCH, PUT")


@pytest.mark.parametrize("target", ["/", "/file", "/stream/3", "/slow/file", "/nothing", "/boom", "/json"])
def test_head_is_answered_as_get_without_the_content(target: str) -> None:
    context = make_context()
    (full,) = Talk(context, [get(target)]).responses()
    (empty,) = Talk(context, [get(target, method="HEAD")]).responses("HEAD")
    assert (empty.status, empty.body) == (full.status, b"")
    assert empty.headers.keys() == full.headers.keys()
    if target != "/json":  # whose content names the method
        assert empty.headers.get("content-length") == full.headers.get("content-length")


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_content(status: int) -> None:
    talk = Talk(make_context(), [get(f"/status/{status}")])
    assert b"content" not in talk.output.partition(b"\r\n\r\n")[2]
    assert not {"content-length", "transfer-encoding", "content-type"} & talk.responses()[0].headers.keys()


# Pipelining.


def test_a_turn_sends_no_more_responses_than_its_bound() -> None:
    connection = Connection(make_context(), PEER)
    assert connection.receive_data(b"".join(get(f"/hello/{n}") for n in range(10))) is None
    turns = []
    while connection.state == SENDING:
        output = bytes(connection.data_to_send())
        turns.append([response.text for response in read_responses(output)])
        connection.data_sent(len(output))
        if connection.state == READY:
            assert not connection.data_to_send()
            assert not connection.wants_read
            connection.resume()
    assert [len(turn) for turn in turns] == [4, 4, 2]
    assert list(chain(*turns)) == [f"Hello, {n}!" for n in range(10)]
    assert connection.state == IDLE


def test_exactly_one_turn_leaves_the_connection_idle() -> None:
    connection = Connection(make_context(), PEER)
    response = connection.receive_data(b"".join(get(f"/hello/{n}") for n in range(LIMITS.pipelined_per_turn_max)))
    assert response is not None
    assert len(read_responses(response)) == LIMITS.pipelined_per_turn_max
    assert connection.state == IDLE


def test_a_turn_may_end_within_a_request() -> None:
    talk = Talk(make_context(), [get("/") + get("/hello/b")[:-3]])
    assert [response.text for response in talk.responses()] == ["root"]
    assert talk.connection.state == HEAD
    talk.send(get("/hello/b")[-3:] + post("/echo", b"body")[:-2])
    assert [response.text for response in talk.responses()] == ["root", "Hello, b!"]
    assert talk.connection.state == BODY
    talk.send(b"dy")
    assert talk.responses()[-1].text == "body"


def test_bytes_that_come_while_a_response_is_sent_wait() -> None:
    connection = Connection(make_context(), PEER)
    response = connection.receive_data(get("/hello/a"))
    assert response is not None
    connection.queue_remainder(response, 5)
    assert not connection.wants_read
    assert connection.receive_data(get("/hello/b")) is None
    assert bytes(connection.data_to_send()) == response[5:]
    connection.data_sent(len(response) - 5)
    assert connection.state == READY
    connection.resume()
    assert read_responses(bytes(connection.data_to_send()))[0].text == "Hello, b!"


# Persistence.


@pytest.mark.parametrize(
    ("version", "fields", "persists", "says"),
    [
        ("1.1", (), True, None),
        ("1.1", ("Connection: keep-alive",), True, None),
        ("1.1", ("Connection: close",), False, "close"),
        ("1.1", ("Connection: Close",), False, "close"),
        ("1.1", ("Connection: keep-alive, close",), False, "close"),
        ("1.1", ("Connection: upgrade,close", "Upgrade: x"), False, "close"),
        ("1.1", ("Connection: x", "Connection: close"), False, "close"),
        ("1.1", ("Connection: closed",), True, None),
        ("1.1", ("Connection:",), True, None),
        ("1.0", (), False, "close"),
        ("1.0", ("Connection: keep-alive",), True, "keep-alive"),
        ("1.0", ("Connection: Keep-Alive",), True, "keep-alive"),
        ("1.0", ("Connection: keep-alive, close",), False, "close"),
        ("1.0", ("Connection: close",), False, "close"),
    ],
)
@pytest.mark.parametrize("target", ["/", "/hello/b", "/nothing", "/boom", "/slow", "/file"])
def test_persistence(target: str, version: str, fields: tuple[str, ...], persists: bool, says: str | None) -> None:
    context = make_context()
    for _ in range(3):  # again, and from memory
        talk = Talk(context, [get(target, *fields, version=version)])
        (response,) = talk.responses()
        assert response.headers.get("connection") == says
        assert (talk.connection.state == IDLE) == persists
        assert talk.has_ended != persists


def test_a_stream_to_http_1_0_ends_with_the_connection() -> None:
    talk = Talk(make_context(), [get("/stream/3", "Connection: keep-alive", version="1.0")])
    (response,) = talk.responses()
    assert response.says_close
    assert not {"transfer-encoding", "content-length"} & response.headers.keys()
    assert response.text == "part 0;part 2;"
    assert talk.connection.state in (LINGERING, CLOSED)


# Expect: 100-continue (RFC 9110 section 10.1.1).


EXPECTING = post("/echo", b"hello", "Expect: 100-continue")
EXPECTING_HEAD = EXPECTING[:-5]


def test_a_client_that_waits_gets_100_continue() -> None:
    talk = Talk(make_context(), [EXPECTING_HEAD])
    assert talk.output == CONTINUE
    assert talk.connection.state == BODY
    talk.send(b"he")
    assert talk.output == CONTINUE
    talk.send(b"llo")
    assert [response.status for response in talk.responses()] == [100, 200]
    assert talk.connection.state == IDLE


@pytest.mark.parametrize("sent_with_the_head", [1, 4, 5])
def test_a_client_that_does_not_wait_gets_no_100_continue(sent_with_the_head: int) -> None:
    at = len(EXPECTING_HEAD) + sent_with_the_head
    talk = Talk(make_context(), [EXPECTING[:at], EXPECTING[at:]])
    assert [(response.status, response.text) for response in talk.responses()] == [(200, "hello")]


def test_an_interim_response_that_was_not_sent_yet_comes_before_the_final_one() -> None:
    connection = Connection(make_context(), PEER)
    connection.receive_data(EXPECTING_HEAD)
    assert connection.receive_data(b"hello") is None
    assert [response.status for response in read_responses(bytes(connection.data_to_send()))] == [100, 200]
    connection.data_sent(len(connection.data_to_send()))
    assert connection.state == IDLE


def test_an_interim_response_does_not_overtake_the_responses_before_it() -> None:
    talk = Talk(make_context(), [get("/") + EXPECTING_HEAD])
    assert [response.status for response in talk.responses()] == [200, 100]
    talk.send(b"hello")
    assert [response.status for response in talk.responses()] == [200, 100, 200]


def test_an_expectation_of_a_blocking_route() -> None:
    talk = Talk(make_context(), [post("/slow", b"hello", "Expect: 100-continue")[:-5]])
    talk.send(b"hello")
    assert [(response.status, response.text) for response in talk.responses()] == [(100, ""), (200, "hello")]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/nothing", "Expect: 100-continue", "Content-Length: 5", method="POST"), 404),
        (get("/", "Expect: 100-continue", "Content-Length: 5", method="POST"), 405),
        (get("/echo", "Expect: 100-continue", "Content-Length: 1001", method="POST"), 413),
        (get("/echo", "Expect: 101-continue", "Content-Length: 5", method="POST"), 417),
    ],
)
def test_what_cannot_be_answered_well_is_refused_before_the_body(request_: bytes, status: int) -> None:
    talk = Talk(make_context(), [request_])
    (response,) = talk.responses()
    assert response.status == status
    assert response.says_close
    assert talk.connection.state == LINGERING
    assert talk.send(b"hello" + MARK) == b""


def test_an_expectation_without_a_body_is_nothing_to_wait_for() -> None:
    assert [a.status for a in Talk(make_context(), [get("/", "Expect: 100-continue")]).responses()] == [200]


def test_http_1_0_expects_nothing() -> None:
    request = get("/echo", "Expect: 100-continue", "Content-Length: 5", method="POST", version="1.0")
    talk = Talk(make_context(), [request])
    assert talk.output == b""
    talk.send(b"hello")
    assert [response.status for response in talk.responses()] == [200]
