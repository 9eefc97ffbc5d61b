"""What is fuzzed: a context with an application that shows every difference, and the clients of it.

A response tells everything that its handler was given, and how often handlers were called on its connection. So a
request that is misread, lost, handled twice or wrongly served from a cache changes the bytes that are sent.
"""

import logging
import os
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mreactor.app.application import App
from mreactor.app.static_files import StaticFiles
from mreactor.config import Limits
from mreactor.http.request import Request
from mreactor.http.request_head import METHODS
from mreactor.http.response import Response
from mreactor.http.status import HTTPError
from mreactor.http1.context import ReactorContext

# Small, so that the random messages reach them; otherwise nothing differs from the defaults.
LIMITS = Limits(
    request_line_bytes_max=512,
    head_bytes_max=2048,
    fields_max=20,
    body_bytes_max=5000,
    pipelined_per_turn_max=4,
    linger_bytes_max=4096,
    sendfile_bytes_min=600,
)
FILES = {"small.txt": b"small\n" * 20, "large.bin": bytes(range(256)) * 9, "index.html": b"<p>index\n"}


def make_context(app: App) -> ReactorContext:
    """A context as a reactor makes one."""
    return ReactorContext(LIMITS, app.freeze())


_calls: dict[tuple[Any, ...], list[int]] = {}  # of clients with real addresses


def forget(address: tuple[Any, ...]) -> None:
    """Reset the count of an address's calls: it belongs to another client now."""
    _calls.pop(address, None)


def make_peer() -> tuple[Any, ...]:
    """An address for one connection; it holds the number of calls made on it."""
    return ("fuzz", [0])


def make_app(files: Path) -> App:
    """The application: each way to answer, and each way to fail."""
    app = App()
    app.route("/", constant=True)(lambda request: "constant")
    app.get("/hello/{name}")(lambda request, name: f"{_count(request)}: hello {name}")
    app.get("/item/{number:int}")(lambda request, number: {"number": number, "call": _count(request)})
    app.route("/report", METHODS)(report)
    app.route("/blocking", METHODS, blocking=True)(report)
    app.post("/form")(lambda request: f"{_count(request)}: {list(request.form.items())}")
    app.get("/query")(lambda request: f"{_count(request)}: {list(request.query.items())}")
    app.get("/stream")(stream)
    app.get("/blocking/stream", blocking=True)(stream)
    app.get("/nothing")(lambda request: Response(None, 204))
    app.get("/refused")(refused)
    app.get("/broken")(broken)
    app.get("/broken/stream")(broken_stream)
    make_static = partial(StaticFiles, files, prefix="/files/", sendfile_bytes_min=LIMITS.sendfile_bytes_min)
    app.mount("/files/", make_static, constant=True)
    return app


def make_files() -> tempfile.TemporaryDirectory[str]:
    """A directory with the files that are served; the caller cleans it up."""
    directory = tempfile.TemporaryDirectory(prefix="mreactor-fuzz-")
    for name, content in FILES.items():
        file = Path(directory.name, name)
        file.write_bytes(content)
        # The fields of a file that has just changed depend on the second.
        os.utime(file, (1_700_000_000, 1_700_000_000))
    return directory


def be_quiet() -> None:
    """The application fails on purpose, and not every time is worth a line."""
    logging.getLogger("mreactor").setLevel(logging.CRITICAL + 1)


def report(request: Request) -> str:
    """All that a handler can know of its request."""
    head = request.head
    seen = (head.method, head.target, head.path, head.query_string, head.version, head.host)
    return f"{_count(request)}: {seen} {list(head.headers.items())} {request.body!r}"


def stream(request: Request) -> Iterator[bytes | str]:
    """Parts of all kinds, an empty one among them, which must not end the response."""
    yield f"{_count(request)}"
    yield b""
    yield b"x" * 300
    yield "end\r\n0\r\n\r\n"


def refused(request: Request) -> str:
    """A refusal by the application; the connection goes on."""
    raise HTTPError(403, f"call {_count(request)}")


def broken(request: Request) -> str:
    """A failure of the application; the connection goes on."""
    raise RuntimeError(f"call {_count(request)}")


def broken_stream(request: Request) -> Iterator[str]:
    """A response that cannot be finished; the connection ends."""
    yield f"{_count(request)}"
    raise RuntimeError("in the middle")


def _count(request: Request) -> int:
    peer = request.peer
    calls: list[int] = peer[1] if isinstance(peer[1], list) else _calls.setdefault(peer, [0])
    calls[0] += 1
    return calls[0]
