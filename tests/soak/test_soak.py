"""The soaks in small, against both backends; and the soaks themselves: do they notice what is wrong?"""

import dataclasses
import os
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.soak import load as load_module
from tests.soak import unruly_app
from tests.soak.forms import Sent, send_forms
from tests.soak.kinds import KINDS
from tests.soak.load import Unexpected, learn
from tests.soak.server import Server, Sight, serving
from tests.soak.soak import Soaked, soak
from tests.soak.unruly import WEIGHTS, Outcome, Received, Wrong, check, harass
from tests.soak.uploads import Row, refuse_uploads
from tests.support.drivers import SOCKET_KINDS, missing

REQUESTS = 6000
SECONDS_MAX = 600.0


@pytest.mark.parametrize("kind", SOCKET_KINDS)
def test_mixed_load(kind: str) -> None:
    """Memory is the long soak's business: a server that has just begun is still growing into its work."""
    if reason := missing(kind):
        pytest.skip(reason)
    with serving(kind, threads=2) as server:
        result = soak(server, REQUESTS, SECONDS_MAX, 32, lambda requests, sight: None)
    assert result.requests >= REQUESTS
    assert result.done.keys() == {kind.name for kind in KINDS}
    assert not [fault for fault in result.faults() if "memory" not in fault]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving("epoll", threads=1) as server:
        yield server


def test_a_response_that_is_not_the_same_is_noticed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    references = learn(server.address)
    of_echo = next(kind for kind in KINDS if kind.name == "post")
    monkeypatch.setattr(load_module, "learn", lambda address: {**references, of_echo: references[of_echo][:-1] + b"?"})
    with pytest.raises(Unexpected, match="post: "):
        soak(server, REQUESTS, SECONDS_MAX, 8, lambda requests, sight: None)


def test_a_wrong_status_is_noticed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_module, "KINDS", (dataclasses.replace(KINDS[0], statuses=(201,)),))
    with pytest.raises(Unexpected, match="the responses are"):
        learn(server.address)


def test_what_is_left_behind_is_noticed() -> None:
    start, warm = Sight(40_000_000, 9, 4), Sight(50_000_000, 80, 20)
    good = Soaked(1000, 1.0, start, warm, Sight(54_000_000, 9, 20), 0, Counter(), [])
    assert not good.faults()
    for end, word in (
        (Sight(56_000_000, 9, 20), "memory"),
        (Sight(50_000_000, 10, 20), "descriptors"),
        (Sight(50_000_000, 9, 21), "threads"),
    ):
        bad = Soaked(1000, 1.0, start, warm, end, 0, Counter(), [])
        assert [fault for fault in bad.faults() if word in fault]
    assert Soaked(1000, 1.0, start, warm, start, 0, Counter(), ["a line"]).faults()


# --- An application that forks, streams rows and fails. ---


@pytest.mark.parametrize("kind", SOCKET_KINDS)
def test_an_unruly_application(kind: str) -> None:
    if reason := missing(kind):
        pytest.skip(reason)
    with serving(kind, threads=2, app="tests.soak.unruly_app:app") as server:
        outcome = harass(server, 4.0, 8, 4.0, lambda text: None)
    assert {*WEIGHTS, "forks", "forks/blocking"} == set(outcome.done)
    assert not [fault for fault in outcome.faults() if "memory" not in fault]


@pytest.mark.parametrize(
    ("what", "response"),
    [
        ("plain", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nc1r2\n"),
        ("plain", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nc1r"),
        ("plain", b"HTTP/1.1 500 Oh\r\nContent-Length: 5\r\n\r\nc1r1\n"),
        ("plain", b""),
        ("feed", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nc1r1 0\n\r\n0\r\n\r\n"),
        ("cut", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\nc1r1 the first half\n\r\n0\r\n\r\n"),
        ("cut", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\nc1r2 the first half\n\r\n"),
        ("shared", b'HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n{"token":"c1r2","shared":[]}'),
        ("fails", b"HTTP/1.1 409 No\r\nContent-Length: 12\r\n\r\n<p>c1r2 is a"),
    ],
)
def test_a_response_of_another_client_or_a_cut_one_is_noticed(what: str, response: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(response)
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(Wrong):
            check(what, "c1r1", Received(ours))


def test_only_a_child_that_hangs_in_the_fork_is_killed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(unruly_app, "FORK_SECONDS_MAX", 0.2)
    for says, seconds, is_killed in ((b"", "60", True), (b".", "0.5", False)):
        said, end = os.pipe()
        os.write(end, says)
        child = subprocess.Popen(["sleep", seconds])
        unruly_app.wait_for_child(child.pid, said)
        os.close(end)
        # It has been waited for.
        assert child.wait() == 0
        assert (f"the child {child.pid} hangs" in capfd.readouterr().err) is is_killed


def test_wrong_responses_and_growth_are_faults() -> None:
    start = Sight(40_000_000, 9, 4)
    assert not Outcome(start=start, warm=start, end=start).faults()
    assert Outcome(wrong=["one"], start=start, warm=start, end=start).faults()
    assert Outcome(start=start, warm=start, end=start, children=1).faults()
    for end in (Sight(60_000_000, 9, 4), Sight(40_000_000, 10, 4), Sight(40_000_000, 9, 400)):
        assert Outcome(start=start, warm=start, end=end).faults()


# --- Uploads behind proxies. ---


@pytest.mark.parametrize("kind", SOCKET_KINDS)
def test_a_refused_upload_gets_413_in_each_way(kind: str) -> None:
    """Directly, and through nginx and HAProxy if they are installed."""
    if reason := missing(kind):
        pytest.skip(reason)
    with serving(kind, threads=1) as server:
        rows = list(refuse_uploads(server, [20], 2))
    assert {row.way for row in rows} >= {"directly"}
    assert [row.outcomes for row in rows] == [Counter({"413": 2})] * len(rows)


def test_a_server_that_does_not_linger_loses_its_responses() -> None:
    with serving("epoll", 1, ["--linger-bytes-max", "0"]) as server:
        rows = list(refuse_uploads(server, [20], 4))
    assert any(row.outcomes["413"] < 4 for row in rows)


def test_one_of_twenty_four_may_be_lost() -> None:
    assert not Row("a way", 20, Counter({"413": 23, "502": 1})).faults()
    assert Row("a way", 20, Counter({"413": 22, "502": 2})).faults()
    assert Row("a way", 20, Counter({"413": 1, "ConnectionResetError": 1})).faults()


# --- A form with large files. ---


@pytest.mark.parametrize("kind", SOCKET_KINDS)
def test_a_form_with_large_files_takes_no_memory(kind: str) -> None:
    """Ten files of 6 MB; `python -m tests.soak forms` has ten of 100 MB."""
    if reason := missing(kind):
        pytest.skip(reason)
    with serving(kind, threads=2, options=["--body-bytes-max", "100000000"]) as server:
        result = send_forms(server, 6_000_000)
    assert not result.faults(), str(result)
    assert result.disk > 60_000_000, "the form and its files have been in temporary files"


def test_a_file_that_is_not_the_same_growth_and_open_files_are_noticed() -> None:
    assert not Sent(1, before=50 << 20, peak=57 << 20).faults()
    assert Sent(1, wrong=["file1"]).faults()
    assert Sent(1, before=50 << 20, peak=59 << 20).faults()
    assert Sent(1, descriptors=1).faults()
