"""One entry of the table, and short ways to write one."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

FOLLOWING = b"GET /following HTTP/1.1\r\nHost: following\r\nConnection: close\r\n\r\n"


class Case(NamedTuple):
    """A message, and what has to come of it.

    Attributes:
        section: the RFC and its section that decide, such as `9112-6.3`.
        reason: what is the matter with the message.
        raw: all its bytes; one request, or several.
        statuses: of the final responses, in order.
        is_open: the connection takes further requests afterwards. Otherwise nothing after the message is answered.
        body: what the last handler has to get as the content of its request; None: whatever.
        is_cut: the message is not all there, and its client shuts its write side.
        method: of the last request, for what a response to HEAD looks like.
    """

    section: str
    reason: str
    raw: bytes
    statuses: tuple[int, ...] = (400,)
    is_open: bool = False
    body: bytes | None = None
    is_cut: bool = False
    method: str = "GET"

    @property
    def name(self) -> str:
        """What the test is called."""
        return f"{self.section} {self.reason}"


def refused(section: str, reason: str, raw: bytes, status: int = 400) -> Case:
    """A message that is refused; the connection ends with the response."""
    return Case(section, reason, raw, (status,))


def accepted(section: str, reason: str, raw: bytes, body: bytes | None = b"", method: str = "GET") -> Case:
    """A request that is answered with 200; the connection goes on."""
    return Case(section, reason, raw, (200,), is_open=True, body=body, method=method)


def last(section: str, reason: str, raw: bytes, body: bytes | None = b"") -> Case:
    """A request that is answered with 200 and is the connection's last."""
    return Case(section, reason, raw, (200,), body=body)


def cut(section: str, reason: str, raw: bytes, *before: int) -> Case:
    """A message that ends too early, after others that were answered with the statuses `before`."""
    return Case(section, reason, raw, (*before, 400), is_cut=True)


def each(
    make: Callable[[str, str, bytes], Case],
    section: str,
    what: str,
    build: Callable[[bytes], bytes],
    values: Iterable[bytes],
) -> Iterator[Case]:
    """One case for each value of something."""
    return (make(section, f"{what} {shown(value)}", build(value)) for value in values)


def shown(value: bytes) -> str:
    """A value as it can stand in a test's name."""
    text = repr(value)[1:]
    return text if len(text) <= 40 else f"{text[:30]}...' of {len(value)}"


def get(*fields: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes = b"Host: a") -> bytes:
    """A request without a body: its fields, each without CR LF, in front of Host."""
    return b"".join(part + b"\r\n" for part in (line, *fields, host) if part) + b"\r\n"


def post(body: bytes, *fields: bytes, line: bytes = b"POST / HTTP/1.1") -> bytes:
    """A request with whatever body."""
    return get(*fields, line=line) + body


def chunked(body: bytes) -> bytes:
    """A request with a body in chunked coding, given as it goes over the wire."""
    return post(body, b"Transfer-Encoding: chunked")
