"""The formats of access log lines: common, combined and JSON.

A line has three parts, which `AccessBuffer` reuses: the start (peer and time), the request with its outcome, and the
header fields. Bytes from a peer are escaped, as nginx does it: they can neither end a line nor leave their quotes. A
text of theirs is cut before that, since an escape makes a byte four or six times as long, and takes its time.
"""

import json
import re
import time
from collections.abc import Mapping
from typing import Final, NamedTuple

from ..http import MONTHS, Headers, RequestHead

# Of a target or a header field.
TEXT_CHARS_MAX: Final = 2048


class RequestDetails(NamedTuple):
    """What a line says of a request where it is asked for.

    Attributes:
        duration: seconds from the end of the request's head to the end of its response.
        route: the pattern of the route; empty for none.
        request_id: empty for none.
    """

    duration: float
    route: str
    request_id: str


class CommonFormat:
    """Common Log Format: `192.0.2.1 - - [22/Nov/2026:21:39:15 +0000] "GET /x HTTP/1.1" 200 13`."""

    def __init__(self) -> None:
        self._time = ""

    def begin_second(self, wall: float) -> None:
        """Begin a second, in Unix time. Uses no locale."""
        t = time.gmtime(wall)
        clock = f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"
        self._time = f"{t.tm_mday:02}/{MONTHS[t.tm_mon - 1]}/{t.tm_year:04}:{clock} +0000"

    def render_start(self, host: str | None) -> bytes:
        """Render the line up to the request."""
        return f"{quote(host)} - - [{self._time}] ".encode("ascii")

    def render_request(self, head: RequestHead | None, status: int, length: int) -> bytes:
        """Render the request and its outcome; see `AccessBuffer.log_request`."""
        size = length if length >= 0 else "-"
        if head is None:
            return f'"-" {status} {size}'.encode("ascii")
        version = f"{head.version[0]}.{head.version[1]}"
        return f'"{head.method} {quote(head.target)} HTTP/{version}" {status} {size}'.encode("ascii")

    def render_fields(self, headers: Headers) -> bytes:
        """Render the header fields and the end of the line."""
        return b"\n"

    def add_details(self, line: bytes, details: Mapping[str, float | str]) -> bytes:
        """Add what was asked for to the end of a line, by the names of `RequestDetails`."""
        columns = [f" {each:.6f}" if isinstance(each, float) else f' "{quote(each)}"' for each in details.values()]
        return line[:-1] + "".join(columns).encode("ascii") + b"\n"

    def mark_incomplete(self, line: bytes) -> bytes:
        """Mark the line of a response that was cut off."""
        return line[:-1] + b" incomplete\n"


class CombinedFormat(CommonFormat):
    """Combined Log Format: the common one and `"REFERER" "USER-AGENT"`."""

    def render_fields(self, headers: Headers) -> bytes:
        return f' "{quote(headers.get("referer"))}" "{quote(headers.get("user-agent"))}"\n'.encode("ascii")


class ShortFormat(CommonFormat):
    """For a person at a terminal: `21:39:15 192.0.2.1 200 GET /x`, with the bytes of the content."""

    def begin_second(self, wall: float) -> None:
        self._time = time.strftime("%H:%M:%S", time.localtime(wall))

    def render_start(self, host: str | None) -> bytes:
        return f"{self._time} {quote(host)} ".encode("ascii")

    def render_request(self, head: RequestHead | None, status: int, length: int) -> bytes:
        request = "-" if head is None else f"{head.method} {quote(head.target)}"
        return f"{status} {request}{f' {length} B' if length >= 0 else ''}".encode("ascii")

    def add_details(self, line: bytes, details: Mapping[str, float | str]) -> bytes:
        columns = [
            f" {each * 1e3:.1f} ms" if isinstance(each, float) else f" {quote(each)}" for each in details.values()
        ]
        return line[:-1] + "".join(columns).encode("ascii") + b"\n"


class JsonFormat:
    """One JSON object per line, in ASCII. Unknown values are null. Header values are ISO-8859-1, a character a byte."""

    def __init__(self) -> None:
        self._time = ""
        self._encode = json.JSONEncoder(separators=(",", ":")).encode

    def begin_second(self, wall: float) -> None:
        self._time = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall))

    def render_start(self, host: str | None) -> bytes:
        return self._encode({"time": self._time, "peer": host or None})[:-1].encode("ascii") + b","

    def render_request(self, head: RequestHead | None, status: int, length: int) -> bytes:
        size = length if length >= 0 else "null"
        if head is None:
            request = '"method":null,"target":null,"version":null'
        else:
            version = f"{head.version[0]}.{head.version[1]}"
            request = f'"method":"{head.method}","target":{self._encode(cut(head.target))},"version":"{version}"'
        return f'{request},"status":{status},"bytes":{size},'.encode("ascii")

    def render_fields(self, headers: Headers) -> bytes:
        referer, agent = headers.get("referer"), headers.get("user-agent")
        fields = {"referer": referer and cut(referer), "user_agent": agent and cut(agent)}
        return self._encode(fields)[1:].encode("ascii") + b"\n"

    def add_details(self, line: bytes, details: Mapping[str, float | str]) -> bytes:
        members = [
            f',"{name}":' + (f"{each:.6f}" if isinstance(each, float) else self._encode(cut(each) or None))
            for name, each in details.items()
        ]
        return line[:-2] + "".join(members).encode("ascii") + b"}\n"

    def mark_incomplete(self, line: bytes) -> bytes:
        return line[:-2] + b',"incomplete":true}\n'


type LineFormat = CommonFormat | JsonFormat

FORMATS: dict[str, type[CommonFormat | JsonFormat]] = {
    "common": CommonFormat,
    "combined": CombinedFormat,
    "json": JsonFormat,
    "short": ShortFormat,
}

# The quote, the backslash, and everything but printable ASCII.
_UNSAFE: Final = re.compile(r"[^ !#-\[\]-~]")
_ESCAPES: Final = {code: f"\\x{code:02X}" for code in range(256) if _UNSAFE.match(chr(code))}


def quote(text: str | None) -> str:
    """Cut and escape text for the common and combined formats: unsafe bytes as `\\xHH`, no text as `-`."""
    if not text:
        return "-"
    text = cut(text)
    return text.translate(_ESCAPES) if _UNSAFE.search(text) else text


def cut(text: str) -> str:
    """Return the beginning of a long text, and three dots."""
    return text if len(text) <= TEXT_CHARS_MAX else text[:TEXT_CHARS_MAX] + "..."
