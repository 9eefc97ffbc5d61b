"""Static files, from parsed request to response: what is served, what is refused, and what memory may keep."""

import ctypes
import errno
import gc
import logging
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from mreactor.app import static_files as static
from mreactor.app.application import App
from mreactor.app.static_files import FileCache, StaticFiles, check_root
from mreactor.config import ConfigError, Limits
from mreactor.http.dates import format_date
from mreactor.http.request import Request
from mreactor.http.response import Response
from mreactor.http.status import HTTPError
from mreactor.http1.connection import Connection
from mreactor.http1.context import ReactorContext
from mreactor.http1.head_parser import Parser
from mreactor.protocol import FileBody

PARSER = Parser(Limits())
LONG_AGO = 784111777  # Sun, 06 Nov 1994 08:49:37 GMT
NOBODY = 65534


class Site:
    """A directory and the handler that serves it."""

    def __init__(self, root: Path, *, prefix: str = "/", sendfile_bytes_min: int = 65536) -> None:
        self.root = root
        self.handler = StaticFiles(root, prefix=prefix, sendfile_bytes_min=sendfile_bytes_min)

    def write(self, name: str, content: bytes | str, modified: float = LONG_AGO) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        os.utime(path, (modified, modified))
        return path

    def get(self, target: str, *fields: str, method: str = "GET") -> Response:
        lines = "".join(f"{field}\r\n" for field in ("Host: x", *fields))
        raw = f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")
        return self.handler(Request(PARSER.parse(raw), b"", ("127.0.0.1", 1)))

    def refusal(self, target: str) -> HTTPError:
        with pytest.raises(HTTPError) as caught:
            self.get(target)
        return caught.value


