"""The files that every server serves in a race: a small page and a file of one mebibyte.

Owns a temporary directory. Runs on the harness's only thread. Knows no server.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE_NAME = "hello.html"
LARGE_NAME = "large.bin"
LARGE_BYTES = 1 << 20
WELCOME = b"Welcome to mreactor"
FALLBACK_PAGE = b"<!doctype html>\n<html><head><title>Hello</title></head><body><h1>Hello!</h1></body></html>\n"


@dataclass(frozen=True, slots=True)
class Docroot:
    """A directory with the two files, both readable by other users (nginx's workers may be one)."""

    directory: Path

    @property
    def page(self) -> bytes:
        return (self.directory / PAGE_NAME).read_bytes()

    @property
    def large(self) -> bytes:
        return (self.directory / LARGE_NAME).read_bytes()


@contextmanager
def temporary_docroot() -> Iterator[Docroot]:
    """Make the files in a new directory, and remove it at the end."""
    with tempfile.TemporaryDirectory(prefix="mreactor-bench-docroot-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        fill(directory)
        yield Docroot(directory)


def fill(directory: Path) -> None:
    """Write the page (the project's own where there is one) and the large file into the directory."""
    own_page = ROOT / "static" / PAGE_NAME
    if own_page.is_file():
        shutil.copyfile(own_page, directory / PAGE_NAME)
    else:
        (directory / PAGE_NAME).write_bytes(FALLBACK_PAGE)
    (directory / LARGE_NAME).write_bytes(bytes(range(256)) * (LARGE_BYTES // 256))
