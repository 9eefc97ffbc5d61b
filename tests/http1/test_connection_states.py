"""The states of a connection: the ways between them, and what each makes of time, half-close, drain and abort."""

from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import ClassVar

import pytest

from mreactor.http1.connection import Connection
from mreactor.http1.context import DRAIN_GRACE_SECONDS, ReactorContext
from mreactor.http1.states import (
    BODY,
    CLOSED,
    HEAD,
    IDLE,
    LINGERING,
    NEXT_STATES,
    READY,
    SENDING,
    WAITING,
    State,
)
from mreactor.protocol import FileBody
from tests.support.responses import ReceivedResponse, read_responses
from tests.support.vectors import CONTINUE, LIMITS, VECTORS, Calls, Talk, get, make_context, post

PEER = ("192.0.2.1", 1)
NOW = 1000.0
TIMES = replace(
    LIMITS,
    head_seconds=10.0,
    body_grace_seconds=5.0,
    body_stall_seconds=20.0,
    body_rate_min=10,
    keepalive_seconds=75.0,
    write_stall_seconds=30.0,
    write_rate_min=1000,
    linger_seconds=2.0,
    linger_bytes_max=1000,
)

HALF_HEAD = get("/hello/a")[:20]
HALF_BODY = post("/echo", b"0123456789")[:-6]
HUNDRED = b"".join(get(f"/hello/{n}") for n in range(100))
REFUSED = b"bad\r\n\r\n"


def start(calls: Calls | None = None) -> tuple[ReactorContext, Connection]:
    context = make_context(TIMES, calls)
    return context, Connection(context, PEER)


def say_all(connection: Connection) -> list[ReceivedResponse]:
    """Take what the connection has to say, up to where it waits for something else."""
    said = b""
    while output := connection.data_to_send():
        assert not isinstance(output, FileBody)
        said += output
        connection.data_sent(len(output))
    return read_responses(said)


def answer_of(connection: Connection, data: bytes) -> bytes:
    answer = connection.receive_data(data)
    assert answer is not None
    return answer


# How a connection gets into each of its states. (A fresh one is IDLE too, and treated apart below.)


def idle(connection: Connection) -> None:
    answer_of(connection, get("/hello/a"))


def head(connection: Connection) -> None:
    connection.receive_data(HALF_HEAD)


def body(connection: Connection) -> None:
    connection.receive_data(HALF_BODY)


def waiting(connection: Connection) -> None:
    connection.receive_data(get("/slow"))


def sending(connection: Connection) -> None:
    connection.queue_remainder(answer_of(connection, get("/hello/a")), 7)


def ready(connection: Connection) -> None:
    connection.receive_data(HUNDRED)
    connection.data_sent(len(connection.data_to_send()))


def lingering(connection: Connection) -> None:
    connection.receive_data(REFUSED)
    connection.data_sent(len(connection.data_to_send()))


def closed(connection: Connection) -> None:
    connection.abort()


WAYS: dict[int, Callable[[Connection], None]] = {
    IDLE: idle,
    HEAD: head,
    BODY: body,
    WAITING: waiting,
    SENDING: sending,
    READY: ready,
    LINGERING: lingering,
    CLOSED: closed,
}


def in_state(state: int) -> tuple[ReactorContext, Connection]:
    context, connection = start()
    WAYS[state](connection)
    assert connection.state == state
    return context, connection


each_state = pytest.mark.parametrize("state", WAYS, ids=lambda state: State(state).name)


# The table.


def test_the_table_knows_every_state() -> None:
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
def test_every_way_in_the_table_is_gone_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.vectors.Connection", Recorder)
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
    for state in WAYS:
        if state != CLOSED:
            connection = Recorder(make_context(TIMES), PEER)
            WAYS[state](connection)
            connection.abort()


def test_a_way_that_is_not_in_the_table_is_a_bug() -> None:
    _, connection = in_state(CLOSED)
    with pytest.raises(AssertionError, match="CLOSED"):
        connection.queue_remainder(b"x", 0)


@each_state
def test_when_bytes_are_welcome(state: int) -> None:
    _, connection = in_state(state)
    assert connection.wants_read == (state in (IDLE, HEAD, BODY, LINGERING))


