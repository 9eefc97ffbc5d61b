"""The fuzzer for some seconds, its corpus in every way, and the fuzzer itself: does it find what it is made for?"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from mreactor.http.request_head import RequestHead
from mreactor.http.response import Response
from mreactor.http1.connection import Connection
from mreactor.http1.context import ReactorContext
from mreactor.http1.encoder import Encoder
from tests.fuzz import play
from tests.fuzz.campaign import Memory, Result, Source, Task, corpus, run
from tests.fuzz.check import Checker, Wrong
from tests.fuzz.play import Manner, essence
from tests.fuzz.shrink import shrink
from tests.fuzz.target import be_quiet, make_app, make_context, make_files, make_peer
from tests.support import memory
from tests.support.drivers import SOCKET_KINDS, missing

MESSAGES = int(os.environ.get("MREACTOR_TEST_FUZZ_MESSAGES", "8000"))
SEED = 20_240_229
CORPUS = corpus()
SPLITS = 150  # messages up to this size are cut at every offset, longer ones at a sample of them


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    level = logging.getLogger("mreactor").level
    be_quiet()
    yield
    logging.getLogger("mreactor").setLevel(level)


@pytest.fixture(scope="module")
def files() -> Iterator[Path]:
    with make_files() as directory:
        yield Path(directory)


@pytest.fixture
def context(files: Path) -> ReactorContext:
    return make_context(make_app(files))


def first_finding(files: Path, messages: int = 3000) -> str:
    """What the fuzzer first finds wrong, if anything."""
    source, checker = Source(SEED), Checker(files)
    for number in range(messages):
        try:
            checker.check(*source.message(number))
        except Wrong as wrong:
            return str(wrong)
    return ""


# --- The connection. ---


@pytest.mark.slow
def test_nothing_is_found_in_a_short_campaign() -> None:
    result = run(Task(SEED, messages=MESSAGES))
    assert not [(finding.number, finding.what) for finding in result.findings]
    assert result.messages == MESSAGES


@pytest.mark.parametrize("kind", SOCKET_KINDS)
def test_reactors_make_of_messages_what_the_connection_makes_of_them(kind: str) -> None:
    if reason := missing(kind):
        pytest.skip(reason)
    result = run(Task(SEED, messages=MESSAGES // 10, over=kind))
    assert not [(finding.number, finding.what) for finding in result.findings]


@pytest.mark.parametrize("name", CORPUS)
@pytest.mark.slow
def test_a_message_of_the_corpus_has_one_outcome(context: ReactorContext, name: str) -> None:
    message = CORPUS[name]
    whole = play.play(context, message)
    offsets = range(1, len(message)) if len(message) <= SPLITS else range(1, len(message), len(message) // SPLITS + 1)
    ways = [Manner((cut,), hasty=cut % 2 == 0) for cut in offsets]
    ways += [Manner(tuple(range(1, len(message)))), Manner(send_bytes_max=7), Manner((len(message) // 2,), 1)]
    for manner in ways:
        assert essence(play.play(context, message, manner)) == essence(whole), manner


def test_a_post_is_never_answered_from_memory(context: ReactorContext) -> None:
    """After a constant response and a computed one in one packet, the next computed one was once kept as constant."""
    connection = Connection(context, make_peer())
    post = b"POST /report HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"
    responses = [
        connection.receive_data(data) or b"" for data in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + post, post, post)
    ]
    calls = [response.rpartition(b"\r\n\r\n")[2][:2] for response in responses]
    assert calls == [b"1:", b"2:", b"3:"]


# --- The fuzzer. ---


def test_a_seed_gives_the_same_messages_again() -> None:
    first, second = Source(7), Source(7)
    assert [first.message(number)[0] for number in range(300)] == [second.message(number)[0] for number in range(300)]


@pytest.mark.slow
def test_messages_are_many_and_reach_far(files: Path) -> None:
    """Some are accepted whole, some refused, and of refusals there are all kinds."""
    context, source = make_context(make_app(files)), Source(SEED)
    messages = {source.message(number)[0] for number in range(3000)}
    assert len(messages) > 2800
    for message in messages:
        play.play(context, message)
    statuses = {status for (_, status), counter in context.counters.requests.items() if counter[0]}
    assert {200, 204, 301, 304, 400, 403, 404, 405, 413, 414, 417, 431, 500, 501, 505} <= statuses


def test_it_finds_a_byte_that_is_lost_at_a_split(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    receive = Connection.receive_data

    def forgetful(connection: Connection, data: bytes) -> bytes | None:
        return receive(connection, data[1:] if len(data) == 3 else data)

    monkeypatch.setattr(Connection, "receive_data", forgetful)
    assert "changes the outcome" in first_finding(files)


def test_it_finds_a_response_that_should_not_have_been_kept(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take_turn = Connection._take_turn

    def keep_all(connection: Connection, data: bytes, *found: Any) -> bytes | None:
        response = take_turn(connection, data, *found)
        if response is not None:
            connection._context.cache.responses[data] = (response, len(response), [0, 0], None)
        return response

    monkeypatch.setattr(Connection, "_take_turn", keep_all)
    assert "changes the outcome" in first_finding(files)


def test_it_finds_a_response_after_a_refusal(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = Connection._encode_refusal

    def lenient(connection: Connection, error: Any) -> bytes:
        response = refusal(connection, error)
        connection._keep_alive = True
        return response

    monkeypatch.setattr(Connection, "_encode_refusal", lenient)
    assert first_finding(files)


def test_it_finds_a_response_of_false_length(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = Encoder.encode

    def longer(encoder: Encoder, response: Response, head: RequestHead | None, *, keep_alive: bool) -> bytes:
        return encode(encoder, response, head, keep_alive=keep_alive) + b"x"

    monkeypatch.setattr(Encoder, "encode", longer)
    assert "malformed" in first_finding(files)


def test_it_finds_an_exception(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(context: ReactorContext, head: RequestHead) -> None:
        raise LookupError("planted")

    monkeypatch.setattr(ReactorContext, "route", broken)
    assert first_finding(files) == "LookupError escaped: planted"


def test_it_finds_a_connection_that_does_not_come_to_rest(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "data_sent", lambda connection, count: None)
    monkeypatch.setattr(memory, "STEPS_MAX", 100)
    assert "no rest" in first_finding(files)


def test_growth_is_what_is_added_after_the_warm_up() -> None:
    before, mega = Memory(50 << 20, 90_000), 1 << 20
    assert Result(before=before, after=Memory(90 * mega, 90_000)).has_grown
    assert Result(before=before, after=Memory(50 * mega, 190_000)).has_grown
    assert not Result(before=before, after=Memory(60 * mega, 95_000)).has_grown
    assert not Result(after=Memory(90 * mega, 190_000)).has_grown


def test_a_finding_is_made_short() -> None:
    message = b"a" * 500 + b"NEEDLE" + b"b" * 700
    assert shrink(message, lambda part: b"NEEDLE" in part) == b"NEEDLE"
    assert shrink(message, lambda part: False) == message


def test_random_ways_to_play_follow_from_the_seed(files: Path) -> None:
    """So that a finding is found again."""
    first, second = (Source(3).message(5)[1] for _ in range(2))
    assert isinstance(first, Random)
    assert [first.random() for _ in range(5)] == [second.random() for _ in range(5)]
