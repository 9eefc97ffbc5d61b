"""The access log: its forms to the byte, what peers cannot write into it, and where lines go when the writer cannot."""

import collections
import contextlib
import fcntl
import json
import logging
import math
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mreactor.config import ConfigError, Limits
from mreactor.http.headers import Headers
from mreactor.http.request import RequestHead
from mreactor.http1.head_parser import Parser
from mreactor.logs.access import (
    BATCH_BYTES,
    BATCH_LINES,
    BATCH_SECONDS,
    CLOSE_SECONDS,
    QUEUE_BYTES_MAX,
    STARTS_MAX,
    TAIL_BYTES_MAX,
    TAILS_MAX,
    AccessBuffer,
    AccessLog,
    Message,
    quote,
)
from tests.support.drivers import PATIENCE_SECONDS

WALL = 1795383555.9  # 2026-11-22 21:39:15 UTC
PEER = ("192.0.2.1", 40001)
PARSER = Parser(Limits())

CLF = "192.0.2.1 - - [22/Nov/2026:21:39:15 +0000] "
JSON = '{"time":"2026-11-22T21:39:15Z","peer":"192.0.2.1",'


def a_head(target: str = "/x", *fields: bytes, method: str = "GET", version: str = "1.1") -> RequestHead:
    lines = [f"{method} {target} HTTP/{version}".encode("latin-1"), b"Host: example.org", *fields]
    return PARSER.parse(b"\r\n".join([*lines, b"", b""]))


HEAD = a_head("/x?y=1", b"Referer: http://example.org/", b"User-Agent: curl/8.14.1")
BARE = a_head("/bare")


class Desk:
    """Takes batches as the writer would, and is done with them when told.

    Attributes:
        batches: what buffers have handed over.
    """

    def __init__(self) -> None:
        self.batches: list[bytes] = []
        self._messages: list[Message] = []

    def put(self, message: Message) -> None:
        assert message is not None
        self.batches.append(message[1])
        self._messages.append(message)

    def finish(self) -> None:
        for message in self._messages:
            assert message is not None
            message[0].written += len(message[1])
        self._messages.clear()

    def take(self, buffer: AccessBuffer) -> str:
        """All lines noted since the last call."""
        buffer.flush()
        self.finish()
        batches, self.batches = self.batches, []
        return b"".join(batches).decode("ascii")


@pytest.fixture
def desk() -> Desk:
    return Desk()


def a_buffer(desk: Desk, form: str) -> AccessBuffer:
    buffer = AccessBuffer(form, desk.put)
    buffer.begin_second(WALL)
    return buffer


@pytest.fixture
def buffer(desk: Desk) -> AccessBuffer:
    return a_buffer(desk, "common")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


@contextlib.contextmanager
def running(spec: str) -> Iterator[AccessLog]:
    access = AccessLog(spec)
    access.open()
    access.start()
    try:
        yield access
    finally:
        access.close(PATIENCE_SECONDS)


# Forms.


@pytest.mark.parametrize(
    ("form", "head", "status", "length", "expected"),
    [
        ("common", HEAD, 200, 13, CLF + '"GET /x?y=1 HTTP/1.1" 200 13\n'),
        ("common", BARE, 304, 0, CLF + '"GET /bare HTTP/1.1" 304 0\n'),
        ("common", BARE, 200, -1, CLF + '"GET /bare HTTP/1.1" 200 -\n'),
        ("common", None, 400, 57, CLF + '"-" 400 57\n'),
        (
            "combined",
            HEAD,
            200,
            13,
            CLF + '"GET /x?y=1 HTTP/1.1" 200 13 "http://example.org/" "curl/8.14.1"\n',
        ),
        ("combined", BARE, 404, 0, CLF + '"GET /bare HTTP/1.1" 404 0 "-" "-"\n'),
        ("combined", None, 431, -1, CLF + '"-" 431 - "-" "-"\n'),
        (
            "json",
            HEAD,
            200,
            13,
            JSON + '"method":"GET","target":"/x?y=1","version":"1.1","status":200,"bytes":13,'
            '"referer":"http://example.org/","user_agent":"curl/8.14.1"}\n',
        ),
        (
            "json",
            None,
            400,
            -1,
            JSON + '"method":null,"target":null,"version":null,"status":400,"bytes":null,'
            '"referer":null,"user_agent":null}\n',
        ),
    ],
)
def test_forms(
    desk: Desk, form: str, head: RequestHead | None, status: int, length: int, expected: str
) -> None:
    buffer = a_buffer(desk, form)
    for _ in range(2):  # the first is rendered, the second put together from what is remembered
        buffer.log_request(PEER, head, status, length)
        assert desk.take(buffer) == expected


