"""The bodies of 500 generated range requests, compared byte for byte with nginx's where nginx is installed.

Two differences are wanted and left out here. A malformed range is ignored, as RFC 9110 section 14.2 suggests, where
nginx says 416. Ranges that touch are merged, where nginx sends each, or the whole file.
"""

import contextlib
import random
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from mreactor.app.application import App
from mreactor.app.static_files import StaticFiles
from mreactor.config import Limits
from tests.support.drivers import KINDS, PATIENCE_SECONDS, Driver, open_driver
from tests.support.responses import ReceivedResponse, read_response
from tests.support.vectors import get

CONTENTS = {"small.bin": random.Random(1).randbytes(5000), "large.bin": random.Random(2).randbytes(400_000)}
REQUESTS = 500

CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  keepalive_requests 1000000;
  default_type application/octet-stream;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{ listen unix:{folder}/socket; root {root}; }}
}}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    for name, content in CONTENTS.items():
        (root / name).write_bytes(content)
    return root


class Nginx:
    """A running nginx, over a socket in its directory."""

    def __init__(self, folder: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE_SECONDS)
        try:
            self._socket.connect(str(folder / "socket"))
        except OSError:
            self._socket.close()
            raise
        self._received = b""

    def ask(self, request: bytes) -> ReceivedResponse:
        self._socket.sendall(request)
        while (read := read_response(self._received)) is None:
            data = self._socket.recv(65536)
            assert data, "nginx has closed"
            self._received += data
        self._received = self._received[read[1] :]
        return read[0]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(scope="module")
def nginx(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if program is None:
        pytest.skip("nginx is not installed")
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "nginx.conf").write_text(CONFIGURATION.format(folder=folder, root=root))
    process = subprocess.Popen([program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"])
    try:
        with contextlib.closing(connect(process, folder)) as nginx:
            yield nginx
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def connect(process: "subprocess.Popen[bytes]", folder: Path) -> Nginx:
    ends = time.monotonic() + PATIENCE_SECONDS
    while True:
        assert process.poll() is None, "nginx has ended"
        try:
            return Nginx(folder)
        except OSError:
            assert time.monotonic() < ends, "nginx does not listen"
            time.sleep(0.02)


def make_spec(chance: random.Random, size: int) -> str:
    """Return one range: closed, open or suffix; inside, across the end or beyond it."""
    start = chance.choice([0, size - 1, size, size + 5, chance.randrange(size), chance.randrange(size)])
    length = chance.choice([1, 2, 10, 1000, size, chance.randrange(1, size)])
    kind = chance.randrange(6)
    if kind == 0:
        return f"{start}-"
    if kind == 1:
        return f"-{chance.choice([0, 1, size - 1, size, size + 1, length])}"
    return f"{start}-{start + length - 1}"


def make_apart(chance: random.Random, size: int) -> str:
    """Return several ranges that do not touch, in any order, some of them beyond the end."""
    edges = sorted(chance.sample(range(size), 2 * chance.randrange(1, 10)))
    pairs = zip(edges[::2], edges[1::2], strict=True)
    specs = [f"{start}-{max(start, end - 2)}" for start, end in pairs]
    specs += [f"{size + chance.randrange(100)}-" for _ in range(chance.randrange(2))]
    chance.shuffle(specs)
    return chance.choice([",", ", ", " , "]).join(specs)


def make_requests() -> list[tuple[str, str]]:
    chance = random.Random(14)
    asked = []
    for _ in range(REQUESTS):
        name, content = chance.choice(list(CONTENTS.items()))
        make = chance.choice([make_spec, make_apart])
        asked.append((name, chance.choice(["bytes=", "Bytes=", "bytes= "]) + make(chance, len(content))))
    return asked


def normalised(response: ReceivedResponse) -> tuple[int, str | None, bytes]:
    """Return status, Content-Range and body, with one name for all boundaries. Pages of errors are left out."""
    boundary = re.fullmatch(r"multipart/byteranges; boundary=(\w+)", response.headers.get("content-type", ""))
    body = response.body if response.status < 300 else b""
    if boundary is not None:
        body = body.replace(b"\r\n--" + boundary[1].encode(), b"\r\n--boundary")
    return response.status, response.headers.get("content-range"), body


@pytest.fixture(scope="module", params=KINDS)
def driver(request: pytest.FixtureRequest, root: Path) -> Iterator[Driver]:
    app = App()
    app.mount("/", partial(StaticFiles, root))
    with open_driver(request.param, app, Limits()) as driver:
        yield driver


def test_bodies_are_those_of_nginx(driver: Driver, nginx: Nginx) -> None:
    statuses = set()
    kinds = {"multipart": 0, "single": 0}
    with driver.connect() as client:
        for name, asked in make_requests():
            request = get(f"/{name}", f"Range: {asked}")
            ours, theirs = normalised(client.ask(request)), normalised(nginx.ask(request))
            assert ours == theirs, f"{name} {asked}"
            statuses.add(ours[0])
            kinds["single" if ours[1] else "multipart"] += 1
    assert statuses == {206, 416}
    assert min(kinds.values()) > REQUESTS // 5, "the corpus has become one-sided"
