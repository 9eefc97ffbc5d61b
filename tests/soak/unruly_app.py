"""An application that does what applications do: it forks, streams rows, sets context variables, shares and fails.

Each response carries the token of its request, so that one that reaches a wrong client is noticed.
"""

import os
import select
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from queue import SimpleQueue

from mreactor import App, HTTPError, Request, Response

ROWS = 40
LARGE = 300_000
CHILD_SECONDS = 1.5
# A child that the interpreter lets out of the fork has said so by then.
FORK_SECONDS_MAX = 10.0
NOBODY = "nobody"
FAILURE = "as it shall be"

app = App()
user: ContextVar[str] = ContextVar("user", default=NOBODY)
shared: list[dict[str, list[int]]] = []
local = threading.local()


def make_database() -> str:
    """A table of numbers, for the life of the process."""
    path = Path(tempfile.mkdtemp(prefix="mreactor-unruly-"), "rows.sqlite")
    with sqlite3.connect(path) as database:
        database.execute("create table rows (number integer)")
        database.executemany("insert into rows values (?)", ((number,) for number in range(ROWS)))
    database.close()
    return str(path)


DATABASE = make_database()


def enter(token: str) -> None:
    """Begin a request: no user may be set before it."""
    if user.get() != NOBODY:
        raise RuntimeError(f"the context of {user.get()} reaches {token}")
    user.set(token)


def tell(*more: str) -> Response:
    return Response("".join((user.get(), "\n", *more)), headers={"X-Token": user.get()})


def child_leaves() -> bool:
    return os.getpid() % 2 == 0


# Children, each with the descriptor on which it says that it runs.
children: SimpleQueue[tuple[int, int]] = SimpleQueue()


@app.on_start
def begin_waiting() -> None:
    """Start one thread, and not one for each child: the end of a thread beside a fork makes a hang more likely."""
    threading.Thread(target=wait_for_children, daemon=True).start()


def wait_for_children() -> None:
    while True:
        wait_for_child(*children.get())


def wait_for_child(child: int, said: int) -> None:
    """Wait for the end of a child, and kill it if it hangs in the fork: docs/decisions/081.

    The interpreter then waits for a lock of a thread that does not exist there, before any code of the child runs. A
    child that hangs later is left to be counted.
    """
    if not select.select([said], [], [], FORK_SECONDS_MAX)[0]:
        sys.stderr.write(f"the child {child} hangs in the fork\n")
        os.kill(child, signal.SIGKILL)
    os.close(said)
    os.waitpid(child, 0)


def fork() -> None:
    """Leave a child that holds copies of all descriptors for a while."""
    said, says = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(says, b".")
        time.sleep(CHILD_SECONDS)
        # Some come back to the server's code, as if by mistake.
        if child_leaves():
            raise SystemExit(0)
        os._exit(0)
    os.close(says)
    children.put((child, said))


@app.get("/plain/{token}")
def plain(request: Request, token: str) -> Response:
    enter(token)
    return tell()


@app.get("/waits/{token}", blocking=True)
def waits(request: Request, token: str) -> Response:
    enter(token)
    time.sleep(0.005)
    return tell()


@app.get("/forks/{token}")
def forks(request: Request, token: str) -> Response:
    enter(token)
    fork()
    return tell()


@app.get("/forks/blocking/{token}", blocking=True)
def forks_blocking(request: Request, token: str) -> Response:
    enter(token)
    fork()
    return tell()


@app.post("/echo/{token}")
def echo(request: Request, token: str) -> Response:
    enter(token)
    return tell(request.body.decode())


@app.get("/large/{token}")
def large(request: Request, token: str) -> Response:
    enter(token)
    return tell(token[-1] * LARGE)


@app.get("/rows/{token}", blocking=True)
def rows(request: Request, token: str) -> Iterator[str]:
    """Rows of a cursor, which belongs to its thread."""
    enter(token)
    database = sqlite3.connect(DATABASE)
    local.token = token
    try:
        for (number,) in database.execute("select number from rows order by number"):
            yield f"{user.get()} {local.token} {number}\n"
    finally:
        database.close()


@app.get("/feed/{token}")
def feed(request: Request, token: str) -> Iterator[str]:
    enter(token)
    for number in range(10):
        yield f"{user.get()} {number}\n"


@app.get("/cut/{token}")
def cut(request: Request, token: str) -> Iterator[str]:
    yield f"{token} the first half\n"
    raise RuntimeError(FAILURE)


@app.get("/cut/blocking/{token}", blocking=True)
def cut_blocking(request: Request, token: str) -> Iterator[str]:
    yield f"{token} the first half\n"
    raise HTTPError(503, FAILURE)


@app.get("/fails/{token}")
def fails(request: Request, token: str) -> Response:
    enter(token)
    if token.endswith("0"):
        raise RuntimeError(FAILURE)
    raise HTTPError(409, f"{token} is {FAILURE}")


@app.get("/shared/{token}")
def share(request: Request, token: str) -> dict[str, object]:
    """What other threads change meanwhile."""
    enter(token)
    shared.append({"numbers": [len(shared)]})
    if len(shared) > 50:
        del shared[:25]
    for each in shared[:5]:
        each["numbers"].append(1)
        del each["numbers"][20:]
    return {"token": user.get(), "shared": shared}