class Clock:
    """Stands in for the `time` module: what the handler sees moves only when told to."""

    def __init__(self, wall: float) -> None:
        self.now = 1000.0
        self.wall = wall

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.wall

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds


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
    monkeypatch.setattr(static, "time", clock)
    return clock


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The names of files that have been opened to be served."""
    names = []

    def count(path: bytes, flags: int) -> int:
        names.append(os.path.basename(path))
        return os.open(path, flags)

    monkeypatch.setattr(static, "os", SimpleNamespace(**{**vars(os), "open": count}))
    return names


def field(response: Response, name: str) -> str:
    values = [value for key, value in response.headers if key == name]
    assert len(values) <= 1
    return values[0] if values else ""


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# What is served.


def test_file_is_served_with_its_validators(site: Site) -> None:
    status = site.write("notes.txt", "read me").stat()
    response = site.get("/notes.txt")
    assert (response.status, response.body) == (200, b"read me")
    assert response.content_type == "text/plain; charset=utf-8"
    assert response.headers == (
        ("ETag", f'"7-{status.st_mtime_ns:x}-{status.st_ino:x}"'),
        ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("X-Content-Type-Options", "nosniff"),
    )


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


def test_machine_has_no_say_in_content_types(tmp_path: Path) -> None:
    types = tmp_path / "mime.types"
    types.write_text("application/x-mischief html unheard-of\n")
    script = (
        f"import mimetypes; mimetypes.init([{str(types)!r}]);"
        "assert mimetypes.guess_type('a.html')[0] == 'application/x-mischief';"
        "from mreactor.app.static_files import CONTENT_TYPES as t; print(t['.html'], t.get('.unheard-of'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("text/html None", "")


def test_content_types_are_frozen() -> None:
    with pytest.raises(TypeError):
        static.CONTENT_TYPES[".html"] = "text/plain"  # type: ignore[index]


def test_empty_file(site: Site) -> None:
    site.write("empty.css", b"")
    assert site.get("/empty.css").body == b""


def test_file_below_directories(site: Site) -> None:
    site.write("a/b/c.txt", "deep")
    assert site.get("/a/b/c.txt").body == b"deep"


@pytest.mark.parametrize(
    "target", ["/a%20b%25.txt", "/%61%20b%25%2Etxt", "/a%20b%25.txt?v=/../x", "http://x/a%20b%25.txt"]
)
def test_names_are_decoded_once_and_the_query_ignored(site: Site, target: str) -> None:
    site.write("a b%.txt", "found")
    assert site.get(target).body == b"found"


def test_names_beyond_ascii(site: Site) -> None:
    site.write("größe.txt", "1.8 m")
    assert site.get("/gr%C3%B6%C3%9Fe.txt").body == b"1.8 m"


@pytest.mark.parametrize("name", ["a..b.txt", "a.", "a...", "~", "a;b=c", "&"])
def test_dots_and_marks_inside_of_names_are_fine(site: Site, name: str) -> None:
    site.write(name, "found")
    assert site.get(f"/{name}").body == b"found"


@pytest.mark.parametrize("size", [0, 10, 100_000])
def test_head_is_answered_as_get(site: Site, size: int) -> None:
    site.write("page.html", b"x" * size)
    answers = [site.get("/page.html", method=method) for method in ("HEAD", "GET")]
    lengths = []
    for response in answers:
        assert isinstance(response.body, bytes | FileBody)
        lengths.append(len(response.body))
        if isinstance(response.body, FileBody):
            response.body.close()
    assert lengths == [size, size]
    assert answers[0].headers == answers[1].headers


def test_answers_are_made_anew(site: Site) -> None:
    site.write("a.txt", "x")
    site.get("/a.txt").headers += (("Cache-Control", "no-store"),)
    assert field(site.get("/a.txt"), "Cache-Control") == ""


# Directories.


def test_directory_answers_with_its_index(site: Site) -> None:
    site.write("index.html", "<p>front")
    site.write("docs/index.html", "<p>docs")
    assert site.get("/").body == b"<p>front"
    assert site.get("/docs/").body == b"<p>docs"
    assert site.get("/docs/").content_type == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/docs", "/docs/"),
        ("/docs?a=1&b=/x?", "/docs/?a=1&b=/x?"),
        ("/docs?", "/docs/"),
        ("/d%6Fcs?q=%0D%0A", "/d%6Fcs/?q=%0D%0A"),
        ("/docs/a%20b", "/docs/a%20b/"),
        ("http://elsewhere/docs?a", "/docs/?a"),
    ],
)
def test_directory_without_slash_is_redirected(site: Site, target: str, location: str) -> None:
    (site.root / "docs" / "a b").mkdir(parents=True)
    response = site.get(target)
    assert (response.status, response.body) == (301, b"")
    assert field(response, "Location") == location


@pytest.mark.parametrize(
    "target", ["//evil", "//evil/", "///evil", "/%2Fevil", "/%5Cevil", "//evil/..", "/./evil", "/evil//x"]
)
def test_redirect_never_leads_to_another_host(site: Site, target: str) -> None:
    (site.root / "evil" / "x").mkdir(parents=True)
    assert site.refusal(target).status == 404


def test_redirect_below_an_odd_mount_does_not_lead_to_another_host(tmp_path: Path) -> None:
    assert Site(tmp_path, prefix="//evil").refusal("//evil").status == 404


def test_directory_without_index_is_not_listed(site: Site) -> None:
    site.write("docs/a.txt", "x")
    assert site.refusal("/docs/").status == 404
    assert site.refusal("/").status == 404


def test_directory_called_index_is_not_there(site: Site) -> None:
    (site.root / "docs" / "index.html").mkdir(parents=True)
    assert site.refusal("/docs/").status == 404
    assert field(site.get("/docs/index.html"), "Location") == "/docs/index.html/"


def test_prefix_is_taken_off(tmp_path: Path) -> None:
    for prefix in ("/assets", "/assets/"):
        site = Site(tmp_path, prefix=prefix)
        site.write("index.html", "front")
        site.write("assets/a.txt", "inner")
        assert site.get("/assets/").body == b"front"
        assert site.get("/%61ssets/").body == b"front"
        assert site.get("/assets/assets/a.txt").body == b"inner"
        assert site.refusal("/assets/a.txt").status == 404
        assert field(site.get("/assets?x"), "Location") == "/assets/?x"


# What is not there.


@pytest.mark.parametrize(
    "target",
    [
        "/nothing",
        "/nothing/",
        "/a.txt/",
        "/a.txt/b",
        "/a.txt/index.html",
        "/" + "n" * 256,
        "/a.txt%0A",
        "/a.txt%20",
        "/A.TXT",
    ],
)
def test_missing_file(site: Site, target: str) -> None:
    site.write("a.txt", "x")
    error = site.refusal(target)
    assert (error.status, error.headers) == (404, ())


def test_path_longer_than_the_kernel_takes(site: Site) -> None:
    assert site.refusal("/" + "a/" * 2500 + "a").status == 404


WAYS_OUT = [
    "/../outside/secret.txt",
    "/docs/../../outside/secret.txt",
    "/./../outside/secret.txt",
    "/%2e%2e/outside/secret.txt",
    "/%2E%2E/outside/secret.txt",
    "/.%2e/outside/secret.txt",
    "/%2e./outside/secret.txt",
    "/..%2foutside%2fsecret.txt",
    "/..%2Foutside/secret.txt",
    "/%2e%2e%2foutside%2fsecret.txt",
    "/docs%2f..%2f..%2foutside%2fsecret.txt",
    "/docs/..%2f../outside/secret.txt",
    "/%252e%252e/outside/secret.txt",
    "/%252e%252e%252foutside%252fsecret.txt",
    "/..%255coutside/secret.txt",
    "/..%5coutside%5csecret.txt",
    "/..%5Coutside/secret.txt",
    "/%5c..%5c..%5coutside%5csecret.txt",
    "/..;/outside/secret.txt",
    "/.../outside/secret.txt",
    "/%2e%2e;/outside/secret.txt",
    "/..//outside/secret.txt",
    "//../outside/secret.txt",
    "/%2f../outside/secret.txt",
    "/%c0%ae%c0%ae/outside/secret.txt",
    "/docs/..",
    "/docs/../",
    "/..",
    "/%2e%2e/",
    "http://x/../outside/secret.txt",
]


@pytest.mark.parametrize("target", WAYS_OUT)
def test_no_path_leads_out(site: Site, outside: Path, target: str) -> None:
    (site.root / "docs").mkdir()
    assert site.refusal(target).status in (400, 404)


def test_absolute_path_stays_inside(site: Site, outside: Path) -> None:
    assert site.refusal(str(outside)).status == 404
    assert site.refusal("/" + str(outside)).status == 404
    assert site.refusal("/%2F" + str(outside)[1:]).status == 404


@pytest.mark.parametrize(
    "target",
    ["/docs/../a.txt", "/./a.txt", "/docs/./b.txt", "/docs//b.txt", "/docs%2Fb.txt", "/docs%5Cb.txt"],
)
def test_detours_inside_are_refused_too(site: Site, target: str) -> None:
    site.write("a.txt", "x")
    site.write("docs/b.txt", "x")
    assert site.refusal(target).status == 404


def test_backslash_in_a_name_is_refused(site: Site) -> None:
    site.write("a\\b.txt", "x")
    assert site.refusal("/a%5Cb.txt").status == 404
    assert site.refusal("/a\\b.txt").status == 400  # by the parser


@pytest.mark.parametrize("target", ["/a.txt%00", "/a.txt%00.png", "/%00", "/docs%00/b.txt"])
def test_nul_is_refused(site: Site, target: str) -> None:
    site.write("a.txt", "x")
    assert site.refusal(target).status == 400  # by the parser


def test_nul_is_refused_without_the_parser_too(site: Site) -> None:
    site.write("a.txt", "x")
    head = PARSER.parse(b"GET /nul HTTP/1.1\r\nHost: x\r\n\r\n")
    head.raw_path = "/a.txt%00"
    with pytest.raises(HTTPError, match="404"):
        site.handler(Request(head, b"", ("127.0.0.1", 1)))


@pytest.mark.parametrize(
    "target", ["/.env", "/%2eenv", "/.git/config", "/docs/.hidden", "/.git/", "/.git", "/..env"]
)
def test_hidden_files_are_not_there(site: Site, target: str) -> None:
    for name in (".env", ".git/config", ".git/index.html", "docs/.hidden", "..env"):
        site.write(name, "x")
    assert site.refusal(target).status == 404


# Symbolic links, races, and what is no regular file.


def test_link_to_a_file_outside_is_refused(site: Site, outside: Path) -> None:
    (site.root / "link.txt").symlink_to(outside)
    (site.root / "relative.txt").symlink_to("../outside/secret.txt")
    assert site.refusal("/link.txt").status == 404
    assert site.refusal("/relative.txt").status == 404


def test_link_to_a_directory_outside_is_refused(site: Site, outside: Path) -> None:
    (outside.parent / "index.html").write_text("secret")
    (site.root / "link").symlink_to(outside.parent)
    for target in ("/link", "/link/", "/link/secret.txt"):
        assert site.refusal(target).status == 404


def test_root_is_no_mere_prefix_of_a_name(site: Site, tmp_path: Path) -> None:
    """A directory called root-of-evil is outside of root."""
    neighbour = tmp_path / "root-of-evil"
    neighbour.mkdir()
    (neighbour / "a.txt").write_text("secret")
    (site.root / "link").symlink_to(neighbour)
    assert site.refusal("/link/a.txt").status == 404


def test_links_inside_of_the_root_are_followed(site: Site) -> None:
    """Hidden targets too: a mounted ConfigMap is made of links into `..data`."""
    site.write("..data/page.html", "page")
    (site.root / "page.html").symlink_to("..data/page.html")
    (site.root / "docs").symlink_to("..data")
    assert site.get("/page.html").body == b"page"
    assert site.get("/docs/page.html").body == b"page"
    assert field(site.get("/docs"), "Location") == "/docs/"


def test_link_that_leads_to_itself(site: Site) -> None:
    (site.root / "loop").symlink_to("loop")
    assert site.refusal("/loop").status == 404


def test_root_may_be_reached_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    site = Site(tmp_path / "link")
    site.write("a.txt", "x")
    assert site.get("/a.txt").body == b"x"


def test_file_put_in_place_of_a_kept_one_is_checked_again(site: Site, outside: Path, clock: Clock) -> None:
    path = site.write("a.txt", "x")
    assert site.get("/a.txt").body == b"x"
    path.unlink()
    path.symlink_to(outside)
    clock.advance(1)
    assert site.refusal("/a.txt").status == 404


def test_kept_file_that_was_moved_out_is_gone(site: Site, outside: Path, clock: Clock) -> None:
    """The very file that is kept, now outside, with a link in its place."""
    site.write("docs/a.txt", "x")
    assert site.get("/docs/a.txt").body == b"x"
    (site.root / "docs").rename(outside.parent / "docs")
    (site.root / "docs").symlink_to(outside.parent / "docs")
    clock.advance(1)
    assert site.refusal("/docs/a.txt").status == 404


def test_link_swapped_in_while_opening_is_seen(
    site: Site, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attacker changes a link just before the open and back right after: the open file tells where it is."""
    link = site.root / "a.txt"

    def swapping_open(path: bytes, flags: int) -> int:
        link.unlink(missing_ok=True)
        link.symlink_to(outside)
        fd = os.open(path, flags)
        link.unlink()
        link.write_text("harmless")
        return fd

    monkeypatch.setattr(static, "os", SimpleNamespace(**{**vars(os), "open": swapping_open}))
    assert site.refusal("/a.txt").status == 404
    monkeypatch.setattr(static, "DESCRIPTORS", "/nonexistent")
    assert site.refusal("/a.txt").status == 404


