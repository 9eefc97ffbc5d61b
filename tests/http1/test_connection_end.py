"""How a connection ends: half-close, drain, abort, lingering; what comes too late changes nothing."""

from math import inf

import pytest

from mreactor.http1.connection import Connection
from mreactor.http1.context import DRAIN_GRACE_SECONDS, ReactorContext
from mreactor.http1.states import BODY, CLOSED, HEAD, IDLE, LINGERING, READY, SENDING, WAITING, State
from mreactor.protocol import FileBody
from tests.http1.states import (
    HALF_BODY,
    HALF_HEAD,
    HUNDRED,
    NOW,
    REFUSED,
    TIMES,
    each_state,
    get_response,
    in_state,
    say_all,
    start,
)
from tests.support.memory import return_job
from tests.support.vectors import CONTINUE, Calls, Talk, get, make_context, post

# Half-close: what was asked for in full is answered.


@pytest.mark.parametrize(
    ("state", "statuses"),
    [
        (IDLE, []),
        (HEAD, [400]),
        (BODY, [400]),
        (WAITING, [200]),
        (SENDING, [200]),
        (READY, [200] * 100),
        (LINGERING, [400]),
        (CLOSED, []),
    ],
    ids=lambda value: State(value).name if isinstance(value, int) else "",
)
def test_half_close(state: int, statuses: list[int]) -> None:
    talk = Talk(make_context(TIMES))
    connection = talk.connection
    requests = {IDLE: b"", HEAD: HALF_HEAD, BODY: HALF_BODY, WAITING: get("/slow"), SENDING: get("/hello/a")}
    requests |= {READY: HUNDRED, LINGERING: REFUSED, CLOSED: b""}
    response = connection.receive_data(requests[state]) if requests[state] else None
    if response is not None:
        connection.queue_remainder(response, 0)
    if state in (READY, LINGERING):
        talk.output += bytes(connection.data_to_send())
        connection.data_sent(len(connection.data_to_send()))
    if state == CLOSED:
        connection.abort()
    assert connection.state == state
    connection.receive_data(b"")
    connection.receive_data(b"")
    talk.settle()
    assert [response.status for response in talk.responses()] == statuses
    assert connection.state == CLOSED


def test_half_close_within_pipelined_requests() -> None:
    talk = Talk(make_context(TIMES))
    talk.connection.receive_data(HUNDRED + HALF_HEAD)
    talk.connection.receive_data(b"")
    talk.settle()
    assert [response.status for response in talk.responses()] == [200] * 100 + [400]
    assert talk.connection.state == CLOSED


def test_half_close_during_a_stream_lets_it_end() -> None:
    calls = Calls()
    _, connection = start(calls)
    connection.receive_data(get("/stream/3"))
    connection.receive_data(b"")
    assert say_all(connection)[0].text == "part 0;part 2;"
    assert connection.state == CLOSED
    assert calls.ended == ["parts"]


def test_half_close_before_the_body_that_the_client_was_told_to_send() -> None:
    talk = Talk(make_context(TIMES), [post("/echo", b"x", "Expect: 100-continue")[:-1]])
    assert talk.output == CONTINUE
    talk.end()
    assert [response.status for response in talk.responses()] == [100, 400]
    assert talk.connection.state == CLOSED


# Drain.


def end_idle() -> tuple[ReactorContext, Connection]:
    """A connection that has been idle for long, in a server that drains."""
    context, connection = in_state(IDLE)
    get_response(connection, get("/nothing"))
    context.begin_round(NOW + DRAIN_GRACE_SECONDS + 0.1)
    context.drain()
    connection.drain()
    return context, connection


def test_a_connection_that_is_idle_for_long_is_ended_at_once_and_read_for_a_moment() -> None:
    context, connection = end_idle()
    assert connection.state == LINGERING
    assert not connection.data_to_send()
    assert connection.deadline == context.now + DRAIN_GRACE_SECONDS
    context.begin_round(connection.deadline)
    connection.handle_timeout(context.now)
    assert connection.state == CLOSED
    assert not connection.resets


def test_a_request_that_crosses_the_end_of_an_idle_connection_meets_no_reset() -> None:
    _, connection = end_idle()
    assert connection.wants_read
    connection.receive_data(get("/"))
    assert (connection.state, connection.data_to_send()) == (LINGERING, b"")
    connection.receive_data(b"")
    assert connection.state == CLOSED
    assert not connection.resets


def test_a_client_that_stays_silent_behind_a_crossing_request_is_not_reset() -> None:
    context, connection = end_idle()
    connection.receive_data(get("/"))
    context.begin_round(connection.deadline)
    connection.handle_timeout(context.now)
    assert connection.state == CLOSED
    assert not connection.resets


@pytest.mark.parametrize("requests", [(), (get("/hello/a"),), (get("/"),) * 3, (get("/hello/a"),) * 3])
def test_a_request_may_be_on_its_way_to_a_draining_server(requests: tuple[bytes, ...]) -> None:
    context, connection = start()
    for request in requests:
        get_response(connection, request)
    context.drain()
    connection.drain()
    assert connection.state == IDLE
    assert connection.deadline == NOW + DRAIN_GRACE_SECONDS
    assert connection.receive_data(get("/")) is None
    (response,) = say_all(connection)
    assert (response.text, response.says_close) == ("root", True)
    assert connection.state == LINGERING


