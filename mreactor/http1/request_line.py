"""Request lines: method, target and version (RFC 9112 section 3)."""

from urllib.parse import unquote

from ..http import METHODS, HTTPError, RequestLine
from .grammar import ABSOLUTE_FORM, ORIGIN_FORM, PLAIN_REQUEST_LINE, REQUEST_LINE
from .host import check_host

VERSION_10 = (1, 0)
VERSION_11 = (1, 1)

# Each name leads to the one string of it: a new string for each request would have to be hashed.
_KNOWN_METHODS = {method: method for method in METHODS}


def parse_request_line(line: bytes) -> RequestLine:
    """Check a request line and take it apart. Its path is left to `decode_path`.

    Raises:
        HTTPError: 400, 405, 501 or 505.
    """
    match = PLAIN_REQUEST_LINE.fullmatch(line.decode("latin-1"))
    if match is None or (method := _KNOWN_METHODS.get(match[1])) is None:
        method, target, authority, path, query, minor = _parse_unusual_line(line)
    else:
        _, target, path, query, minor = match.groups("")
        authority = ""
    found = RequestLine()
    found.method = method
    found.target = target
    found.authority = authority
    found.raw_path = found.path = path
    found.query_string = query
    found.version = VERSION_10 if minor == "0" else VERSION_11
    found.keeps_framing = minor != "0" and method != "HEAD"
    found.match = None
    found.is_repeated = False
    return found


def _parse_unusual_line(line: bytes) -> tuple[str, str, str, str, str, str]:
    """Return method, target, authority, path, query and minor version; raises as `parse_request_line`."""
    match = REQUEST_LINE.fullmatch(line)
    if match is None:
        raise HTTPError(400, "The request line is not METHOD SP TARGET SP HTTP/1.1.")
    method, target, major, minor = match.groups()
    if method == b"PRI":
        raise HTTPError(400, "HTTP/2 is not supported.")
    if major != b"1":
        raise HTTPError(505, "Only HTTP/1.0 and HTTP/1.1 are supported.")
    name = _find_method(method.decode("ascii"))
    authority, path, query = (part.decode("ascii") for part in _split_target(target, name))
    return name, target.decode("ascii"), authority, path, query, minor.decode("ascii")


def decode_path(line: RequestLine) -> None:
    """Decode the percent-encoding of a line's path.

    Raises:
        HTTPError: 400, the path is not UTF-8, or holds a NUL.
    """
    try:
        path = unquote(line.raw_path, errors="strict")
    except UnicodeDecodeError:
        raise HTTPError(400, "The path is not UTF-8.") from None
    if "\0" in path:
        raise HTTPError(400, "The path holds a NUL.")
    line.path = path


def _find_method(name: str) -> str:
    if name == "CONNECT":
        raise HTTPError(405, "The method CONNECT is not supported.", (("Allow", ", ".join(METHODS)),))
    # The router refuses what it does not know, unless a WSGI application judges it.
    return _KNOWN_METHODS.get(name, name)


def _split_target(target: bytes, method: str) -> tuple[bytes, bytes, bytes]:
    """Split a request target into authority, path and query (RFC 9112 section 3.2)."""
    if match := ORIGIN_FORM.fullmatch(target):
        return b"", match[1], match[2] or b""
    if match := ABSOLUTE_FORM.fullmatch(target):
        check_host(match[1])
        path = match[2] or (b"*" if method == "OPTIONS" and match[3] is None else b"/")
        return match[1], path, match[3] or b""
    if target == b"*" and method == "OPTIONS":
        return b"", b"*", b""
    raise HTTPError(400, "The request target is malformed.")