def test_methods_and_versions(desk: Desk, buffer: AccessBuffer) -> None:
    buffer.log_request(PEER, a_head("*", method="OPTIONS"), 204, 0)
    buffer.log_request(PEER, a_head("http://example.org/a", version="1.0", method="POST"), 201, 5)
    assert desk.take(buffer) == (
        CLF + '"OPTIONS * HTTP/1.1" 204 0\n' + CLF + '"POST http://example.org/a HTTP/1.0" 201 5\n'
    )


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        (("192.0.2.1", 1), "192.0.2.1"),
        (("2001:db8::7", 1, 0, 0), "2001:db8::7"),
        (("fe80::1%eth0", 1, 0, 2), "fe80::1%eth0"),
        (("::ffff:192.0.2.1", 1, 0, 0), "::ffff:192.0.2.1"),
        ((), "-"),
        ("", "-"),
        ("/run/client.sock", "-"),
        (b"\0abstract", "-"),
    ],
)
def test_peers(desk: Desk, buffer: AccessBuffer, peer: tuple[str, int] | str | bytes, host: str) -> None:
    for _ in range(2):
        buffer.log_request(peer, BARE, 200, 1)
        assert desk.take(buffer) == f'{host} - - [22/Nov/2026:21:39:15 +0000] "GET /bare HTTP/1.1" 200 1\n'


def test_a_peer_without_host_in_json(desk: Desk) -> None:
    buffer = a_buffer(desk, "json")
    buffer.log_request("", None, 400, 0)
    assert json.loads(desk.take(buffer))["peer"] is None


def test_equal_answers_to_equal_requests(desk: Desk, buffer: AccessBuffer) -> None:
    line = CLF + '"GET /bare HTTP/1.1" 200 1\n'
    buffer.log_request(PEER, BARE, 200, 1, 3)
    buffer.log_request(PEER, BARE, 200, 1, 2)
    assert desk.take(buffer) == line * 5


def test_lines_keep_their_order(desk: Desk, buffer: AccessBuffer) -> None:
    for status in (200, 404, 200, 304):
        buffer.log_request(PEER, BARE, status, 0)
    assert re.findall(r'" (\d+) ', desk.take(buffer)) == ["200", "404", "200", "304"]


@pytest.mark.parametrize(
    ("wall", "common", "rfc3339"),
    [
        (0.0, "[01/Jan/1970:00:00:00 +0000]", "1970-01-01T00:00:00Z"),
        (0.999, "[01/Jan/1970:00:00:00 +0000]", "1970-01-01T00:00:00Z"),
        (951782400.5, "[29/Feb/2000:00:00:00 +0000]", "2000-02-29T00:00:00Z"),
        (1795383599.0, "[22/Nov/2026:21:39:59 +0000]", "2026-11-22T21:39:59Z"),
        (1795383600.0, "[22/Nov/2026:21:40:00 +0000]", "2026-11-22T21:40:00Z"),
    ],
)
def test_the_time_changes_with_the_second(desk: Desk, wall: float, common: str, rfc3339: str) -> None:
    for form, expected in (("common", common), ("combined", common), ("json", f'{{"time":"{rfc3339}",')):
        buffer = a_buffer(desk, form)
        buffer.log_request(PEER, HEAD, 200, 1)
        assert expected not in desk.take(buffer)
        buffer.begin_second(wall)
        for _ in range(2):
            buffer.log_request(PEER, HEAD, 200, 1)
        assert desk.take(buffer).count(expected) == 2


