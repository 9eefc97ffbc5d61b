"""Static files, from parsed request to response: content, directories, conditional requests, large files."""

import gc
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from mreactor.app.application import App
from mreactor.app.static_files import StaticFiles
from mreactor.config import Limits
from mreactor.http.dates import format_date, noted_date
from mreactor.http.status import HTTPError
from mreactor.http1.connection import Connection
from mreactor.http1.context import ReactorContext
from mreactor.http1.encoder import Encoder
from mreactor.protocol import FileBody
from tests.app.site import LONG_AGO, Clock, Site, descriptors, field

OLD = format_date(LONG_AGO - 1)

# --- Content. ---


def test_file_is_served_with_its_validators(site: Site) -> None:
    site.write("notes.txt", "read me")
    digest = hashlib.blake2b(b"read me", digest_size=12).hexdigest()
    response = site.get("/notes.txt")
    assert (response.status, response.body) == (200, b"read me")
    assert response.content_type == "text/plain; charset=utf-8"
    assert response.headers == (
        ("ETag", f'"{digest}"'),
        ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("Vary", "Accept-Encoding"),
        ("Accept-Ranges", "bytes"),
        ("X-Content-Type-Options", "nosniff"),
    )


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
def test_dots_and_marks_inside_names_are_allowed(site: Site, name: str) -> None:
    site.write(name, "found")
    assert site.get(f"/{name}").body == b"found"


@pytest.mark.parametrize("size", [0, 10, 100_000])
def test_head_gets_the_fields_of_get(site: Site, size: int) -> None:
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


def test_each_response_is_new(site: Site) -> None:
    site.write("a.txt", "x")
    site.get("/a.txt").headers += (("Cache-Control", "no-store"),)
    assert field(site.get("/a.txt"), "Cache-Control") == ""


# --- Directories. ---


def test_directory_is_served_as_its_index(site: Site) -> None:
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
    "target", ["//evil", "//evil/", "///evil", "/%2Fevil", "/%5Cevil", "//evil/..", "/.//evil", "/evil//x"]
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


def test_directory_named_index_is_404(site: Site) -> None:
    (site.root / "docs" / "index.html").mkdir(parents=True)
    assert site.refusal("/docs/").status == 404
    assert field(site.get("/docs/index.html"), "Location") == "/docs/index.html/"


def test_prefix_is_removed(tmp_path: Path) -> None:
    for prefix in ("/assets", "/assets/"):
        site = Site(tmp_path, prefix=prefix)
        site.write("index.html", "front")
        site.write("assets/a.txt", "inner")
        assert site.get("/assets/").body == b"front"
        assert site.get("/%61ssets/").body == b"front"
        assert site.get("/assets/assets/a.txt").body == b"inner"
        assert site.refusal("/assets/a.txt").status == 404
        assert field(site.get("/assets?x"), "Location") == "/assets/?x"


# --- Conditional requests. ---


def validators(site: Site, target: str = "/a") -> tuple[str, str]:
    response = site.get(target)
    if isinstance(response.body, FileBody):
        response.body.close()
    return field(response, "ETag"), field(response, "Last-Modified")


def test_the_etag_of_a_small_file_is_that_of_its_content(site: Site, clock: Clock) -> None:
    """Whatever its time and inode: replicas agree, and a file system gives an inode's number again."""
    path = site.write("a", "one")
    first, _ = validators(site)
    clock.advance(1)
    site.write("a", "two")
    second, _ = validators(site)
    assert second != first
    clock.advance(1)
    site.write("b", "one", LONG_AGO + 5).rename(path)
    assert validators(site) == (first, format_date(LONG_AGO + 5))


def test_the_etag_of_a_large_file_is_its_size_and_time(site: Site) -> None:
    status = site.write("a", b"x" * 100_000).stat()
    assert validators(site)[0] == f'"186a0-{status.st_mtime_ns:x}"'
    site.write("b", b"y" * 100_000)
    assert validators(site, "/b") == validators(site), "replicas that were copied with their times agree"
    site.write("a", b"x" * 100_001)
    site.write("b", b"x" * 100_000, LONG_AGO + 1)
    assert len({validators(site), validators(site, "/b"), ("", "")}) == 3


@pytest.mark.parametrize("modified", [1.5, 1.0, 0.0, -1.0, -(2.0**31)])
def test_a_time_at_the_beginning_of_1970_says_nothing(site: Site, clock: Clock, modified: float) -> None:
    """Tools for images and archives give it to all files, whatever they hold."""
    site.write("a", "old", modified)
    site.write("b", b"x" * 100_000, modified)
    etag, last_modified = validators(site)
    assert (bool(etag), last_modified) == (True, "")
    assert validators(site, "/b") == ("", "")
    assert site.get("/a", f"If-None-Match: {etag}").status == 304
    clock.advance(1)
    site.write("n", "NEW", modified).rename(site.root / "a")
    assert site.get("/a", "If-Modified-Since: Thu, 01 Jan 1970 00:00:01 GMT").body == b"NEW"


