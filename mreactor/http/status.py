"""Status codes, their reason phrases, and the one error that carries a status (RFC 9110 section 15)."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus

REASONS: dict[int, str] = {status.value: status.phrase for status in HTTPStatus} | {
    413: "Content Too Large",
    414: "URI Too Long",
    422: "Unprocessable Content",
}


# By status. A tuple: threads look a number up in it without the lock of a dict (docs/decisions/001).
_TEXTS = tuple(f"{status} {REASONS.get(status, '')}".strip() for status in range(600))


class HTTPError(Exception):
    """An error response. Handlers and the server raise it; the connection turns it into a page.

    Args:
        status: the status code, 400 to 599.
        reason: one plain sentence for the person at the client.
        headers: further fields of the response, such as Allow with a 405, as a mapping or as pairs.

    Raises:
        ValueError: the status is out of range.
        TypeError: the status is no integer.
    """

    def __init__(
        self, status: int, reason: str = "", headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()
    ) -> None:
        if not isinstance(status, int):
            raise TypeError(f"the status of an error is an integer, not {status!r}")
        if not 400 <= status <= 599:
            raise ValueError(f"{status} is not the status of an error")
        Exception.__init__(self, status, reason)  # super() takes a lock that all threads share
        self.status = status
        self.reason = reason or REASONS.get(status, "Error")
        self.headers = tuple(headers.items() if isinstance(headers, Mapping) else headers) if headers else ()


class MissingField(HTTPError, KeyError):
    """A query or form has no field of this name: an `HTTPError` with 400, and a KeyError."""

    def __init__(self, name: str, noun: str) -> None:
        HTTPError.__init__(self, 400, f"The {noun} {name!r} is missing.")


def status_line(status: int) -> bytes:
    """Encode a status line with its CRLF (RFC 9112 section 4)."""
    return b"HTTP/1.1 %d %b\r\n" % (status, REASONS.get(status, "").encode("ascii"))


def has_body(status: int) -> bool:
    """Whether a response of this status may have content (RFC 9112 section 6.3, item 1; RFC 9110 section 15.3.6)."""
    return status >= 200 and status not in (204, 205, 304)


def status_text(status: int) -> str:
    """Return the status and its reason as a page shows them, such as `404 Not Found`."""
    return _TEXTS[status]
