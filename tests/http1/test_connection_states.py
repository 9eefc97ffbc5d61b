"""The states of a connection: the ways between them, and what each makes of time, half-close, drain and abort."""

from dataclasses import replace
from math import inf
from typing import ClassVar

import pytest

from mreactor.http1.connection import Connection
from mreactor.http1.context import DRAIN_GRACE_SECONDS
from mreactor.http1.states import (
    BODY,
    CLOSED,
    HEAD,
    IDLE,
    LINGER_SILENCE_SECONDS,
    LINGERING,
    NEXT_STATES,
    READY,
    SENDING,
    WAITING,
    State,
)
from tests.http1.states import (
    HALF_BODY,
    HALF_HEAD,
    NOW,
    PEER,
    TIMES,
    WAYS,
    each_state,
    get_response,
    head,
    in_state,
    say_all,
    start,
)
from tests.support.vectors import LIMITS, VECTORS, Talk, get, make_context, post, post_chunked

# The table.


def test_the_table_has_every_state() -> None:
    assert NEXT_STATES.keys() == set(State)
    assert NEXT_STATES[CLOSED] == frozenset()
    assert all(CLOSED in ways for state, ways in NEXT_STATES.items() if state != CLOSED)


class Recorder(Connection):
    """A connection that notes each of its transitions."""

    __slots__ = ()
    seen: ClassVar[set[tuple[int, int]]] = set()

    def _enter(self, state: int) -> None:
        self.seen.add((self.state, state))
        super()._enter(state)


@pytest.mark.slow
def test_every_transition_in_the_table_happens_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mreactor.http1.context.Connection", Recorder)
    Recorder.seen.clear()
    for vector in VECTORS:
        for pieces in ([vector.data], [vector.data[:5], vector.data[5:]]):
            Talk(make_context(TIMES), pieces)
            Talk(make_context(TIMES), pieces, write_max=3)
        Talk(make_context(TIMES), [vector.data[at : at + 1] for at in range(len(vector.data))])
    go_out_of_the_way()
    gone = {(State(a).name, State(b).name) for a, b in Recorder.seen}
    assert gone == {(State(a).name, State(b).name) for a, ways in NEXT_STATES.items() for b in ways}


def go_out_of_the_way() -> None:
    """The ways that need more than a stream of requests."""
    turn = get("/") * LIMITS.pipelined_per_turn_max  # after which the connection is READY, if more follows
    for rest in (HALF_HEAD, HALF_BODY, get("/slow"), get("/hello/b")):
        Talk(make_context(TIMES), [turn + rest])
    Talk(make_context(TIMES), [HALF_HEAD, post_chunked("/echo", b"1\r\nx\r\n" * 300)[20:], b"0\r\n\r\n"])
    Talk(make_context(TIMES), [post_chunked("/echo", b""), b"1\r\nx\r\n" * 600 + b"0\r\n\r\n"])
    for begin in (b"", b"\r\n"):
        context = make_context(TIMES)
        connection = Recorder(context, PEER)
        connection.receive_data(begin or get("/"))
        context.begin_round(NOW + 2 * DRAIN_GRACE_SECONDS)
        context.drain()
        connection.drain()
    for state in WAYS:
        if state != CLOSED:
            connection = Recorder(make_context(TIMES), PEER)
            WAYS[state](connection)
            connection.abort()


def test_a_transition_that_is_not_in_the_table_is_a_bug() -> None:
    _, connection = in_state(CLOSED)
    with pytest.raises(AssertionError, match="CLOSED"):
        connection.queue_remainder(b"x", 0)


@each_state
def test_when_the_connection_wants_bytes(state: int) -> None:
    _, connection = in_state(state)
    assert connection.wants_read == (state in (IDLE, HEAD, BODY, LINGERING))


@each_state
def test_when_there_is_data_to_send(state: int) -> None:
    _, connection = in_state(state)
    assert bool(connection.data_to_send()) == (state == SENDING)


@each_state
def test_a_job_is_given_out_once(state: int) -> None:
    _, connection = in_state(state)
    assert (connection.next_job() is not None) == (state == WAITING)
    assert connection.next_job() is None


