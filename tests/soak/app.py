"""The application under load: every kind of response that there is, each the same for the same request."""

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from mreactor.app.application import App
from mreactor.app.static_files import StaticFiles
from mreactor.http.request import Request
from mreactor.http.response import Response
from mreactor.http.uploads import UploadedFile

LARGE = 200_000
FLOOD = 64 << 20
HUGE = 8 << 20
MEMORY = 1 << 20
WAIT_SECONDS = 0.02


def make_files() -> str:
    """A directory with a small file and a large one, for the life of the process."""
    folder = Path(tempfile.gettempdir(), f"mreactor-soak-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, size in (("small.txt", 500), ("large.bin", LARGE), ("huge.bin", HUGE)):
        path = folder / name
        if not path.exists() or path.stat().st_size != size:
            path.write_bytes(hashlib.shake_128(name.encode()).digest(size))
    return str(folder)


app = App()
app.get("/", constant=True)(lambda request: "constant")
app.mount("/files/", partial(StaticFiles, make_files(), prefix="/files/", sendfile_bytes_min=65536), constant=True)


@app.get("/hello/{name}")
def hello(request: Request, name: str) -> str:
    return f"hello {name}"


@app.get("/json")
def json(request: Request) -> dict[str, object]:
    return {"path": request.path, "query": dict(request.query)}


@app.post("/echo")
def echo(request: Request) -> Response:
    return Response(request.body)


@app.post("/form", blocking=True)
def form(request: Request) -> dict[str, list[object]]:
    """The length and the hash of each file of a form."""
    return {name: [upload.size, _hash(upload)] for name, upload in request.files.items()}


def _hash(upload: UploadedFile) -> str:
    digest = hashlib.sha256()
    for part in upload.parts():
        digest.update(part)
    return digest.hexdigest()


@app.get("/stream")
def stream(request: Request) -> Iterator[bytes]:
    for number in range(10):
        yield b"part %d\n" % number * 50


@app.get("/blocking", blocking=True)
def blocking(request: Request) -> str:
    return "done elsewhere"


@app.get("/wait", blocking=True)
def wait(request: Request) -> str:
    """Takes its time, as a database would."""
    time.sleep(WAIT_SECONDS)
    return "done in time"


@app.get("/blocking/stream", blocking=True)
def blocking_stream(request: Request) -> Iterator[bytes]:
    yield from (b"x" * 1000 for _ in range(5))


@app.get("/memory")
def memory(request: Request) -> bytes:
    """A large response of its own for each request."""
    return bytes(MEMORY)


@app.get("/flood")
def flood(request: Request) -> Iterator[bytes]:
    """More than any reader takes that does not read."""
    part = bytes(64 * 1024)
    yield from (part for _ in range(FLOOD // len(part)))


@app.get("/broken")
def broken(request: Request) -> str:
    raise RuntimeError("as it shall be")
