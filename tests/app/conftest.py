"""Fixtures for the suites of static files."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mreactor.app import document_root, file_cache, static_files
from tests.app.site import Clock, Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    root = tmp_path / "root"
    root.mkdir()
    return Site(root)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file that no request may reach."""
    path = tmp_path / "outside" / "secret.txt"
    path.parent.mkdir()
    path.write_text("secret")
    return path


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Clock:
    """A clock an hour ahead of the files' ctime, so that they count as settled."""
    clock = Clock(tmp_path.stat().st_ctime + 3600)
    for module in (document_root, file_cache, static_files):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The names of the files that were opened to be served."""
    names = []

    def count(path: bytes, _: object) -> int:
        names.append(os.path.basename(path))
        return os.open(path, document_root.OPEN_FLAGS)

    monkeypatch.setattr(document_root, "open_descriptor", count)
    return names


@pytest.fixture
def open_root() -> Iterator[Path]:
    """A directory that every user may enter. tmp_path lies below one that only its owner may."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)
