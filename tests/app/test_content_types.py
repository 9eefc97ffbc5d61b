"""Content types by suffix."""

import subprocess
import sys
from pathlib import Path

import pytest

from mreactor.app.content_types import CONTENT_TYPES
from tests.app.site import Site


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("a.html", "text/html; charset=utf-8"),
        ("a.HTML", "text/html; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.md", "text/markdown; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.xml", "application/xml"),
        ("a.svg", "image/svg+xml"),
        ("a.png", "image/png"),
        ("a.webp", "image/webp"),
        ("a.woff2", "font/woff2"),
        ("a.wasm", "application/wasm"),
        ("a.webmanifest", "application/manifest+json"),
        ("a.pdf", "application/pdf"),
        ("a.tar.gz", "application/gzip"),
        ("a.html.gz", "application/gzip"),
        ("a.unheard-of", "application/octet-stream"),
        ("README", "application/octet-stream"),
        ("html", "application/octet-stream"),
    ],
)
def test_content_type_follows_from_the_last_suffix(site: Site, name: str, content_type: str) -> None:
    site.write(name, "x")
    assert site.get(f"/{name}").content_type == content_type


def test_the_machine_s_mime_types_are_ignored(tmp_path: Path) -> None:
    types = tmp_path / "mime.types"
    types.write_text("application/x-mischief html unheard-of\n")
    script = (
        f"import mimetypes; mimetypes.init([{str(types)!r}]);"
        "assert mimetypes.guess_type('a.html')[0] == 'application/x-mischief';"
        "from mreactor.app.content_types import CONTENT_TYPES as t; print(t['.html'], t.get('.unheard-of'))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.stderr) == ("text/html None", "")


def test_content_types_are_frozen() -> None:
    with pytest.raises(TypeError):
        CONTENT_TYPES[".html"] = "text/plain"  # type: ignore[index]