def test_a_new_buffer_knows_the_time(desk: Desk) -> None:
    before = int(time.time())
    buffer = AccessBuffer("json", desk.put)
    buffer.log_request(PEER, None, 400, 0)
    stamps = [
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(s)) for s in range(before, int(time.time()) + 1)
    ]
    assert json.loads(desk.take(buffer))["time"] in stamps


# Nobody forges a line.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "-"),
        ("", "-"),
        ("plain text, with (nearly) everything: !#$%&'*+-./:;<=>?@[]^_`{|}~", None),
        ('say "hi"', "say \\x22hi\\x22"),
        ("C:\\x22", "C:\\x5Cx22"),
        ("a\tb\r\nc\0\x1b[2J\x7f", "a\\x09b\\x0D\\x0Ac\\x00\\x1B[2J\\x7F"),
        ("caf\xc3\xa9 \xff\x80", "caf\\xC3\\xA9 \\xFF\\x80"),
    ],
)
def test_quote(text: str | None, expected: str | None) -> None:
    assert quote(text) == (text if expected is None else expected)


HOSTILE = a_head(
    "/?q=\\",
    b'Referer: x" "forged" \\" 1\ttab',
    b"User-Agent: caf\xc3\xa9 \xff\x85" + "\u2028".encode(),
)


def test_what_a_peer_sends_stays_in_its_quotes(desk: Desk) -> None:
    buffer = a_buffer(desk, "combined")
    buffer.log_request(PEER, HOSTILE, 200, 1)
    assert desk.take(buffer) == (
        CLF + '"GET /?q=\\x5C HTTP/1.1" 200 1 "x\\x22 \\x22forged\\x22 \\x5C\\x22 1\\x09tab"'
        ' "caf\\xC3\\xA9 \\xFF\\x85\\xE2\\x80\\xA8"\n'
    )


def test_what_a_peer_sends_stays_in_its_json_string(desk: Desk) -> None:
    buffer = a_buffer(desk, "json")
    buffer.log_request(PEER, HOSTILE, 200, 1)
    line = desk.take(buffer)
    assert line.isascii()
    assert line.count("\n") == 1
    fields = json.loads(line)
    assert fields["target"] == "/?q=\\"
    assert fields["referer"] == 'x" "forged" \\" 1\ttab'
    assert fields["user_agent"].encode("latin-1") == b"caf\xc3\xa9 \xff\x85\xe2\x80\xa8"


@pytest.mark.parametrize("form", ["combined", "json"])
@pytest.mark.parametrize("code", [*range(0x20), 0x7F, 0x85])
def test_control_characters_never_reach_the_file(desk: Desk, form: str, code: int) -> None:
    """The parser refuses nearly all of them. Should it ever let one pass, a line still is a line."""
    head = a_head("/")
    head.headers = Headers((("user-agent", f"a{chr(code)}b"), ("referer", f"{chr(code)}\n127.0.0.1 - -")))
    head.target = f"/{chr(code)}"
    buffer = a_buffer(desk, form)
    buffer.log_request(PEER, head, 200, 1)
    line = desk.take(buffer)
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    assert line.isascii()


# Memory and batches.


