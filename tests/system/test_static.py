"""Static files as clients see them, in memory and on both backends: ranges, files that change, listings."""

import email
import errno
import json
import os
import random
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import pytest

from mreactor.app.application import App
from mreactor.app.static_files import StaticFiles
from mreactor.app.static_options import StaticOptions
from mreactor.config import Limits
from mreactor.http.ranges import parse_ranges
from mreactor.http.request import Request
from mreactor.http.response import Response
from mreactor.protocol import FileBody
from tests.support.drivers import KINDS, PATIENCE_SECONDS, SOCKET_KINDS, TLS_SOCKET_KINDS, Client, Driver, open_driver
from tests.support.responses import ReceivedResponse
from tests.support.vectors import get

MIB = 1024 * 1024
SMALL = bytes(range(256)) * 4
LARGE = random.Random(20).randbytes(300_000)
# Several times what the buffers between server and client hold.
HUGE_BYTES = 24 * MIB
CONTENTS = {"small.bin": SMALL, "large.bin": LARGE, "docs/a.txt": b"listed", "docs/b/c.txt": b"deep"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    for name, content in CONTENTS.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def make_app(root: Path) -> App:
    app = App()

    @app.get("/download")
    def download(request: Request) -> Response:
        """An application's own file, from an offset within it."""
        fd = os.open(root / "large.bin", os.O_RDONLY)
        return Response(FileBody(fd, 1000, 200_000), headers={"ETag": '"v1"'}, content_type="a/b")

    app.mount("/", partial(StaticFiles, root, options=StaticOptions(listing=True)), constant=True)
    app.mount("/pool/", partial(StaticFiles, root, prefix="/pool/"), blocking=True)
    app.mount("/plain/", partial(StaticFiles, root, prefix="/plain/", options=StaticOptions(listing=True)))
    return app


@pytest.fixture(scope="module", params=KINDS)
def driver(request: pytest.FixtureRequest, root: Path) -> Iterator[Driver]:
    with open_driver(request.param, make_app(root), Limits(linger_seconds=PATIENCE_SECONDS)) as driver:
        yield driver


@pytest.fixture
def client(driver: Driver) -> Iterator[Client]:
    with driver.connect() as client:
        yield client


def ask(client: Client, target: str, *fields: str, method: str = "GET") -> ReceivedResponse:
    return client.ask(get(target, *fields, method=method), method)


def parts(response: ReceivedResponse) -> list[tuple[str, str, bytes]]:
    """Return Content-Type, Content-Range and content of the parts of a multipart body."""
    head = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + response.body)
    assert not message.defects
    found = []
    for part in message.get_payload():
        assert isinstance(part, email.message.Message)
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        found.append((part["Content-Type"], part["Content-Range"], content))
    return found


# --- Ranges. ---


@pytest.mark.parametrize(
    ("target", "content"),
    [
        ("/small.bin", SMALL),
        ("/large.bin", LARGE),
        ("/pool/small.bin", SMALL),
        ("/pool/large.bin", LARGE),
        ("/plain/large.bin", LARGE),
        ("/download", LARGE[1000:201_000]),
    ],
)
def test_single_ranges(client: Client, target: str, content: bytes) -> None:
    size = len(content)
    for asked in ("0-0", "0-", f"{size - 1}-", "-1", f"-{size * 2}", "5-99", f"700-{size + 5}", "1-1000000000000"):
        for _ in range(2):
            response = ask(client, target, f"Range: bytes={asked}")
            ((start, length),) = parse_ranges(f"bytes={asked}", size) or ()
            assert (response.status, response.body) == (206, content[start : start + length])
            assert response.headers["content-range"] == f"bytes {start}-{start + length - 1}/{size}"


@pytest.mark.parametrize(
    ("target", "content"), [("/small.bin", SMALL), ("/large.bin", LARGE), ("/pool/large.bin", LARGE)]
)
def test_several_ranges(client: Client, target: str, content: bytes) -> None:
    size = len(content)
    response = ask(client, target, "Range: bytes=100-199,0-0,-700")
    assert (response.status, response.headers.get("content-range")) == (206, None)
    assert parts(response) == [
        ("application/octet-stream", f"bytes 100-199/{size}", content[100:200]),
        ("application/octet-stream", f"bytes 0-0/{size}", content[:1]),
        ("application/octet-stream", f"bytes {size - 700}-{size - 1}/{size}", content[-700:]),
    ]
    # The connection is still in step.
    assert ask(client, "/small.bin").body == SMALL


