"""Where responses end in a stream of bytes (RFC 9112 section 6.3): a quick reader that judges nothing."""

import re

_DATE = re.compile(rb"\r\nDate: [^\r]*")
_SENTENCE = re.compile(
    rb"\r\nContent-Length: [0-9]++((?:\r\n[^\r]++)*+\r\n\r\n<!doctype html>\n[^\r]*?)<p>[^<\r]*+</p>"
)
_LENGTH = re.compile(rb"\r\nContent-Length: ([0-9]+)\r\n")


def blot_dates(data: bytes) -> bytes:
    """Return the bytes with the value of each Date left out."""
    return _DATE.sub(b"\r\nDate: *", data)


def blot_sentences(data: bytes) -> bytes:
    """Return the bytes with the sentence of each error page left out, and the page's length with it."""
    return _SENTENCE.sub(rb"\r\nContent-Length: *\1<p>*</p>", data)


def find_end(data: bytes, methods: tuple[bytes, ...]) -> int:
    """Find where the responses to some requests end.

    Args:
        data: what has been received.
        methods: of the requests. A response to HEAD has no content.

    Returns:
        the offset past the last response; -1 while it is not there, or where only the end of the connection tells.
    """
    start = final = 0
    while final < len(methods):
        head_end = data.find(b"\r\n\r\n", start)
        if head_end < 0:
            return -1
        head = data[start : head_end + 2]
        status = head[9:12]
        start = head_end + 4
        if status < b"200":
            continue
        if b"\r\nConnection: close\r\n" in head:
            return -1
        if status not in (b"204", b"304") and methods[final] != b"HEAD":
            start = find_content_end(data, start, head)
            if start < 0:
                return -1
        final += 1
    return start


def find_content_end(data: bytes, start: int, head: bytes) -> int:
    """Find where the content ends that begins at `start`; -1 as in `find_end`."""
    if found := _LENGTH.search(head):
        end = start + int(found[1])
        return end if end <= len(data) else -1
    if b"\r\nTransfer-Encoding: chunked\r\n" not in head:
        return -1
    while (line_end := data.find(b"\r\n", start)) >= 0:
        try:
            size = int(data[start:line_end], 16)
        except ValueError:
            return -1
        start = line_end + 2 + size + 2
        if start > len(data):
            return -1
        if not size:
            return start
    return -1
