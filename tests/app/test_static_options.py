"""The options of a directory that is served: cache control, types, fallback, error pages, compressed copies."""

import os
from pathlib import Path

import pytest

from mreactor.app.static_options import StaticOptions, parse_pairs
from mreactor.config import ConfigError
from mreactor.http.response import Response
from mreactor.http.status import HTTPError
from mreactor.protocol import FileBody
from tests.app.site import LONG_AGO, Clock, Site, descriptors, field

JS, BR, ZST, GZ = (name + b" of the script" for name in (b"plain text", b"brotli", b"zstandard", b"gzip"))
COPIES = {".br": BR, ".zst": ZST, ".gz": GZ}
BROWSER = "Accept-Encoding: gzip, deflate, br, zstd"


def content(response: Response) -> bytes:
    """Return the content of a response. Closes its file."""
    body = response.body
    if isinstance(body, FileBody):
        data = os.pread(body.fd, len(body), body.offset)
        body.close()
        return data
    assert isinstance(body, bytes)
    return body


@pytest.fixture(params=["memory", "disk"])
def packed(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """A script with three compressed copies, small or large."""
    site = Site(tmp_path, sendfile_bytes_min=65536 if request.param == "memory" else 1)
    site.write("app.js", JS)
    for suffix, data in COPIES.items():
        site.write(f"app.js{suffix}", data)
    return site


# --- Compressed copies. ---


@pytest.mark.parametrize(
    ("accepted", "coding", "expected"),
    [
        (None, "", JS),
        ("", "", JS),
        ("deflate", "", JS),
        ("identity", "", JS),
        ("gzip", "gzip", GZ),
        ("x-gzip", "gzip", GZ),
        ("zstd", "zstd", ZST),
        ("gzip, deflate, br, zstd", "br", BR),
        ("gzip, zstd", "zstd", ZST),
        ("br;q=0.1, gzip", "gzip", GZ),
        ("br;q=0, gzip;q=0", "", JS),
        ("*", "br", BR),
        ("br;q=0, *;q=0.5", "zstd", ZST),
        ("gzip;q=0.5, identity", "", JS),
    ],
)
def test_the_copy_that_the_client_likes_best(packed: Site, accepted: str | None, coding: str, expected: bytes) -> None:
    fields = [] if accepted is None else [f"Accept-Encoding: {accepted}"]
    for _ in range(2):
        response = packed.get("/app.js", *fields)
        assert content(response) == expected
        assert field(response, "Content-Encoding") == coding
        assert field(response, "Vary") == "Accept-Encoding"
        assert response.content_type == "text/javascript; charset=utf-8"
        assert field(response, "Accept-Ranges") == "bytes"


def test_each_copy_has_an_etag_of_its_own(packed: Site) -> None:
    tags = {}
    for coding in ("identity", "br", "zstd", "gzip"):
        response = packed.get("/app.js", f"Accept-Encoding: {coding}")
        content(response)
        tags[coding] = field(response, "ETag")
    assert len(set(tags.values())) == 4
    unchanged = packed.get("/app.js", BROWSER, f"If-None-Match: {tags['br']}")
    assert (unchanged.status, field(unchanged, "Vary")) == (304, "Accept-Encoding")
    assert field(unchanged, "Content-Encoding") == ""
    assert content(packed.get("/app.js", BROWSER, f"If-None-Match: {tags['gzip']}")) == BR


def test_equal_contents_in_different_codings_have_different_tags(site: Site) -> None:
    site.write("a.txt", "x")
    site.write("a.txt.gz", "x")
    tags = {field(site.get("/a.txt", f"Accept-Encoding: {name}"), "ETag") for name in ("identity", "gzip")}
    assert len(tags) == 2


def test_a_range_counts_in_the_copy(packed: Site) -> None:
    response = packed.get("/app.js", "Accept-Encoding: gzip", "Range: bytes=1-2")
    assert (response.status, content(response)) == (206, GZ[1:3])
    assert field(response, "Content-Encoding") == "gzip"
    assert field(response, "Content-Range") == f"bytes 1-2/{len(GZ)}"


def test_a_copy_that_is_older_than_its_file_is_not_used(packed: Site, clock: Clock) -> None:
    assert content(packed.get("/app.js", BROWSER)) == BR
    packed.write("app.js", b"newer", LONG_AGO + 1)
    packed.write("app.js.gz", b"newer too", LONG_AGO + 1)
    clock.advance(1)
    assert content(packed.get("/app.js", BROWSER)) == b"newer too"
    assert content(packed.get("/app.js", "Accept-Encoding: br")) == b"newer"


def test_copies_come_and_go(site: Site, clock: Clock) -> None:
    site.write("a.txt", "plain")
    assert site.get("/a.txt", BROWSER).body == b"plain"
    copy = site.write("a.txt.br", "copy")
    assert site.get("/a.txt", BROWSER).body == b"plain"
    clock.advance(1)
    assert site.get("/a.txt", BROWSER).body == b"copy"
    site.write("a.txt.br", "another copy")
    clock.advance(1)
    assert site.get("/a.txt", BROWSER).body == b"another copy"
    copy.unlink()
    clock.advance(1)
    assert site.get("/a.txt", BROWSER).body == b"plain"


def test_copies_are_looked_for_once_between_rechecks(packed: Site, clock: Clock, opened: list[bytes]) -> None:
    site = Site(packed.root)
    (site.root / "app.js.br").unlink()
    for _ in range(3):
        assert site.get("/app.js", BROWSER).body == ZST
    assert opened == [b"app.js", b"app.js.br", b"app.js.zst"]
    clock.advance(1)
    opened.clear()
    assert site.get("/app.js").body == JS
    assert opened == [b"app.js"], "a client that accepts no coding pays nothing"


def test_no_copy_leads_out_of_the_root(site: Site, outside: Path) -> None:
    site.write("a.txt", "plain", 1_000_000_000)
    (site.root / "a.txt.br").symlink_to(outside)
    (site.root / "a.txt.gz").mkdir()
    os.mkfifo(site.root / "a.txt.zst")
    before = descriptors()
    assert site.get("/a.txt", BROWSER).body == b"plain"
    assert descriptors() == before


@pytest.mark.parametrize("name", ["a.png", "a.zip", "a.mp4", "a.gz", "a", "a.woff2"])
def test_what_is_compressed_already_has_no_copies(site: Site, name: str, opened: list[bytes]) -> None:
    site.write(name, "plain")
    site.write(f"{name}.gz", "copy")
    response = site.get(f"/{name}", BROWSER)
    assert (response.body, field(response, "Vary")) == (b"plain", "")
    assert opened == [name.encode()]


@pytest.mark.parametrize("name", ["a.html", "a.css", "a.json", "a.svg", "a.webmanifest", "a.wasm", "a.xml", "a.ttf"])
def test_what_compresses_well_may_have_copies(site: Site, name: str) -> None:
    site.write(name, "plain")
    site.write(f"{name}.gz", "copy")
    assert site.get(f"/{name}", BROWSER).body == b"copy"


def test_copies_can_be_switched_off(tmp_path: Path) -> None:
    site = Site(tmp_path, precompressed=False)
    site.write("a.txt", "plain")
    site.write("a.txt.br", "copy")
    response = site.get("/a.txt", BROWSER)
    assert (response.body, field(response, "Vary")) == (b"plain", "")


def test_an_index_may_have_copies(site: Site) -> None:
    site.write("docs/index.html", "plain")
    site.write("docs/index.html.gz", "copy")
    assert site.get("/docs/", BROWSER).body == b"copy"


def test_a_copy_is_served_as_itself_under_its_own_name(packed: Site) -> None:
    response = packed.get("/app.js.gz", BROWSER)
    assert (content(response), response.content_type) == (GZ, "application/gzip")
    assert field(response, "Content-Encoding") == ""


# --- Cache-Control. ---


def test_cache_control_by_pattern(tmp_path: Path) -> None:
    rules = (("assets/*", "max-age=31536000, immutable"), ("*.css", "max-age=3600"), ("index.html", "no-cache"))
    site = Site(tmp_path, cache_control=rules)
    for name in ("assets/deep/a.css", "b.css", "deep/c.css", "index.html", "deep/index.html", "d.txt"):
        site.write(name, "x")
    expected = {
        "/assets/deep/a.css": rules[0][1],
        "/b.css": rules[1][1],
        "/deep/c.css": rules[1][1],
        "/": "no-cache",
        "/deep/": "",
        "/d.txt": "",
    }
    assert {path: field(site.get(path), "Cache-Control") for path in expected} == expected
    tag = field(site.get("/b.css"), "ETag")
    unchanged = site.get("/b.css", f"If-None-Match: {tag}")
    assert (unchanged.status, field(unchanged, "Cache-Control")) == (304, "max-age=3600")


# --- Types. ---


def test_types_by_suffix(tmp_path: Path) -> None:
    site = Site(tmp_path, content_types={".foo": "text/x-foo", ".HTML": "a/b", ".html": "text/html;charset=latin-1"})
    for name in ("a.foo", "a.FOO", "a.html", "a.css"):
        site.write(name, "x")
    assert site.get("/a.foo").content_type == "text/x-foo; charset=utf-8"
    assert site.get("/a.FOO").content_type == "text/x-foo; charset=utf-8"
    assert site.get("/a.html").content_type == "text/html;charset=latin-1"
    assert site.get("/a.css").content_type == "text/css; charset=utf-8"


# --- Index files. ---


def test_the_first_index_that_exists(tmp_path: Path) -> None:
    site = Site(tmp_path, index=("index.htm", "default.txt"))
    site.write("default.txt", "second")
    site.write("index.html", "none")
    assert site.get("/").body == b"second"
    assert site.get("/").content_type == "text/plain; charset=utf-8"
    site.write("one/index.htm", "first")
    site.write("one/default.txt", "second")
    assert site.get("/one/").body == b"first"


# --- Fallback. ---


@pytest.mark.parametrize(
    ("target", "accept", "status"),
    [
        ("/users/17", "text/html,*/*;q=0.8", 200),
        ("/users/17", "*/*", 200),
        ("/users/17/", "", 200),
        ("/users/a.b/c", "", 200),
        ("/users/a.b", "text/html", 200),
        ("/app.js", "*/*", 404),
        ("/app.js", "", 404),
        ("/style.css", "text/css", 404),
    ],
)
def test_fallback(tmp_path: Path, target: str, accept: str, status: int) -> None:
    site = Site(tmp_path, fallback="page.html", cache_control=(("page.html", "no-cache"),))
    site.write("page.html", "<p>routes in the browser")
    if status == 404:
        with pytest.raises(HTTPError, match="404"):
            site.get(target, f"Accept: {accept}")
        return
    for _ in range(2):
        response = site.get(target, f"Accept: {accept}")
        assert (response.status, response.body) == (200, b"<p>routes in the browser")
        assert response.content_type == "text/html; charset=utf-8"
        assert field(response, "Cache-Control") == "no-cache"
    tag = field(response, "ETag")
    assert site.get(target, f"Accept: {accept}", f"If-None-Match: {tag}").status == 304


def test_files_come_before_the_fallback(tmp_path: Path) -> None:
    site = Site(tmp_path, fallback="index.html")
    site.write("index.html", "page")
    site.write("about", "file")
    assert site.get("/about").body == b"file"
    assert site.get("/").body == b"page"


def test_a_fallback_has_compressed_copies_and_conditions(tmp_path: Path) -> None:
    site = Site(tmp_path, fallback="index.html")
    site.write("index.html", "page")
    site.write("index.html.br", "copy")
    assert site.get("/a", BROWSER).body == b"copy"
    with pytest.raises(HTTPError, match="412"):
        site.get("/a", 'If-Match: "other"')


def test_a_fallback_that_is_missing_is_404(tmp_path: Path) -> None:
    for name in ("missing.html", "docs"):
        site = Site(tmp_path, fallback=name)
        (tmp_path / "docs").mkdir(exist_ok=True)
        before = descriptors()
        assert site.refusal("/a").status == 404
        assert descriptors() == before


# --- Error pages. ---


@pytest.mark.parametrize("size", [10, 100_000])
def test_an_error_page_has_the_status_and_no_validators(tmp_path: Path, size: int) -> None:
    site = Site(tmp_path, error_pages={404: "errors/404.html"})
    site.write("errors/404.html", b"x" * size)
    for target in ("/nothing", "/nothing.js", "/.hidden", "//x"):
        response = site.get(target, "If-None-Match: *", "Range: bytes=0-0")
        assert (response.status, len(content(response))) == (404, size)
        assert response.headers == (("X-Content-Type-Options", "nosniff"),)
        assert response.content_type == "text/html; charset=utf-8"


def test_error_pages_of_other_statuses(tmp_path: Path) -> None:
    site = Site(tmp_path, error_pages={412: "412.txt", 416: "416.txt", 404: "missing.txt"})
    site.write("412.txt", "changed")
    site.write("416.txt", "not there")
    site.write("a.txt", "x")
    response = site.get("/a.txt", 'If-Match: "other"')
    assert (response.status, response.body) == (412, b"changed")
    response = site.get("/a.txt", "Range: bytes=5-")
    assert (response.status, response.body) == (416, b"not there")
    assert site.refusal("/nothing").status == 404, "the page is missing, so the server renders its own"


# --- Wrong options. ---


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"cache_control": (("*", "a\nb"),)}, "cannot be sent"),
        ({"cache_control": (("*", "\N{SNOWMAN}"),)}, "cannot be sent"),
        ({"content_types": {"md": "text/markdown"}}, "form .SUFFIX=TYPE/SUBTYPE"),
        ({"content_types": {".md": "markdown"}}, "form .SUFFIX=TYPE/SUBTYPE"),
        ({"content_types": {".md": "text/a\r\nb"}}, "cannot be sent"),
        ({"content_types": {".a/b": "text/a"}}, "form .SUFFIX=TYPE/SUBTYPE"),
        ({"error_pages": {200: "a"}}, "not the status of an error"),
        ({"error_pages": {499: "a"}}, "not the status of an error"),
        ({"error_pages": {404: "/etc/passwd"}}, "below the directory"),
        ({"fallback": "/a"}, "below the directory"),
        ({"index": ("a\0",)}, "below the directory"),
    ],
)
def test_wrong_options(options: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        StaticOptions(**options)  # type: ignore[arg-type]


def test_no_option_leads_out_of_the_root(site: Site, outside: Path) -> None:
    way_out = os.path.relpath(outside, site.root)
    escaping = Site(site.root, fallback=way_out, error_pages={404: way_out}, index=(way_out,))
    for target in ("/a", "/", "/a.js"):
        assert escaping.refusal(target).status == 404


def test_pairs() -> None:
    assert parse_pairs("--x", ["a=b", "*.css=max-age=3600"]) == [("a", "b"), ("*.css", "max-age=3600")]
    for pair in ("a", "=b", "a=", ""):
        with pytest.raises(ConfigError, match=r"--x: .* is not of the form NAME=VALUE"):
            parse_pairs("--x", [pair])
