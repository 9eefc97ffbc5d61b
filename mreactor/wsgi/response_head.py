"""What an application tells `start_response`: checked, and rendered for the connection.

Each thread remembers by itself the status lines and fields that it has checked.
"""

import re
import threading
from typing import Final

from ..http import TOKEN, Memo, has_body
from ..runtime import hot

# Three digits, and a reason phrase (RFC 9112 section 4). Interim responses are the server's.
_STATUS = re.compile(r"([2-5][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*+))?+")
# A field line as it is sent (RFC 9112 section 5).
_FIELD_LINE = re.compile(TOKEN.decode("ascii") + r": [\t\x20-\x7e\x80-\xff]*+\r\n")
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)

# Fields that belong to the connection (RFC 9110 section 7.6.1). PEP 3333 forbids them; many applications set them and
# mean no harm, so they are left out.
_HOP_BY_HOP: Final = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding"}
    | {"upgrade"}
)
_SPECIAL: Final = _HOP_BY_HOP | {"content-length", "date", "server"}


def _read_status(status: str) -> tuple[int, bytes]:
    """Return number and status line of what an application says, such as `200 OK`. Raises as `ResponseHead`."""
    if not isinstance(status, str):
        raise TypeError(f"the status must be a str such as '200 OK', not {status!r}")
    match = _STATUS.fullmatch(status)
    if match is None:
        raise ValueError(f"{status!r} is not a status such as '200 OK'")
    return int(match[1]), ("HTTP/1.1 " + match[1] + " " + (match[2] or "") + "\r\n").encode("latin-1")


def _check_field(field: tuple[str, str]) -> str:
    """Return a field as a checked line; empty for fields that need a closer look. Raises as `ResponseHead`."""
    name, value = field
    return "" if name.lower() in _SPECIAL else _render_field(name, value)


def _size_of_field(field: tuple[str, str]) -> int:
    return len(field[0]) + len(field[1])


class _OfThread(threading.local):
    """What one thread keeps."""

    def __init__(self) -> None:
        self.memos = Memo(_read_status), Memo(_check_field, _size_of_field)


_own = _OfThread()


@hot("__init__")
class ResponseHead:
    """A response head that has been checked.

    Attributes:
        status: the number.
        start: the status line, with its CRLF.
        fields: the field lines, without those that frame the message.
        length: the announced Content-Length; None if there is none.
        has_server, has_date: the application has written this field.

    Raises:
        TypeError: an argument of `start_response` is of the wrong type.
        ValueError: the status or a field cannot be sent.
    """

    __slots__ = ("fields", "has_content", "has_date", "has_server", "length", "start", "status")

    def __init__(self, status: str, headers: list[tuple[str, str]]) -> None:
        status_lines, field_lines = _own.memos
        self.status, self.start = status_lines[status]
        self.has_content = has_body(self.status)
        self.length: int | None = None
        self.has_server = self.has_date = False
        if type(headers) is not list and not isinstance(headers, list):
            raise TypeError(f"the header fields must be a list of pairs of str, not {type(headers).__name__}")
        lines = ""
        for field in headers:
            if line := field_lines[field]:
                lines += line
            else:
                lines += self._look_closer(*field)
        self.fields = lines.encode("latin-1")

    def _look_closer(self, name: str, value: str) -> str:
        """Return the line of a field that frames the message or that the server would send; mostly nothing."""
        lowered = name.lower()
        if lowered == "content-length":
            self.length = _check_length(value, self.length)
        if lowered not in ("server", "date"):
            return ""
        self.has_server |= lowered == "server"
        self.has_date |= lowered == "date"
        return _render_field(name, value)


def _render_field(name: str, value: str) -> str:
    line = name + ": " + value + "\r\n"
    if _FIELD_LINE.fullmatch(line) is None:
        raise ValueError(f"a header field cannot be sent: {name}: {value!r}")
    return line


def _check_length(value: str, before: int | None) -> int:
    if _LENGTH.fullmatch(value) is None:
        raise ValueError(f"Content-Length is {value!r}, which is not a number of bytes")
    length = int(value)
    if before not in (None, length):
        raise ValueError("Content-Length is given twice")
    return length
