"""What the header fields say about the whole message (RFC 9112 sections 3.2, 6 and 9.3)."""

from collections.abc import Iterable

from ..http import Framing, HTTPError
from .grammar import CONTENT_LENGTH, IS_TOKEN
from .host import check_host


def read_framing(lines: Iterable[bytes], minor: int) -> Framing:
    """Read what field lines say, each checked and without its CR LF. Lines of other fields count for nothing.

    Raises:
        HTTPError: 400, 417 or 501, the fields contradict each other or the protocol.
    """
    values: dict[bytes, list[bytes]] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        values.setdefault(name.lower(), []).append(value.strip(b"\t "))
    framing = Framing()
    framing.host = _host(values.get(b"host", []), minor)
    lengths = values.get(b"content-length", [])
    framing.chunked = b"transfer-encoding" in values and _chunked(values[b"transfer-encoding"], lengths, minor)
    framing.content_length = _content_length(lengths)
    framing.has_body = framing.chunked or framing.content_length > 0
    options = _tokens(values[b"connection"]) if b"connection" in values else ()
    framing.keep_alive = b"close" not in options and (minor > 0 or b"keep-alive" in options)
    framing.expects_continue = b"expect" in values and _expectation(values[b"expect"], minor)
    framing.is_simple = framing.keep_alive and not framing.chunked and not framing.expects_continue
    return framing


def _host(values: list[bytes], minor: int) -> str:
    """Return the Host field: exactly one in HTTP/1.1, never two (RFC 9112 section 3.2)."""
    if len(values) > 1 or (minor and not values):
        raise HTTPError(400, "A request of HTTP/1.1 has exactly one Host field.")
    if not values:
        return ""
    check_host(values[0])
    return values[0].decode("ascii")


def _chunked(codings: list[bytes], lengths: list[bytes], minor: int) -> bool:
    """Whether the body is chunked (RFC 9112 section 6.1). What two recipients could read differently is refused."""
    if lengths:
        raise HTTPError(400, "Transfer-Encoding and Content-Length exclude each other.")
    if minor == 0:
        raise HTTPError(400, "HTTP/1.0 has no Transfer-Encoding.")
    coding = codings[0].lower()
    if len(codings) == 1 and coding == b"chunked":
        return True
    if len(codings) == 1 and IS_TOKEN.fullmatch(coding):
        raise HTTPError(501, "The only supported transfer coding is chunked.")
    raise HTTPError(400, "Transfer-Encoding is not exactly chunked.")


def _content_length(lengths: list[bytes]) -> int:
    """Return the announced length of the body in bytes (RFC 9112 section 6.3). Two equal fields are refused as well."""
    if not lengths:
        return 0
    if len(lengths) > 1 or not CONTENT_LENGTH.fullmatch(lengths[0]):
        raise HTTPError(400, "Content-Length is not one decimal number.")
    return int(lengths[0])


def _expectation(values: list[bytes], minor: int) -> bool:
    """Whether the client waits for 100 Continue (RFC 9110 section 10.1.1); HTTP/1.0 has no expectations."""
    expectations = _tokens(values)
    if not expectations or minor == 0:
        return False
    if expectations != {b"100-continue"}:
        raise HTTPError(417, "The only supported expectation is 100-continue.")
    return True


def _tokens(values: list[bytes]) -> set[bytes]:
    """Return the elements of a list over all its lines, in lower case (RFC 9110 section 5.6.1)."""
    return {element.strip(b"\t ") for element in b",".join(values).lower().split(b",")} - {b""}
