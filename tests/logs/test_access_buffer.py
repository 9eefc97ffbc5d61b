"""The buffer of the access log: its memos, when it hands over a batch, and when it drops lines."""

from mreactor.config import Limits
from mreactor.http1.head_parser import Parser
from mreactor.logs.access import (
    BATCH_BYTES,
    BATCH_LINES,
    BATCH_SECONDS,
    QUEUE_BYTES_MAX,
    STARTS_MAX,
    TAIL_BYTES_MAX,
    TAILS_MAX,
    AccessBuffer,
)
from mreactor.logs.access_formats import TEXT_CHARS_MAX
from tests.logs.access_lines import BARE, CLF, HEAD, PEER, WALL, MemoryWriter, a_head


def test_the_memos_are_bounded(writer: MemoryWriter, buffer: AccessBuffer) -> None:
    parser = Parser(Limits())
    for number in range(3 * TAILS_MAX):
        raw = b"GET /%d HTTP/1.1\r\nHost: x\r\nUser-Agent: %d\r\n\r\n" % (number, number)
        buffer.log_request((f"host-{number}", 1), parser.parse(raw), 200, 1)
        assert len(buffer._tails) <= TAILS_MAX
        assert len(buffer._fields) <= TAILS_MAX
    for number in range(2 * STARTS_MAX):
        buffer.log_request((f"host-{number}", 1), BARE, 200, 1)
        assert len(buffer._starts) <= STARTS_MAX
    lines = writer.take(buffer).splitlines()
    assert len(lines) == 3 * TAILS_MAX + 2 * STARTS_MAX
    assert lines[TAILS_MAX].startswith(f"host-{TAILS_MAX} ")
    assert f'"GET /{TAILS_MAX} HTTP/1.1"' in lines[TAILS_MAX]


def test_varied_lengths_of_one_head_are_bounded(writer: MemoryWriter, buffer: AccessBuffer) -> None:
    for length in range(3 * TAILS_MAX):
        buffer.log_request(PEER, BARE, 200, length)
        assert len(buffer._tails) <= TAILS_MAX
    assert [line.rsplit(" ")[-1] for line in writer.take(buffer).splitlines()] == [
        str(length) for length in range(3 * TAILS_MAX)
    ]


def test_long_lines_are_not_remembered(writer: MemoryWriter, buffer: AccessBuffer) -> None:
    head = a_head("/" + "x" * TAIL_BYTES_MAX)
    for _ in range(2):
        buffer.log_request(PEER, head, 200, 1)
        assert len(writer.take(buffer)) > TAIL_BYTES_MAX
    assert not buffer._tails


def test_a_new_second_clears_the_memos(buffer: AccessBuffer) -> None:
    buffer.log_request(PEER, HEAD, 200, 1)
    buffer.begin_second(WALL + 1)
    assert [len(memo) for memo in (buffer._starts, buffer._tails, buffer._fields)] == [0, 0, 0]


def test_old_lines_are_handed_over(writer: MemoryWriter, buffer: AccessBuffer) -> None:
    buffer.hand_over_due(100.0)
    assert writer.batches == []
    buffer.log_request(PEER, BARE, 200, 1)
    buffer.hand_over_due(100.0)
    assert len(writer.batches) == 1
    buffer.log_request(PEER, BARE, 200, 1)
    buffer.hand_over_due(100.0 + BATCH_SECONDS / 2)
    assert len(writer.batches) == 1
    buffer.hand_over_due(100.0 + BATCH_SECONDS)
    assert len(writer.batches) == 2
    buffer.hand_over_due(200.0)
    buffer.flush()
    assert len(writer.batches) == 2


def test_many_lines_are_handed_over(writer: MemoryWriter, buffer: AccessBuffer) -> None:
    buffer.log_request(PEER, BARE, 200, 1)
    buffer.hand_over_due(100.0)
    for _ in range(BATCH_LINES - 1):
        buffer.log_request(PEER, BARE, 200, 1)
    buffer.hand_over_due(100.0)
    assert len(writer.batches) == 1
    buffer.log_request(PEER, BARE, 200, 1)
    buffer.hand_over_due(100.0)
    assert [batch.count(b"\n") for batch in writer.batches] == [1, BATCH_LINES]


def test_long_lines_are_handed_over_at_once(writer: MemoryWriter, buffer: AccessBuffer) -> None:
    head = a_head("/" + "x" * 8000)
    for _ in range(100):
        buffer.log_request(PEER, head, 200, 1, 2)
    handed_over = sum(map(len, writer.batches))
    assert 2 * 100 * TEXT_CHARS_MAX - handed_over < BATCH_BYTES
    assert max(map(len, writer.batches)) < 2 * BATCH_BYTES


def test_lines_are_dropped_and_counted_when_the_writer_lags(writer: MemoryWriter, buffer: AccessBuffer) -> None:
    line_bytes = len(CLF + '"GET /bare HTTP/1.1" 200 1\n')
    count = QUEUE_BYTES_MAX // line_bytes + 1
    buffer.log_request(PEER, BARE, 200, 1, count)
    assert (len(writer.batches), buffer.dropped) == (1, 0)
    for _ in range(3):
        buffer.log_request(PEER, BARE, 200, 1)
    buffer.flush()
    buffer.log_request(PEER, BARE, 200, 1, 4)
    buffer.flush()
    assert (len(writer.batches), buffer.dropped) == (1, 7)
    writer.finish()
    buffer.log_request(PEER, BARE, 200, 1)
    buffer.flush()
    assert (len(writer.batches), buffer.dropped) == (2, 7)
