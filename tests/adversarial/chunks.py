"""The chunked coding: sizes, extensions, content, ends, trailers (RFC 9112 section 7.1)."""

from .case import FOLLOWING, Case, accepted, chunked, cut, each, refused

CONTROLS = tuple(bytes((code,)) for code in (*range(9), *range(11, 13), *range(14, 32), 127))
END = b"0\r\n\r\n"


def size(value: bytes) -> bytes:
    return chunked(value + b"\r\nabc\r\n" + END)


def extension(value: bytes) -> bytes:
    return chunked(b"3" + value + b"\r\nabc\r\n" + END)


def after_content(value: bytes) -> bytes:
    return chunked(b"3\r\nabc" + value + END)


def trailer(value: bytes) -> bytes:
    return chunked(b"3\r\nabc\r\n0\r\n" + value + b"\r\n")


def last_chunk(value: bytes) -> bytes:
    return chunked(b"3\r\nabc\r\n" + value)


def good(section: str, reason: str, raw: bytes) -> Case:
    return accepted(section, reason, raw, b"abc")


def too_large(section: str, reason: str, raw: bytes) -> Case:
    return refused(section, reason, raw, 431)


def too_long(section: str, reason: str, raw: bytes) -> Case:
    return refused(section, reason, raw, 413)


SIZES: tuple[Case, ...] = (
    *each(good, "9112-7.1", "size", size, (b"3", b"03", b"0003", b"000000000000003")),
    *each(refused, "9112-7.1", "size", size, (
        b"", b" ", b" 3", b"3 ", b"\t3", b"3\t", b"+3", b"-3", b"-0", b"0x3", b"0X3", b"x3", b"3x", b"3h", b"3g",
        b"g", b"3_", b"_3", b"3,", b"3.0", b"3 3", b"3:", b"'3'", b'"3"', b"#3", b"$3", b"3L", b"\xb3", b"\xd9\xa3",
        b"\xef\xbc\x93", b"\xa03", b"3\xa0", b"3\x85", b"three", b"(3)", b"3 x", b"3=x", b"3/", b"3\\", b"\\x3",
        b"%33", b"3%", b"1 2", b"=3", b"3 =x",
    )),
    *each(refused, "9110-5.5", "control byte before a size", lambda byte: size(byte + b"3"), CONTROLS),
    *each(refused, "9110-5.5", "control byte after a size", lambda byte: size(b"3" + byte), CONTROLS),
    *each(refused, "9112-7.1", "digits without end", size, (
        b"0" * 16, b"0" * 15 + b"3", b"f" * 16, b"f" * 17, b"10000000000000003", b"100000003" * 2, b"1" * 100,
        b"0" * 1000, b"f" * 1022, b"f" * 5000, b"0" * 5000 + b"3",
    )),
    *each(too_long, "9110-15.5.14", "size", size, (b"1000001", b"ffffffff", b"fffffffffffffff", b"100000003",
        b"7fffffff", b"80000000")),
    too_long("9110-15.5.14", "two chunks too long together", chunked(b"3\r\nabc\r\nfffffe\r\n")),
    *each(refused, "9112-7.1", "end of a size line", lambda end: chunked(b"3" + end + b"abc\r\n" + END), (
        b"\n", b"\r", b"\r\r\n", b"\n\r", b"\n\n", b" \r\n", b"\r \n", b"\x00\r\n", b"\r\x00",
    )),
    refused("9112-7.1", "no end of a size line", chunked(b"3xyz\r\n" + END)),
)  # fmt: skip

EXTENSIONS: tuple[Case, ...] = (
    *each(good, "9112-7.1.1", "extension", extension, (
        b";a", b";a=b", b';a="b"', b';a=""', b" ;a", b"; a", b"\t;\ta", b";a =b", b";a= b", b';a = "b"', b";a;b",
        b";a=b;c=d;e", b';a="\\""', b';a="\\\\"', b';a="b;c"', b';a="\xff"', b";a=1", b";!#$%&'*+-.^_`|~=x",
        b";" + b"a" * 1000, b';a="' + b"x" * 1000 + b'"', b';a="\t b"',
    )),
    *each(refused, "9112-7.1.1", "extension", extension, (
        b";", b"; ", b";;", b";=", b";=a", b";a=", b";a= ", b";a;", b";a=b;", b";a b", b";a=b c", b';a="', b';a="b',
        b';a=b"', b';a="b"c', b';a="\\"', b";a='b'c d", b";a,b", b";a=b,c", b";(a)", b";a=(b)", b";\xff", b";a=\xff",
        b" a", b" ;", b",a", b":a", b";a=b=c", b";a==b", b';"a"', b";a/b", b';a="b" ', b";a ", b";a=b ", b";[]",
        b";{a}",
    )),
    *each(refused, "9110-5.5", "control byte in an extension", lambda byte: extension(b";a" + byte + b"b"), CONTROLS),
    *each(refused, "9110-5.5", "control byte in a quoted extension", lambda byte: extension(b';a="' + byte + b'"'),
        CONTROLS),
    *each(refused, "9112-7.1.1", "line end in an extension", extension, (b";a\n", b";a\nb", b";a\r", b";a\rb",
        b';a="\n"', b';a="\r"', b';a="\\\n"', b";\n", b"\n;a")),
    refused("9112-7.1.1", "an extension too long", extension(b";" + b"a" * 1100)),
    refused("9112-7.1.1", "an extension without end", chunked(b"3;" + b"a" * 100_000)),
    refused("9112-7.1.1", "extensions too long together", chunked((b"1;" + b"a" * 1000 + b"\r\nx\r\n") * 18 + END)),
    refused("9112-7.1.1", "many extensions, too long together", chunked(b"1;a=b\r\nx\r\n" * 5000 + END)),
    refused("9112-7.1.1", "a request hidden behind LF in an extension", chunked(b"0;\nx\r\n\r\n" + FOLLOWING)),
    good("9112-7.1.1", "extensions of the last chunk", last_chunk(b"0;a=b;c\r\n\r\n")),
)  # fmt: skip