# Time.


@pytest.mark.parametrize(
    ("state", "seconds"),
    [
        (IDLE, 75),
        (HEAD, 10),
        (BODY, 5 + 4 / 10),
        (WAITING, inf),
        (SENDING, inf),
        (READY, inf),
        (LINGERING, 2),
        (CLOSED, inf),
    ],
)
def test_each_state_has_its_deadline(state: int, seconds: float) -> None:
    _, connection = in_state(state)
    assert connection.deadline == pytest.approx(NOW + seconds, abs=1e-6)


def test_a_new_connection_has_as_long_as_a_head_may_take() -> None:
    context, connection = start()
    fresh = connection.deadline
    assert fresh == pytest.approx(NOW + 10, abs=1e-6)
    context.begin_round(NOW + 4)
    head(connection)
    assert connection.state == HEAD
    assert connection.deadline == fresh, "the first byte gives no further time"


@each_state
def test_before_its_deadline_nothing_expires(state: int) -> None:
    context, connection = in_state(state)
    until = min(connection.deadline, NOW + 1000) - 0.001
    context.begin_round(until)
    connection.handle_timeout(until)
    assert connection.state == state
    assert context.counters.timeouts == {}


@pytest.mark.parametrize(
    ("state", "statuses", "after", "kind"),
    [
        (IDLE, [], CLOSED, "keepalive"),
        (HEAD, [408], LINGERING, "head"),
        (BODY, [408], LINGERING, "body"),
        (LINGERING, [], CLOSED, "linger"),
    ],
    ids=lambda value: State(value).name if isinstance(value, int) else "",
)
def test_past_its_deadline(state: int, statuses: list[int], after: int, kind: str) -> None:
    context, connection = in_state(state)
    context.begin_round(connection.deadline)
    connection.handle_timeout(context.now)
    responses = say_all(connection)
    assert [response.status for response in responses] == statuses
    assert all(response.says_close for response in responses)
    assert connection.state == after
    assert context.counters.timeouts == {kind: 1}


def test_a_new_connection_that_says_nothing_is_late_with_its_head() -> None:
    context, connection = start()
    context.begin_round(connection.deadline)
    connection.handle_timeout(context.now)
    assert connection.state == CLOSED
    assert context.counters.timeouts == {"head": 1}


def test_a_second_head_has_its_full_time_where_idling_lasts_as_long() -> None:
    context = make_context(replace(LIMITS, head_seconds=10.0, keepalive_seconds=10.0))
    connection = Connection(context, PEER)
    assert connection.receive_data(get("/hello/a")) is not None
    context.begin_round(NOW + 9)
    head(connection)
    assert connection.deadline == NOW + 19


def test_a_connection_that_has_just_fallen_idle_has_a_moment_when_the_server_drains() -> None:
    context, connection = in_state(SENDING)
    context.drain()
    connection.data_sent(len(bytes(connection.data_to_send())))
    connection.drain()
    assert connection.state == IDLE
    assert connection.deadline == context.now + DRAIN_GRACE_SECONDS


def test_a_head_has_an_absolute_deadline() -> None:
    context, connection = start()
    for at, byte in enumerate(HALF_HEAD):
        context.begin_round(NOW + at * 0.4)
        connection.receive_data(bytes([byte]))
        assert connection.deadline == pytest.approx(NOW + 10, abs=1e-6)


def test_the_head_after_a_response_has_a_deadline_of_its_own() -> None:
    context, connection = in_state(IDLE)
    context.begin_round(NOW + 60)
    head(connection)
    assert connection.deadline == NOW + 70


def test_a_body_must_keep_up_its_rate() -> None:
    context, connection = start()
    context.begin_round(NOW + 1)
    connection.receive_data(post("/echo", b"x" * 100)[:-100])
    assert connection.deadline == NOW + 1 + 5
    for second in range(2, 9):
        context.begin_round(NOW + second)
        connection.receive_data(b"x" * 10)
        assert connection.deadline == NOW + 1 + 5 + (second - 1)
    connection.receive_data(b"x" * 30)
    assert connection.state == IDLE
    assert connection.deadline == NOW + 8 + 75