def test_another_version_than_the_one_asked_for_is_412(site: Site) -> None:
    for name, size in (("small", 3), ("large", 100_000)):
        site.write(name, b"x" * size)
        tag, date = validators(site, f"/{name}")
        before = descriptors()
        for method in ("GET", "HEAD"):
            for fields in (
                ['If-Match: "no"', "If-None-Match: *"],
                [f"If-Match: W/{tag}"],
                [f"If-Unmodified-Since: {OLD}"],
            ):
                with pytest.raises(HTTPError, match="412"):
                    site.get(f"/{name}", *fields, method=method)
        assert descriptors() == before
        response = site.get(f"/{name}", f"If-Match: {tag}", f"If-Unmodified-Since: {date}")
        assert response.status == 200
        if isinstance(response.body, FileBody):
            response.body.close()


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
    response = site.get("/a.txt", "If-None-Match: " + value.replace("TAG", tag).replace("UNQUOTED", tag.strip('"')))
    assert response.status == status
    if status == 304:
        assert (response.body, response.content_type) == (b"", "")
        assert response.headers == first.headers[:3]
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


def test_if_none_match_takes_precedence_over_if_modified_since(site: Site) -> None:
    site.write("a.txt", "x")
    tag = field(site.get("/a.txt"), "ETag")
    old, new = (f"If-Modified-Since: {format_date(LONG_AGO + shift)}" for shift in (-1, 1))
    assert site.get("/a.txt", 'If-None-Match: "other"', new).status == 200
    assert site.get("/a.txt", f"If-None-Match: {tag}", old).status == 304


def test_condition_on_a_missing_file(site: Site) -> None:
    with pytest.raises(HTTPError, match="404"):
        site.get("/a.txt", "If-None-Match: *")


@pytest.mark.parametrize("size", [1, 100_000])
@pytest.mark.parametrize("ahead", [0, 1, 1000])
def test_last_modified_is_always_earlier_than_the_date(
    site: Site, clock: Clock, monkeypatch: pytest.MonkeyPatch, size: int, ahead: int
) -> None:
    """The Date of a reactor lags behind the clock: by its phase, and by a handler that takes long.

    An equal one would not be a strong validator: the file may change again within that second.
    """
    date = int(clock.wall) - 3
    monkeypatch.setattr("mreactor.app.file_cache.noted_date", lambda: date)
    site.write("a", b"x" * size, clock.wall + ahead)
    _, last_modified = validators(site)
    assert last_modified == format_date(date - 1)
    response = site.get("/a", f"If-Modified-Since: {last_modified}")
    assert response.status == 200, "the version may be another one of the same second"
    if isinstance(response.body, FileBody):
        response.body.close()


def test_a_thread_of_the_pool_shows_no_time_that_may_be_later_than_the_date(site: Site, clock: Clock) -> None:
    site.write("a", "x", clock.wall)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(validators, site).result()[1] == format_date(int(clock.wall) - 3)


def test_a_reactor_notes_its_date() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(noted_date).result() is None
        pool.submit(Encoder().begin_second, 784_111_777.9).result()
        assert pool.submit(noted_date).result() == 784_111_777


# --- Large files. ---


def test_large_file_is_sent_from_its_descriptor(tmp_path: Path) -> None:
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


def test_each_response_opens_a_large_file_itself(tmp_path: Path) -> None:
    site = Site(tmp_path, sendfile_bytes_min=1)
    site.write("a.bin", b"x")
    bodies = [site.get("/a.bin").body for _ in range(2)]
    assert all(isinstance(body, FileBody) for body in bodies)
    assert len({body.fd for body in bodies if isinstance(body, FileBody)}) == 2
    for body in bodies:
        assert isinstance(body, FileBody)
        body.close()


@pytest.mark.parametrize("target", ["/a.txt", "/docs", "/docs/", "/nothing", "/out.txt", "/fifo", "/../a.txt"])
def test_no_other_response_keeps_a_descriptor(site: Site, outside: Path, target: str) -> None:
    site.write("a.txt", "x")
    (site.root / "docs").mkdir()
    (site.root / "out.txt").symlink_to(outside)
    os.mkfifo(site.root / "fifo")
    before = descriptors()
    with suppress(HTTPError):
        site.get(target)
    assert descriptors() == before


@pytest.mark.slow
def test_requests_leave_no_cycles(site: Site, clock: Clock) -> None:
    """A collection stops all reactors, so requests and refusals leave it nothing to do."""
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


# --- On a connection. ---


@pytest.mark.parametrize("constant", [True, False])
def test_fields_reach_the_client_in_either_mount(site: Site, constant: bool) -> None:
    site.write("a.txt", "content")
    app = App()
    app.mount("/", lambda: StaticFiles(site.root), constant=constant)
    connection = Connection(ReactorContext(Limits(), app.routes), ("192.0.2.1", 1))
    for _ in range(3):  # the slow path, then from the cache
        answer = connection.receive_data(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n")
        assert answer is not None
        for name in (b"ETag", b"Last-Modified", b"X-Content-Type-Options"):
            assert b"\r\n%b: " % name in answer


def test_demo_page() -> None:
    root = Path(__file__).parents[2] / "static"
    response = Site(root).get("/hello.html")
    assert response.content_type == "text/html; charset=utf-8"
    assert isinstance(response.body, bytes)
    assert b"Hello from mreactor" in response.body
    assert b"//" not in response.body  # no resource of another host
    assert len(response.body) <= 1536
