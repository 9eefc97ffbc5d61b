"""Cached files: when they are read again, and how many there may be."""

import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from mreactor.app import document_root
from mreactor.app.document_root import DocumentRoot
from mreactor.app.file_cache import CachedFile, FileCache, FileVersion
from mreactor.app.static_files import CACHE_BYTES_MAX, CACHE_ENTRIES_MAX, RECHECK_SECONDS
from mreactor.protocol import FileBody
from tests.app.site import Clock, Site, field


def test_hit_does_not_open_the_file(site: Site, clock: Clock, opened: list[bytes]) -> None:
    site.write("a.txt", "x")
    for _ in range(3):
        assert site.get("/a.txt").body == b"x"
        clock.advance(0.3 * RECHECK_SECONDS)
    assert opened == [b"a.txt"]


def test_unchanged_file_is_opened_for_each_recheck_but_read_once(
    site: Site, clock: Clock, opened: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.write("a.txt", "x")
    assert site.get("/a.txt").body == b"x"
    monkeypatch.setattr("mreactor.app.document_root.os.read", lambda fd, count: pytest.fail("the file was read again"))
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


def test_change_with_a_forged_time_is_seen(site: Site, clock: Clock) -> None:
    """Size, mtime and inode are the same; ctime differs."""
    site.write("a.txt", "old")
    assert site.get("/a.txt").body == b"old"
    before = (site.root / "a.txt").stat()
    while (site.root / "a.txt").stat().st_ctime_ns == before.st_ctime_ns:
        site.write("a.txt", "new")
    assert (site.root / "a.txt").stat().st_mtime_ns == before.st_mtime_ns
    clock.advance(1)
    assert site.get("/a.txt").body == b"new"


def test_change_within_one_tick_of_the_clock_is_seen(site: Site, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that has just changed is read again, because its time stamps may not show the next change."""
    status = site.write("a.txt", "old").stat()
    clock.wall = status.st_ctime + 0.5
    monkeypatch.setattr(document_root, "os", SimpleNamespace(**{**vars(os), "fstat": lambda fd: status}))
    assert site.get("/a.txt").body == b"old"
    site.write("a.txt", "new")
    clock.advance(1)
    assert site.get("/a.txt").body == b"new"
    clock.advance(1)
    assert site.get("/a.txt").body == b"new"
    # After two seconds the unchanged stamps are trusted.
    site.write("a.txt", "xxx")
    clock.advance(1)
    assert site.get("/a.txt").body == b"new"


def test_removed_file_is_404_until_it_comes_back(site: Site, clock: Clock) -> None:
    path = site.write("a.txt", "x")
    assert site.get("/a.txt").body == b"x"
    path.unlink()
    clock.advance(1)
    assert site.refusal("/a.txt").status == 404
    site.write("a.txt", "y")
    assert site.get("/a.txt").body == b"y"


def test_file_that_grows_large_is_no_longer_cached(tmp_path: Path, clock: Clock) -> None:
    site = Site(tmp_path, sendfile_bytes_min=10)
    site.write("a.txt", "small")
    assert site.get("/a.txt").body == b"small"
    site.write("a.txt", "x" * 10)
    clock.advance(1)
    for _ in range(2):
        body = site.get("/a.txt").body
        assert isinstance(body, FileBody)
        body.close()


def test_file_truncated_while_it_is_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    path = site.write("a.txt", "0123456789")

    def read_in_pieces(fd: int, count: int) -> bytes:
        part = os.read(fd, min(count, 4))
        path.write_bytes(b"0123")
        return part

    monkeypatch.setattr(document_root, "os", SimpleNamespace(**{**vars(os), "read": read_in_pieces}))
    assert site.get("/a.txt").body == b"0123"


def test_short_reads_are_continued(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.write("a.txt", "0123456789")
    pieces = SimpleNamespace(**{**vars(os), "read": lambda fd, count: os.read(fd, min(count, 4))})
    monkeypatch.setattr(document_root, "os", pieces)
    assert site.get("/a.txt").body == b"0123456789"


def test_cache_is_bounded_in_entries(site: Site, clock: Clock, opened: list[bytes]) -> None:
    names = [f"{number:03}.txt" for number in range(CACHE_ENTRIES_MAX + 1)]
    for name in names:
        site.write(name, name)
        assert site.get(f"/{name}").body == name.encode()
    opened.clear()
    for name in (names[-1], names[1], names[0]):
        assert site.get(f"/{name}").body == name.encode()
    assert opened == [b"000.txt"]  # the first one was evicted for the last


def test_cache_is_bounded_in_bytes(tmp_path: Path, clock: Clock, opened: list[bytes]) -> None:
    """Each file takes a little more than a quarter, so four do not fit."""
    quarter = CACHE_BYTES_MAX // 4
    site = Site(tmp_path, sendfile_bytes_min=2 * CACHE_BYTES_MAX)
    for name in "abcd":
        site.write(name, bytes(quarter))
        site.get(f"/{name}")
    site.write("huge", bytes(CACHE_BYTES_MAX))
    opened.clear()
    for name in ("d", "c", "b", "huge", "huge", "b", "a"):
        site.get(f"/{name}")
    assert opened == [b"huge", b"huge", b"a"]  # a file larger than the cache is not cached and evicts nothing


def cached(content: bytes) -> CachedFile:
    with DocumentRoot(Path(__file__).parent, "/").open(f"/{Path(__file__).name}") as file:
        return CachedFile(FileVersion(file), content, 0.0)


def test_cache_counts_what_it_holds() -> None:
    cache = FileCache(entries_max=3, bytes_max=3 * 1100)
    for path in ("/a", "/b", "/c", "/b"):
        cache.put(path, cached(b"x" * 70))
    assert len(cache) == 3
    cache.put("/d", cached(b""))
    assert [path for path in ("/a", "/b", "/c", "/d") if cache.get(path)] == ["/b", "/c", "/d"]
    cache.put("/e", cached(b"x" * 2000))
    assert [path for path in ("/b", "/c", "/d", "/e") if cache.get(path)] == ["/e"]
    cache.drop("/e")
    cache.drop("/e")
    for path in ("/f", "/g", "/h"):
        cache.put(path, cached(b"x" * 70))
    assert len(cache) == 3  # nothing still counts for the others


@pytest.mark.slow
def test_threads_keep_the_count_right() -> None:
    """In a blocking mount, all threads of the pool share one handler."""
    cache = FileCache(entries_max=4, bytes_max=8 * 1100)
    begin = threading.Barrier(8)

    def work() -> None:
        begin.wait()
        for number in range(2000):
            cache.put(f"/{number % 8}", cached(b"x" * 70))
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
    assert cache.bytes_used == 0


def test_long_names_count() -> None:
    cache = FileCache(entries_max=10, bytes_max=4096)
    cache.put("/" + "n" * 4096, cached(b""))
    assert len(cache) == 0
