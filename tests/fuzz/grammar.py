"""Messages by the grammar, and by the grammar's edges: each production has its usual form, and odd ones now and then.

Everything follows from the random generator that is given: the same seed gives the same messages.
"""

from random import Random

METHODS = (b"GET", b"GET", b"GET", b"POST", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"PATCH", b"DELETE")
ODD_METHODS = (
    b"get",
    b"CONNECT",
    b"TRACE",
    b"BREW",
    b"PRI",
    b"G ET",
    b"GET\t",
    b"",
    b"\x00GET",
    b"G\xc3\x89T",
    b"'GET'",
)

PATHS = (
    b"/", b"/", b"/hello/you", b"/item/7", b"/report", b"/report", b"/report", b"/blocking", b"/form", b"/stream",
    b"/blocking/stream", b"/nothing", b"/refused", b"/broken", b"/broken/stream", b"/files/small.txt",
    b"/files/large.bin", b"/files/", b"/files", b"/nowhere", b"/query?a=1&b=%20&a=2", b"/report?x[]={1}|2",
    b"http://other/report?q", b"HTTP://other:81", b"https://[::1]/report", b"*",
)  # fmt: skip
ODD_PATHS = (
    b"", b"report", b"/%", b"/%zz", b"/%00", b"/%ff", b"/a b", b"/\x80", b"/\xc3\xa9", b"/report#x", b"//report",
    b"/files/../x", b"/files/%2e%2e/x", b"/files/%2e", b"http:///x", b"http://u@h/", b"http://h:99999/", b"ftp://h/",
    b"h:80", b"**", b"/item/99999999999999999999", b"/item/-1", b"/\x7f", b"/report?%", b"http://[::g]/",
)  # fmt: skip
VERSIONS = (b"HTTP/1.1",) * 8 + (b"HTTP/1.0", b"HTTP/1.2")
ODD_VERSIONS = (
    b"HTTP/2.0",
    b"HTTP/0.9",
    b"http/1.1",
    b"HTTP/1.10",
    b"HTTP/1.",
    b"HTTP/11",
    b"HTTP/1.1 ",
    b"ICY/1.1",
    b"",
)

HOSTS = (b"a", b"a", b"a:80", b"[::1]:8080", b"127.0.0.1", b"%41", b"a:")
ODD_HOSTS = (
    b"",
    b"a b",
    b"a:x",
    b"a:99999",
    b"u@a",
    b"[::1",
    b"[1]",
    b"a/b",
    b"a, b",
    b"\xff",
    b"a:80:80",
    b"[v1.x]:1",
)

FIELDS = (
    b"Accept: */*", b"accept:text/html,\tq=0.5", b"X-Empty:", b"X-Spaces:  \t v \t ", b"User-Agent: \xe9\xff",
    b"Cookie: a=b; c=d", b"Connection: keep-alive", b"Connection: close", b"Connection: x,, Close ,",
    b"Connection: keep-alive, upgrade", b"Upgrade: h2c", b"Expect: 100-continue", b"Expect: 100-Continue",
    b"If-None-Match: *", b"Range: bytes=0-1", b"Content-Type: application/x-www-form-urlencoded",
    b"Content-Type: text/plain", b"TE: trailers", b"Trailer: x",
)  # fmt: skip
ODD_FIELDS = (
    b"No colon", b" Folded: x", b"\tfolded", b"Space : x", b": empty", b"", b"N\x00l: x", b"X: \x00", b"X: a\rb",
    b"X: a\nb", b"X: \x7f", b"X\x80: y", b"Expect: 200-ok", b"Expect: 100-continue, x", b"Host: second",
    b"X: " + b"y" * 700, b"(x): y", b"Content-Length: 0", b"Transfer-Encoding: chunked", b"Connection: \x0b",
    b"Connection: close\x00",
)  # fmt: skip

LENGTHS = (
    b"+%d",
    b"-%d",
    b" %d",
    b"%d ",
    b"0%d",
    b"%d, %d",
    b"%d,%d",
    b"0x%x",
    b"%d_0",
    b"%d.0",
    b"",
    b"\xb2",
    b"9" * 30,
    b"%d\x0b",
)
CODINGS = (
    b"chunked", b"Chunked", b"CHUNKED", b" chunked", b"chunked ", b"\x0bchunked", b"chunked, chunked",
    b"gzip, chunked", b"chunked, identity", b"identity", b"gzip", b"", b"xchunked", b"chunked;q=1", b'"chunked"',
    b"chunk\x00ed", b"chunked\r",
)  # fmt: skip
SIZES = (
    b"%x",
    b"%X",
    b"0%x",
    b"000000%x",
    b"0x%x",
    b"+%x",
    b" %x",
    b"%x ",
    b"%x\t",
    b"-%x",
    b"%x_",
    b"",
    b"g",
    b"f" * 17,
    b"%x;",
    b"%x\x0b",
)
EXTENSIONS = (
    b";a",
    b";a=b",
    b' ; a = "b"',
    b';a="\\""',
    b";a;b;c=d",
    b"\t;\ta",
    b";",
    b";=",
    b';a="',
    b";a=\x00",
    b";" + b"e" * 1100,
    b";a\n",
)
TRAILERS = (
    b"",
    b"",
    b"",
    b"X: y\r\n",
    b"X: y\r\nZ:\r\n",
    b"Content-Length: 5\r\n",
    b"X : y\r\n",
    b" X: y\r\n",
    b"x\r\n",
    b"X: y\n",
    b"X: \x00\r\n",
)
ENDS = (b"\n", b"\r", b"\r\r\n", b"\n\r", b"", b" \r\n", b"\x00\r\n", b"\x0b\r\n")


