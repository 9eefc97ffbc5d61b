"""The demo routes of mreactor as a WSGI and an ASGI application, for the other Python servers.

Imported by the competitors' own interpreter, which may be an older one: it imports nothing but the standard
library. The small page is read once and then served from memory, which is generous to the competitors; the
large file is opened for each request and handed over in the way that the server prefers.
"""

import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, cast

DIRECTORY_VARIABLE = "MREACTOR_BENCH_DOCROOT"
CHUNK_BYTES = 64 * 1024
DIRECTORY = Path(os.environ.get(DIRECTORY_VARIABLE, "static"))
WELCOME = b"Welcome to mreactor"
PAGE_PATH = DIRECTORY / "hello.html"
PAGE = PAGE_PATH.read_bytes() if PAGE_PATH.is_file() else b""
LARGE_PATH = DIRECTORY / "large.bin"

Environment = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], object]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def answer(path: str) -> tuple[str, str, bytes]:
    """The status line's text, the content type and the body for a GET of one of the small routes."""
    if path == "/":
        return "200 OK", "text/plain; charset=utf-8", WELCOME
    if path == "/hello.html":
        return "200 OK", "text/html; charset=utf-8", PAGE
    if path.startswith("/hello/"):
        return "200 OK", "text/plain; charset=utf-8", f"Hello, {path[len('/hello/') :]}!".encode()
    return "404 Not Found", "text/plain; charset=utf-8", b"Not Found"


def wsgi(environ: Environment, start_response: StartResponse) -> Iterable[bytes]:
    """The WSGI application (PEP 3333)."""
    path = environ["PATH_INFO"]
    if path == "/large.bin":
        return wsgi_large(environ, start_response)
    if path == "/echo":
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status, content_type = "200 OK", environ.get("CONTENT_TYPE") or "application/octet-stream"
    else:
        status, content_type, body = answer(path)
    start_response(status, [("Content-Type", content_type), ("Content-Length", str(len(body)))])
    return [body]


def wsgi_large(environ: Environment, start_response: StartResponse) -> Iterable[bytes]:
    """The large file by the server's own file wrapper (sendfile, where it has that), or in one piece."""
    headers = [("Content-Type", "application/octet-stream"), ("Content-Length", str(LARGE_PATH.stat().st_size))]
    start_response("200 OK", headers)
    wrapper = environ.get("wsgi.file_wrapper")
    if wrapper is None:
        return [LARGE_PATH.read_bytes()]
    return cast(Iterable[bytes], wrapper(LARGE_PATH.open("rb"), CHUNK_BYTES))


async def asgi(scope: Message, receive: Receive, send: Send) -> None:
    """The ASGI application (ASGI 3.0); servers take the refusal of another scope as not supported."""
    if scope["type"] != "http":
        raise RuntimeError(f"no {scope['type']} here")
    path = scope["path"]
    if path == "/large.bin":
        await asgi_reply(send, "200 OK", "application/octet-stream", LARGE_PATH.read_bytes())
    elif path == "/echo":
        await asgi_reply(send, "200 OK", "application/octet-stream", await asgi_body(receive))
    else:
        await asgi_reply(send, *answer(path))


async def asgi_reply(send: Send, status: str, content_type: str, body: bytes) -> None:
    """Send one whole answer."""
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": int(status[:3]), "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def asgi_body(receive: Receive) -> bytes:
    """Read the whole request body."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