def test_without_proc_paths_are_resolved_again(
    site: Site, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(static, "DESCRIPTORS", "/nonexistent")
    site.write("docs/a.txt", "x")
    (site.root / "in").symlink_to("docs")
    (site.root / "out.txt").symlink_to(outside)
    assert site.get("/in/a.txt").body == b"x"
    assert site.get("/docs").status == 301
    assert site.refusal("/out.txt").status == 404


def test_without_proc_a_file_that_vanishes_is_not_there(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    path = site.write("a.txt", "x")

    def open_and_unlink(name: bytes, flags: int) -> int:
        fd = os.open(name, flags)
        path.unlink()
        return fd

    monkeypatch.setattr(static, "DESCRIPTORS", "/nonexistent")
    monkeypatch.setattr(static, "os", SimpleNamespace(**{**vars(os), "open": open_and_unlink}))
    assert site.refusal("/a.txt").status == 404


def test_fifo_neither_hangs_nor_answers(site: Site) -> None:
    os.mkfifo(site.root / "fifo.txt")
    caught: list[int] = []
    thread = threading.Thread(target=lambda: caught.append(site.refusal("/fifo.txt").status), daemon=True)
    thread.start()
    thread.join(10)
    assert caught == [404]


def test_socket_is_not_there(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(site.root)  # the names of sockets are short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.txt")
        assert site.refusal("/socket.txt").status == 404


def test_device_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """With /dev as the root, null is inside of it and still no file."""
    assert Site(Path("/dev")).refusal("/null").status == 404


def test_root_of_the_file_system_can_be_served(tmp_path: Path) -> None:
    site = Site(Path("/"))
    (tmp_path / "a.txt").write_text("x")
    assert site.get(str(tmp_path / "a.txt")).body == b"x"
    assert field(site.get(str(tmp_path)), "Location") == f"{tmp_path}/"


# Errors of the system.


@pytest.fixture
def open_root() -> Iterator[Path]:
    """A directory that everybody may pass, unlike tmp_path, which lies below one of its owner's."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def ordinary_rights() -> Iterator[None]:
    """For root, who may read everything: this thread's file accesses are nobody's meanwhile."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None)
    libc.setfsuid(NOBODY)
    try:
        if libc.setfsuid(-1) != NOBODY:
            pytest.skip("setfsuid does nothing here, and root reads everything")
        yield
    finally:
        libc.setfsuid(0)


def test_unreadable_file_is_forbidden(open_root: Path) -> None:
    site = Site(open_root)
    site.write("open.txt", "x").chmod(0o644)
    site.write("closed.txt", "x").chmod(0)
    cellar = site.write("cellar/a.txt", "x").parent
    cellar.chmod(0)
    with ordinary_rights():
        assert site.get("/open.txt").body == b"x"
        assert site.refusal("/closed.txt").status == 403
        assert site.refusal("/cellar/a.txt").status == 403
    cellar.chmod(0o700)


def test_kept_file_that_becomes_unreadable_is_forbidden(open_root: Path, clock: Clock) -> None:
    site = Site(open_root)
    path = site.write("a.txt", "x")
    assert site.get("/a.txt").body == b"x"
    path.chmod(0)
    clock.advance(1)
    with ordinary_rights():
        assert site.refusal("/a.txt").status == 403


def test_want_of_descriptors_is_503_and_logged_once_a_second(
    site: Site, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    site.write("a.txt", "x")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.open("/dev/null", os.O_RDONLY)
    os.close(lowest_free)
    with caplog.at_level(logging.WARNING, "mreactor"):
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
        try:
            errors = [site.refusal("/a.txt") for _ in range(3)]
            clock.advance(1)
            errors.append(site.refusal("/a.txt"))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert [(e.status, e.headers) for e in errors] == [(503, (("Retry-After", "1"),))] * 4
    assert caplog.messages == ["cannot open files to serve: Too many open files"] * 2
    assert site.get("/a.txt").body == b"x"


def test_other_errors_are_left_to_the_connection(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: bytes, flags: int) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(static, "os", SimpleNamespace(**{**vars(os), "open": fail}))
    with pytest.raises(OSError, match="Input/output error"):
        site.get("/a.txt")


def test_failure_to_read_closes_the_file(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int, count: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    site.write("a.txt", "x")
    before = descriptors()
    monkeypatch.setattr(static, "os", SimpleNamespace(**{**vars(os), "read": fail}))
    with pytest.raises(OSError, match="Input/output error"):
        site.get("/a.txt")
    assert descriptors() == before


# Conditional requests.


def test_etag_changes_with_size_time_and_inode(site: Site, clock: Clock) -> None:
    tags = set()

    def look() -> None:
        clock.advance(1)
        tags.add(field(site.get("/a.txt"), "ETag"))

    path = site.write("a.txt", "x")
    look()
    site.write("a.txt", "xx")
    look()
    os.utime(path, ns=(0, LONG_AGO * 10**9 + 1))
    look()
    os.utime(path, (LONG_AGO, LONG_AGO))
    site.write("b.txt", "xx").rename(path)
    look()
    look()
    assert len(tags) == 4


@pytest.mark.parametrize("size", [10, 100_000])
@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("TAG", 304),
        ("W/TAG", 304),
        ('"other", TAG', 304),
        ('"other",W/TAG , "more"', 304),
        (', ,"a, b" ,TAG', 304),
        ("*", 304),
        (" * ", 304),
        ('"other"', 200),
        ('W/"other", "a"', 200),
        ("", 200),
        ('"*"', 200),
        ("UNQUOTED", 200),
        ('"UNQUOTED', 200),
        ('"x UNQUOTED"', 200),
    ],
)
def test_if_none_match(site: Site, size: int, value: str, status: int) -> None:
    site.write("a.txt", b"x" * size)
    first = site.get("/a.txt")
    tag = field(first, "ETag")
    if isinstance(first.body, FileBody):
        first.body.close()
    before = descriptors()
    response = site.get(
        "/a.txt", "If-None-Match: " + value.replace("TAG", tag).replace("UNQUOTED", tag.strip('"'))
    )
    assert response.status == status
    if status == 304:
        assert (response.body, response.content_type) == (b"", "")
        assert response.headers == first.headers[:2]
        assert descriptors() == before
    elif isinstance(response.body, FileBody):
        response.body.close()


def test_if_none_match_over_several_lines(site: Site) -> None:
    site.write("a.txt", "x")
    tag = field(site.get("/a.txt"), "ETag")
    assert site.get("/a.txt", 'If-None-Match: "a"', f"If-None-Match: {tag}").status == 304


@pytest.mark.parametrize(
    ("date", "status"),
    [
        (format_date(LONG_AGO), 304),
        (format_date(LONG_AGO + 1), 304),
        (format_date(LONG_AGO - 1), 200),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 304),
        ("Sun Nov  6 08:49:37 1994", 304),
        ("yesterday", 200),
        ("", 200),
        (str(LONG_AGO), 200),
    ],
)
def test_if_modified_since(site: Site, date: str, status: int) -> None:
    site.write("a.txt", "x", LONG_AGO + 0.7)
    assert site.get("/a.txt", f"If-Modified-Since: {date}").status == status


def test_if_none_match_goes_before_if_modified_since(site: Site) -> None:
    site.write("a.txt", "x")
    tag = field(site.get("/a.txt"), "ETag")
    old, new = (f"If-Modified-Since: {format_date(LONG_AGO + shift)}" for shift in (-1, 1))
    assert site.get("/a.txt", 'If-None-Match: "other"', new).status == 200
    assert site.get("/a.txt", f"If-None-Match: {tag}", old).status == 304


def test_conditions_on_what_is_not_there(site: Site) -> None:
    with pytest.raises(HTTPError, match="404"):
        site.get("/a.txt", "If-None-Match: *")


@pytest.mark.parametrize("size", [1, 100_000])
def test_last_modified_is_never_in_the_future(site: Site, clock: Clock, size: int) -> None:
    site.write("a.txt", b"x" * size, clock.wall + 1000)
    response = site.get("/a.txt")
    assert field(response, "Last-Modified") == format_date(clock.wall)
    if isinstance(response.body, FileBody):
        response.body.close()


@pytest.mark.parametrize("modified", [-1.0, -(2.0**31), 0.0])
def test_last_modified_before_1970(site: Site, modified: float) -> None:
    site.write("a.txt", "x", modified)
    response = site.get("/a.txt")
    assert field(response, "Last-Modified") == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert site.get("/a.txt", f"If-None-Match: {field(response, 'ETag')}").status == 304


# Large files.


def test_large_file_is_handed_over_open(tmp_path: Path) -> None:
    site = Site(tmp_path, sendfile_bytes_min=10)
    site.write("small.bin", b"123456789")
    site.write("large.bin", b"1234567890")
    assert site.get("/small.bin").body == b"123456789"
    before = descriptors()
    response = site.get("/large.bin")
    body = response.body
    assert isinstance(body, FileBody)
    assert (body.offset, len(body)) == (0, 10)
    assert os.pread(body.fd, 100, 0) == b"1234567890"
    assert not os.get_inheritable(body.fd)
    assert response.content_type == "application/octet-stream"
    assert field(response, "X-Content-Type-Options") == "nosniff"
    assert descriptors() == before + 1
    body.close()
    assert descriptors() == before


def test_each_answer_has_a_large_file_of_its_own(tmp_path: Path) -> None:
    site = Site(tmp_path, sendfile_bytes_min=1)
    site.write("a.bin", b"x")
    bodies = [site.get("/a.bin").body for _ in range(2)]
    assert all(isinstance(body, FileBody) for body in bodies)
    assert len({body.fd for body in bodies if isinstance(body, FileBody)}) == 2
    for body in bodies:
        assert isinstance(body, FileBody)
        body.close()


@pytest.mark.parametrize(
    "target", ["/a.txt", "/docs", "/docs/", "/nothing", "/out.txt", "/fifo", "/../a.txt"]
)
def test_no_other_answer_keeps_a_descriptor(site: Site, outside: Path, target: str) -> None:
    site.write("a.txt", "x")
    (site.root / "docs").mkdir()
    (site.root / "out.txt").symlink_to(outside)
    os.mkfifo(site.root / "fifo")
    before = descriptors()
    with suppress(HTTPError):
        site.get(target)
    assert descriptors() == before


# Memory.


def test_hit_does_not_open_the_file(site: Site, clock: Clock, opened: list[bytes]) -> None:
    site.write("a.txt", "x")
    for _ in range(3):
        assert site.get("/a.txt").body == b"x"
        clock.advance(0.3 * static.RECHECK_SECONDS)
    assert opened == [b"a.txt"]


def test_unchanged_file_is_looked_at_each_second_but_read_once(
    site: Site, clock: Clock, opened: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.write("a.txt", "x")
    assert site.get("/a.txt").body == b"x"
    monkeypatch.setattr(static, "_read", lambda body: pytest.fail("read again"))
    for _ in range(3):
        clock.advance(1)
        assert site.get("/a.txt").body == b"x"
        assert site.get("/a.txt").body == b"x"
    assert len(opened) == 4


def test_change_is_seen_a_second_later(site: Site, clock: Clock) -> None:
    site.write("a.txt", "old")
    first = site.get("/a.txt")
    site.write("a.txt", "newer")
    assert site.get("/a.txt").body == b"old"
    clock.advance(1)
    second = site.get("/a.txt")
    assert second.body == b"newer"
    assert field(second, "ETag") != field(first, "ETag")


def test_change_that_hides_its_time_is_seen(site: Site, clock: Clock) -> None:
    """Same size, same mtime, same inode: ctime tells."""
    site.write("a.txt", "old")
    assert site.get("/a.txt").body == b"old"
    before = (site.root / "a.txt").stat()
    while (site.root / "a.txt").stat().st_ctime_ns == before.st_ctime_ns:
        site.write("a.txt", "new")
    assert (site.root / "a.txt").stat().st_mtime_ns == before.st_mtime_ns
    clock.advance(1)
    assert site.get("/a.txt").body == b"new"


def test_change_within_one_tick_of_the_clock_is_seen(
    site: Site, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that has just changed is read again, for its time stamps may not tell of the next change."""
    clock.wall = site.write("a.txt", "old").stat().st_ctime + 0.5
    monkeypatch.setattr(static, "_signature", lambda status: (0,))
    assert site.get("/a.txt").body == b"old"
    site.write("a.txt", "new")
    clock.advance(1)
    assert site.get("/a.txt").body == b"new"
    clock.advance(1)
    assert site.get("/a.txt").body == b"new"
    site.write("a.txt", "xxx")  # after two seconds the signature is believed
    clock.advance(1)
    assert site.get("/a.txt").body == b"new"


def test_file_that_is_removed_is_gone_and_may_come_back(site: Site, clock: Clock) -> None:
    path = site.write("a.txt", "x")
    assert site.get("/a.txt").body == b"x"
    path.unlink()
    clock.advance(1)
    assert site.refusal("/a.txt").status == 404
    site.write("a.txt", "y")
    assert site.get("/a.txt").body == b"y"


def test_file_that_grows_large_is_no_longer_kept(tmp_path: Path, clock: Clock) -> None:
    site = Site(tmp_path, sendfile_bytes_min=10)
    site.write("a.txt", "small")
    assert site.get("/a.txt").body == b"small"
    site.write("a.txt", "x" * 10)
    clock.advance(1)
    for _ in range(2):
        body = site.get("/a.txt").body
        assert isinstance(body, FileBody)
        body.close()


def test_file_cut_short_while_it_is_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    path = site.write("a.txt", "0123456789")

    def read_in_pieces(fd: int, count: int) -> bytes:
        part = os.read(fd, min(count, 4))
        path.write_bytes(b"0123")
        return part

    monkeypatch.setattr(static, "os", SimpleNamespace(**{**vars(os), "read": read_in_pieces}))
    assert site.get("/a.txt").body == b"0123"


def test_file_read_in_pieces_is_whole(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.write("a.txt", "0123456789")
    pieces = SimpleNamespace(**{**vars(os), "read": lambda fd, count: os.read(fd, min(count, 4))})
    monkeypatch.setattr(static, "os", pieces)
    assert site.get("/a.txt").body == b"0123456789"


def test_memory_is_bounded_in_entries(site: Site, clock: Clock, opened: list[bytes]) -> None:
    names = [f"{number:03}.txt" for number in range(static.CACHE_ENTRIES_MAX + 1)]
    for name in names:
        site.write(name, name)
        assert site.get(f"/{name}").body == name.encode()
    opened.clear()
    for name in (names[-1], names[1], names[0]):
        assert site.get(f"/{name}").body == name.encode()
    assert opened == [b"000.txt"]  # the first one made room for the last


def test_memory_is_bounded_in_bytes(tmp_path: Path, clock: Clock, opened: list[bytes]) -> None:
    """Four files of a quarter and a little each: the fifth look finds no room for all."""
    quarter = static.CACHE_BYTES_MAX // 4
    site = Site(tmp_path, sendfile_bytes_min=2 * static.CACHE_BYTES_MAX)
    for name in "abcd":
        site.write(name, bytes(quarter))
        site.get(f"/{name}")
    site.write("huge", bytes(static.CACHE_BYTES_MAX))
    opened.clear()
    for name in ("d", "c", "b", "huge", "huge", "b", "a"):
        site.get(f"/{name}")
    assert opened == [b"huge", b"huge", b"a"]  # what does not fit at all is not kept, and drives nothing out


def kept(content: bytes) -> static._File:
    file = static._File(b"a.txt", os.stat(__file__))
    file.content = content
    return file


def test_cache_counts_what_it_holds() -> None:
    cache = FileCache(entries_max=3, bytes_max=3 * 1100)
    for path in ("/a", "/b", "/c", "/b"):
        cache.put(path, kept(b"x" * 70))
    assert len(cache) == 3
    cache.put("/d", kept(b""))
    assert [path for path in ("/a", "/b", "/c", "/d") if cache.get(path)] == ["/b", "/c", "/d"]
    cache.put("/e", kept(b"x" * 2000))
    assert [path for path in ("/b", "/c", "/d", "/e") if cache.get(path)] == ["/e"]
    cache.drop("/e")
    cache.drop("/e")
    for path in ("/f", "/g", "/h"):
        cache.put(path, kept(b"x" * 70))
    assert len(cache) == 3  # nothing is left of what the others took


def test_threads_lose_no_count() -> None:
    """Mounted as blocking, one handler is used by all threads of the pool."""
    cache = FileCache(entries_max=4, bytes_max=8 * 1100)
    begin = threading.Barrier(8)

    def work() -> None:
        begin.wait()
        for number in range(2000):
            cache.put(f"/{number % 8}", kept(b"x" * 70))
            if number % 16 == 0:
                cache.drop(f"/{number % 8}")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(8):
        cache.drop(f"/{number}")
    assert len(cache) == 0
    assert cache._bytes == 0


def test_long_names_count_too() -> None:
    cache = FileCache(entries_max=10, bytes_max=4096)
    cache.put("/" + "n" * 4096, kept(b""))
    assert len(cache) == 0


def test_requests_leave_no_cycles(site: Site, clock: Clock) -> None:
    """The collector stops all reactors, so nothing may be left for it, by refusals neither."""
    site.write("a.txt", "x")
    (site.root / "docs").mkdir()

    def serve() -> None:
        for target in ("/a.txt", "/docs", "/nothing", "/../x", "/docs/"):
            clock.advance(0.3)
            with suppress(HTTPError):
                site.get(target)

    serve()
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            serve()
        assert gc.collect() == 0
    finally:
        gc.enable()


# On a connection.


@pytest.mark.parametrize("constant", [True, False])
def test_fields_reach_the_client_however_it_is_mounted(site: Site, constant: bool) -> None:
    site.write("a.txt", "content")
    app = App()
    app.mount("/", lambda: StaticFiles(site.root), constant=constant)
    connection = Connection(ReactorContext(Limits(), app.routes), ("192.0.2.1", 1))
    for _ in range(3):  # the long way, and those from memory
        answer = connection.receive_data(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n")
        assert answer is not None
        for name in (b"ETag", b"Last-Modified", b"X-Content-Type-Options"):
            assert b"\r\n%b: " % name in answer


# The root.


def test_check_root_gives_the_real_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    expected = os.path.realpath(tmp_path / "real")
    assert check_root("link") == expected
    assert check_root("real/") == expected
    assert check_root(str(tmp_path / "real" / ".." / "link")) == expected


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("missing", "static directory 'missing': no such file or directory"),
        ("", "static directory '': no such file or directory"),
        ("file", "static directory 'file': not a directory"),
    ],
)
def test_check_root_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, reason: str) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        check_root(path)
    assert str(caught.value) == reason


def test_check_root_refuses_what_may_not_be_read(open_root: Path) -> None:
    cellar = open_root / "cellar"
    cellar.mkdir(0)
    with ordinary_rights(), pytest.raises(ConfigError, match="permission denied"):
        check_root(str(cellar))


def test_root_that_is_removed_later(site: Site) -> None:
    site.root.rmdir()
    assert site.refusal("/").status == 404
    assert site.refusal("/a.txt").status == 404


def test_demo_page() -> None:
    root = Path(__file__).parents[2] / "static"
    response = Site(root).get("/hello.html")
    assert response.content_type == "text/html; charset=utf-8"
    assert isinstance(response.body, bytes)
    assert b"Hello from mreactor" in response.body
    assert b"//" not in response.body  # nothing from elsewhere
    assert len(response.body) <= 1536