def test_the_memos_are_bounded(desk: Desk, buffer: AccessBuffer) -> None:
    parser = Parser(Limits())
    for number in range(3 * TAILS_MAX):
        raw = b"GET /%d HTTP/1.1\r\nHost: x\r\nUser-Agent: %d\r\n\r\n" % (number, number)
        buffer.log_request((f"host-{number}", 1), parser.parse(raw), 200, 1)
        assert len(buffer._tails) <= TAILS_MAX
        assert len(buffer._fields) <= TAILS_MAX
    for number in range(2 * STARTS_MAX):
        buffer.log_request((f"host-{number}", 1), BARE, 200, 1)
        assert len(buffer._starts) <= STARTS_MAX
    lines = desk.take(buffer).splitlines()
    assert len(lines) == 3 * TAILS_MAX + 2 * STARTS_MAX
    assert lines[TAILS_MAX].startswith(f"host-{TAILS_MAX} ")
    assert f'"GET /{TAILS_MAX} HTTP/1.1"' in lines[TAILS_MAX]


def test_varied_lengths_of_one_head_are_bounded(desk: Desk, buffer: AccessBuffer) -> None:
    for length in range(3 * TAILS_MAX):
        buffer.log_request(PEER, BARE, 200, length)
        assert len(buffer._tails) <= TAILS_MAX
    assert [line.rsplit(" ")[-1] for line in desk.take(buffer).splitlines()] == [
        str(length) for length in range(3 * TAILS_MAX)
    ]


def test_long_lines_are_not_kept(desk: Desk, buffer: AccessBuffer) -> None:
    head = a_head("/" + "x" * TAIL_BYTES_MAX)
    for _ in range(2):
        buffer.log_request(PEER, head, 200, 1)
        assert len(desk.take(buffer)) > TAIL_BYTES_MAX
    assert not buffer._tails


def test_the_memos_forget_with_the_second(buffer: AccessBuffer) -> None:
    buffer.log_request(PEER, HEAD, 200, 1)
    buffer.begin_second(WALL + 1)
    assert [len(memo) for memo in (buffer._starts, buffer._tails, buffer._fields)] == [0, 0, 0]


def test_a_turn_hands_over_lines_that_are_old(desk: Desk, buffer: AccessBuffer) -> None:
    buffer.hand_over_due(100.0)
    assert desk.batches == []
    buffer.log_request(PEER, BARE, 200, 1)
    buffer.hand_over_due(100.0)
    assert len(desk.batches) == 1
    buffer.log_request(PEER, BARE, 200, 1)
    buffer.hand_over_due(100.0 + BATCH_SECONDS / 2)
    assert len(desk.batches) == 1
    buffer.hand_over_due(100.0 + BATCH_SECONDS)
    assert len(desk.batches) == 2
    buffer.hand_over_due(200.0)
    buffer.flush()
    assert len(desk.batches) == 2


def test_a_turn_hands_over_lines_that_are_many(desk: Desk, buffer: AccessBuffer) -> None:
    buffer.log_request(PEER, BARE, 200, 1)
    buffer.hand_over_due(100.0)
    for _ in range(BATCH_LINES - 1):
        buffer.log_request(PEER, BARE, 200, 1)
    buffer.hand_over_due(100.0)
    assert len(desk.batches) == 1
    buffer.log_request(PEER, BARE, 200, 1)
    buffer.hand_over_due(100.0)
    assert [batch.count(b"\n") for batch in desk.batches] == [1, BATCH_LINES]


def test_lines_that_are_long_do_not_wait_for_the_turn(desk: Desk, buffer: AccessBuffer) -> None:
    head = a_head("/" + "x" * 8000)
    for _ in range(100):
        buffer.log_request(PEER, head, 200, 1, 2)
    assert 2 * 100 * 8000 - sum(map(len, desk.batches)) < BATCH_BYTES
    assert max(map(len, desk.batches)) < 2 * BATCH_BYTES


# When the writer lags.


