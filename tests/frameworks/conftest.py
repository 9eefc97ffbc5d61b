"""Servers with real applications, each a process of its own."""

import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import ServerProcess, start

BODY_MAX = str(64 * 1024 * 1024)
ADMIN = re.compile(r"metrics and live page on (http://\S+)")

type Serve = Callable[..., ServerProcess]


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Start servers that end with the module, each without the GIL and without a failure that it has seen itself."""
    with ExitStack() as stack:
        started: list[ServerProcess] = []

        def serve_one(backend: str, target: str, **more: str) -> ServerProcess:
            folder: Path = tmp_path_factory.mktemp("server")
            options = ("--threads", "2", "--backend", backend, "--body-bytes-max", BODY_MAX, "--admin", "127.0.0.1:0")
            server = stack.enter_context(start(folder, *options, target, **more))
            started.append(server)
            return server

        yield serve_one
        for server in started:
            assert stats(server)["gil"] is False
            assert stats(server)["total"]["errors"]["handler"] == 0
            assert server.stop() == 0


def stats(server: ServerProcess) -> Any:
    """Return the server's metrics."""
    found = server.wait_until_said(ADMIN)
    with urllib.request.urlopen(f"{found[1]}/stats.json", timeout=60) as response:
        return json.load(response)