@pytest.mark.parametrize("requests", [(), (get("/hello/a"),), (get("/"),) * 3])
def test_the_grace_of_a_draining_server_ends(requests: tuple[bytes, ...]) -> None:
    context, connection = start()
    for request in requests:
        get_response(connection, request)
    context.drain()
    connection.drain()
    context.begin_round(NOW + DRAIN_GRACE_SECONDS)
    connection.handle_timeout(context.now)
    assert connection.state == LINGERING
    connection.receive_data(b"")
    assert connection.state == CLOSED


@pytest.mark.parametrize(
    ("state", "rest", "text"),
    [(HEAD, get("/hello/a")[20:], "Hello, a!"), (BODY, b"456789", "0123456789"), (WAITING, b"", "slow")],
)
def test_a_request_that_has_begun_is_the_last(state: int, rest: bytes, text: str) -> None:
    context, connection = in_state(state)
    context.drain()
    connection.drain()
    assert connection.state == state
    if rest:
        assert connection.receive_data(rest) is None
    if (job := connection.next_job()) is not None:
        job.run()
        return_job(connection, job)
    (response,) = say_all(connection)
    assert (response.status, response.text, response.says_close) == (200, text, True)
    assert connection.state == LINGERING
    connection.receive_data(b"")
    assert connection.state == CLOSED


def test_a_response_on_its_way_is_finished() -> None:
    context, connection = in_state(SENDING)
    rest = bytes(connection.data_to_send())
    context.drain()
    connection.drain()
    assert bytes(connection.data_to_send()) == rest
    connection.data_sent(len(rest))
    assert connection.state == IDLE
    assert connection.deadline == NOW + DRAIN_GRACE_SECONDS
    assert connection.receive_data(get("/")) is None
    assert say_all(connection)[0].says_close


@pytest.mark.parametrize("count", [2, 3, 9])
@pytest.mark.parametrize("state", [IDLE, SENDING])
def test_every_request_that_was_received_is_answered(count: int, state: int) -> None:
    context = make_context(TIMES)
    talk = Talk(context)
    connection = talk.connection
    requests = b"".join(get(f"/hello/{n}") for n in range(count))
    if state == SENDING and (response := connection.receive_data(requests)) is not None:
        connection.queue_remainder(response, 0)
    context.drain()
    connection.drain()
    talk.send(requests if state == IDLE else b"")
    assert [response.text for response in talk.responses()] == [f"Hello, {n}!" for n in range(count)]
    if not talk.has_ended:  # the last response was made before the drain began, and could not say that it is the last
        talk.send(get("/"))
    assert talk.responses()[-1].says_close
    assert talk.has_ended


@pytest.mark.parametrize("at", [1, 10, len(get("/hello/b")) - 1])
def test_half_a_request_behind_the_last_is_awaited(at: int) -> None:
    context = make_context(TIMES)
    talk = Talk(context)
    context.drain()
    talk.connection.drain()
    talk.send(get("/hello/a") + get("/hello/b")[:at])
    talk.send(get("/hello/b")[at:])
    assert [response.says_close for response in talk.responses()] == [False, True]
    assert talk.has_ended


def test_a_stream_that_has_begun_is_finished() -> None:
    calls = Calls()
    context, connection = start(calls)
    connection.receive_data(get("/stream/3"))
    connection.data_sent(len(connection.data_to_send()))
    context.drain()
    connection.drain()
    said = b""
    while output := connection.data_to_send():
        assert not isinstance(output, FileBody)
        said += output
        connection.data_sent(len(output))
    assert said.endswith(b"0\r\n\r\n")
    assert connection.deadline == NOW + DRAIN_GRACE_SECONDS
    assert calls.ended == ["parts"]


@pytest.mark.parametrize("state", [LINGERING, CLOSED])
def test_what_has_ended_is_not_changed_by_a_drain(state: int) -> None:
    context, connection = in_state(state)
    context.drain()
    connection.drain()
    assert connection.state == state
    assert not connection.data_to_send()


# Abort, and what comes too late.


@each_state
def test_an_abort_ends_everything(state: int) -> None:
    _, connection = in_state(state)
    connection.abort()
    connection.abort()
    assert connection.state == CLOSED
    assert connection.deadline == inf
    assert not connection.data_to_send()
    assert not connection.wants_read
    assert connection.next_job() is None


def test_events_after_the_end_change_nothing() -> None:
    context, connection = in_state(CLOSED)
    assert connection.receive_data(get("/")) is None
    connection.receive_data(b"")
    connection.data_sent(0)
    connection.handle_timeout(NOW + 1e6)
    connection.drain()
    assert connection.state == CLOSED
    assert not connection.data_to_send()
    assert context.counters.timeouts == {}


@pytest.mark.parametrize("late", [b"x", get("/hello/late"), b"bad\r\n\r\n"])
def test_nothing_is_said_after_a_refusal(late: bytes) -> None:
    calls = Calls()
    _, connection = start(calls)
    connection.receive_data(REFUSED)
    connection.receive_data(late)  # while the response is being sent
    assert [response.status for response in say_all(connection)] == [400]
    assert connection.state == LINGERING
    connection.receive_data(late)
    assert not connection.data_to_send()
    assert connection.state == LINGERING
    assert calls.paths == []


@pytest.mark.parametrize(
    ("data", "lingers"),
    [
        (get("/hello/a", "Connection: close"), False),
        (get("/hello/a", "Connection: close") + b"more", True),
        (get("/hello/a", version="1.0"), False),
        (REFUSED, True),
        (post("/nothing", b"body", "Expect: 100-continue")[:-4], True),
    ],
)
def test_it_lingers_only_if_bytes_may_be_on_their_way(data: bytes, lingers: bool) -> None:
    _, connection = start()
    connection.receive_data(data)
    say_all(connection)
    assert connection.state == (LINGERING if lingers else CLOSED)