def test_lines_are_dropped_and_counted_when_the_writer_lags(desk: Desk, buffer: AccessBuffer) -> None:
    line_bytes = len(CLF + '"GET /bare HTTP/1.1" 200 1\n')
    count = QUEUE_BYTES_MAX // line_bytes + 1
    buffer.log_request(PEER, BARE, 200, 1, count)
    assert (len(desk.batches), buffer.dropped) == (1, 0)
    for _ in range(3):
        buffer.log_request(PEER, BARE, 200, 1)
    buffer.flush()
    buffer.log_request(PEER, BARE, 200, 1, 4)
    buffer.flush()
    assert (len(desk.batches), buffer.dropped) == (1, 7)
    desk.finish()
    buffer.log_request(PEER, BARE, 200, 1)
    buffer.flush()
    assert (len(desk.batches), buffer.dropped) == (2, 7)


@pytest.fixture
def pipe(path: Path) -> Iterator[int]:
    """The reading end of a named pipe at `path`, which blocks its writer when 4 KiB wait in it."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    yield reader
    with contextlib.suppress(OSError):
        os.close(reader)


def read_to_end(reader: int) -> bytes:
    os.set_blocking(reader, True)
    pieces = []
    while piece := os.read(reader, 65536):
        pieces.append(piece)
    return b"".join(pieces)


def test_a_file_that_blocks_stops_no_reactor(path: Path, pipe: int, caplog: pytest.LogCaptureFixture) -> None:
    line = CLF.encode() + b'"GET /bare HTTP/1.1" 200 1\n'
    batch_lines = BATCH_BYTES // len(line)
    batches = 2 * QUEUE_BYTES_MAX // BATCH_BYTES
    received = []
    access = AccessLog(f"common:{path}")
    access.open()
    access.start()
    buffer = access.buffer()
    buffer.begin_second(WALL)
    for _ in range(batches):
        buffer.log_request(PEER, BARE, 200, 1, batch_lines)
        buffer.flush()
    dropped = access.dropped
    assert 0 < dropped < batches * batch_lines
    reading = threading.Thread(target=lambda: received.append(read_to_end(pipe)))
    reading.start()
    access.close(PATIENCE_SECONDS)
    reading.join(PATIENCE_SECONDS)
    assert received == [line * (batches * batch_lines - dropped)]
    assert caplog.messages == [f"access log: {path} takes lines too slowly, {dropped} dropped"]
    assert access.lost == 0


def test_closing_does_not_wait_for_ever(path: Path, pipe: int, caplog: pytest.LogCaptureFixture) -> None:
    access = AccessLog(f"common:{path}")
    access.open()
    access.start()
    access.buffer().log_request(PEER, BARE, 200, 1, 1000)
    began = time.monotonic()
    access.close(0.05)
    assert time.monotonic() - began < CLOSE_SECONDS
    assert caplog.messages == [f"access log: {path} took no more lines, the last ones are lost"]
    os.close(pipe)  # now its writing fails, and the writer ends
    access.close(PATIENCE_SECONDS)
    assert access.lost > 0
    assert not [thread for thread in threading.enumerate() if thread.name == "access-log"]


def test_a_full_disk_is_logged_once_and_harms_no_reactor(caplog: pytest.LogCaptureFixture) -> None:
    access = AccessLog("common:/dev/full")
    access.open()
    access.start()
    buffer = access.buffer()
    for _ in range(10):
        buffer.log_request(PEER, BARE, 200, 1, 10)
        buffer.flush()
    access.close(PATIENCE_SECONDS)
    assert (access.lost, access.dropped) == (100, 0)
    assert caplog.messages == [
        "access log: /dev/full cannot be written, lines are lost: No space left on device"
    ]


# The writer.


@pytest.mark.parametrize(
    "spec", ["", ":", "apache", "Common", "common:", ":access.log", " json", "common,json"]
)
def test_a_wrong_specification(spec: str) -> None:
    with pytest.raises(ConfigError) as caught:
        AccessLog(spec)
    assert str(caught.value) == (
        f"--access-log: {spec!r} is not FORMAT or FORMAT:FILE, FORMAT one of common, combined, json"
    )


def test_nothing_happens_before_it_is_opened(path: Path) -> None:
    threads = threading.active_count()
    access = AccessLog(f"common:{path}")
    assert not path.exists()
    access.open()
    assert threading.active_count() == threads
    assert path.read_bytes() == b""
    access.close()


def test_a_file_name_may_hold_colons(tmp_path: Path) -> None:
    with running(f"common:{tmp_path}/a:b"):
        pass
    assert (tmp_path / "a:b").exists()


@pytest.mark.parametrize(
    ("name", "cause"), [("", "Is a directory"), ("no/access.log", "No such file or directory")]
)
def test_a_file_that_cannot_be_opened(tmp_path: Path, name: str, cause: str) -> None:
    path = tmp_path / name
    with pytest.raises(ConfigError) as caught:
        AccessLog(f"json:{path}").open()
    assert str(caught.value) == f"--access-log: cannot write {path}: {cause}"
    assert isinstance(caught.value.__cause__, OSError)


def test_standard_output_is_the_default(capfd: pytest.CaptureFixture[str]) -> None:
    with running("common") as access:
        buffer = access.buffer()
        buffer.begin_second(WALL)
        buffer.log_request(PEER, BARE, 200, 1)
    assert capfd.readouterr().out == CLF + '"GET /bare HTTP/1.1" 200 1\n'


def test_a_closed_standard_output_is_refused() -> None:
    program = "from mreactor.logs import AccessLog; AccessLog('common').open()"
    command = ["sh", "-c", 'exec "$0" -c "$1" >&-', sys.executable, program]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2])
    assert ended.returncode == 1
    assert ended.stderr.endswith("--access-log: cannot write standard output: Bad file descriptor\n")


def test_closing_flushes_what_ended_reactors_left(path: Path) -> None:
    def react(access: AccessLog) -> None:
        access.buffer().log_request(PEER, BARE, 200, 1)

    with running(f"common:{path}") as access:
        reactor = threading.Thread(target=react, args=(access,))
        reactor.start()
        reactor.join()
        access.buffer().log_request(PEER, BARE, 200, 2)
    access.close()
    assert [line.rsplit(b" ")[-1] for line in path.read_bytes().splitlines()] == [b"1", b"2"]


def test_closing_leaves_a_running_reactor_its_buffer(path: Path) -> None:
    noted, closed = threading.Event(), threading.Event()

    def react(access: AccessLog) -> None:
        buffer = access.buffer()
        buffer.log_request(PEER, BARE, 200, 1)
        noted.set()
        closed.wait(PATIENCE_SECONDS)
        buffer.log_request(PEER, BARE, 200, 1)
        buffer.flush()

    with running(f"common:{path}") as access:
        reactor = threading.Thread(target=react, args=(access,))
        reactor.start()
        assert noted.wait(PATIENCE_SECONDS)
    closed.set()
    reactor.join(PATIENCE_SECONDS)
    assert path.read_bytes() == b""


def drive(access: AccessLog, thread: int, rounds: int, notes: int) -> None:
    """What a reactor does: rounds of notes, each with a turn at its end, on a clock of its own."""
    buffer = access.buffer()
    heads = [a_head(f"/{thread}/{number}") for number in range(notes)]
    for number in range(rounds):
        for head in heads:
            buffer.log_request((f"192.0.2.{thread}", number), head, 200, number)
        buffer.hand_over_due(number * BATCH_SECONDS / 3)


def run_all(target: Callable[..., None], calls: list[tuple[object, ...]]) -> None:
    threads = [threading.Thread(target=target, args=arguments) for arguments in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert not any(thread.is_alive() for thread in threads)


def test_many_reactors_write_whole_lines(path: Path) -> None:
    threads, rounds, notes = 8, 60, 20
    with running(f"combined:{path}") as access:
        run_all(drive, [(access, thread, rounds, notes) for thread in range(threads)])
    assert (access.dropped, access.lost) == (0, 0)
    line = re.compile(r'192\.0\.2\.(\d) - - \[[^]]{26}\] "GET /(\d)/(\d+) HTTP/1\.1" 200 (\d+) "-" "-"')
    matches = [line.fullmatch(each) for each in path.read_text().splitlines()]
    found = [match.groups() for match in matches if match is not None]
    assert len(found) == len(matches) == threads * rounds * notes
    assert all(peer == thread for peer, thread, *_ in found)
    by_thread = collections.defaultdict(list)
    for thread, _, number, round_number in found:
        by_thread[thread].append((int(round_number), int(number)))
    assert all(noted == sorted(noted) for noted in by_thread.values())
    assert len(set(found)) == len(found)


# Rotation.


def test_after_reopening_lines_go_to_the_new_file(path: Path) -> None:
    with running(f"common:{path}") as access:
        buffer = access.buffer()
        buffer.log_request(PEER, BARE, 200, 1)
        path.rename(path.with_suffix(".1"))
        access.reopen()
        buffer.flush()
    assert path.with_suffix(".1").read_bytes() == b""
    assert path.read_bytes().endswith(b" 200 1\n")


def test_reopening_needs_no_request(path: Path) -> None:
    """What rotates logs compresses the former file: it must be let go although nothing is written."""
    access = AccessLog(f"common:{path}")
    access.open()
    access.start()
    path.rename(path.with_suffix(".1"))
    access.reopen()
    access.close(PATIENCE_SECONDS)
    assert path.read_bytes() == b""


def test_rotation_loses_no_line(path: Path) -> None:
    rotations, rounds, notes = 10, 200, 20
    files = [path, *(path.with_suffix(f".{number}") for number in range(rotations))]
    with running(f"common:{path}") as access:
        reactor = threading.Thread(target=drive, args=(access, 1, rounds, notes))
        reactor.start()
        for former in files[1:]:
            path.rename(former)
            access.reopen()
            wait_for(path.exists)
        reactor.join(PATIENCE_SECONDS)
    texts = [file.read_text() for file in [*files[1:], files[0]]]
    assert all(text.endswith("\n") for text in texts if text)
    lines = "".join(texts).splitlines()
    assert [re.findall(r"/1/(\d+) HTTP/1.1\" 200 (\d+)", line) for line in lines] == [
        [(str(number), str(round_number))] for round_number in range(rounds) for number in range(notes)
    ]


def wait_for(condition: Callable[[], bool]) -> None:
    """Ask until it is so; the file system has no event for it that costs less."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()