@pytest.mark.parametrize("target", ["/small.bin", "/large.bin", "/pool/large.bin", "/download"])
def test_what_has_no_range(client: Client, target: str) -> None:
    whole = ask(client, target)
    assert whole.headers["accept-ranges"] == "bytes"
    size = len(whole.body)
    refused = ask(client, target, f"Range: bytes={size}-")
    assert (refused.status, refused.headers["content-range"]) == (416, f"bytes */{size}")
    head = ask(client, target, "Range: bytes=0-0", method="HEAD")
    assert (head.status, head.headers["content-length"]) == (200, str(size))
    for field in (
        "Range: bytes=5-4",
        "Range: pages=1-2",
        "Range: bytes=" + ",".join(f"{2 * n}-{2 * n}" for n in range(40)),
    ):
        assert ask(client, target, field).body == whole.body
    stale = ask(client, target, "Range: bytes=0-0", 'If-Range: "other"')
    assert (stale.status, stale.body) == (200, whole.body)
    part = ask(client, target, "Range: bytes=0-0", f"If-Range: {whole.headers['etag']}")
    assert (part.status, part.body) == (206, whole.body[:1])
    unchanged = ask(client, target, "Range: bytes=0-0", f"If-None-Match: {whole.headers['etag']}")
    assert (unchanged.status, unchanged.body) == (304, b"")
    assert ask(client, target, 'If-Match: "other"').status == 412


def test_ranges_of_pipelined_requests(client: Client) -> None:
    asked = ["0-0", "5-9,100-109", "-3", "1000000-", "0-"]
    client.send(b"".join(get("/large.bin", f"Range: bytes={field}") for field in asked))
    responses = [client.receive() for _ in asked]
    assert [response.status for response in responses] == [206, 206, 206, 416, 206]
    assert [content for _, _, content in parts(responses[1])] == [LARGE[5:10], LARGE[100:110]]
    assert (responses[2].body, responses[4].body) == (LARGE[-3:], LARGE)


def test_a_client_of_http_1_0_gets_ranges(driver: Driver) -> None:
    with driver.connect() as client:
        client.send(b"GET /large.bin HTTP/1.0\r\nRange: bytes=0-1,5-6\r\n\r\n")
        (response,) = client.receive_all("GET")
        assert [content for _, _, content in parts(response)] == [LARGE[:2], LARGE[5:7]]


# --- Listings, which run in the thread pool. ---


@pytest.mark.parametrize("mount", ["", "/plain"])
def test_a_listing(client: Client, mount: str) -> None:
    for _ in range(3):
        response = ask(client, f"{mount}/docs/", "Accept: application/json")
        assert response.headers["content-type"] == "application/json"
        assert [entry["name"] for entry in json.loads(response.text)["entries"]] == ["b", "a.txt"]
    assert ask(client, f"{mount}/docs/", method="HEAD").body == b""
    assert b"<table>" in ask(client, f"{mount}/docs/").body


@pytest.mark.parametrize("mount", ["", "/plain"])
def test_a_listing_between_pipelined_requests(client: Client, mount: str) -> None:
    """The handler finds only while it runs that it has to wait. The order of the responses does not change."""
    targets = ["/small.bin", "/docs/", "/docs/a.txt", "/docs/", "/large.bin", "/docs/b/", "/small.bin"]
    client.send(b"".join(get(f"{mount}{target}") for target in targets))
    bodies = [client.receive().body for _ in targets]
    assert [bodies[0], bodies[2], bodies[4], bodies[6]] == [SMALL, b"listed", LARGE, SMALL]
    assert all(b"a.txt" in body for body in (bodies[1], bodies[3]))
    assert b"c.txt" in bodies[5]


def test_a_listing_is_the_last_response_of_a_connection(driver: Driver) -> None:
    with driver.connect() as client:
        client.send(get("/docs/a.txt") + get("/docs/", "Connection: close"))
        first, second = client.receive_all("GET", "GET")
        assert (first.body, second.headers["connection"]) == (b"listed", "close")


# --- Files that change while they are sent. ---


@pytest.fixture(scope="module", params=SOCKET_KINDS)
def sockets(request: pytest.FixtureRequest, root: Path) -> Iterator[Driver]:
    with open_driver(request.param, make_app(root), Limits()) as driver:
        yield driver


