"""Kinds of requests: templates with slots, and the responses to them. Plain values.

`generator.py` sends them. It fills the slots of a kind with digits that never come again within a run. A slot has a
name, the digit N, since a response may repeat what its request said:

    <hexN>      16 hexadecimal digits, new each time
    <numberN>   10 decimal digits, new each time
    <sessionN>  16 hexadecimal digits of one of 10,000 sessions, which come in turn
"""

import io
import json
import re
from dataclasses import dataclass

from bench.served.traffic import wsgi

SLOT = re.compile(rb"<(hex|number|session)(\d)>")
WIDTHS = {b"hex": 16, b"number": 10, b"session": 16}

HOST = "Host: shop.example.org"
AGENT = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
# What a browser sends, behind a balancer and a tracer: nine fields, two of them new each time.
BROWSER = (
    HOST,
    AGENT,
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Upgrade-Insecure-Requests: 1",
    "Priority: u=0, i",
)
TRACED = ("X-Request-Id: <hex0><hex1>", "traceparent: 00-<hex2><hex3>-<hex4>-01")
COOKIE = "Cookie: theme=dark; session=<session0>; csrf=<session1><session2>; consent=necessary"
EDGE = ("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https")


@dataclass(frozen=True, slots=True)
class Kind:
    """A request with slots, and the response to it. A body of None is not compared."""

    method: str
    target: str
    fields: tuple[str, ...]
    content: str = ""
    status: int = 200
    body: bytes | None = None
    closes: bool = False

    @property
    def request(self) -> bytes:
        """The bytes, slots included."""
        fields = list(self.fields)
        if self.content:
            fields.append(f"Content-Length: {len(filled(self.content.encode()))}")
        if self.closes:
            fields.append("Connection: close")
        head = "\r\n".join((f"{self.method} {self.target} HTTP/1.1", *fields))
        return f"{head}\r\n\r\n{self.content}".encode()


@dataclass(frozen=True, slots=True)
class Traffic:
    """Kinds, and the order in which they come, again and again, as indexes into the kinds."""

    kinds: tuple[Kind, ...]
    order: tuple[int, ...]


def in_turn(*kinds: Kind) -> Traffic:
    """One kind after the other."""
    return Traffic(kinds, tuple(range(len(kinds))))


def kind(method: str, target: str, fields: tuple[str, ...], content: str = "", *, closes: bool = False) -> Kind:
    """A kind with the response that the WSGI application gives to it. Other servers must give the same."""
    path, _, query = target.partition("?")
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query}
    environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in map(split_field, fields)}
    body = content.encode()
    status, _, expected = wsgi.respond({**environ, "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)})
    number = int(status[:3])
    return Kind(method, target, fields, content, number, expected if number == 200 else None, closes)


def filled(template: bytes) -> bytes:
    """The template with zeros in its slots."""
    return SLOT.sub(lambda slot: b"0" * WIDTHS[slot[1]], template)


def split_field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(": ")
    return name, value


def order(lines: int, note: str) -> str:
    """The content of an order, with slots in its texts."""
    return json.dumps(
        {
            "id": "<hex5>",
            "customer": {"name": "A. Customer", "email": "<hex6>@example.org", "city": "Springfield"},
            "lines": [
                {"sku": f"<hex7>-{number}", "name": f"Article number {number}", "quantity": number, "cents": 1999}
                for number in range(1, lines + 1)
            ],
            "note": note,
        }
    )
