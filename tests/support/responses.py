"""A small and strict reader of responses, for tests: whatever a server of ours may not send makes it raise."""

import re
from dataclasses import dataclass, field

STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) ([\x20-\x7e]*)")
FIELD = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ([\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?"
)
CHUNK_SIZE = re.compile(rb"[1-9a-f][0-9a-f]*")
ONLY_ONCE = ("content-length", "transfer-encoding", "connection", "date", "server", "content-type", "etag")


class Malformed(AssertionError):
    """What was received is no response that a strict client would take."""


@dataclass(frozen=True)
class ReceivedResponse:
    """One response, interim ones (100) among them."""

    status: int
    reason: str
    headers: dict[str, str] = field(repr=False)
    body: bytes
    chunks: tuple[bytes, ...] = ()

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def says_close(self) -> bool:
        return self.headers.get("connection") == "close"


def read_response(data: bytes, method: str = "GET", *, at_end: bool = False) -> tuple[ReceivedResponse, int] | None:
    """Read the response that `data` begins with.

    Args:
        data: what has come so far.
        method: that of the request: a response to HEAD has no body.
        at_end: the connection has ended, nothing will follow.

    Returns:
        the response and the offset past it; None while more is needed.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if at_end:
            raise Malformed(f"the connection ended within a head: {data[-200:]!r}")
        return None
    status, reason, headers = _head(data[: end + 2])
    body = _body(data, end + 4, status, method, headers, at_end)
    if body is None:
        if at_end:
            raise Malformed(f"the connection ended within a body, after {len(data) - end - 4} bytes")
        return None
    content, chunks, past = body
    return ReceivedResponse(status, reason, headers, content, chunks), past


def read_responses(data: bytes, *methods: str) -> list[ReceivedResponse]:
    """Read all of `data`, which is whole responses and nothing else; `methods` of the requests, GET past the last."""
    responses: list[ReceivedResponse] = []
    start = 0
    while start < len(data):
        final = sum(response.status >= 200 for response in responses)
        method = methods[final] if final < len(methods) else "GET"
        read = read_response(data[start:], method, at_end=True)
        assert read is not None, "at the end it is a response or an error"
        responses.append(read[0])
        start += read[1]
    return responses


def without_dates(data: bytes) -> bytes:
    """The same bytes with the Date blotted out."""
    return re.sub(rb"\r\nDate: [^\r]+\r\n", b"\r\nDate: *\r\n", data)


def _head(raw: bytes) -> tuple[int, str, dict[str, str]]:
    lines = raw.split(b"\r\n")
    status_line = STATUS_LINE.fullmatch(lines[0])
    if status_line is None:
        raise Malformed(f"no status line: {lines[0][:200]!r}")
    headers: dict[str, str] = {}
    for line in lines[1:-1]:
        match = FIELD.fullmatch(line)
        if match is None:
            raise Malformed(f"no field line: {line[:200]!r}")
        name = match[1].decode("ascii").lower()
        if name in headers and name in ONLY_ONCE:
            raise Malformed(f"{name} comes twice")
        headers[name] = (match[2] or b"").decode("latin-1")
    status = int(status_line[1])
    _check_fields(status, headers)
    return status, status_line[2].decode("ascii"), headers


def _check_fields(status: int, headers: dict[str, str]) -> None:
    if status >= 200 and not {"date", "server"} <= headers.keys() and status != 503:
        raise Malformed(f"no Date or Server: {headers}")
    if {"content-length", "transfer-encoding"} <= headers.keys():
        raise Malformed("both Content-Length and Transfer-Encoding")
    if (status < 200 or status == 204) and {"content-length", "transfer-encoding"} & headers.keys():
        raise Malformed(f"a {status} with a framing field: {headers}")
    if status == 405 and "allow" not in headers:
        raise Malformed("405 without Allow")


def _body(
    data: bytes, start: int, status: int, method: str, headers: dict[str, str], at_end: bool
) -> tuple[bytes, tuple[bytes, ...], int] | None:
    """Content, chunks and the offset past the body; None while it is not all there (RFC 9112 section 6.3)."""
    if status < 200 or status in (204, 304) or method == "HEAD":
        return b"", (), start
    if headers.get("transfer-encoding") == "chunked":
        return _chunks(data, start)
    if "content-length" in headers:
        end = start + int(headers["content-length"])
        return (data[start:end], (), end) if len(data) >= end else None
    if headers.get("connection") != "close":
        raise Malformed(f"the length of the body is not to be known: {headers}")
    return (data[start:], (), len(data)) if at_end else None


def _chunks(data: bytes, start: int) -> tuple[bytes, tuple[bytes, ...], int] | None:
    chunks: list[bytes] = []
    while True:
        end = data.find(b"\r\n", start)
        if end < 0:
            return None
        line, start = data[start:end], end + 2
        if line == b"0":
            if len(data) < start + 2:
                return None
            if data[start : start + 2] != b"\r\n":
                raise Malformed("trailers, or no empty line after the last chunk")
            return b"".join(chunks), tuple(chunks), start + 2
        if not CHUNK_SIZE.fullmatch(line):
            raise Malformed(f"no chunk size: {line[:50]!r}")
        size = int(line, 16)
        if len(data) < start + size + 2:
            return None
        if data[start + size : start + size + 2] != b"\r\n":
            raise Malformed("no CR LF after a chunk")
        chunks.append(data[start : start + size])
        start += size + 2