def test_a_fast_body_may_not_stall_for_what_its_rate_has_saved() -> None:
    """Else its last byte could be held back for hours, and all that came before it with it."""
    context, connection = start()
    connection.receive_data(post("/echo", b"x" * 1000)[:-1])
    assert connection.deadline == NOW + 20
    context.begin_round(NOW + 20)
    connection.handle_timeout(NOW + 20)
    assert [response.status for response in say_all(connection)] == [408]


def test_framing_does_not_count_towards_the_rate() -> None:
    context, connection = start()
    connection.receive_data(get("/echo", "Transfer-Encoding: chunked", method="POST"))
    context.begin_round(NOW + 1)
    connection.receive_data(b'1;name="value of no worth"\r\nx\r\n')
    assert connection.deadline == NOW + 5 + 1 / 10


def test_each_response_puts_off_the_idle_deadline() -> None:
    context, connection = in_state(IDLE)
    for target in ("/hello/a", "/", "/", "/hello/a", "/nothing", "/boom"):
        context.begin_round(context.now + 50)
        get_response(connection, get(target))
        assert connection.deadline == context.now + 75


def test_late_bytes_do_not_put_off_the_end_of_lingering() -> None:
    """The peer that still sends is reset: one that is only closed would wait for minutes."""
    context, connection = in_state(LINGERING)
    context.begin_round(NOW + 1)
    connection.receive_data(b"late")
    assert connection.deadline == NOW + 2
    connection.handle_timeout(NOW + 2)
    assert (connection.state, connection.resets) == (CLOSED, True)


def test_lingering_goes_on_while_the_peer_sends() -> None:
    context = make_context(replace(TIMES, linger_seconds=30.0, linger_bytes_max=1 << 40))
    connection = Connection(context, PEER)
    WAYS[LINGERING](connection)
    for second in range(1, 29):
        context.begin_round(NOW + second)
        connection.receive_data(b"x" * 1_000_000)
        assert connection.deadline == min(context.now + LINGER_SILENCE_SECONDS, NOW + 30)
    connection.handle_timeout(connection.deadline)
    assert connection.state == CLOSED


def test_a_silent_peer_is_closed_without_a_reset() -> None:
    """It may still read the response."""
    _, connection = in_state(LINGERING)
    connection.handle_timeout(connection.deadline)
    assert (connection.state, connection.resets) == (CLOSED, False)


@pytest.mark.parametrize("lines", [b"\r", b"\r\n"])
def test_an_empty_line_does_not_begin_a_request(lines: bytes) -> None:
    """Some clients send one behind a POST. The connection is idle: no 408, no 400, no time for a head."""
    context, connection = in_state(IDLE)
    deadline = connection.deadline
    context.begin_round(NOW + 5)
    assert connection.receive_data(lines) is None
    assert (connection.deadline, connection.awaits_rest) == (deadline, False)
    assert connection.receive_data(b"\r\nGET"[len(lines) :]) is None
    assert (connection.deadline, connection.awaits_rest) == (NOW + 15, True), "the head begins now"


@pytest.mark.parametrize("end", ["time", "eof", "drain"])
def test_a_connection_with_an_empty_line_ends_as_an_idle_one(end: str) -> None:
    context, connection = in_state(IDLE)
    connection.receive_data(post("/echo", b"hi") + b"\r\n")
    say_all(connection)
    connection.resume()
    assert connection.deadline == context.now + TIMES.keepalive_seconds
    if end == "eof":
        connection.receive_data(b"")
    else:
        context.begin_round(context.now + (TIMES.keepalive_seconds if end == "time" else 5))
        if end == "drain":
            context.drain()
            connection.drain()
        connection.handle_timeout(context.now)
    assert connection.state == (LINGERING if end == "drain" else CLOSED)
    assert not connection.data_to_send()


def test_lingering_is_bounded_in_bytes() -> None:
    _, connection = in_state(LINGERING)
    connection.receive_data(b"x" * TIMES.linger_bytes_max)
    assert connection.state == LINGERING
    connection.receive_data(b"x")
    assert connection.state == CLOSED
