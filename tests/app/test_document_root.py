"""The document root: paths to nothing, links that lead out, files that cannot be opened."""

import ctypes
import errno
import fcntl
import logging
import os
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from mreactor.app import document_root
from mreactor.app.document_root import check_root
from mreactor.config import ConfigError, Limits
from mreactor.http.request import Request
from mreactor.http.status import HTTPError
from mreactor.http1.head_parser import Parser
from tests.app.site import Clock, Site, descriptors, field

NOBODY = 65534


# --- Paths that lead to no file. ---


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
    "target", ["/docs/../a.txt", "/%2e/a.txt", "/.%2f/a.txt", "/docs//b.txt", "/docs%2Fb.txt", "/docs%5Cb.txt"]
)
def test_detours_inside_are_refused_too(site: Site, target: str) -> None:
    site.write("a.txt", "x")
    site.write("docs/b.txt", "x")
    assert site.refusal(target).status == 404


def test_a_dot_stands_for_its_directory(site: Site) -> None:
    """apt asks for `./Packages` below the address of a flat repository."""
    site.write("docs/b.txt", "x")
    site.write("docs/index.html", "front")
    for target in ("/./docs/b.txt", "/docs/./b.txt", "/./docs/././b.txt"):
        assert site.get(target).body == b"x"
    assert site.get("/docs/./").body == b"front"
    assert field(site.get("/docs/."), "Location") == "/docs/./"


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
    head = Parser(Limits()).parse(b"GET /nul HTTP/1.1\r\nHost: x\r\n\r\n")
    head.line.raw_path = "/a.txt%00"
    with pytest.raises(HTTPError, match="404"):
        site.handler(Request(head, b"", ("127.0.0.1", 1)))


def test_well_known_is_served_at_the_root_of_a_site(site: Site, tmp_path: Path) -> None:
    """RFC 8615: certificates are issued, and security contacts found, by files below it."""
    site.write(".well-known/acme-challenge/token", "key")
    site.write(".well-known/.hidden", "x")
    site.write("docs/.well-known/security.txt", "x")
    assert site.get("/.well-known/acme-challenge/token").body == b"key"
    assert site.get("/%2ewell-known/acme-challenge/token").body == b"key"
    for target in (
        "/.well-known/.hidden",
        "/docs/.well-known/security.txt",
        "/.well-known.",
        "/.well-knownx",
        "/.well-known/",
    ):
        assert site.refusal(target).status == 404
    below = Site(site.root, prefix="/assets/")
    assert below.refusal("/assets/.well-known/acme-challenge/token").status == 404


@pytest.mark.parametrize("target", ["/.env", "/%2eenv", "/.git/config", "/docs/.hidden", "/.git/", "/.git", "/..env"])
def test_hidden_files_are_404(site: Site, target: str) -> None:
    for name in (".env", ".git/config", ".git/index.html", "docs/.hidden", "..env"):
        site.write(name, "x")
    assert site.refusal(target).status == 404


# --- Symbolic links, races, and files that are not regular. ---


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


def test_directory_whose_name_begins_like_the_root_is_outside(site: Site, tmp_path: Path) -> None:
    """A directory called root-of-evil is outside root."""
    neighbour = tmp_path / "root-of-evil"
    neighbour.mkdir()
    (neighbour / "a.txt").write_text("secret")
    (site.root / "link").symlink_to(neighbour)
    assert site.refusal("/link/a.txt").status == 404


def test_links_inside_the_root_are_followed(site: Site) -> None:
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


def test_file_that_replaces_a_cached_one_is_checked(site: Site, outside: Path, clock: Clock) -> None:
    path = site.write("a.txt", "x")
    assert site.get("/a.txt").body == b"x"
    path.unlink()
    path.symlink_to(outside)
    clock.advance(1)
    assert site.refusal("/a.txt").status == 404


def test_cached_file_that_was_moved_out_is_404(site: Site, outside: Path, clock: Clock) -> None:
    """The cached file itself lies outside now, and a link takes its place."""
    site.write("docs/a.txt", "x")
    assert site.get("/docs/a.txt").body == b"x"
    (site.root / "docs").rename(outside.parent / "docs")
    (site.root / "docs").symlink_to(outside.parent / "docs")
    clock.advance(1)
    assert site.refusal("/docs/a.txt").status == 404


