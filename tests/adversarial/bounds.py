"""What is too much: exactly at the bound, and one past it (RFC 9110 section 15.5, RFC 6585 section 5)."""

from mreactor.config import Limits

from .case import Case, accepted, chunked, get, post, refused

LIMITS = Limits()
LINE, HEAD, FIELDS, BODY = (
    LIMITS.request_line_bytes_max, LIMITS.head_bytes_max, LIMITS.fields_max, LIMITS.body_bytes_max,
)  # fmt: skip


def line_of(size: int) -> bytes:
    """A request whose request line has so many bytes, without its CR LF."""
    return get(line=b"GET /" + b"a" * (size - len(b"GET / HTTP/1.1")) + b" HTTP/1.1")


def head_of(size: int) -> bytes:
    """A request whose head has so many bytes, the empty line included."""
    return get(b"X: " + b"y" * (size - len(get(b"X: "))))


CASES: tuple[Case, ...] = (
    accepted("9110-15.5.15", "request line at the bound", line_of(LINE)),
    refused("9110-15.5.15", "request line past the bound", line_of(LINE + 1), 414),
    refused("9110-15.5.15", "request line far past the bound", line_of(3 * LINE), 414),
    refused("9110-15.5.15", "request line longer than a head", line_of(2 * HEAD), 414),
    refused("9110-15.5.15", "request line without end", b"GET /" + b"a" * (LINE + 100), 414),
    refused("9110-15.5.15", "method without end", b"G" * (LINE + 100), 414),
    refused("9110-15.5.15", "query past the bound", get(line=b"GET /?" + b"a" * LINE + b" HTTP/1.1"), 414),
    refused("9112-3", "spaces without end", b"GET" + b" " * (LINE + 100), 414),
    accepted("6585-5", "head at the bound", head_of(HEAD)),
    refused("6585-5", "head past the bound", head_of(HEAD + 1), 431),
    refused("6585-5", "head far past the bound", head_of(3 * HEAD), 431),
    refused("6585-5", "field without end", b"GET / HTTP/1.1\r\nX: " + b"y" * (HEAD + 100), 431),
    refused("6585-5", "name without end", b"GET / HTTP/1.1\r\n" + b"X" * (HEAD + 100), 431),
    refused("6585-5", "many long fields", get(*[b"X: " + b"y" * 1000] * 40), 431),
    accepted("6585-5", "fields at the bound", get(*[b"X: y"] * (FIELDS - 1))),
    refused("6585-5", "fields past the bound", get(*[b"X: y"] * FIELDS), 431),
    refused("6585-5", "fields without end", b"GET / HTTP/1.1\r\n" + b"X:\r\n" * 5000, 431),
    refused("9110-15.5.14", "announced body past the bound", post(b"", b"Content-Length: %d" % (BODY + 1)), 413),
    refused("9110-15.5.14", "announced body past the bound, awaiting 100", post(b"",
        b"Content-Length: %d" % (BODY + 1), b"Expect: 100-continue"), 413),
    refused("9110-15.5.14", "chunk past the bound", chunked(b"%x\r\n" % (BODY + 1)), 413),
    refused("9110-15.5.14", "second chunk past the bound", chunked(b"1\r\nx\r\n%x\r\n" % BODY), 413),
    accepted("9112-6.3", "a body of 64 KiB", post(b"x" * 65536, b"Content-Length: 65536"), b"x" * 65536),
)  # fmt: skip
