"""The formats of log lines: plain for people, JSON for machines. No peer can forge a line, or make a long one.

What a peer sent may stand in the message of an exception, and be as long as a body. So texts are cut before they are
escaped, and escaped at the speed of C.
"""

import json
import logging
import time

from .tracebacks import format_error

_LABELS = {logging.ERROR: "ERROR", logging.WARNING: "WARN", logging.INFO: "INFO", logging.DEBUG: "DEBUG"}
_COLOURS = {logging.ERROR: "\x1b[31m", logging.WARNING: "\x1b[33m"}
_COLOUR_END = "\x1b[m"
# A line of the log begins with a digit, so no line of a traceback can look like one.
_INDENT = "\n    "

# Longer texts lose their middle: a traceback begins with the handler and ends with the error.
MESSAGE_CHARS_MAX = 8 * 1024
TRACEBACK_CHARS_MAX = 16 * 1024
# Of a plain line after escaping, its traceback included.
LINE_CHARS_MAX = 32 * 1024


class PlainFormatter(logging.Formatter):
    """`2026-11-22T21:39:15.123Z INFO  reactor-3 message`, and an indented traceback if there is one."""

    def __init__(self, *, colours: bool = False) -> None:
        super().__init__()
        self._colours = _COLOURS if colours else {}

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as lines, without the last newline."""
        label = f"{_LABELS.get(record.levelno, record.levelname):<5}"
        if colour := self._colours.get(record.levelno):
            label = colour + label + _COLOUR_END
        thread, message = escape(str(record.threadName)), escape(render_message(record))
        lines = [f"{render_time(record)} {label} {thread} {message}"]
        lines += map(escape, render_traceback(record).splitlines())
        return shorten(_INDENT.join(lines), LINE_CHARS_MAX)


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, thread, message; and, if there are any, request_id, and the traceback as
    exception.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of ASCII, without the newline."""
        fields: dict[str, str | None] = {
            "time": render_time(record),
            "level": record.levelname.lower(),
            "thread": record.threadName,
            "message": render_message(record),
        }
        if request_id := getattr(record, "request_id", ""):
            fields["request_id"] = str(request_id)
        if traceback := render_traceback(record):
            fields["exception"] = traceback
        return json.dumps(fields)


def escape(text: str) -> str:
    """Write unprintable characters as `\\n`, `\\x1b` or `\\u202e`, so that the text keeps its line and its order."""
    if text.isprintable():
        return text
    # `repr` escapes the same characters. It also doubles backslashes, and escapes a quote if the text has both kinds.
    return "'".join(repr(part)[1:-1] for part in text.split("'")).replace("\\\\", "\\")


def shorten(text: str, chars_max: int) -> str:
    """Replace the middle of a long text by a remark."""
    if len(text) <= chars_max:
        return text
    half = chars_max // 2
    return f"{text[:half]} ... {len(text) - 2 * half} characters left out ... {text[-half:]}"


def render_time(record: logging.LogRecord) -> str:
    """Return the time of a record, such as `2026-11-22T21:39:15.123Z` (RFC 3339, UTC)."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z"


def render_message(record: logging.LogRecord) -> str:
    """Return the message with its arguments; the bare template and a remark if they do not match. Shortened."""
    try:
        message = record.getMessage()
    except Exception as error:
        message = f"{record.msg} (arguments {record.args!r} do not match: {error})"
    return shorten(message, MESSAGE_CHARS_MAX)


def render_traceback(record: logging.LogRecord) -> str:
    """Return the traceback of a record, shortened; empty if it has none."""
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    return shorten(format_error(record.exc_info[1]), TRACEBACK_CHARS_MAX)