@each_state
def test_what_is_pending(state: int) -> None:
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
        (SENDING, 30),
        (READY, inf),
        (LINGERING, 2),
        (CLOSED, inf),
    ],
)
def test_each_state_has_its_deadline(state: int, seconds: float) -> None:
    _, connection = in_state(state)
    assert connection.deadline == pytest.approx(NOW + seconds, abs=1e-6)


def test_a_fresh_connection_has_as_long_as_a_head_may_take() -> None:
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
        (SENDING, [], CLOSED, "write"),
        (LINGERING, [], CLOSED, "linger"),
    ],
    ids=lambda value: State(value).name if isinstance(value, int) else "",
)
def test_past_its_deadline(state: int, statuses: list[int], after: int, kind: str) -> None:
    context, connection = in_state(state)
    context.begin_round(connection.deadline)
    connection.handle_timeout(context.now)
    answers = say_all(connection)
    assert [answer.status for answer in answers] == statuses
    assert all(answer.says_close for answer in answers)
    assert connection.state == after
    assert context.counters.timeouts == {kind: 1}


def test_a_fresh_connection_that_says_nothing_is_late_with_its_head() -> None:
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


def test_who_has_just_fallen_idle_has_a_moment_when_the_server_drains() -> None:
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


def test_the_head_after_an_answer_has_a_deadline_of_its_own() -> None:
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
    assert [answer.status for answer in say_all(connection)] == [408]


def test_framing_does_not_count_towards_the_rate() -> None:
    context, connection = start()
    connection.receive_data(get("/echo", "Transfer-Encoding: chunked", method="POST"))
    context.begin_round(NOW + 1)
    connection.receive_data(b'1;name="value of no worth"\r\nx\r\n')
    assert connection.deadline == NOW + 5 + 1 / 10


def test_a_peer_that_takes_nothing_gains_nothing() -> None:
    context, connection = in_state(SENDING)
    context.begin_round(NOW + 20)
    connection.data_sent(0)
    assert connection.deadline == NOW + 30


@pytest.mark.parametrize(
    ("at", "taken", "deadline"),
    [
        (1, 10_000, 31),  # fast, so far: no more than a stall from now
        (20, 10_000, 40),  # at the least rate: a stall, and the time that so many bytes may take
        (29, 1, 30.001),
    ],
)
def test_a_peer_must_keep_up_taking(at: float, taken: int, deadline: float) -> None:
    context, connection = start()
    connection.queue_remainder(bytes(20_000), 0)
    context.begin_round(NOW + at)
    connection.data_sent(taken)
    assert connection.deadline == pytest.approx(NOW + deadline)


def test_each_answer_is_sent_in_a_time_of_its_own() -> None:
    context, connection = in_state(SENDING)
    context.begin_round(NOW + 29)
    connection.data_sent(len(connection.data_to_send()))
    connection.queue_remainder(answer_of(connection, get("/hello/a")), 1)
    assert connection.deadline == NOW + 59


def test_each_answer_puts_off_the_idle_deadline() -> None:
    context, connection = in_state(IDLE)
    for target in ("/hello/a", "/", "/", "/hello/a", "/nothing", "/boom"):
        context.begin_round(context.now + 50)
        answer_of(connection, get(target))
        assert connection.deadline == context.now + 75


def test_late_bytes_do_not_put_off_the_end_of_lingering() -> None:
    context, connection = in_state(LINGERING)
    context.begin_round(NOW + 1)
    connection.receive_data(b"late")
    assert connection.deadline == NOW + 2


def test_lingering_is_bounded_in_bytes() -> None:
    _, connection = in_state(LINGERING)
    connection.receive_data(b"x" * TIMES.linger_bytes_max)
    assert connection.state == LINGERING
    connection.receive_data(b"x")
    assert connection.state == CLOSED


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
    answer = connection.receive_data(requests[state]) if requests[state] else None
    if answer is not None:
        connection.queue_remainder(answer, 0)
    if state in (READY, LINGERING):
        talk.output += bytes(connection.data_to_send())
        connection.data_sent(len(connection.data_to_send()))
    if state == CLOSED:
        connection.abort()
    assert connection.state == state
    connection.receive_data(b"")
    connection.receive_data(b"")
    talk.go_on()
    assert [answer.status for answer in talk.answers()] == statuses
    assert connection.state == CLOSED