def test_link_swapped_in_while_opening_is_seen(site: Site, outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attacker changes a link just before the open, and back right after. The open file reveals where it is."""
    link = site.root / "a.txt"

    def swapping_open(path: bytes, _: object) -> int:
        link.unlink(missing_ok=True)
        link.symlink_to(outside)
        fd = os.open(path, document_root.OPEN_FLAGS)
        link.unlink()
        link.write_text("harmless")
        return fd

    monkeypatch.setattr(document_root, "open_descriptor", swapping_open)
    assert site.refusal("/a.txt").status == 404
    monkeypatch.setattr(document_root, "DESCRIPTORS", "/nonexistent")
    assert site.refusal("/a.txt").status == 404


def test_without_proc_paths_are_resolved_again(site: Site, outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document_root, "DESCRIPTORS", "/nonexistent")
    site.write("docs/a.txt", "x")
    (site.root / "in").symlink_to("docs")
    (site.root / "out.txt").symlink_to(outside)
    assert site.get("/in/a.txt").body == b"x"
    assert site.get("/docs").status == 301
    assert site.refusal("/out.txt").status == 404


def test_without_proc_a_file_that_vanishes_is_404(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    path = site.write("a.txt", "x")

    def open_and_unlink(name: bytes, _: object) -> int:
        fd = os.open(name, document_root.OPEN_FLAGS)
        path.unlink()
        return fd

    monkeypatch.setattr(document_root, "DESCRIPTORS", "/nonexistent")
    monkeypatch.setattr(document_root, "open_descriptor", open_and_unlink)
    assert site.refusal("/a.txt").status == 404


def test_fifo_is_404_at_once(site: Site) -> None:
    os.mkfifo(site.root / "fifo.txt")
    caught: list[int] = []
    thread = threading.Thread(target=lambda: caught.append(site.refusal("/fifo.txt").status), daemon=True)
    thread.start()
    thread.join(10)
    assert caught == [404]


def test_socket_is_404(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(site.root)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.txt")
        assert site.refusal("/socket.txt").status == 404


def test_device_is_404(monkeypatch: pytest.MonkeyPatch) -> None:
    """With /dev as the root, null lies inside it, but is not a regular file."""
    assert Site(Path("/dev")).refusal("/null").status == 404


def test_root_of_the_file_system_can_be_served(tmp_path: Path) -> None:
    site = Site(Path("/"))
    (tmp_path / "a.txt").write_text("x")
    assert site.get(str(tmp_path / "a.txt")).body == b"x"
    assert field(site.get(str(tmp_path)), "Location") == f"{tmp_path}/"


# --- Errors of the system. ---


@contextmanager
def ordinary_rights() -> Iterator[None]:
    """Access files without root's privileges: this thread becomes an ordinary user for the file system."""
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


def test_cached_file_that_becomes_unreadable_is_forbidden(open_root: Path, clock: Clock) -> None:
    site = Site(open_root)
    path = site.write("a.txt", "x")
    assert site.get("/a.txt").body == b"x"
    path.chmod(0)
    clock.advance(1)
    with ordinary_rights():
        assert site.refusal("/a.txt").status == 403


def test_lack_of_descriptors_is_503_and_logged_once_a_second(
    site: Site, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(document_root._shortage, "warn_again_at", 0.0)
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
    assert caplog.messages == ["cannot open files: Too many open files"] * 2
    assert site.get("/a.txt").body == b"x"


def test_other_errors_are_raised(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: bytes, _: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(document_root, "open_descriptor", fail)
    with pytest.raises(OSError, match="Input/output error"):
        site.get("/a.txt")


def test_failure_to_read_closes_the_file(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int, count: int, offset: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    site.write("a.txt", "x")
    before = descriptors()
    monkeypatch.setattr(document_root, "os", SimpleNamespace(**{**vars(os), "pread": fail}))
    with pytest.raises(OSError, match="Input/output error"):
        site.get("/a.txt")
    assert descriptors() == before


def test_a_leased_file_is_503_at_once(site: Site) -> None:
    """The kernel asks the holder of the lease to give it up, and does not make us wait for that (O_NONBLOCK)."""
    path = site.write("a.txt", "x")
    fd = os.open(path, os.O_RDWR)
    previous = signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        error = site.refusal("/a.txt")
        assert (error.status, error.headers) == (503, (("Retry-After", "1"),))
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    finally:
        signal.signal(signal.SIGIO, previous)
        os.close(fd)
    assert site.get("/a.txt").body == b"x"


@pytest.mark.parametrize("path", ["null", "zero", "tty"])
def test_a_device_is_404(path: str) -> None:
    assert Site(Path("/dev")).refusal(f"/{path}").status == 404


# --- The root. ---


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


def test_check_root_refuses_an_unreadable_directory(open_root: Path) -> None:
    cellar = open_root / "cellar"
    cellar.mkdir(0)
    with ordinary_rights(), pytest.raises(ConfigError, match="permission denied"):
        check_root(str(cellar))


def test_root_that_is_removed_later(site: Site) -> None:
    site.root.rmdir()
    assert site.refusal("/").status == 404
    assert site.refusal("/a.txt").status == 404
