"""Servers and applications that several suites start as processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import ServerProcess, start

SHOP = """
import threading
import time
from mreactor import App

class shelf:
    app = App()

app = App()
number = 5

@app.get("/")
def root(request):
    return "the shop"

@app.get("/slow", blocking=True)
def slow(request):
    yield "begun;"
    time.sleep(float(request.query.get("seconds", "1")))
    yield "done"
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with an application in it."""
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The demo, as the first line of the README starts it."""
    with start(tmp_path_factory.mktemp("demo"), "--threads", "16") as server:
        yield server