def test_half_close_within_pipelined_requests() -> None:
    talk = Talk(make_context(TIMES))
    talk.connection.receive_data(HUNDRED + HALF_HEAD)
    talk.connection.receive_data(b"")
    talk.go_on()
    assert [answer.status for answer in talk.answers()] == [200] * 100 + [400]
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
    assert [answer.status for answer in talk.answers()] == [100, 400]
    assert talk.connection.state == CLOSED


# Drain.


def test_a_connection_that_is_idle_for_long_is_closed_at_once() -> None:
    context, connection = in_state(IDLE)
    answer_of(connection, get("/nothing"))
    context.begin_round(NOW + DRAIN_GRACE_SECONDS + 0.1)
    context.drain()
    connection.drain()
    assert connection.state == CLOSED


@pytest.mark.parametrize("requests", [(), (get("/hello/a"),), (get("/"),) * 3, (get("/hello/a"),) * 3])
def test_a_request_may_be_on_its_way_to_a_draining_server(requests: tuple[bytes, ...]) -> None:
    context, connection = start()
    for request in requests:
        answer_of(connection, request)
    context.drain()
    connection.drain()
    assert connection.state == IDLE
    assert connection.deadline == NOW + DRAIN_GRACE_SECONDS
    assert connection.receive_data(get("/")) is None
    (answer,) = say_all(connection)
    assert (answer.text, answer.says_close) == ("root", True)
    assert connection.state == LINGERING


@pytest.mark.parametrize("requests", [(), (get("/hello/a"),), (get("/"),) * 3])
def test_the_grace_of_a_draining_server_ends(requests: tuple[bytes, ...]) -> None:
    context, connection = start()
    for request in requests:
        answer_of(connection, request)
    context.drain()
    connection.drain()
    context.begin_round(NOW + DRAIN_GRACE_SECONDS)
    connection.handle_timeout(context.now)
    assert connection.state == CLOSED


@pytest.mark.parametrize(
    ("state", "rest", "text"),
    [
        (HEAD, get("/hello/a")[20:], "Hello, a!"),
        (BODY, b"456789", "0123456789"),
        (WAITING, b"", "slow"),
    ],
)
def test_what_has_begun_is_answered_and_is_the_last(state: int, rest: bytes, text: str) -> None:
    context, connection = in_state(state)
    context.drain()
    connection.drain()
    assert connection.state == state
    if rest:
        assert connection.receive_data(rest) is None
    if (job := connection.next_job()) is not None:
        job.run()
        connection.job_done(job)
    (answer,) = say_all(connection)
    assert (answer.status, answer.text, answer.says_close) == (200, text, True)
    assert connection.state == LINGERING
    connection.receive_data(b"")
    assert connection.state == CLOSED


def test_an_answer_on_its_way_is_finished() -> None:
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
    if state == SENDING and (answer := connection.receive_data(requests)) is not None:
        connection.queue_remainder(answer, 0)
    context.drain()
    connection.drain()
    talk.send(requests if state == IDLE else b"")
    assert [answer.text for answer in talk.answers()] == [f"Hello, {n}!" for n in range(count)]
    if (
        not talk.has_ended
    ):  # the last answer was made before the drain began, and could not say that it is the last
        talk.send(get("/"))
    assert talk.answers()[-1].says_close
    assert talk.has_ended


@pytest.mark.parametrize("at", [1, 10, len(get("/hello/b")) - 1])
def test_half_a_request_behind_the_last_is_awaited(at: int) -> None:
    context = make_context(TIMES)
    talk = Talk(context)
    context.drain()
    talk.connection.drain()
    talk.send(get("/hello/a") + get("/hello/b")[:at])
    talk.send(get("/hello/b")[at:])
    assert [answer.says_close for answer in talk.answers()] == [False, True]
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


def test_what_comes_after_the_end_is_nothing_to_it() -> None:
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
    connection.receive_data(late)  # while the answer is owed
    assert [answer.status for answer in say_all(connection)] == [400]
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
def test_it_lingers_only_where_bytes_may_be_on_their_way(data: bytes, lingers: bool) -> None:
    _, connection = start()
    connection.receive_data(data)
    say_all(connection)
    assert connection.state == (LINGERING if lingers else CLOSED)
