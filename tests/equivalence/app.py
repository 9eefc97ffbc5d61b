"""The applications under play. The server process imports this file as a module of its own, named `served`.

Only the public API is used, so the file runs on both checkouts. `app` has each way to answer and each way to fail;
`echo` answers with the request's own content. Responses of `app` show what the handler received, and how many calls
its connection has made. The count is kept by the peer's host: the player gives each connection an address of its own.
"""

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import mreactor
from mreactor import App, HTTPError, Request, Response

try:
    from mreactor.app import StaticFiles
except ImportError:
    try:
        from mreactor.app.static_files import StaticFiles
    except ImportError:
        from mreactor.static import StaticFiles

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
FOLDER = Path(__file__).parent
SENDFILE_BYTES_MIN = 600
WAIT_SECONDS = 30.0

Path(FOLDER, "origin").write_text(mreactor.__file__)

_calls: dict[object, int] = {}
_gate = threading.Event()
_waiting = threading.Semaphore(0)


def count(request: Request) -> int:
    """Count a call of this request's connection."""
    host = request.peer[0]
    _calls[host] = calls = _calls.get(host, 0) + 1
    return calls


def report(request: Request) -> str:
    """Show all that a handler can know of its request."""
    fields = list(request.headers.items())
    asked = (request.method, request.target, request.path, list(request.query.items()), request.host)
    seen = (*asked, request.content_type, fields, request.body)
    return f"{count(request)}: {seen!r}"


def stream(request: Request) -> Iterator[bytes | str]:
    """Yield parts of all kinds. The empty one must not end the response."""
    yield f"{count(request)}"
    yield b""
    yield b"x" * 300
    yield "end\r\n0\r\n\r\n"


def broken_stream(request: Request) -> Iterator[str]:
    """Yield one part, then fail."""
    yield f"{count(request)}"
    raise RuntimeError("in the middle")


def blocks(request: Request, number: int) -> Iterator[bytes]:
    """Stream a number of blocks."""
    return (bytes([index % 256]) * 5000 for index in range(number))


def refused(request: Request) -> str:
    """Refuse with a reason and a field."""
    raise HTTPError(403, f"call {count(request)}", (("X-Reason", "refused"),))


def broken(request: Request) -> str:
    """Fail."""
    raise RuntimeError("broken on purpose")


def leave(request: Request) -> str:
    """Raise what would end a program."""
    raise SystemExit(3)


def status(request: Request, code: int) -> Response:
    """Answer with a status."""
    if code >= 400:
        raise HTTPError(code)
    return Response("content", code, {"X-Count": str(count(request))})


def echo(request: Request, rest: str = "") -> Response:
    """Answer with the request's content."""
    return Response(request.body, headers={"X-Method": request.method})


def wait(request: Request) -> str:
    """Wait until another request opens the gate, then shut it again."""
    _waiting.release()
    opened = _gate.wait(WAIT_SECONDS)
    _gate.clear()
    return "opened" if opened else "still shut"


def open_gate(request: Request) -> str:
    """Open the gate."""
    _gate.set()
    return "open"


def await_waiting(request: Request) -> str:
    """Hold up the reactor until a call of `wait` has begun."""
    return "waiting" if _waiting.acquire(timeout=WAIT_SECONDS) else "nothing waits"


def make_app() -> App:
    """Build the application with each way to answer."""
    app = App()
    app.route("/", constant=True)(lambda request: "constant")
    app.get("/probe")(lambda request: "probe")
    app.get("/hello/{name}")(lambda request, name: f"{count(request)}: hello {name}")
    app.get("/item/{number:int}")(lambda request, number: {"number": number, "call": count(request)})
    app.get("/bytes/{number:int}")(lambda request, number: bytes(range(256)) * (number // 256))
    app.route("/report", METHODS)(report)
    app.route("/blocking", METHODS, blocking=True)(report)
    app.route("/echo", METHODS)(echo)
    app.post("/form")(lambda request: f"{count(request)}: {list(request.form.items())}")
    app.post("/json")(lambda request: {"call": count(request), "content": request.json()})
    app.get("/query")(lambda request: f"{count(request)}: {list(request.query.items())}")
    add_streams(app)
    add_failures(app)
    app.get("/nothing")(lambda request: Response(None, 204))
    app.get("/status/{code:int}")(status)
    app.get("/wait", blocking=True)(wait)
    app.get("/open")(open_gate)
    app.get("/waiting")(await_waiting)
    files = partial(StaticFiles, FOLDER / "files", prefix="/files/", sendfile_bytes_min=SENDFILE_BYTES_MIN)
    app.mount("/files/", files, constant=True)
    return app


def add_streams(app: App) -> None:
    """Add the routes that answer part by part."""
    app.get("/stream")(stream)
    app.get("/blocking/stream", blocking=True)(stream)
    app.get("/broken/stream")(broken_stream)
    app.get("/blocking/broken/stream", blocking=True)(broken_stream)
    app.get("/blocks/{number:int}")(blocks)
    app.get("/blocking/blocks/{number:int}", blocking=True)(blocks)


def add_failures(app: App) -> None:
    """Add the routes that refuse or fail."""
    app.get("/refused")(refused)
    app.get("/broken")(broken)
    app.get("/exit")(leave)
    app.get("/blocking/broken", blocking=True)(broken)
    app.get("/blocking/exit", blocking=True)(leave)


def make_echo() -> App:
    """Build the application that echoes whatever it is asked."""
    app = App()
    app.route("/", METHODS)(echo)
    app.route("/{rest:path}", METHODS)(echo)
    return app


app = make_app()
echoes = make_echo()