@pytest.fixture(scope="module", params=[*SOCKET_KINDS, *TLS_SOCKET_KINDS])
def all_sockets(request: pytest.FixtureRequest, root: Path) -> Iterator[Driver]:
    with open_driver(request.param, make_app(root), Limits()) as driver:
        yield driver


@pytest.fixture
def huge(root: Path) -> Iterator[Path]:
    path = root / "huge" / "file.bin"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"a" * HUGE_BYTES)
    yield path
    for file in path.parent.iterdir():
        file.unlink()


def descriptors(root: Path) -> list[str]:
    """Return the files below a directory that this process holds open."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target.startswith(f"{root}/"):
            found.append(target)
    return found


def begin(sockets: Driver) -> tuple[Client, bytes]:
    """Ask for the huge file with a client that takes little; return it and what it has taken."""
    client = sockets.connect(window=64 * 1024)
    client.send(get("/huge/file.bin"))
    return client, client.receive_bytes(100_000)


def end(sockets: Driver, client: Client, root: Path, received: bytes, *, is_whole: bool) -> bytes:
    """Take the rest; return all of the body that has come. The server holds no descriptor then."""
    head, _, body = received.partition(b"\r\n\r\n")
    assert f"Content-Length: {HUGE_BYTES}\r\n".encode() in head + b"\r\n"
    with client:
        body += client.receive_bytes(HUGE_BYTES - len(body)) if is_whole else client.receive_rest()
    sockets.wait_until(lambda: not descriptors(root))
    return body


def test_a_file_that_is_overwritten_is_cut_off(sockets: Driver, root: Path, huge: Path) -> None:
    client, received = begin(sockets)
    with huge.open("r+b") as file:
        file.seek(HUGE_BYTES - MIB)
        file.write(b"b" * MIB)
    body = end(sockets, client, root, received, is_whole=False)
    assert len(body) < HUGE_BYTES
    assert b"b" not in body


def test_a_file_that_is_truncated_is_cut_off(sockets: Driver, root: Path, huge: Path) -> None:
    client, received = begin(sockets)
    os.truncate(huge, HUGE_BYTES - MIB)
    assert len(end(sockets, client, root, received, is_whole=False)) < HUGE_BYTES


def test_a_file_that_grows_is_sent_as_it_was(all_sockets: Driver, root: Path, huge: Path) -> None:
    client, received = begin(all_sockets)
    with huge.open("ab") as file:
        file.write(b"b" * MIB)
    assert end(all_sockets, client, root, received, is_whole=True) == b"a" * HUGE_BYTES


@pytest.mark.parametrize("is_refused", [False, True], ids=["sendfile", "no sendfile"])
def test_a_file_that_is_looked_at_while_it_grows_is_sent_as_it_was(
    all_sockets: Driver, root: Path, huge: Path, monkeypatch: pytest.MonkeyPatch, is_refused: bool
) -> None:
    """The kernel sets the time, copies, and sets the size: for a while the file looks as if it was overwritten."""
    grown = threading.Event()
    load = FileBody.load

    def grow_and_load(body: FileBody) -> None:
        with huge.open("ab") as file:
            file.write(b"b")
        grown.set()
        load(body)

    monkeypatch.setattr(FileBody, "load", grow_and_load)
    if is_refused:
        monkeypatch.setattr("os.sendfile", Mock(side_effect=OSError(errno.EINVAL, "refused")))
    client, received = begin(all_sockets)
    os.utime(huge)
    assert end(all_sockets, client, root, received, is_whole=True) == b"a" * HUGE_BYTES
    assert grown.is_set()


@pytest.mark.parametrize("change", ["replaced", "deleted", "moved with its directory"])
def test_a_file_that_is_no_longer_at_its_path_is_sent_whole(
    sockets: Driver, root: Path, huge: Path, change: str
) -> None:
    client, received = begin(sockets)
    if change == "replaced":
        (huge.parent / "new").write_bytes(b"b" * HUGE_BYTES)
        (huge.parent / "new").rename(huge)
    elif change == "deleted":
        huge.unlink()
    else:
        huge.parent.rename(root / "moved")
        huge.parent.symlink_to("docs")
    try:
        assert end(sockets, client, root, received, is_whole=True) == b"a" * HUGE_BYTES
    finally:
        if change.startswith("moved"):
            huge.parent.unlink()
            (root / "moved").rename(huge.parent)