class Grammar:
    """Generates messages.

    Args:
        random: where all choices come from.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._oddness = 0.0

    def stream(self) -> bytes:
        """One to five requests, one behind the other; in some streams nothing is odd, in others much is."""
        random = self._random
        self._oddness = random.choice((0.0, 0.02, 0.05, 0.2))
        return b"".join([self.request() for _ in range(random.choice((1, 1, 1, 2, 3, 5)))])

    def conversation(self) -> bytes:
        """A few requests without fault, again and again in any order: what is remembered of one is met by the next."""
        self._oddness = 0.0
        few = [self.request() for _ in range(self._random.choice((1, 2, 3)))]
        return b"".join(self._random.choices(few, k=self._random.randint(2, 9)))

    def request(self) -> bytes:
        """One request, perhaps with something wrong about it."""
        random = self._random
        fields, body = self._framing()
        fields += [self._pick(FIELDS, ODD_FIELDS) for _ in range(random.choice((0, 0, 1, 2, 4)))]
        if not self._is_odd():
            fields.append(b"Host: " + self._pick(HOSTS, ODD_HOSTS))
        random.shuffle(fields)
        start = b" ".join(
            (self._pick(METHODS, ODD_METHODS), self._pick(PATHS, ODD_PATHS), self._pick(VERSIONS, ODD_VERSIONS))
        )
        lead = random.choice((b"\r\n", b"\r\n\r\n", b"\n", b" ")) if self._is_odd() else b""
        return lead + b"".join([line + self._end() for line in (start, *fields)]) + self._end() + body

    def _is_odd(self) -> bool:
        return self._random.random() < self._oddness

    def _pick(self, usual: tuple[bytes, ...], odd: tuple[bytes, ...]) -> bytes:
        return self._random.choice(odd if self._is_odd() else usual)

    def _end(self) -> bytes:
        return self._random.choice(ENDS) if self._is_odd() else b"\r\n"

    def _framing(self) -> tuple[list[bytes], bytes]:
        """The fields that announce a body, and the body."""
        kind = self._random.random()
        if kind < 0.5:
            return [], b""
        content = self._content()
        if kind < 0.75:
            return [b"Content-Length: " + self._length(len(content))], content
        coding = self._random.choice(CODINGS) if self._is_odd() else b"chunked"
        fields = [b"Transfer-Encoding: " + coding]
        if self._is_odd():
            fields.append(b"Content-Length: %d" % len(content))
        return fields, self._chunks(content)

    def _content(self) -> bytes:
        size = self._random.choice((0, 1, 2, 3, 10, 10, 17, 100, 1000, 5000, 5001))
        return self._random.choice((b"x", b"a=1&b=%20&", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\n0\r\n\r\n"))[
            :size
        ].ljust(size, b"y")

    def _length(self, length: int) -> bytes:
        if self._is_odd():
            form = self._random.choice(LENGTHS)
            return form % ((length,) * form.count(b"%"))
        return b"%d" % (length + self._random.choice((-1, 1)) if self._is_odd() and length else length)

    def _chunks(self, content: bytes) -> bytes:
        """The content in chunked coding."""
        parts = []
        while content:
            size = self._random.randint(1, len(content)) if len(parts) < 5 else len(content)
            parts.append(self._chunk(content[:size]))
            content = content[size:]
        last = self._random.choice((b"0", b"00", b"000000")) + self._extension() + self._end()
        trailers = self._random.choice(TRAILERS if self._is_odd() else TRAILERS[:5])
        return b"".join(parts) + last + trailers + self._end()

    def _chunk(self, part: bytes) -> bytes:
        form = self._random.choice(SIZES if self._is_odd() else SIZES[:4])
        size = form % len(part) if b"%" in form else form
        return size + self._extension() + self._end() + part + self._end()

    def _extension(self) -> bytes:
        if self._random.random() < 0.8:
            return b""
        return self._random.choice(EXTENSIONS if self._is_odd() else EXTENSIONS[:6])
