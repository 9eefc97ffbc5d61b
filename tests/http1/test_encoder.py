"""The framing of responses, and the response of a full server."""

import pytest

from mreactor.http.response import Response
from mreactor.http1.encoder import encode_chunk, encode_length, render_overload
from mreactor.protocol import FileBody


@pytest.mark.parametrize("chunks", [True, False])
@pytest.mark.parametrize(
    ("response", "framing"),
    [
        (Response(None), b"Content-Length: 0\r\n"),
        (Response("h\xe9"), b"Content-Length: 3\r\n"),
        (Response(b"x" * 70_000), b"Content-Length: 70000\r\n"),
        (Response(FileBody(-1, 100, 2**33)), b"Content-Length: 8589934592\r\n"),
        (Response(None, 404), b"Content-Length: 0\r\n"),
        (Response("a", 204), b""),
        (Response("a", 304), b""),
        (Response("a", 205), b"Content-Length: 0\r\n"),
        (Response(iter([b"a"]), 204), b""),
    ],
)
def test_length(response: Response, framing: bytes, chunks: bool) -> None:
    assert encode_length(response.status, response.body, chunks=chunks) == framing


def test_a_stream_is_chunked_or_ends_with_the_connection() -> None:
    assert encode_length(200, iter([b"a"]), chunks=True) == b"Transfer-Encoding: chunked\r\n"
    assert encode_length(200, iter([b"a"]), chunks=False) == b""


@pytest.mark.parametrize(
    ("part", "chunk"),
    [
        (b"", b""),  # an empty chunk would end the body
        (b"a", b"1\r\na\r\n"),
        (b"\r\n", b"2\r\n\r\n\r\n"),
        (b"x" * 255, b"ff\r\n" + b"x" * 255 + b"\r\n"),
    ],
)
def test_chunk(part: bytes, chunk: bytes) -> None:
    assert encode_chunk(part) == chunk


def test_the_response_of_a_full_server() -> None:
    assert render_overload() == (
        b"HTTP/1.1 503 Service Unavailable\r\nServer: mreactor\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: 39\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
        b"This server has too many connections.\r\n"
    )