CONTENT: tuple[Case, ...] = (
    accepted("9112-7.1", "no content", chunked(END)),
    accepted("9112-7.1", "two chunks", chunked(b"2\r\nab\r\n1\r\nc\r\n" + END), b"abc"),
    accepted("9112-7.1", "capital digits", chunked(b"A\r\n0123456789\r\n" + END), b"0123456789"),
    accepted("9112-7.1", "small digits", chunked(b"a\r\n0123456789\r\n" + END), b"0123456789"),
    accepted("9112-7.1", "content that looks like an end", chunked(b"5\r\n" + END + b"\r\n" + END), END),
    accepted("9112-7.1", "content that looks like a request",
        chunked(b"%x\r\n" % len(FOLLOWING) + FOLLOWING + b"\r\n" + END), FOLLOWING),
    accepted("9112-7.1", "all bytes", chunked(b"100\r\n" + bytes(range(256)) + b"\r\n" + END), bytes(range(256))),
    accepted("9112-7.1", "a thousand chunks", chunked(b"1\r\nx\r\n" * 1000 + END), b"x" * 1000),
    *each(refused, "9112-7.1", "after the content", after_content, (
        b"", b"\n", b"\r", b"\n\r", b"\r\r\n", b"\r \n", b" \r\n", b"x\r\n", b"\x00\r\n", b"\r\x00\n", b"d\r\n",
        b"\n\n", b"\t\r\n", b"XX",
    )),
    *each(refused, "9112-7.1", "last chunk", last_chunk, (
        b"0\n\r\n", b"0\r\n\n", b"0\n\n", b"0\r\r\n\r\n", b"0\r\n\r\r\n", b"0 \r\n\r\n", b" 0\r\n\r\n", b"-0\r\n\r\n",
        b"+0\r\n\r\n", b"0x0\r\n\r\n", b"0\r\n \r\n", b"0\r\n\x00\r\n", b"\r\n" + END, b"0" * 16 + b"\r\n\r\n",
    )),
    *each(good, "9112-7.1", "last chunk", last_chunk, (b"00\r\n\r\n", b"000000000000000\r\n\r\n")),
    cut("9112-8", "no chunk", chunked(b"")),
    cut("9112-8", "half a size", chunked(b"3")),
    cut("9112-8", "half a line end", chunked(b"3\r")),
    cut("9112-8", "a size and nothing else", chunked(b"3\r\n")),
    cut("9112-8", "half a chunk", chunked(b"3\r\nab")),
    cut("9112-8", "a chunk without its end", chunked(b"3\r\nabc")),
    cut("9112-8", "a chunk with half its end", chunked(b"3\r\nabc\r")),
    cut("9112-8", "no last chunk", chunked(b"3\r\nabc\r\n")),
    cut("9112-8", "half a last chunk", chunked(b"3\r\nabc\r\n0")),
    cut("9112-8", "no empty line at the end", chunked(b"3\r\nabc\r\n0\r\n")),
    cut("9112-8", "half an empty line at the end", chunked(b"3\r\nabc\r\n0\r\n\r")),
    cut("9112-8", "trailers without an end", chunked(b"3\r\nabc\r\n0\r\nX: y\r\n")),
)  # fmt: skip

TRAILERS: tuple[Case, ...] = (
    *each(good, "9112-7.1.2", "trailer", trailer, (
        b"X: y\r\n", b"X:\r\n", b"X:y\r\nZ: \tz \r\n", b"X: \xff\r\n", b"x-y: z\r\n" * 100,
        b"X: " + b"y" * 8000 + b"\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n",
        b"Connection: close\r\n", b"Trailer: x\r\n", b"Expect: 100-continue\r\n",
    )),
    *each(refused, "9112-7.1.2", "trailer", trailer, (
        b"X\r\n", b"X y\r\n", b" X: y\r\n", b"\tX: y\r\n", b": y\r\n", b"X : y\r\n", b"X: y\r\n z\r\n", b"X: y\n",
        b"X: y\r", b"X: y\r\r\n", b"X: \x00\r\n", b"X: a\rb\r\n", b"X: a\nb\r\n", b"X\x80: y\r\n", b"(x): y\r\n",
        b"X: \x7f\r\n", b"GET / HTTP/1.1\r\n", b"0\r\n", b"5\r\nhello\r\n", b"\n", b"\r", b"\x00", b" \r\n",
        b"X: \x0b\r\n",
    )),
    *each(too_large, "6585-5", "trailers too large", trailer, (
        b"X: y\r\n" * 101, b"X: " + b"y" * 8200 + b"\r\n", b"X: " + b"y" * 100_000,
        b"Xyz: " + b"y" * 800 + b"\r\n" + (b"X: " + b"y" * 900 + b"\r\n") * 10,
    )),
)  # fmt: skip

CASES = SIZES + EXTENSIONS + CONTENT + TRAILERS
