"""Heads, well-formed and malformed, with what they lead to, and the ways to read them."""

import random
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from mreactor.config import Limits
from mreactor.http.request_head import RequestHead
from mreactor.http.status import HTTPError
from mreactor.http1.head_parser import END_OF_HEAD, Parser

LIMITS = Limits()
SPLITS_MAX = 600  # heads up to this size are split at every offset, longer ones at a sample of them
PROPERTIES = [name for name, value in vars(RequestHead).items() if isinstance(value, property)]
LONGER = b"POST /next HTTP/1.1\r\nHost: b\r\nContent-Length: 3\r\n\r\nabc"

# What a message led to: the status of its refusal; its head's properties and its size in bytes; None: more is needed.
type Outcome = int | tuple[dict[str, Any], int] | None


class Case(NamedTuple):
    """A message, what it shall lead to, and why: RFC and section (`9112-6.3`), and what is wrong with it."""

    section: str
    reason: str
    raw: bytes
    status: int = 400


def case_id(case: Case) -> str:
    return f"{case.section}: {case.reason}"


def cases(
    section: str, what: str, make: Callable[[bytes], bytes], values: Iterable[bytes], status: int = 400
) -> Iterator[Case]:
    """One case for each bad value of a field."""
    return (Case(section, f"{what} {value[:20]!r}{len(value)}", make(value), status) for value in values)


# --- Ways to read. ---


def properties(head: RequestHead) -> dict[str, Any]:
    """All that a head says, so that two heads can be compared."""
    values = {name: getattr(head, name) for name in PROPERTIES}
    return values | {"headers": list(head.headers.items())}


def read_whole(parser: Parser, raw: bytes) -> Outcome:
    """As a connection reads what came in one piece."""
    end = raw.find(END_OF_HEAD)
    if end < 0:
        return read_pieces(parser, [raw])
    end += len(END_OF_HEAD)
    try:
        return properties(parser.parse(raw[:end])), end
    except HTTPError as error:
        return error.status


def read_pieces(parser: Parser, pieces: Iterable[bytes], before: bytes = b"") -> Outcome:
    """As a connection reads what comes in pieces, after other bytes that are still in its buffer."""
    reader, seen = parser.reader(len(before)), before
    try:
        for piece in pieces:
            seen += piece
            if (read := reader.read(seen)) is not None:
                line, fields, end = read
                return properties(parser.finish(line, fields)), end - len(before)
    except HTTPError as error:
        return error.status
    return None


