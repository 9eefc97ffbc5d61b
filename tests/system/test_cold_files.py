"""Files that are on the disk only: the thread pool reads them, no reactor waits, and the bytes are the same."""

import contextlib
import errno
import os
import random
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from mreactor import protocol
from mreactor.app import document_root
from mreactor.app.application import App
from mreactor.app.static_files import StaticFiles
from mreactor.config import Limits
from mreactor.http.request import Request
from mreactor.http.response import Response
from mreactor.protocol import LOAD_BYTES, FileBody, is_cached
from tests.support.drivers import KINDS, PATIENCE_SECONDS, SOCKET_KINDS, Driver, open_driver
from tests.support.vectors import get

CONTENTS = {
    "small.bin": random.Random(1).randbytes(20_000),
    "large.bin": random.Random(2).randbytes(3 * LOAD_BYTES + 12345),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, content in CONTENTS.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def make_app(root: Path) -> App:
    app = App()

    @app.get("/hello")
    def hello(request: Request) -> str:
        return "hello"

    @app.get("/own")
    def own(request: Request) -> Response:
        fd = os.open(root / "large.bin", os.O_RDONLY)
        return Response(FileBody(fd, 5, 2 * LOAD_BYTES))

    app.mount("/", partial(StaticFiles, root))
    return app


class Disk:
    """Stands for the page cache: what `load` has not read is not in it.

    Attributes:
        asked: offsets that were looked up.
        loaded: threads that have loaded pieces of files.
        gate: loading waits for it.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[int] = []
        self.loaded: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        real = FileBody.load

        def load(file: FileBody) -> None:
            assert self.gate.wait(PATIENCE_SECONDS)
            self.loaded.append(threading.current_thread().name)
            real(file)

        def look(fd: int, offset: int) -> bool:
            self.asked.append(offset)
            return False

        monkeypatch.setattr(FileBody, "load", load)
        for module in (protocol, document_root):
            monkeypatch.setattr(module, "is_cached", look)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture(params=KINDS)
def driver(request: pytest.FixtureRequest, root: Path) -> Iterator[Driver]:
    with open_driver(request.param, make_app(root), Limits()) as driver:
        yield driver


@pytest.fixture(params=SOCKET_KINDS)
def sockets(request: pytest.FixtureRequest, root: Path) -> Iterator[Driver]:
    with open_driver(request.param, make_app(root), Limits(blocking_threads=4)) as driver:
        yield driver


def test_the_bytes_are_the_same(driver: Driver, disk: Disk) -> None:
    with driver.connect() as client:
        for _ in range(2):
            for name, content in CONTENTS.items():
                assert client.ask(get(f"/{name}")).body == content
        part = client.ask(get("/large.bin", f"Range: bytes=7-{LOAD_BYTES + 6}"))
        assert part.body == CONTENTS["large.bin"][7 : LOAD_BYTES + 7]
        several = client.ask(get("/large.bin", "Range: bytes=0-99,2000000-2000099"))
        assert CONTENTS["large.bin"][2_000_000:2_000_100] in several.body
        assert client.ask(get("/own")).body == CONTENTS["large.bin"][5 : 2 * LOAD_BYTES + 5]
        assert client.ask(get("/hello")).text == "hello"
    if driver.kind != "memory":
        # Twice four pieces, two, two regions, three.
        assert len(disk.loaded) == 8 + 2 + 2 + 3
        assert all(name.startswith("blocking-") for name in disk.loaded)


def test_requests_that_are_pipelined_behind_a_cold_file(driver: Driver, disk: Disk) -> None:
    targets = ["/hello", "/small.bin", "/large.bin", "/hello", "/large.bin", "/small.bin", "/hello"]
    with driver.connect() as client:
        client.send(b"".join(get(target) for target in targets))
        for target in targets:
            body = client.receive().body
            assert body == (b"hello" if target == "/hello" else CONTENTS[target[1:]])


def test_other_clients_do_not_wait_for_the_disk(sockets: Driver, disk: Disk) -> None:
    disk.gate.clear()
    waiting = [sockets.connect() for _ in range(3)]
    try:
        for client in waiting:
            client.send(get("/large.bin"))
        with sockets.connect() as other:
            for _ in range(20):
                assert other.ask(get("/hello")).text == "hello"
        assert not disk.loaded
        disk.gate.set()
        for client in waiting:
            assert client.receive().body == CONTENTS["large.bin"]
    finally:
        disk.gate.set()
        for client in waiting:
            client.close()


def test_directories_are_read_in_the_pool(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk none of whose directories is in memory, a thread that must not wait can open nothing."""
    waiting: list[str] = []

    def open_cold(path: bytes, cached_open: object) -> int:
        if cached_open is not None:
            raise BlockingIOError(errno.EAGAIN, "a directory would have to be read")
        waiting.append(threading.current_thread().name)
        return os.open(path, document_root.OPEN_FLAGS)

    monkeypatch.setattr(document_root, "open_descriptor", open_cold)
    with driver.connect() as client:
        for name, content in CONTENTS.items():
            assert client.ask(get(f"/{name}")).body == content
        assert client.ask(get("/missing.bin")).status == 404
    assert len(waiting) == 3
    if driver.kind != "memory":
        assert all(name.startswith("blocking-") for name in waiting)


def open_files(root: Path) -> int:
    return sum(os.path.realpath(link).startswith(f"{root}/") for link in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("resets", [True, False])
def test_a_client_that_leaves_while_the_disk_is_read(sockets: Driver, disk: Disk, root: Path, resets: bool) -> None:
    disk.gate.clear()
    client = sockets.connect()
    client.send(get("/large.bin"))
    sockets.wait_until(lambda: bool(disk.asked))
    client.reset() if resets else client.close()
    disk.gate.set()
    sockets.wait_until(lambda: sockets.open_connections() == 0 and open_files(root) == 0)
    with sockets.connect() as other:
        assert other.ask(get("/small.bin")).body == CONTENTS["small.bin"]


def test_a_file_that_is_truncated_while_the_disk_is_read_is_cut_off(sockets: Driver, disk: Disk, root: Path) -> None:
    disk.gate.clear()
    with sockets.connect() as client:
        client.send(get("/large.bin"))
        sockets.wait_until(lambda: bool(disk.asked))
        os.truncate(root / "large.bin", 100)
        disk.gate.set()
        received = client.receive_rest()
    assert received.startswith(b"HTTP/1.1 200 ")
    assert len(received) < LOAD_BYTES
    sockets.wait_until(lambda: open_files(root) == 0)


def test_a_full_pool_does_not_stop_a_file(root: Path, disk: Disk) -> None:
    """The reactor then waits for the disk itself."""
    app = make_app(root)
    busy = threading.Event()

    @app.get("/busy", blocking=True)
    def wait(request: Request) -> str:
        busy.wait(PATIENCE_SECONDS)
        return "done"

    limits = Limits(blocking_threads=1, blocking_queue_max=1)
    with contextlib.ExitStack() as stack:
        driver = stack.enter_context(open_driver("epoll", app, limits))
        stack.callback(busy.set)
        clients = [stack.enter_context(driver.connect()) for _ in range(6)]
        for client in clients:
            client.send(get("/busy"))
        # One runs and one waits; the pool refuses the others.
        refused: set[int] = set()

        def is_full() -> bool:
            refused.update(index for index, client in enumerate(clients) if client.pass_time(0.01))
            return len(refused) == 4

        driver.wait_until(is_full)
        client = clients[refused.pop()]
        assert client.receive().status == 503
        assert client.ask(get("/large.bin")).body == CONTENTS["large.bin"]
        assert client.ask(get("/small.bin")).status == 503
        assert not disk.loaded


def test_what_the_kernel_says(root: Path) -> None:
    """A page that was dropped is not cached; loading brings it back. File systems in memory do not tell."""
    path = root / "large.bin"
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    # The kernel may keep some of the pages.
    is_cold = not (is_cached(fd, 10) and is_cached(fd, LOAD_BYTES - 1))
    file = FileBody(fd, 10, 2 * LOAD_BYTES)
    assert file.must_load() == is_cold
    assert (file.loaded_until, file.must_load()) == (LOAD_BYTES, False)
    file.load()
    assert is_cached(fd, 10)
    assert is_cached(fd, LOAD_BYTES - 1)
    file.advance(LOAD_BYTES - 10)
    file.must_load()
    assert file.loaded_until == 2 * LOAD_BYTES
    file.close()
    file.load()
    assert is_cached(file.fd, 0), "a file that cannot be read is not waited for"
