"""Field lines: names, values, ends, folding (RFC 9112 section 5, RFC 9110 section 5)."""

from .case import Case, accepted, cut, each, get, refused

CONTROLS = tuple(bytes((code,)) for code in (*range(9), *range(11, 13), *range(14, 32), 127))
NO_TOKEN = (*(bytes((code,)) for code in b' \t"(),/;<=>?@[\\]{}'), b"\x80", b"\xff", b"\xc3\xa9", b"\xa0")


def value(content: bytes) -> bytes:
    return get(b"X: a" + content + b"b")


def name(content: bytes) -> bytes:
    return get(b"X" + content + b"Y: z")


def line(content: bytes) -> bytes:
    return get(content)


CASES: tuple[Case, ...] = (
    *each(accepted, "9110-5.1", "field", line, (
        b"X: y", b"X:y", b"X:", b"X: ", b"X:\t", b"X:  \t y \t ", b"x-!#$%&'*+-.^_`|~09AZ: y", b"X: \x80\xff",
        b"X: \xc3\xa9", b'X: "\\"', b"X: a:b", b"X: :", b"X: y, z", b"X: ,", b"X: <script>", b"X: () { :; };",
        b"X: ${jndi:ldap://a}", b"X: %0d%0aSet-Cookie: a", b"X: " + b"y" * 30_000, b"X" * 30_000 + b": y",
        b"X:" + b" " * 30_000, b"Upgrade: h2c", b"Forwarded: for=a", b"Cookie: a=b; c", b"Date: yesterday",
        b"Range: bytes=9-1", b"If-Modified-Since: x", b"Accept-Encoding: \x80", b"TE: trailers",
    )),
    accepted("9110-5.3", "the same field twice", get(b"X: y", b"X: z")),
    accepted("9112-5", "99 fields and Host", get(*[b"X: y"] * 99)),
    *each(refused, "9110-5.6.2", "byte in a name", name, NO_TOKEN),
    *each(refused, "9110-5.6.2", "control byte in a name", name, CONTROLS),
    *each(refused, "9110-5.5", "control byte in a value", value, CONTROLS),
    *each(refused, "9110-5.5", "control byte ends a value", lambda byte: get(b"X: a" + byte), CONTROLS),
    *each(refused, "9110-5.5", "control byte begins a value", lambda byte: get(b"X:" + byte + b"a"), CONTROLS),
    *each(refused, "9112-5.1", "white space before the colon", line, (b"X : y", b"X\t: y", b"X  : y", b"X \t: y",
        b"X\x0b: y", b"X\xa0: y", b"Content-Length : 0", b"Transfer-Encoding\t: chunked")),
    *each(refused, "9112-5", "no name", line, (b": y", b":", b" : y", b"\t: y", b"::", b"=: y")),
    *each(refused, "9112-5", "no colon", line, (b"X", b"X y", b"X=y", b"X;y", b"GET / HTTP/1.1", b"x\xef\xbc\x9ay",
        b"--", b"0", b"X\x85: y")),
    *each(refused, "9112-5.2", "folded", line, (
        b"X: y\r\n z", b"X: y\r\n\tz", b"X: y\r\n ", b"X: y\r\n\t", b"X:\r\n y", b"X\r\n : y",
        b"X: y\r\n  Content-Length: 5", b"X: y\r\n \r\n z", b"X: y\r\n\x0bz",
    )),
    *each(refused, "9112-5.2", "white space before the first field",
        lambda before: b"GET / HTTP/1.1\r\n" + before + b"Host: a\r\n\r\n", (
        b" ", b"\t", b" \r\n", b"\t\r\n", b" X: y\r\n", b"  \t",
    )),
    *each(refused, "9112-2.2", "end of a field line",
        lambda end: b"GET / HTTP/1.1\r\nX: y" + end + b"Host: a\r\n\r\n", (
        b"\n", b"\r", b"\r\r\n", b"\n\r", b"\n\r\n", b"\r\x00\n", b"\x00\r\n", b"\x00\n", b"\r \n", b"\x0b\r\n",
        b"\x0c\n", b"\r\r\r\n", b"\n\n",
    )),
    *each(refused, "9112-2.2", "end of the head", lambda end: b"GET / HTTP/1.1\r\nHost: a" + end, (
        b"\n\n", b"\r\n\n", b"\n\r\n", b"\r\r", b"\r\n\r\r\n", b"\r\n\r\x00\n", b"\r\n \r\n", b"\r\n\t\r\n",
        b"\r\n\x00\r\n", b"\r\n\rX: y\r\n\r\n", b"\r\r\n\r\r\n",
    )),
    refused("9112-5", "a chunk size among the fields", get(b"5")),
    refused("9110-5.5", "a request hidden by bare CR", get(b"X: y\rContent-Length: 5\rZ: z")),
    refused("9110-5.5", "a request hidden by NUL", get(b"X: y\x00\r\nContent-Length: 5")),
    cut("9112-8", "a field line and nothing else", b"GET / HTTP/1.1\r\nHost: a\r\n"),
    cut("9112-8", "a head without its last LF", b"GET / HTTP/1.1\r\nHost: a\r\n\r"),
    cut("9112-8", "half a field line", b"GET / HTTP/1.1\r\nHos"),
    cut("9112-8", "a whole request, and half of another", get() + b"GET / HTTP/1.1\r\nHo", 200),
)  # fmt: skip