def splits(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    """A message in two pieces, at every offset or at a sample of them."""
    offsets: Iterable[int] = range(len(raw) + 1)
    if len(raw) > SPLITS_MAX:
        sample = random.Random(len(raw)).sample(range(len(raw)), 20)
        offsets = sorted({*sample, *range(8), *range(len(raw) - 8, len(raw) + 1)})
    return ((raw[:offset], raw[offset:]) for offset in offsets)


def small_pieces(raw: bytes) -> list[bytes]:
    """A message byte by byte; of a long one the middle in pieces of odd size, to stay within the suite's time."""
    end = max(0, len(raw) - SPLITS_MAX)
    middle = [raw[start : min(start + 61, end)] for start in range(0, end, 61)]
    return middle + [raw[place : place + 1] for place in range(end, len(raw))]


def cut(rng: random.Random, raw: bytes) -> list[bytes]:
    """A message in a handful of pieces."""
    places = sorted({0, len(raw), *(rng.randrange(len(raw) + 1) for _ in range(rng.randint(1, 6)))})
    return [raw[start:end] for start, end in pairwise(places)]


def check_all_ways(raw: bytes, expected: Outcome, limits: Limits = LIMITS) -> None:
    """Read a message in every way; `expected` may not depend on which."""
    assert read_pieces(Parser(limits), [raw]) == expected, "line by line, with nothing remembered"
    assert read_pieces(Parser(limits), small_pieces(raw)) == expected, "byte by byte, with nothing remembered"
    parser = Parser(limits)
    for sight in ("for the first time", "for the second time", "with whatever has been remembered"):
        assert read_whole(parser, raw) == expected, f"whole, {sight}"
    assert read_pieces(parser, [raw]) == expected, "line by line"
    assert read_pieces(parser, small_pieces(raw)) == expected, "byte by byte"
    for first, second in splits(raw):
        assert read_pieces(parser, [first, second]) == expected, f"split at {len(first)}"
    if expected is not None:
        assert read_whole(parser, raw + LONGER) == expected, "with trailing data"
        assert read_pieces(parser, [raw + LONGER]) == expected, "with trailing data, line by line"
        assert read_pieces(parser, small_pieces(raw + LONGER)) == expected, "with trailing data, byte by byte"
    assert read_pieces(parser, [raw], before=b"x" * 40) == expected, "after other bytes"


def head_of(raw: bytes, limits: Limits = LIMITS) -> RequestHead:
    return Parser(limits).parse(raw)


def status_of(raw: bytes, limits: Limits = LIMITS) -> int:
    outcome = read_whole(Parser(limits), raw)
    assert isinstance(outcome, int), "it was accepted"
    return outcome


def get(target: bytes = b"/", *fields: bytes, version: bytes = b"1.1", host: bytes = b"Host: a\r\n") -> bytes:
    return request(b"GET %b HTTP/%b" % (target, version), *fields, host=host)


def post(*fields: bytes, version: bytes = b"1.1") -> bytes:
    return request(b"POST / HTTP/" + version, *fields)


def request(line: bytes, *fields: bytes, host: bytes = b"Host: a\r\n") -> bytes:
    return line + b"\r\n" + host + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


# --- Well-formed heads. ---

GOOD: dict[str, tuple[bytes, dict[str, Any]]] = {
    "9112-3 the simplest": (
        get(),
        {
            "method": "GET",
            "target": "/",
            "raw_path": "/",
            "path": "/",
            "query_string": "",
            "version": (1, 1),
            "host": "a",
            "headers": [("host", "a")],
            "content_length": 0,
            "chunked": False,
            "keep_alive": True,
            "expects_continue": False,
            "has_body": False,
            "default_framing": True,
        },
    ),
    **{f"9110-9.3 {m}": (request(b"%b / HTTP/1.1" % m.encode()), {"method": m}) for m in
       ("HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")},
    "9110-9.3.2 HEAD has no content": (request(b"HEAD /a HTTP/1.1"), {"default_framing": False, "keep_alive": True}),
    "9112-2.2 one empty line before": (b"\r\n" + get(), {"method": "GET", "headers": [("host", "a")]}),
    "9112-2.3 minor version 0": (
        get(version=b"1.0"), {"version": (1, 0), "keep_alive": False, "default_framing": False}
    ),
    "9110-2.5 later minor version counts as 1.1": (get(version=b"1.9"), {"version": (1, 1), "keep_alive": True}),
    "9112-3.2 no Host in HTTP/1.0": (get(version=b"1.0", host=b""), {"host": "", "headers": []}),
    "9112-3.2.1 origin-form with query": (
        get(b"/a/b?c=d&e=%20"),
        {"path": "/a/b", "query_string": "c=d&e=%20", "target": "/a/b?c=d&e=%20"},
    ),
    "9112-3.2.1 empty query": (get(b"/?"), {"path": "/", "query_string": "", "target": "/?"}),
    "9112-3.2.1 two slashes first": (get(b"//evil.example/a"), {"path": "//evil.example/a", "host": "a"}),
    "9112-3.2.1 a URI as a path": (get(b"/http://b/"), {"path": "/http://b/", "host": "a"}),
    "3986-2.1 percent signs that encode nothing in a query": (get(b"/a?q=100%&%zz"), {"query_string": "q=100%&%zz"}),
    "3986-2.1 percent-encoding": (get(b"/%61%2F%25"), {"path": "/a/%", "raw_path": "/%61%2F%25"}),
    "3986-2.1 percent-encoded UTF-8": (get(b"/%C3%A9"), {"path": "/\xe9"}),
    "9110-9.1 methods are case-sensitive": (request(b"get / HTTP/1.1"), {"method": "get"}),
    "9110-9.1 the router judges methods": (request(b"PROPFIND / HTTP/1.1"), {"method": "PROPFIND"}),
    "9110-9.1 a method longer than ours": (request(b"GETX / HTTP/1.1"), {"method": "GETX"}),
    "9110-9.3.8 TRACE": (request(b"TRACE / HTTP/1.1"), {"method": "TRACE"}),
    "3986-2.1 percent-encoded line end": (get(b"/%0d%0a"), {"path": "/\r\n"}),
    "3986-3.3 dot segments are left to handlers": (get(b"/../%2e%2e/"), {"path": "/../../"}),
    "3986-3.3 a plus is a plus": (get(b"/a+b"), {"path": "/a+b"}),
    "3986-3.4 odd characters in a query": (get(b"/?{}|\\^`[]"), {"query_string": "{}|\\^`[]"}),
    "3986-3.4 what is no UTF-8 in a query is the handler's": (get(b"/?%ff"), {"query_string": "%ff"}),
    "9112-3.2.2 absolute-form": (get(b"http://b:81/c?d"), {"host": "b:81", "path": "/c", "query_string": "d"}),
    "9112-3.2.2 absolute-form wins over Host": (get(b"http://b/"), {"host": "b", "headers": [("host", "a")]}),
    "9112-3.2.2 absolute-form without path": (get(b"http://b"), {"host": "b", "path": "/", "raw_path": "/"}),
    "9112-3.2.2 absolute-form with query alone": (get(b"http://b?c"), {"path": "/", "query_string": "c"}),
    "9112-3.2.2 scheme in any case": (get(b"HTTP://b/"), {"host": "b"}),
    "9112-3.2.2 https": (get(b"https://b/"), {"host": "b"}),
    "9112-3.2.4 asterisk-form": (request(b"OPTIONS * HTTP/1.1"), {"raw_path": "*", "path": "*", "target": "*"}),
    "9112-3.2.4 OPTIONS of a whole server, from a proxy": (request(b"OPTIONS http://b HTTP/1.1"), {"raw_path": "*"}),
    "9112-3.2.4 OPTIONS with path": (request(b"OPTIONS http://b/ HTTP/1.1"), {"raw_path": "/"}),
    "9112-3.2.4 OPTIONS with query": (request(b"OPTIONS http://b?c HTTP/1.1"), {"raw_path": "/"}),
    "9110-5.1 names in any case": (get(b"/", b"X-T: b", b"x-t: c"), {"headers": [("host", "a"), ("x-t", "b, c")]}),
    "9112-5 no white space after the colon": (get(b"/", b"X:b"), {"headers": [("host", "a"), ("x", "b")]}),
    "9112-5 white space around a value": (get(b"/", b"X: \t b c\t "), {"headers": [("host", "a"), ("x", "b c")]}),
    "9110-5.5 empty value": (get(b"/", b"X:"), {"headers": [("host", "a"), ("x", "")]}),
    "9110-5.5 white space as value": (get(b"/", b"X: \t "), {"headers": [("host", "a"), ("x", "")]}),
    "9110-5.5 obs-text": (get(b"/", b"X: \xc3\xa9"), {"headers": [("host", "a"), ("x", "\xc3\xa9")]}),
    "9110-5.5 colons in a value": (get(b"/", b"X: a:b::"), {"headers": [("host", "a"), ("x", "a:b::")]}),
    "9110-5.6.2 each kind of tchar in a name": (
        get(b"/", b"!#$%&'*+-.^_`|~09azAZ: b"),
        {"headers": [("host", "a"), ("!#$%&'*+-.^_`|~09azaz", "b")]},
    ),
    "9110-7.2 port": (get(host=b"Host: a:65535\r\n"), {"host": "a:65535"}),
    "9110-7.2 port 0": (get(host=b"Host: a:0\r\n"), {"host": "a:0"}),
    "9110-7.2 empty port": (get(host=b"Host: a:\r\n"), {"host": "a:"}),
    "9110-7.2 tabs around a host": (get(host=b"HOST:\ta\t\r\n"), {"host": "a"}),
    "3986-3.2.2 IPv4": (get(host=b"Host: 127.0.0.1:80\r\n"), {"host": "127.0.0.1:80"}),
    "3986-3.2.2 IPv6": (get(host=b"Host: [::1]\r\n"), {"host": "[::1]"}),
    "3986-3.2.2 IPv6 with port": (get(host=b"Host: [2001:db8::7]:80\r\n"), {"host": "[2001:db8::7]:80"}),
    "3986-3.2.2 IPv6 with IPv4": (get(host=b"Host: [::ffff:1.2.3.4]\r\n"), {"host": "[::ffff:1.2.3.4]"}),
    "3986-3.2.2 a future address": (get(host=b"Host: [v1.x:y]\r\n"), {"host": "[v1.x:y]"}),
    "3986-3.2.2 sub-delims, underscore": (get(host=b"Host: a_b!$&'()*+,;=~\r\n"), {"host": "a_b!$&'()*+,;=~"}),
    "9112-6.2 Content-Length": (
        post(b"Content-Length: 5"), {"content_length": 5, "has_body": True, "default_framing": True}
    ),
    "9112-6.2 no white space": (post(b"content-length:5"), {"content_length": 5}),
    "9112-6.2 more white space": (post(b"Content-Length: \t 5 \t"), {"content_length": 5}),
    "9112-6.2 zero": (post(b"Content-Length: 0"), {"content_length": 0, "has_body": False}),
    "9110-8.6 leading zeros": (post(b"Content-Length: 007"), {"content_length": 7}),
    "9110-8.6 eighteen digits": (post(b"Content-Length: " + b"9" * 18), {"content_length": 10**18 - 1}),
    "9112-6.2 Content-Length in HTTP/1.0": (post(b"Content-Length: 5", version=b"1.0"), {"content_length": 5}),
    "9112-6.2 Content-Length with GET": (get(b"/", b"Content-Length: 5"), {"content_length": 5}),
    "9112-6.1 chunked": (
        post(b"Transfer-Encoding: chunked"),
        {"chunked": True, "content_length": 0, "has_body": True, "default_framing": True},
    ),
    "9112-7 codings in any case": (post(b"Transfer-Encoding: Chunked"), {"chunked": True}),
    "9112-6.1 white space around a coding": (post(b"TRANSFER-ENCODING:\tCHUNKED \t"), {"chunked": True}),
    "9112-7 TE is not framing": (get(b"/", b"TE: chunked, gzip"), {"chunked": False, "has_body": False}),
    "9112-9.3 close": (get(b"/", b"Connection: close"), {"keep_alive": False, "default_framing": False}),
    "9112-9.3 close in any case": (get(b"/", b"Connection: Close"), {"keep_alive": False}),
    "9110-7.6.1 close in a list": (get(b"/", b"Connection: foo ,\tclose\t, bar"), {"keep_alive": False}),
    "9110-7.6.1 close on a second line": (get(b"/", b"Connection: foo", b"Connection: close"), {"keep_alive": False}),
    "9110-7.6.1 close on the first of two": (
        get(b"/", b"Connection: close", b"X: y", b"connection: keep-alive"),
        {"keep_alive": False},
    ),
    "9110-7.6.1 a longer word is not close": (get(b"/", b"Connection: closed, xclose"), {"keep_alive": True}),
    "9110-7.6.1 empty list": (get(b"/", b"Connection:"), {"keep_alive": True}),
    "9110-5.6.1 empty elements": (get(b"/", b"Connection: ,, ,close,"), {"keep_alive": False}),
    "9112-9.3 keep-alive in HTTP/1.0": (
        get(b"/", b"Connection: Keep-Alive", version=b"1.0"),
        {"keep_alive": True, "default_framing": False},
    ),
    "9112-9.3 keep-alive on a second line": (
        get(b"/", b"Connection: foo", b"Connection: keep-alive", version=b"1.0"),
        {"keep_alive": True},
    ),
    "9112-9.3 close beats keep-alive": (
        get(b"/", b"Connection: keep-alive, close", version=b"1.0"),
        {"keep_alive": False},
    ),
    "9110-7.6.1 upgrades are not taken": (get(b"/", b"Connection: upgrade", b"Upgrade: h2c"), {"keep_alive": True}),
    "9110-10.1.1 Expect": (
        post(b"Content-Length: 5", b"Expect: 100-continue"),
        {"expects_continue": True, "content_length": 5},
    ),
    "9110-10.1.1 Expect in any case": (post(b"Expect: 100-Continue"), {"expects_continue": True}),
    "9110-10.1.1 Expect twice the same": (post(b"Expect: 100-continue,100-continue"), {"expects_continue": True}),
    "9110-10.1.1 empty Expect": (post(b"Expect:"), {"expects_continue": False}),
    "9110-10.1.1 no Expect in HTTP/1.0": (post(b"Expect: 100-continue", version=b"1.0"), {"expects_continue": False}),
    "9110-10.1.1 nor an unknown one": (post(b"Expect: x", version=b"1.0"), {"expects_continue": False}),
}  # fmt: skip


# --- Malformed heads. ---

REQUEST_LINES = [
    Case("9112-3", "empty request line", b"\r\n\r\n"),
    Case("9112-2.2", "two empty lines before", b"\r\n\r\n" + get()),
    Case("9112-2.2", "bare LF before", b"\n" + get()),
    Case("9112-2.2", "bare CR before", b"\r" + get()),
    Case("9112-2.2", "white space before", b" " + get()),
    Case("9112-2.2", "white space and CR LF before", b" \r\n" + get()),
    Case("9112-3", "no target", b"GET HTTP/1.1\r\nHost: a\r\n\r\n"),
    Case("9112-3", "no version (HTTP/0.9)", b"GET /\r\n\r\n"),
    Case("9112-3", "method alone", b"GET\r\n\r\n"),
    Case("9112-3", "two spaces after the method", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    Case("9112-3", "two spaces before the version", b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
    Case("9112-3", "tab for space", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    Case("9112-3", "tab before the version", b"GET /\tHTTP/1.1\r\nHost: a\r\n\r\n"),
    Case("9112-3", "space after the version", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    Case("9112-3", "space in the target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    Case("9112-3", "a second version", b"GET / HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n"),
    Case("9112-2.3", "version in small letters", b"GET / http/1.1\r\nHost: a\r\n\r\n"),
    Case("9112-2.3", "no minor version", b"GET / HTTP/1\r\nHost: a\r\n\r\n"),
    Case("9112-2.3", "no dot", b"GET / HTTP/11\r\nHost: a\r\n\r\n"),
    Case("9112-2.3", "two digits", b"GET / HTTP/1.10\r\nHost: a\r\n\r\n"),
    Case("9112-2.3", "leading zero", b"GET / HTTP/01.1\r\nHost: a\r\n\r\n"),
    Case("9112-2.3", "sign", b"GET / HTTP/+1.1\r\nHost: a\r\n\r\n"),
    Case("9112-2.3", "another protocol", b"GET / ICY/1.1\r\nHost: a\r\n\r\n"),
    Case("9112-2.3", "space in the version", b"GET / HTTP/ 1.1\r\nHost: a\r\n\r\n"),
    Case("9110-15.6.6", "HTTP/2.0", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    Case("9110-15.6.6", "HTTP/0.9 said aloud", b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
    Case("9110-15.6.6", "HTTP/3.0", b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
    Case("9110-15.6.6", "HTTP/9.9", b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", 505),
    Case("9113-3.4", "HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    Case("9113-3.4", "HTTP/2 preface of another version", b"PRI * HTTP/1.1\r\nHost: a\r\n\r\n"),
    Case("8446-4.1.2", "TLS hello", b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03" + bytes(range(64))),
    Case("8446-4.1.2", "TLS hello with a line feed in it", b"\x16\x03\x01\x00\x0a\x01\x00\x00\n\x03\x03GET / HTTP/1.1"),
    Case("9112-3", "SSLv2 hello", b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10"),
    Case("9112-3", "SSH banner", b"SSH-2.0-OpenSSH_9.6\r\n"),
    Case("9110-5.6.2", "method with a separator", b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    Case("9110-5.6.2", "method in quotes", b'"GET" / HTTP/1.1\r\nHost: a\r\n\r\n'),
    Case("9110-5.6.2", "method with a colon", b"GET: / HTTP/1.1\r\nHost: a\r\n\r\n"),
    Case("9110-5.6.2", "method with a byte over 127", b"G\xc9T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    Case("9110-9.3.6", "CONNECT", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405),
    Case("9112-3.2", "no slash first", get(b"a")),
    Case("9112-3.2", "query alone", get(b"?a")),
    Case("9112-3.2.3", "authority-form", get(b"a:80")),
    Case("9112-3.2.3", "authority-form with a name alone", get(b"example.com")),
    Case("9112-3.2.4", "asterisk-form with GET", get(b"*")),
    Case("9112-3.2.4", "asterisk and more", request(b"OPTIONS *a HTTP/1.1")),
    Case("9112-3.2.4", "asterisk with query", request(b"OPTIONS *?a HTTP/1.1")),
    Case("9112-3.2.2", "another scheme", get(b"ftp://a/")),
    Case("9112-3.2.2", "file", get(b"file:///etc/passwd")),
    Case("9110-4.2.1", "absolute-form without host", get(b"http:///a")),
    Case("9110-4.2.1", "absolute-form with port alone", get(b"http://:80/")),
    Case("9112-3.2.2", "one slash", get(b"http:/a")),
    Case("9112-3.2.2", "no slash", get(b"http:a")),
    Case("9110-4.2.4", "userinfo", get(b"http://u:p@a/")),
    Case("9110-4.2.4", "empty userinfo", get(b"http://@a/")),
    Case("3986-3.2.3", "absolute-form, port over 65535", get(b"http://a:65536/")),
    Case("3986-3.2.3", "absolute-form, port of six digits", get(b"http://a:000080/")),
    Case("3986-3.2.3", "absolute-form, port no number", get(b"http://a:b/")),
    Case("3986-3.2.2", "absolute-form, bad address", get(b"http://[::1::2]/")),
    Case("3986-3.2.2", "absolute-form, open bracket", get(b"http://[::1/")),
    Case("3986-3.5", "fragment", get(b"/a#b")),
    Case("3986-3.5", "fragment in absolute-form", get(b"http://a/#b")),
    Case("3986-2.1", "a percent alone", get(b"/%")),
    Case("3986-2.1", "one hex digit", get(b"/%4")),
    Case("3986-2.1", "no hex digits", get(b"/%zz")),
    Case("3986-2.1", "second digit bad", get(b"/%4g/")),
    Case("3986-2.1", "percent before a slash", get(b"/%/41")),
    Case("3986-2.1", "IIS encoding", get(b"/%u0041")),
    Case("3986-2.1", "bad encoding in absolute-form", get(b"http://a/%x")),
    Case("3986-2.1", "encoded NUL", get(b"/a%00.html")),
    Case("3986-2.5", "path of bytes that are not UTF-8", get(b"/%ff")),
    Case("3986-2.5", "path of half a character", get(b"/%C3/%A9")),
    Case("3986-2.5", "path of an overlong slash", get(b"/%C0%AF")),
    Case("3986-2.5", "path of a surrogate", get(b"/%ED%A0%80")),
    Case("3986-2.2", "raw UTF-8 in a path", get(b"/\xc3\xa9")),
    Case("3986-2.2", "raw byte in a query", get(b"/?\xff")),
    *(Case("3986-2.2", f"{chr(c)!r} in a path", get(b"/a%cb" % c)) for c in b'"<>\\^`{}'),
    *(Case("3986-2.2", f"{chr(c)!r} in a query", get(b"/?a%cb" % c)) for c in b'"<>'),
    *(Case("9112-2.2", f"control byte {c:#04x} in a target", get(b"/a%cb" % c)) for c in
      (0, 1, 8, 11, 12, 13, 27, 31, 127)),
    Case("9112-2.2", "NUL in a method", b"G\x00T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    Case("9112-2.2", "NUL in a version", b"GET / HTTP/1.1\x00\r\nHost: a\r\n\r\n"),
    Case("9112-2.2", "NUL bytes alone", b"\x00" * 8),
    Case("9112-2.2", "request line ends with bare LF", b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    Case("9112-2.2", "request line ends with bare CR", b"GET / HTTP/1.1\rHost: a\r\n\r\n"),
    Case("9112-2.2", "request line ends with CR CR LF", b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"),
    Case("9112-2.2", "request line ends with LF CR", b"GET / HTTP/1.1\n\rHost: a\r\n\r\n"),
    Case("9112-2.2", "bare LF in a target", b"GET /\n HTTP/1.1\r\nHost: a\r\n\r\n"),
]  # fmt: skip

LINES = [
    Case("9112-2.2", "all lines end with bare LF", b"GET / HTTP/1.1\nHost: a\n\n"),
    Case("9112-2.2", "field line ends with bare CR", b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"),
    Case("9112-2.2", "field line ends with CR CR LF", b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"),
    Case("9112-2.2", "head ends with bare LF", b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
    Case("9112-2.2", "head ends with bare CR", b"GET / HTTP/1.1\r\nHost: a\r\n\rX"),
    Case("9112-2.2", "head ends with LF CR LF", b"GET / HTTP/1.1\r\nHost: a\n\r\n"),
    Case("9112-2.2", "bare CR in a value", get(b"/", b"X: a\rb")),
    Case("9112-2.2", "bare LF in a value", get(b"/", b"X: a\nb")),
    Case("9112-2.2", "bare LF hides a field", get(b"/", b"X: a\nTransfer-Encoding: chunked")),
    Case("9112-2.2", "bare CR hides a field", get(b"/", b"X: a\rTransfer-Encoding: chunked")),
    *(Case("9110-5.5", f"control byte {c:#04x} in a value", get(b"/", b"X: a%cb" % c)) for c in
      [*range(9), 11, 12, *range(14, 32), 127]),
    *(Case("9112-5.1", f"control byte {c:#04x} in a name", get(b"/", b"X%cY: b" % c)) for c in
      (0, 1, 9, 11, 12, 31, 127)),
    Case("9110-5.5", "control byte ends a value", get(b"/", b"X: a\x0b")),
    Case("9110-5.5", "control byte begins a value", get(b"/", b"X:\x0ba")),
    Case("9112-5.2", "obs-fold", get(b"/", b"X: a\r\n b")),
    Case("9112-5.2", "obs-fold with a tab", get(b"/", b"X: a\r\n\tb")),
    Case("9112-5.2", "obs-fold of white space alone", get(b"/", b"X: a\r\n ")),
    Case("9112-2.2", "white space before the first field", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    Case("9112-2.2", "a line of white space before the fields", b"GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n"),
    Case("9112-5.1", "space before the colon", get(b"/", b"X : a")),
    Case("9112-5.1", "tab before the colon", get(b"/", b"X\t: a")),
    Case("9112-5.1", "space before the colon of Content-Length", post(b"Content-Length : 5")),
    Case("9112-5.1", "space before the colon of Transfer-Encoding", post(b"Transfer-Encoding : chunked")),
    Case("9112-5.1", "space before the colon of Host", get(host=b"Host : a\r\n")),
    Case("9112-5.1", "space in a name", get(b"/", b"X Y: a")),
    Case("9110-5.1", "empty name", get(b"/", b": a")),
    Case("9110-5.1", "colon alone", get(b"/", b":")),
    Case("9112-5", "no colon", get(b"/", b"X")),
    Case("9112-5", "an equals sign for the colon", get(b"/", b"X=a")),
    Case("9112-5", "a request line among the fields", get(b"/", b"GET / HTTP/1.1")),
    *(Case("9110-5.6.2", f"{chr(c)!r} in a name", get(b"/", b"X%cY: a" % c)) for c in b'"(),/;<=>?@[\\]{}'),
    Case("9110-5.6.2", "a byte over 127 in a name", get(b"/", b"X\xe9: a")),
    Case("9110-5.6.2", "UTF-8 byte order mark before a name", get(b"/", b"\xef\xbb\xbfX: a")),
]  # fmt: skip

BAD_HOSTS = [
    b"", b" ", b"a b", b"a\tb", b"a, b", b"a/", b"/a", b"a?b", b"a#b", b"u@a", b"u:p@a", b"@a", b"a@", b"http://a",
    b":80", b":", b"a:b", b"a:-1", b"a:+1", b"a:8 0", b"a: 80", b"a:80:80", b"a:65536", b"a:99999", b"a:100000",
    b"a:000080", b"a:0x50", b"a:" + b"1" * 5000, b"a:\xb2", b"::1", b"[::1", b"::1]", b"[]", b"[]:80", b"[:]",
    b"[::1]a", b"[::1]80", b"a[::1]", b"[g::1]", b"[::1::2]", b"[:::]", b"[1.2.3.4]", b"[::1.2.3]", b"[::1.2.3.256]",
    b"[1:2:3:4:5:6:7:8:9]", b"[12345::]", b"[::1%eth0]", b"[::1%25eth0]", b"[::1/64]", b"[v1]", b"[v.a]", b"[v1.]",
    b"[[::1]]", b"%", b"%4", b"%zz", b"a%", b"a\xe9", b"\xc3\xa9", b'"a"', b"'a' b", b"<a>", b"{a}", b"a|b",
    b"a\\b", b"a^b", b"`a`", b"a\x00b", b"a\x7f", b"[" + b":" * 5000 + b"]", b"[" + b"0:" * 5000 + b"]",
    b"[" + b"." * 5000 + b"]",
]  # fmt: skip

HOSTS = [
    *cases("9110-7.2", "Host", lambda value: get(host=b"Host: %b\r\n" % value), BAD_HOSTS),
    Case("9112-3.2", "no Host", get(host=b"")),
    Case("9112-3.2", "no Host with absolute-form", get(b"http://a/", host=b"")),
    Case("9112-3.2", "two Hosts", get(host=b"Host: a\r\nHost: b\r\n")),
    Case("9112-3.2", "two equal Hosts", get(host=b"Host: a\r\nHost: a\r\n")),
    Case("9112-3.2", "two Hosts, names in different case", get(host=b"Host: a\r\nX: y\r\nhOST: a\r\n")),
    Case("9112-3.2", "two Hosts in HTTP/1.0", get(version=b"1.0", host=b"Host: a\r\nHost: b\r\n")),
    Case("9112-3.2", "two Hosts, one empty", get(host=b"Host: a\r\nHost:\r\n")),
    Case("9112-3.2", "bad Host in HTTP/1.0", get(version=b"1.0", host=b"Host: a b\r\n")),
    Case("9112-3.2", "bad Host with absolute-form", get(b"http://a/", host=b"Host: a b\r\n")),
]

BAD_LENGTHS = [
    b"", b" ", b"+5", b"-5", b"-0", b"1_0", b"0x5", b"0b1", b"5.0", b"5.", b".5", b"5e0", b"5 5", b"5\t5", b"5,",
    b",5", b"5,5", b"5, 5", b"5, 6", b"5;5", b"5a", b"a", b'"5"', b"'5'", b"5\x00", b"\x0b5", b"5\x0c", b"\xa05",
    b"5\x85", b"\xb2", b"\xd9\xa5", b"inf", b"NaN", b"null", b"0" * 19, b"9" * 19, b"1" * 20, b"1" * 5000,
    b"0" * 5000 + b"5", b"5 chunked", b"chunked", b"five",
]  # fmt: skip

LENGTHS = [
    *cases("9112-6.3", "Content-Length", lambda value: post(b"Content-Length: " + value), BAD_LENGTHS),
    Case("9112-6.3", "two Content-Lengths", post(b"Content-Length: 5", b"Content-Length: 6")),
    Case("9112-6.3", "two equal Content-Lengths", post(b"Content-Length: 5", b"Content-Length: 5")),
    Case("9112-6.3", "two Content-Lengths in different case", post(b"content-length: 5", b"CONTENT-LENGTH: 5")),
    Case("9112-6.3", "two Content-Lengths apart", post(b"Content-Length: 0", b"X: y", b"Content-Length: 5")),
    Case("9112-6.3", "a Content-Length and an empty one", post(b"Content-Length: 5", b"Content-Length:")),
    Case("9112-6.3", "bad Content-Length with GET", get(b"/", b"Content-Length: x")),
    Case("9112-6.3", "bad Content-Length in HTTP/1.0", post(b"Content-Length: x", version=b"1.0")),
    Case("9112-6.1", "Content-Length before chunked", post(b"Content-Length: 5", b"Transfer-Encoding: chunked")),
    Case("9112-6.1", "Content-Length after chunked", post(b"Transfer-Encoding: chunked", b"Content-Length: 5")),
    Case("9112-6.1", "Content-Length 0 and chunked", post(b"Content-Length: 0", b"Transfer-Encoding: chunked")),
    Case("9112-6.1", "bad Content-Length and chunked", post(b"Content-Length: x", b"Transfer-Encoding: chunked")),
    Case("9112-6.1", "Content-Length and an unknown coding", post(b"Content-Length: 5", b"Transfer-Encoding: gzip")),
    Case("9112-6.1", "Content-Length and an empty coding", post(b"Content-Length: 5", b"Transfer-Encoding:")),
    Case("9112-6.1", "Content-Length and identity", post(b"Content-Length: 5", b"Transfer-Encoding: identity")),
]

BAD_CODINGS = [
    b"", b" ", b"chunked, chunked", b"chunked,chunked", b"gzip, chunked", b"chunked, gzip", b"chunked, identity",
    b"identity, chunked", b"chunked,", b",chunked", b", chunked", b"chunked ,", b",", b"chunked\x0b",
    b" chunked\x0b", b"\x0bchunked", b"chunked\x00", b"chunked\x0c", b'"chunked"', b"'chunked' x", b"chunked;a=b",
    b"chunked; q=1", b"chunked ;", b"chunked x", b"x chunked", b"chun ked", b"chunked\tchunked", b"chunked=1",
    b"(chunked)", b"chunked:", b"\xa0chunked", b"chunked\x85", b"chunk\xe9d", b"gzip,", b"gzip, deflate",
    b"gzip;q=1", b"[chunked]", b"chunked/1", b"\xef\xbb\xbfchunked", b"gzip chunked", b"a" * 5000 + b"@",
]  # fmt: skip

UNKNOWN_CODINGS = [b"gzip", b"identity", b"xchunked", b"chunkedx", b"chunked-", b"chunke", b"'chunked'", b"a" * 5000]

TWO_LINES = b"Transfer-Encoding: %b\r\ntransfer-encoding: %b"

CODINGS = [
    *cases("9112-6.1", "Transfer-Encoding", lambda value: post(b"Transfer-Encoding: " + value), BAD_CODINGS),
    *cases("9112-6.1", "unknown coding", lambda value: post(b"Transfer-Encoding: " + value), UNKNOWN_CODINGS, 501),
    Case("9112-6.1", "an unknown coding of a GET", get(b"/", b"Transfer-Encoding: gzip"), 501),
    Case("9112-6.1", "chunked in HTTP/1.0", post(b"Transfer-Encoding: chunked", version=b"1.0")),
    Case("9112-6.1", "an unknown coding in HTTP/1.0", post(b"Transfer-Encoding: gzip", version=b"1.0")),
    Case(
        "9112-6.1",
        "chunked in HTTP/1.0 kept alive",
        post(b"Connection: keep-alive", b"Transfer-Encoding: chunked", version=b"1.0"),
    ),
    Case("9112-6.1", "chunked on two lines", post(TWO_LINES % (b"chunked", b"chunked"))),
    Case("9112-6.1", "chunked after another on two lines", post(TWO_LINES % (b"gzip", b"chunked"))),
    Case("9112-6.1", "identity after chunked on two lines", post(TWO_LINES % (b"chunked", b"identity"))),
    Case("9112-6.1", "chunked and an empty line", post(TWO_LINES % (b"chunked", b""))),
    Case("9112-5.2", "chunked folded", post(b"Transfer-Encoding:\r\n chunked")),
]

BAD_EXPECTATIONS = [
    b"x", b"100", b"100-continue, x", b"x,100-continue", b"100-continue;q=1", b"100-continue=1", b"100 -continue",
    b'"100-continue"', b"200-ok", b"\xe9",
]  # fmt: skip

EXPECTATIONS = [
    *cases("9110-10.1.1", "Expect", lambda value: post(b"Expect: " + value), BAD_EXPECTATIONS, 417),
    Case("9110-10.1.1", "Expect on two lines", post(b"Expect: 100-continue", b"Expect: x"), 417),
    Case("9110-10.1.1", "a bad framing goes first", post(b"Content-Length: x", b"Expect: x"), 400),
]

BAD = REQUEST_LINES + LINES + HOSTS + LENGTHS + CODINGS + EXPECTATIONS
