"""What the tests of the logs share. Each test may set up the logger as it likes."""

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from mreactor.logs import AccessBuffer, flush
from tests.logs.access_lines import MemoryWriter, a_buffer
from tests.logs.lines import Lines
from tests.support.drivers import PATIENCE_SECONDS

log = logging.getLogger("mreactor")


@pytest.fixture(autouse=True)
def _restore_logger() -> Iterator[None]:
    handlers, level, propagate = log.handlers[:], log.level, log.propagate
    protection = vars(log).pop("handle", None)
    log.handlers[:], log.propagate = [], True
    yield
    flush(PATIENCE_SECONDS)
    log.handlers[:], log.propagate = handlers, propagate
    log.setLevel(level)
    vars(log).pop("handle", None)
    if protection is not None:
        vars(log)["handle"] = protection


@pytest.fixture
def stream() -> io.StringIO:
    return Lines()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


@pytest.fixture
def writer() -> MemoryWriter:
    return MemoryWriter()


@pytest.fixture
def buffer(writer: MemoryWriter) -> AccessBuffer:
    return a_buffer(writer, "common")
