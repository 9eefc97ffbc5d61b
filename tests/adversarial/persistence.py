"""How long a connection lives, what is expected, and what comes one behind the other (RFC 9112 section 9)."""

from .case import Case, accepted, each, get, last, post, refused

HTTP10 = b"GET / HTTP/1.0"
GET = get()
BAD = get(host=b"")


def connection(value: bytes) -> bytes:
    return get(b"Connection:" + value)


def connection_10(value: bytes) -> bytes:
    return get(b"Connection:" + value, line=HTTP10)


def expectation(value: bytes) -> bytes:
    return post(b"abc", b"Expect:" + value, b"Content-Length: 3")


def not_met(section: str, reason: str, raw: bytes) -> Case:
    return refused(section, reason, raw, 417)


CASES: tuple[Case, ...] = (
    # Connection.
    *each(last, "9112-9.6", "Connection", connection, (
        b"close", b" close", b" Close", b" CLOSE", b"\tclose\t", b" close,", b" ,close", b" ,,close,,",
        b" keep-alive, close", b" close, keep-alive", b" x,close", b" x ,\tclose ,y", b" upgrade, close",
        b" close,close",
    )),
    last("9112-9.6", "close on the second line", get(b"Connection: keep-alive", b"Connection: close")),
    last("9112-9.6", "close on the first line", get(b"Connection: close", b"Connection: keep-alive")),
    last("9112-9.6", "close far apart", get(b"Connection: x", *[b"X: y"] * 50, b"connection: y, close")),
    *each(accepted, "9112-9.3", "Connection", connection, (
        b"", b" keep-alive", b" closed", b" close-x", b" xclose", b' "close"', b" clos e", b" close;x", b" close=1",
        b" upgrade", b" te", b" ,", b" Host", b" \xff", b" Content-Length", b" close\xa0", b" keep-alive, keep-alive",
    )),
    *each(refused, "9110-5.5", "control byte in Connection", connection, (b" close\x00", b" \x0bclose", b" close\x0b",
        b" close\x0c", b"\x1fclose")),
    *each(lambda s, r, raw: accepted(s, r, raw), "9112-9.3", "HTTP/1.0 and Connection", connection_10,
        (b" keep-alive", b" Keep-Alive", b" x, keep-alive", b"\tkeep-alive\t")),
    *each(last, "9112-9.3", "HTTP/1.0 and Connection", connection_10, (b"", b" close", b" keep-alive, close",
        b" keepalive", b" x", b" keep-alives")),
    last("9112-9.3", "Keep-Alive field alone, HTTP/1.0", get(b"Keep-Alive: timeout=5", line=HTTP10)),
    accepted("9110-7.8", "upgrade to h2c is ignored", get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c",
        b"HTTP2-Settings: AAMAAABkAAQAAP__")),
    accepted("9110-7.8", "upgrade to websocket is ignored", get(b"Connection: Upgrade", b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13")),
    # Expect.
    *each(lambda s, r, raw: accepted(s, r, raw, b"abc"), "9110-10.1.1", "Expect", expectation, (
        b" 100-continue", b"100-continue", b" 100-Continue", b" 100-CONTINUE", b"\t100-continue\t",
        b" 100-continue, 100-continue", b" , 100-continue", b"", b" ,",
    )),
    *each(not_met, "9110-10.1.1", "Expect", expectation, (
        b" 200-ok", b" 100", b" continue", b" 100-continue;x", b" 100-continue=1", b' "100-continue"',
        b" 100-continue, x", b" x, 100-continue", b" 100 continue", b" 100-continue x", b" \xff",
    )),
    not_met("9110-10.1.1", "Expect without a body", get(b"Expect: x")),
    accepted("9110-10.1.1", "Expect 100-continue without a body", get(b"Expect: 100-continue")),
    last("9110-10.1.1", "Expect is nothing in HTTP/1.0", get(b"Expect: x", line=HTTP10)),
    # One behind the other.
    Case("9112-9.3.2", "two requests", GET + GET, (200, 200), is_open=True),
    Case("9112-9.3.2", "a hundred requests", GET * 100, (200,) * 100, is_open=True),
    Case("9112-9.3.2", "requests with bodies", (post(b"abc", b"Content-Length: 3") + GET) * 2, (200,) * 4,
        is_open=True),
    Case("9112-2.2", "an empty line between requests", GET + b"\r\n" + GET, (200, 200), is_open=True),
    Case("9112-9.6", "nothing after close", get(b"Connection: close") + GET + BAD, (200,)),
    Case("9112-9.6", "nothing after the close of the second", GET + get(b"Connection: close") + GET, (200, 200)),
    Case("9112-9.3", "nothing after HTTP/1.0", get(line=HTTP10) + GET, (200,)),
    Case("9112-9.3", "nothing after a refusal", BAD + GET, (400,)),
    Case("9112-9.3", "good, bad, good", GET + BAD + GET, (200, 400)),
    Case("9112-9.3", "good, bad body, good", GET + post(b"x\r\n\r\n", b"Transfer-Encoding: chunked") + GET, (200,
        400)),
    Case("9112-9.3", "good with a body, bad, good", post(b"abc", b"Content-Length: 3") + b"\x00" + GET, (200, 400)),
    Case("9112-9.3", "seventy good, bad, good", GET * 70 + BAD + GET, (200,) * 70 + (400,)),
    Case("9112-9.3", "unknown method, good", get(line=b"BREW / HTTP/1.1") + GET, (501,)),
    Case("9112-9.3", "too long a body, good", post(b"", b"Content-Length: 99999999") + GET, (413,)),
    Case("9112-2.2", "two empty lines between requests", GET + b"\r\n\r\n" + GET, (200, 400)),
    Case("9112-2.2", "LF between requests", GET + b"\n" + GET, (200, 400)),
    Case("9112-2.2", "NUL between requests", GET + b"\x00" + GET, (200, 400)),
    Case("9112-2.2", "space between requests", GET + b" " + GET, (200, 400)),
    Case("9112-6.3", "a body that was not announced", GET + b"abc\r\n", (200, 400)),
    Case("9112-6.3", "a chunked body that was not announced", GET + b"3\r\nabc\r\n0\r\n\r\n", (200, 400)),
)  # fmt: skip
