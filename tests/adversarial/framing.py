"""Where a body ends: Content-Length, Transfer-Encoding, and both (RFC 9112 section 6, RFC 9110 section 8.6)."""

from .case import FOLLOWING, Case, accepted, cut, each, get, last, post, refused

HTTP10 = b"POST / HTTP/1.0"
CONTROLS = tuple(bytes((code,)) for code in (*range(9), *range(11, 13), *range(14, 32), 127))
END = b"0\r\n\r\n"


def length(value: bytes) -> bytes:
    return post(b"abc", b"Content-Length:" + value)


def coding(value: bytes) -> bytes:
    return post(b"3\r\nabc\r\n" + END, b"Transfer-Encoding:" + value)


def unknown_coding(section: str, reason: str, raw: bytes) -> Case:
    return refused(section, reason, raw, 501)


def too_long(section: str, reason: str, raw: bytes) -> Case:
    return refused(section, reason, raw, 413)


LENGTHS: tuple[Case, ...] = (
    *each(lambda s, r, raw: accepted(s, r, raw, b"abc"), "9110-8.6", "Content-Length", length, (
        b"3", b" 3", b"\t3\t", b" 03", b" 0000000003", b" 000000000000000003", b" 3 \t ",
    )),
    *each(refused, "9110-8.6", "Content-Length", length, (
        b"", b" ", b" +3", b" -3", b" -0", b" +0", b" 3,", b" ,3", b" 3, 3", b" 3,3", b" 3, 4", b" 3;", b" 3;x",
        b" 3 3", b" 3\t3", b" 0x3", b" 0X3", b" x3", b" 3x", b" 3_0", b" 3_", b" _3", b" 3.0", b" 3.", b" .3",
        b" 3e0", b" 1e1", b" 3h", b' "3"', b" '3'", b" three", b" 0b11", b" 0o3", b" \xb2", b" \xd9\xa3",
        b" \xef\xbc\x93", b" 3L", b" 3\xa0", b" \xa03", b" (3)", b" 3 (x)", b" 3\x85", b" NaN", b" inf", b" -1",
        b" 0-3", b" 3-", b" 3/1", b" 3:", b" =3", b" $3", b" 3%", b" \\3",
    )),
    *each(refused, "9110-5.5", "control byte in Content-Length", lambda byte: length(b" 3" + byte), CONTROLS),
    *each(refused, "9110-5.5", "control byte before Content-Length", lambda byte: length(byte + b"3"), CONTROLS),
    *each(refused, "9110-8.6", "digits without end", length, (
        b"9" * 19, b"0" * 19, b"9" * 20, b"18446744073709551616", b"18446744073709551619", b"9223372036854775808",
        b"1" * 100, b"9" * 4299, b"9" * 4301, b"9" * 10_000, b"0" * 30_000, b"9" * 30_000,
    )),
    *each(too_long, "9110-15.5.14", "Content-Length", length, (
        b"16777217", b"99999999", b"4294967296", b"4294967299", b"2147483648", b"999999999999999999",
        b"000000000016777217",
    )),
    refused("9112-6.3", "two Content-Lengths, equal", post(b"abc", b"Content-Length: 3", b"Content-Length: 3")),
    refused("9112-6.3", "two Content-Lengths, different", post(b"abc", b"Content-Length: 3", b"Content-Length: 4")),
    refused("9112-6.3", "two Content-Lengths, one empty", post(b"abc", b"Content-Length: 3", b"Content-Length:")),
    refused("9112-6.3", "two Content-Lengths, other case", post(b"abc", b"content-length: 3", b"CONTENT-LENGTH: 3")),
    refused("9112-6.3", "two Content-Lengths, same number", post(b"abc", b"Content-Length: 3",
        b"Content-Length: 03")),
    refused("9112-6.3", "two Content-Lengths, zeros", post(b"", b"Content-Length: 0", b"Content-Length: 0")),
    refused("9112-6.3", "two Content-Lengths, GET", get(b"Content-Length: 0", b"Content-Length: 5")),
    refused("9112-6.3", "two Content-Lengths, HTTP/1.0", post(b"abc", b"Content-Length: 3", b"Content-Length: 4",
        line=HTTP10)),
    refused("9112-5.1", "Content-Length, space before the colon", post(b"abc", b"Content-Length : 3")),
    refused("9112-5.2", "Content-Length, folded", post(b"abc", b"Content-Length:\r\n 3")),
    accepted("9112-6.3", "no length is no body", post(b"")),
    accepted("9112-6.3", "Content-Length 0", post(b"", b"Content-Length: 0")),
    accepted("9112-6.3", "zeros for 0", post(b"", b"Content-Length: 0000")),
    accepted("9110-9.3.1", "GET with a body", get(b"Content-Length: 3") + b"abc", b"abc"),
    accepted("9110-9.3.2", "HEAD with a body", get(b"Content-Length: 3", line=b"HEAD / HTTP/1.1") + b"abc", None,
        method="HEAD"),
    accepted("9110-9.3.5", "DELETE with a body", get(b"Content-Length: 3", line=b"DELETE / HTTP/1.1") + b"abc",
        b"abc"),
    accepted("9112-6.3", "the body is a request", post(FOLLOWING, b"Content-Length: %d" % len(FOLLOWING)), FOLLOWING),
    accepted("9112-6.3", "the body is all bytes", post(bytes(range(256)), b"Content-Length: 256"), bytes(range(256))),
    accepted("9110-8.6", "names that are like it", post(b"abc", b"Content_Length: 9", b"Content-Length: 3",
        b"X-Content-Length: 7"), b"abc"),
    last("9112-6.3", "HTTP/1.0 with a length", post(b"abc", b"Content-Length: 3", line=HTTP10), b"abc"),
    last("9112-6.3", "HTTP/1.0 without a length has no body", post(b"", line=HTTP10)),
    cut("9112-8", "half a body", post(b"ab", b"Content-Length: 3")),
    cut("9112-8", "no body", post(b"", b"Content-Length: 3")),
    cut("9112-8", "half a body after a whole request", get() + post(b"ab", b"Content-Length: 3"), 200),
    Case("9112-6.3", "the body is longer than announced: the rest begins a request", post(b"abcde",
        b"Content-Length: 3"), (200, 501)),
    Case("9112-6.3", "the body is shorter than announced: it takes the next request's beginning", post(b"abc",
        b"Content-Length: 4"), (200, 501)),
    Case("9112-2.2", "an empty line after the body, as old clients send it", post(b"abc\r\n", b"Content-Length: 3"),
        (200,), is_open=True, body=b"abc"),
)  # fmt: skip

