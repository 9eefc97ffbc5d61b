"""Request lines: methods, targets, versions, and what stands between and before them (RFC 9112 sections 2 and 3)."""

from collections.abc import Callable

from .case import Case, accepted, cut, each, get, last, refused

METHODS = (b"GET", b"POST", b"PUT", b"PATCH", b"DELETE")
CONTROLS = tuple(bytes((code,)) for code in (*range(9), *range(11, 13), *range(14, 32), 127))


def line(value: bytes) -> bytes:
    return get(line=value)


def method(value: bytes) -> bytes:
    return get(line=value + b" / HTTP/1.1")


def target(value: bytes) -> bytes:
    return get(line=b"GET " + value + b" HTTP/1.1")


def version(value: bytes) -> bytes:
    return get(line=b"GET / " + value)


def refused_with(status: int) -> Callable[[str, str, bytes], Case]:
    """As `refused`, with another status."""
    return lambda section, reason, raw: refused(section, reason, raw, status)


CASES: tuple[Case, ...] = (
    # Methods.
    *each(accepted, "9110-9.1", "method", method, METHODS),
    accepted("9110-9.3.2", "HEAD", method(b"HEAD"), method="HEAD"),
    *each(refused_with(501), "9110-9.1", "unknown method", method, (b"get", b"Get", b"BREW", b"GETS", b"GE",
        b"M-SEARCH", b"!", b"~", b"0")),
    *each(refused_with(501), "9110-9.1", "token", method, (b"#$%&'*+-.^_`|~", b"X" * 300)),
    *each(refused_with(405), "9110-9.3", "not served", line, (b"CONNECT a:443 HTTP/1.1", b"TRACE / HTTP/1.1",
        b"TRACE / HTTP/1.0")),
    *each(refused, "9110-5.6.2", "method is no token", method, (b"G(T", b"G,T", b"G/T", b"G:T", b"G[", b'"GET"',
        b"G\x80T", b"G\xc3\x89T", b"{}", b"G@T")),
    *each(refused, "9110-5.6.2", "control byte in the method", lambda byte: method(b"G" + byte + b"T"), CONTROLS),
    refused("9112-3", "empty method", line(b" / HTTP/1.1")),
    # White space.
    *each(refused, "9112-3", "white space", line, (
        b" GET / HTTP/1.1", b"\tGET / HTTP/1.1", b"GET  / HTTP/1.1", b"GET\t/ HTTP/1.1", b"GET /  HTTP/1.1",
        b"GET /\tHTTP/1.1", b"GET / HTTP/1.1 ", b"GET / HTTP/1.1\t", b"GET\x0b/\x0bHTTP/1.1", b"GET\x0c/ HTTP/1.1",
        b"GET\xa0/ HTTP/1.1", b"GET / HTTP/1.1 x", b"GET /a b HTTP/1.1", b"GET / / HTTP/1.1", b"GET\x85/ HTTP/1.1",
    )),
    *each(refused, "9112-3", "a part is missing", line, (b"GET", b"GET ", b"GET /", b"GET / ", b"GET HTTP/1.1",
        b"GET  HTTP/1.1", b"/ HTTP/1.1", b"HTTP/1.1")),
    # Versions.
    last("9112-9.3", "HTTP/1.0", version(b"HTTP/1.0")),
    *each(accepted, "9110-2.5", "later minor version", version, (b"HTTP/1.2", b"HTTP/1.9")),
    *each(refused_with(505), "9110-15.6.6", "major version", version, (b"HTTP/0.9", b"HTTP/2.0", b"HTTP/2.1",
        b"HTTP/3.0", b"HTTP/9.9", b"HTTP/0.0")),
    *each(refused, "9112-2.3", "no version", version, (
        b"http/1.1", b"Http/1.1", b"HTTP/1", b"HTTP/1.", b"HTTP/.1", b"HTTP/11", b"HTTP/1.10", b"HTTP/01.1",
        b"HTTP/1.01", b"HTTP/10.1", b"HTTP/1,1", b"HTTP/ 1.1", b"HTTP /1.1", b"HTTP/1 .1", b"HTTP-1.1", b"HTTP1.1",
        b"HTTPS/1.1", b"HTCPCP/1.0", b"XHTTP/1.1", b"HTTP/+1.1", b"HTTP/1.-1", b"HTTP/1.1.1", b"HTTP/a.b",
        b"HTTP/\xb9.1", b"HTTP/1.1\x00", b"HTTP/1.1;x", b"HTTP/x1.1", b"HTTP/0x1.1", b"HTTP//1.1", b"HTTP\\1.1",
    )),
    refused("9112-3", "HTTP/0.9 request", b"GET /\r\n"),
    refused("9112-3", "HTTP/0.9 request with LF", b"GET /\n"),
    # Targets.
    *each(accepted, "9112-3.2.1", "origin form", target, (
        b"/", b"//", b"/a", b"/a//b", b"/?", b"/?a?b/c", b"/a;b=c,d", b"/%20", b"/%41%7e", b"/%c3%a9", b"/%C3%A9",
        b"/~a", b"/-._~!$&'()*+,;=:@", b"/[]|", b"/?[]{}|\\^`", b"/" + b"a" * 8000, b"/.", b"/..", b"/a/../b",
        b"/%2e%2e/x", b"/%2f", b"/%5c", b"/%0a", b"/%0d%0aX:y", b"/%3f", b"/%23", b"/?%ff", b"/?a=%00",
        b"/http://other/", b"/:80", b"/@",
    )),
    *each(accepted, "9112-3.2.2", "absolute form", target, (
        b"http://a/", b"http://a", b"http://other/x?y", b"HTTP://a/", b"https://a/", b"http://a:80/", b"http://a:/",
        b"http://[::1]/", b"http://[::1]:8080/x", b"http://1.2.3.4/", b"http://a?x", b"http://a.b-c_d~e/",
        b"http://%41/",
    )),
    *each(refused, "9112-3.2.2", "absolute form", target, (
        b"http:///", b"http://", b"http:/a", b"http:a", b"http//a/", b"http://u@a/", b"http://u:p@a/", b"http://a:x/",
        b"http://a:99999/", b"http://a:65536/", b"http://a:8 0/", b"http://a:-1/", b"http://[::1/", b"http://[]/",
        b"http://[::g]/", b"http://[1.2.3.4]/", b"http://::1/", b"http://a\\b/", b"http://a#b", b"http://a/#",
        b"http://\xc3\xa9/", b"ftp://a/", b"file:///etc/passwd", b"ws://a/", b"javascript:x", b"http://?x",
        b"http://:80/", b"http://a%/", b"http://a%zz/", b"http://a/%", b"http://a:80:80/", b"http://[::1]x/",
        b"http://[v1.x", b"http://[fe80::1%25eth0]/",
    )),
    *each(refused, "9112-3.2.3", "authority form", target, (b"a:80", b"a", b"[::1]:80", b":80", b"127.0.0.1:80")),
    *each(refused, "9112-3.2.4", "asterisk form", target, (b"*", b"**", b"*/", b"*?x")),
    Case("9112-3.2.4", "OPTIONS *", get(line=b"OPTIONS * HTTP/1.1"), (204,), is_open=True, method="OPTIONS"),
    refused("9112-3.2.4", "OPTIONS **", get(line=b"OPTIONS ** HTTP/1.1")),
    *each(refused, "9112-3.2", "no form of a target", target, (b"a/b", b"?x", b"#", b".", b"./a", b"../a", b"\\",
        b"~", b"%2f", b";", b"x=y", b"@/")),
    *each(refused, "3986-2.1", "percent-encoding", target, (
        b"/%", b"/%4", b"/%zz", b"/%%", b"/%4x", b"/%x4", b"/a%", b"/%u0041", b"/%+1",
        b"/% 1", b"/%-1", b"/%\xc3",
    )),
    *each(refused, "3986-3.3", "path is not UTF-8", target, (b"/%ff", b"/%c3", b"/%c3%28", b"/%e2%82",
        b"/%f8%88%80%80%80", b"/%c0%af", b"/%ed%a0%80", b"/%c0%80")),
    *each(refused, "3986-3.3", "NUL in the path", target, (b"/%00", b"/a%00b", b"/a.html%00.png")),
    *each(refused, "3986-3.5", "fragment", target, (b"/#", b"/#x", b"/?a#b", b"/a#")),
    *each(refused, "3986-2", "character", target, (b'/"', b"/<", b"/>", b"/\\", b"/^", b"/`", b"/{", b"/}", b"/?<",
        b'/?"', b"/?>", b"/a\\..\\b")),
    *each(refused, "9112-3.2", "raw non-ASCII", target, (b"/\x80", b"/\xff", b"/\xc3\xa9", b"/?\xc3\xa9",
        b"/\xef\xbc\x8f", b"/\xe2\x80\xa8", b"/\xa0")),
    *each(refused, "9112-3.2", "control byte in the target", lambda byte: target(b"/a" + byte + b"b"), CONTROLS),
    # Lines.
    *each(refused, "9112-2.2", "end of the request line", lambda end: b"GET / HTTP/1.1" + end + b"Host: a\r\n\r\n", (
        b"\n", b"\r", b"\r\r\n", b"\n\r", b"\n\r\n", b"\r\n\r", b" \r\n", b"\x00\r\n", b"\r\x00\n", b"\x0b", b"\x85",
        b"\r \n", b"\r\t\n",
    )),
    accepted("9112-2.2", "one empty line before the request", b"\r\n" + get()),
    *each(refused, "9112-2.2", "before the request line", lambda before: before + get(), (
        b"\n", b"\r", b"\r\n\r\n", b"\r\n\n", b"\n\r\n", b"\r\n\r\n\r\n", b" ", b"\t", b" \r\n", b"\x00",
        b"\xef\xbb\xbf", b"\xff\xfe", b"\r\n ", b"\r\r\n", b"x\r\n",
    )),
    refused("9112-2.2", "LF everywhere", b"GET / HTTP/1.1\nHost: a\n\n"),
    refused("9112-2.2", "CR everywhere", b"GET / HTTP/1.1\rHost: a\r\r"),
    cut("9112-8", "nothing but an empty line", b"\r\n"),
    cut("9112-8", "half a request line", b"GET / HT"),
    cut("9112-8", "a request line and nothing else", b"GET / HTTP/1.1\r\n"),
    cut("9112-8", "a request line without its LF", b"GET / HTTP/1.1\r"),
)  # fmt: skip
