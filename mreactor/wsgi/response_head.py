"""What an application tells `start_response`: checked, and rendered for the connection."""

import re
from typing import Final, NamedTuple

from ..http import TOKEN, has_body

# Three digits, and a reason phrase (RFC 9112 section 4). Interim responses are the server's.
_STATUS = re.compile(r"([2-5][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*+))?+")
# A block of field lines (RFC 9112 section 5).
_FIELDS = re.compile("(?:" + TOKEN.decode("ascii") + r": [\t\x20-\x7e\x80-\xff]*+\r\n)*+")
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)

# Fields that belong to the connection (RFC 9110 section 7.6.1). PEP 3333 forbids them; many applications set them and
# mean no harm, so they are left out.
_HOP_BY_HOP: Final = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding"}
    | {"upgrade"}
)
_SPECIAL: Final = _HOP_BY_HOP | {"content-length", "date", "server"}


class ResponseHead(NamedTuple):
    """A checked response head.

    Attributes:
        status: the number.
        start: the status line, with its CRLF.
        fields: the field lines, without those that frame the message.
        length: the announced Content-Length; None if there is none.
        has_server, has_date: the application has written this field.
    """

    status: int
    start: bytes
    fields: bytes
    length: int | None = None
    has_server: bool = False
    has_date: bool = False

    @property
    def has_content(self) -> bool:
        """A response of this status may have content."""
        return has_body(self.status)


def check_head(status: str, headers: list[tuple[str, str]]) -> ResponseHead:
    """Check what an application has passed to `start_response`.

    Raises:
        TypeError: an argument is of the wrong type.
        ValueError: the status or a field cannot be sent.
    """
    if not isinstance(status, str):
        raise TypeError(f"the status must be a str such as '200 OK', not {status!r}")
    match = _STATUS.fullmatch(status)
    if match is None:
        raise ValueError(f"{status!r} is not a status such as '200 OK'")
    if not isinstance(headers, list):
        raise TypeError(f"the header fields must be a list of pairs of str, not {type(headers).__name__}")
    lines, length, own = [], None, ""
    for name, value in headers:
        lowered = name.lower()
        if lowered in _SPECIAL:
            if lowered == "content-length":
                length = _check_length(value, length)
            if lowered not in ("server", "date"):
                continue
            own += lowered
        lines.append(name + ": " + value + "\r\n")
    block = "".join(lines)
    # A value that holds a line's end makes one line too many.
    if _FIELDS.fullmatch(block) is None or block.count("\n") != len(lines):
        raise ValueError(f"a header field cannot be sent: {_first_bad(lines)}")
    return ResponseHead(
        int(match[1]),
        ("HTTP/1.1 " + match[1] + " " + (match[2] or "") + "\r\n").encode("latin-1"),
        block.encode("latin-1"),
        length,
        "server" in own,
        "date" in own,
    )


def _check_length(value: str, before: int | None) -> int:
    if _LENGTH.fullmatch(value) is None:
        raise ValueError(f"Content-Length is {value!r}, which is not a number of bytes")
    length = int(value)
    if before not in (None, length):
        raise ValueError("Content-Length is given twice")
    return length


def _first_bad(lines: list[str]) -> str:
    bad = (line for line in lines if _FIELDS.fullmatch(line) is None or line.count("\n") != 1)
    return repr(next(bad).removesuffix("\r\n"))
