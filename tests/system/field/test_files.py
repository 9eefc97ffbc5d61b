"""Files as reports tell of them: odd kinds, odd names, and files that change while they are sent."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import ServerProcess, start
from tests.support.vectors import get

HUGE = (1 << 32) + 100_000


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "plain.txt").write_text("plain")
    (folder / "empty.txt").touch()
    (folder / "growing.log").write_bytes(b"a" * 3_000_000)
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(folder / "socket"))
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "device").symlink_to("/dev/zero")
    (folder / "outside").symlink_to("/etc/hostname")
    (folder / "closed").mkdir()
    (folder / "closed" / "file.txt").write_text("x")
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.txt")).write_text("latin")
    (folder / "100%.txt").write_text("percent")
    (folder / "a b+c.txt").write_text("space")
    (folder / "new\nline.txt").write_text("line")
    (folder / "back\\slash.txt").write_text("slash")
    with (folder / "huge.bin").open("wb") as file:
        file.truncate(HUGE)
        file.seek(HUGE - 5)
        file.write(b"end.\n")
    return folder


@pytest.fixture(scope="module")
def files(backend: str, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    arguments = ("--backend", backend, "--threads", "1", "--static", str(root))
    with start(tmp_path_factory.mktemp("server"), *arguments) as process:
        yield process


@pytest.mark.parametrize(
    "name", ["pipe", "socket", "loop", "device", "outside", "closed/", "closed/nothing", "x" * 300]
)
def test_what_is_no_file_of_the_root_is_not_there_and_blocks_nothing(files: ServerProcess, name: str) -> None:
    """Opening a pipe without a writer waits for one."""
    with files.connect() as client:
        assert client.ask(get(f"/{name}")).status in (403, 404)
        assert client.ask(get("/plain.txt")).text == "plain"


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/caf%E9.txt", None),  # a path is text in UTF-8, so this name has no address
        ("/100%25.txt", "percent"),
        ("/a%20b+c.txt", "space"),
        ("/new%0Aline.txt", None),
        ("/back%5Cslash.txt", None),
        ("/plain.txt/", None),
        ("/plain.txt%00.html", None),
        ("//plain.txt", None),
        ("/./plain.txt", "plain"),
        ("/closed/../plain.txt", None),
        ("/closed/%2e%2e/plain.txt", None),
        ("/%2e%2e%2fetc/hostname", None),
        ("/empty.txt", ""),
    ],
)
def test_odd_names_are_served_or_refused_and_never_fail(files: ServerProcess, target: str, text: str | None) -> None:
    with files.connect() as client:
        response = client.ask(get(target))
        if text is None:
            assert response.status in (400, 404) or response.text in ("line", "slash")
        else:
            assert (response.status, response.text) == (200, text)
    with files.connect() as client:
        assert client.ask(get("/plain.txt")).text == "plain"


def test_a_file_that_grows_while_it_is_sent_ends_where_its_head_said(files: ServerProcess, root: Path) -> None:
    with files.connect() as client:
        client.send(get("/growing.log"))
        client.receive_bytes(1000)
        with (root / "growing.log").open("ab") as file:
            file.write(b"b" * 100_000)
        length = os.stat(root / "growing.log").st_size - 100_000
    with files.connect() as client:
        response = client.ask(get("/growing.log"))
        assert len(response.body) == length + 100_000
        assert client.ask(get("/plain.txt")).text == "plain"


def test_a_file_that_is_replaced_while_it_is_sent_arrives_as_it_was(files: ServerProcess, root: Path) -> None:
    path = root / "replaced.bin"
    path.write_bytes(b"1" * 8_000_000)
    with files.connect() as client:
        client.send(get("/replaced.bin", "Connection: close"))
        begun = client.receive_bytes(1000)
        (root / "new").write_bytes(b"2" * 100)
        (root / "new").rename(path)
        body = (begun + client.receive_rest()).partition(b"\r\n\r\n")[2]
        assert body == b"1" * 8_000_000


def test_a_file_past_four_gigabytes(files: ServerProcess) -> None:
    with files.connect() as client:
        client.sock.setblocking(True)
        client.sock.sendall(get("/huge.bin"))
        buffer, total, end = bytearray(1 << 20), 0, b""
        head = client.sock.recv(4096, socket.MSG_PEEK).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        assert f"Content-Length: {HUGE}\r\n".encode() in head
        while total < HUGE + len(head):
            count = client.sock.recv_into(buffer)
            assert count, f"it ended after {total} bytes"
            total += count
            end = (end + buffer[max(0, count - 5) : count])[-5:]
        assert (total, end) == (HUGE + len(head), b"end.\n")