CODINGS: tuple[Case, ...] = (
    *each(lambda s, r, raw: accepted(s, r, raw, b"abc"), "9112-6.1", "Transfer-Encoding", coding, (
        b"chunked", b" chunked", b"\tchunked\t", b" \t chunked \t ", b" Chunked", b" CHUNKED", b" cHuNkEd",
    )),
    *each(unknown_coding, "9112-6.1", "Transfer-Encoding", coding, (
        b" gzip", b" identity", b" compress", b" deflate", b" x-chunked", b" chunkedchunked", b" chunk", b" chunkeds",
        b" br", b" null", b" cow", b" chunked.", b" !",
    )),
    *each(refused, "9112-6.1", "Transfer-Encoding", coding, (
        b"", b" ", b" chunked,", b" ,chunked", b", chunked", b" chunked, ", b" chunked,chunked", b" chunked, chunked",
        b" gzip, chunked", b" chunked, gzip", b" identity, chunked", b" chunked, identity", b" gzip, deflate",
        b" chunked;", b" chunked;q=1", b" chunked ; x", b' "chunked"', b" 'chunked\"", b" chunked chunked",
        b" chun ked", b" chunked\tx", b" chunked/1", b" chunked:", b" :chunked", b" =chunked", b" (chunked)",
        b" [chunked]", b" \\chunked", b" chunked\\", b" chunked\xa0", b" \xa0chunked", b" chunked\x85",
        b" chunk\xe9d", b" ch\xc3\xbcnked", b" \xef\xbd\x83hunked", b" chunked\xe2\x80\x8b", b" chunke\xc4\x8f",
        b" ,", b" ,,", b" chunked,,", b" {chunked}", b" <chunked>", b" chunked@", b" gzip;q=0",
    )),
    *each(refused, "9110-5.5", "control byte before chunked", lambda byte: coding(byte + b"chunked"), CONTROLS),
    *each(refused, "9110-5.5", "control byte after chunked", lambda byte: coding(b" chunked" + byte), CONTROLS),
    refused("9112-6.1", "chunked twice", post(END, b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked")),
    refused("9112-6.1", "chunked and identity", post(END, b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: identity")),
    refused("9112-6.1", "identity and chunked", post(END, b"Transfer-Encoding: identity",
        b"Transfer-Encoding: chunked")),
    refused("9112-6.1", "chunked and nothing", post(END, b"Transfer-Encoding: chunked", b"Transfer-Encoding:")),
    refused("9112-6.1", "gzip and chunked on two lines", post(END, b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: chunked")),
    refused("9112-6.1", "two unknown codings", post(END, b"Transfer-Encoding: gzip", b"Transfer-Encoding: br")),
    refused("9112-5.1", "space before the colon", post(END, b"Transfer-Encoding : chunked")),
    refused("9112-5.1", "tab before the colon", post(END, b"Transfer-Encoding\t: chunked")),
    refused("9112-5.2", "chunked is folded", post(END, b"Transfer-Encoding:\r\n chunked")),
    refused("9112-5.2", "a part of chunked is folded", post(END, b"Transfer-Encoding: chun\r\n ked")),
    refused("9110-5.1", "space in the name", post(END, b"Transfer Encoding: chunked")),
    refused("9110-5.1", "control byte in the name", post(END, b"Transfer-Encoding\x00: chunked")),
    refused("9110-5.1", "no colon", post(END, b"Transfer-Encoding chunked")),
    accepted("9110-5.1", "names that are like it", post(b"", b"Transfer_Encoding: chunked",
        b"Transfer-Encodings: chunked", b"X-Transfer-Encoding: chunked", b"TransferEncoding: chunked")),
    accepted("9110-9.3.1", "GET, chunked", get(b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n" + END, b"abc"),
    *each(refused, "9112-6.1", "HTTP/1.0 with Transfer-Encoding:", lambda value: post(END,
        b"Transfer-Encoding:" + value, line=HTTP10), (b" chunked", b" gzip", b"", b" identity")),
    refused("9112-6.1", "HTTP/1.0 with chunked and keep-alive", post(END, b"Transfer-Encoding: chunked",
        b"Connection: keep-alive", line=HTTP10)),
)  # fmt: skip

PAIRS: tuple[Case, ...] = tuple(
    refused("9112-6.1", f"Transfer-Encoding: {coding.decode()} beside Content-Length: {length.decode()}, {order}", raw)
    for coding in (b"chunked", b"identity", b"gzip", b"", b"CHUNKED", b"chunked, identity")
    for length in (b"0", b"5", b"6", b"x", b"")
    for order, fields in (
        ("in this order", (b"Transfer-Encoding: " + coding, b"Content-Length: " + length)),
        ("the other way round", (b"Content-Length: " + length, b"Transfer-Encoding: " + coding)),
    )
    for raw in (post(b"0\r\n\r\nG", *fields),)
)

BOTH: tuple[Case, ...] = (
    *PAIRS,
    refused("9112-6.1", "both, far apart", post(END, b"Content-Length: 5", *[b"X: y"] * 60,
        b"Transfer-Encoding: chunked")),
    refused("9112-6.1", "both, GET", get(b"Content-Length: 5", b"Transfer-Encoding: chunked") + END),
    refused("9112-6.1", "both, HTTP/1.0", post(END, b"Content-Length: 5", b"Transfer-Encoding: chunked",
        line=HTTP10)),
    refused("9112-6.1", "both, CL.TE attack", post(b"0\r\n\r\n" + FOLLOWING, b"Content-Length: 6",
        b"Transfer-Encoding: chunked")),
    refused("9112-6.1", "both, TE.CL attack", post(b"5c\r\n" + FOLLOWING + b"0\r\n\r\n", b"Content-Length: 4",
        b"Transfer-Encoding: chunked")),
    refused("9112-6.1", "TE.TE attack", post(b"0\r\n\r\n" + FOLLOWING, b"Content-Length: 6",
        b"Transfer-Encoding: chunked", b"Transfer-encoding: cow")),
    refused("9112-6.1", "TE hidden by a vertical tab", post(b"0\r\n\r\n" + FOLLOWING, b"Content-Length: 6",
        b"Transfer-Encoding:\x0bchunked")),
    refused("9112-6.1", "TE hidden by folding", post(b"0\r\n\r\n" + FOLLOWING, b"Content-Length: 6",
        b"X: y\r\n Transfer-Encoding: chunked")),
    refused("9112-6.1", "TE hidden by bare LF", post(b"0\r\n\r\n" + FOLLOWING, b"Content-Length: 6",
        b"X: y\nTransfer-Encoding: chunked")),
    refused("9112-6.1", "TE hidden by bare CR", post(b"0\r\n\r\n" + FOLLOWING, b"Content-Length: 6",
        b"X: y\rTransfer-Encoding: chunked")),
)  # fmt: skip

CASES = LENGTHS + CODINGS + BOTH
