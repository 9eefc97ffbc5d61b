"""The formats of log lines, and that a peer cannot forge one."""

import io
import json
import logging

import pytest

from mreactor.logs.formatters import (
    LINE_CHARS_MAX,
    MESSAGE_CHARS_MAX,
    TRACEBACK_CHARS_MAX,
    JsonFormatter,
    PlainFormatter,
    escape,
    shorten,
)
from mreactor.logs.handlers import configure

log = logging.getLogger("mreactor")


def a_record(message: str = "ready", level: int = logging.INFO, **changes: object) -> logging.LogRecord:
    record = logging.LogRecord("mreactor", level, "", 0, message, None, None)
    record.created, record.msecs, record.threadName = 1795383555.1239, 123.9, "reactor-3"
    record.__dict__.update(changes)
    return record


def failure(text: str) -> Exception:
    """An exception that has been raised, and so has a traceback."""
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


def exc_info(error: Exception) -> tuple[type[Exception], Exception, object]:
    return type(error), error, error.__traceback__


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (logging.ERROR, "2026-11-22T21:39:15.123Z ERROR reactor-3 ready"),
        (logging.WARNING, "2026-11-22T21:39:15.123Z WARN  reactor-3 ready"),
        (logging.INFO, "2026-11-22T21:39:15.123Z INFO  reactor-3 ready"),
        (logging.DEBUG, "2026-11-22T21:39:15.123Z DEBUG reactor-3 ready"),
        (logging.CRITICAL, "2026-11-22T21:39:15.123Z CRITICAL reactor-3 ready"),
    ],
)
def test_plain_lines(level: int, expected: str) -> None:
    assert PlainFormatter().format(a_record(level=level)) == expected


def test_plain_tracebacks_are_indented() -> None:
    forged = "no\n2026-11-22T21:39:15.123Z INFO  main forged\r2026\x0b2026\u20282026"
    text = PlainFormatter().format(a_record("a handler failed", exc_info=exc_info(failure(forged))))
    first, *rest = text.split("\n")
    assert first == "2026-11-22T21:39:15.123Z INFO  reactor-3 a handler failed"
    assert rest[0] == "    Traceback (most recent call last):"
    assert rest[-5:] == [
        "    ValueError: no",
        "    2026-11-22T21:39:15.123Z INFO  main forged",
        "    2026",
        "    2026",
        "    2026",
    ]
    assert all(line.startswith("    ") and line.isprintable() for line in rest)


def test_an_empty_exception_adds_nothing() -> None:
    record = a_record(exc_info=(None, None, None))
    assert PlainFormatter().format(record) == "2026-11-22T21:39:15.123Z INFO  reactor-3 ready"


def test_json_lines() -> None:
    assert JsonFormatter().format(a_record('say "hi"\n\x1b\u00e9', level=logging.WARNING)) == (
        '{"time": "2026-11-22T21:39:15.123Z", "level": "warning", "thread": "reactor-3",'
        ' "message": "say \\"hi\\"\\n\\u001b\\u00e9"}'
    )


def test_json_names_the_request() -> None:
    assert json.loads(JsonFormatter().format(a_record(request_id="r1")))["request_id"] == "r1"
    assert "request_id" not in json.loads(JsonFormatter().format(a_record()))


def test_json_exceptions_stay_on_the_line() -> None:
    text = JsonFormatter().format(a_record(exc_info=exc_info(failure("no\nforged"))))
    assert "\n" not in text
    assert json.loads(text)["exception"].startswith("Traceback (most recent call last):\n")
    assert json.loads(text)["exception"].endswith("ValueError: no\nforged")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET /caf\u00e9?a=1 \u65e5", "GET /caf\u00e9?a=1 \u65e5"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[2J\x00\x7f\x9b", "\\x1b[2J\\x00\\x7f\\x9b"),
        ("\u2028\u202e\u200b", "\\u2028\\u202e\\u200b"),
        ("\ud800\U000e0001", "\\ud800\\U000e0001"),
        ("", ""),
        ("C:\\new\\\n\\", "C:\\new\\\\n\\"),
        ("'\"\n'\"\\'", "'\"\\n'\"\\'"),
    ],
)
def test_escape(text: str, expected: str) -> None:
    assert escape(text) == expected


@pytest.mark.parametrize("form", ["plain", "json"])
def test_a_peer_cannot_forge_a_line(stream: io.StringIO, form: str) -> None:
    configure("info", form, stream)
    log.info("refused %s", "x\n2026-11-22T21:39:15.123Z ERROR main the disk is full\r\n")
    assert stream.getvalue().count("\n") == 1
    assert "\r" not in stream.getvalue()


def test_wrong_arguments_do_not_hide_the_message(stream: io.StringIO) -> None:
    configure("info", "plain", stream)
    log.info("%d requests", "many")
    assert "%d requests (arguments ('many',) do not match: %d format" in stream.getvalue()


# A peer cannot make a long line.


@pytest.mark.parametrize(
    ("text", "shortened"),
    [
        ("0123456789", "0123456789"),
        ("0123456789a", "01234 ... 1 characters left out ... 6789a"),
        ("0123456789" * 10, "01234 ... 90 characters left out ... 56789"),
    ],
)
def test_shorten(text: str, shortened: str) -> None:
    assert shorten(text, 10) == shortened


@pytest.mark.parametrize("filling", ["x", "\n", "\x01", "\U000e0001", "'\"\x01", "\\"])
def test_the_length_of_a_line_does_not_depend_on_what_a_peer_sent(filling: str) -> None:
    """An exception may quote a whole body. Megabytes take milliseconds: they are cut first and escaped then."""
    text = filling * 1_000_000
    record = a_record(f"the handler of {text} failed", exc_info=exc_info(failure(f"unknown command {text}")))
    line = PlainFormatter().format(record)
    assert len(line) < LINE_CHARS_MAX + 100
    assert line.startswith("2026-11-22T21:39:15.123Z INFO  reactor-3 the handler of ")
    assert " characters left out ... " in line
    assert all(each.startswith("    ") for each in line.split("\n")[1:])
    fields = json.loads(JsonFormatter().format(record))
    assert len(fields["message"]) < MESSAGE_CHARS_MAX + 100
    assert len(fields["exception"]) < TRACEBACK_CHARS_MAX + 100
    assert fields["exception"].startswith("Traceback (most recent call last):\n")
    assert "ValueError: unknown command " in fields["exception"]