def test_a_file_that_cannot_be_reopened_is_kept(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    former = path.with_suffix(".1")
    with running(f"common:{path}") as access:
        path.rename(former)
        path.mkdir()
        access.reopen()
        access.buffer().log_request(PEER, BARE, 200, 1)
    assert former.read_bytes().endswith(b" 200 1\n")
    assert caplog.messages == [
        f"access log: {path} cannot be reopened, the former file is kept: Is a directory"
    ]


def test_reports_of_drops_are_few(
    desk: Desk, path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One at once, and one at the end for all that was dropped since."""
    monkeypatch.setattr("mreactor.logs.access.REPORT_SECONDS", math.inf)  # however long this takes
    with caplog.at_level(logging.WARNING), running(f"common:{path}") as access:
        buffer = access.buffer()
        for dropped in (3, 5, 9):
            buffer.dropped = dropped
            size = path.stat().st_size
            buffer.log_request(PEER, BARE, 200, 1)
            buffer.flush()
            wait_for(lambda size=size: path.stat().st_size > size)  # type: ignore[misc]
            access.reopen()  # one more message: when it is taken, the report on the last one has been made
    numbers = [int(re.findall(r"(\d+) dropped", message)[0]) for message in caplog.messages]
    assert sum(numbers) == 9
    assert len(numbers) == 2
