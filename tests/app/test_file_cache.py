"""Cached files: when they are read again, and how many there may be."""

import gc
import os
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from mreactor.app import document_root
from mreactor.app.document_root import DocumentRoot, check_root
from mreactor.app.file_cache import OVERHEAD_BYTES, FileCache, FileVersion, Resource, Variant
from mreactor.app.static_files import CONTENT_BYTES_MAX, RECHECK_SECONDS
from mreactor.protocol import FileBody
from tests.app.site import LONG_AGO, Clock, Site, field


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
    monkeypatch.setattr("mreactor.app.document_root.os.pread", lambda *_: pytest.fail("the file was read again"))
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


def replace_read(monkeypatch: pytest.MonkeyPatch, read: Callable[[int, int, int], bytes]) -> None:
    monkeypatch.setattr(document_root, "os", SimpleNamespace(**{**vars(os), "pread": read}))


def test_file_truncated_while_it_is_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    path = site.write("a.txt", "0123456789")

    def read_in_pieces(fd: int, count: int, offset: int) -> bytes:
        part = os.pread(fd, min(count, 4), offset)
        if path.stat().st_size != 2:
            path.write_bytes(b"ab")
        return part

    replace_read(monkeypatch, read_in_pieces)
    response = site.get("/a.txt")
    assert response.body == b"ab"
    assert field(response, "ETag") == field(Site(site.root).get("/a.txt"), "ETag")


def test_file_overwritten_while_it_is_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first attempt reads bytes of both versions."""
    path = site.write("a.txt", "old old")

    def read_in_pieces(fd: int, count: int, offset: int) -> bytes:
        part = os.pread(fd, min(count, 4), offset)
        if path.read_bytes() != b"new new":
            with path.open("r+b") as file:
                file.write(b"new new")
        return part

    replace_read(monkeypatch, read_in_pieces)
    assert site.get("/a.txt").body == b"new new"


def test_file_that_grows_while_it_is_read_is_served_as_it_was(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    path = site.write("a.log", "one\n")

    def read_and_append(fd: int, count: int, offset: int) -> bytes:
        part = os.pread(fd, count, offset)
        with path.open("ab") as file:
            file.write(b"more\n")
        return part

    replace_read(monkeypatch, read_and_append)
    assert site.get("/a.log").body == b"one\n"


def test_file_that_changes_all_the_time_is_503(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    path = site.write("a.txt", "old")
    times = iter(range(LONG_AGO + 1, LONG_AGO + 100))

    def read_and_change(fd: int, count: int, offset: int) -> bytes:
        os.utime(path, (0, next(times)))
        return os.pread(fd, count, offset)

    replace_read(monkeypatch, read_and_change)
    error = site.refusal("/a.txt")
    assert (error.status, error.headers) == (503, (("Retry-After", "1"),))


def test_short_reads_are_continued(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.write("a.txt", "0123456789")
    replace_read(monkeypatch, lambda fd, count, offset: os.pread(fd, min(count, 4), offset))
    assert site.get("/a.txt").body == b"0123456789"


def test_cache_is_bounded_in_bytes(tmp_path: Path, clock: Clock, opened: list[bytes]) -> None:
    """Each file takes a little more than a quarter, so four do not fit."""
    quarter = CONTENT_BYTES_MAX // 4 + 1
    site = Site(tmp_path, sendfile_bytes_min=2 * CONTENT_BYTES_MAX)
    for name in "abcd":
        site.write(name, bytes(quarter))
        site.get(f"/{name}")
    site.write("huge", bytes(CONTENT_BYTES_MAX + 1))
    opened.clear()
    for name in ("d", "c", "b", "huge", "huge", "b", "a"):
        site.get(f"/{name}")
    # A file larger than the cache is not cached and evicts nothing.
    assert opened == [b"huge", b"huge", b"a"]


def test_files_that_do_not_fit_do_not_drive_each_other_out(tmp_path: Path, clock: Clock, opened: list[bytes]) -> None:
    """Nine files in turn, where eight fit: without care each would leave just before its turn."""
    site = Site(tmp_path, sendfile_bytes_min=2 * CONTENT_BYTES_MAX)
    names = [f"{number}.bin" for number in range(9)]
    for name in names:
        site.write(name, name.encode() * (CONTENT_BYTES_MAX // 8 // len(name)))
    for name in names:
        site.get(f"/{name}")
    opened.clear()
    for _ in range(4):
        for name in names:
            body = site.get(f"/{name}").body
            assert isinstance(body, bytes)
            assert body.startswith(name.encode())
    assert len(opened) <= 2 * 4


def cached(content: bytes | None) -> Resource:
    root = DocumentRoot(check_root(str(Path(__file__).parent)), "/")
    with root.open(root.locate(f"/{Path(__file__).name}")) as file:
        return Resource(Variant(file.path, "", FileVersion(file, None, "text/plain"), content), None, 0.0)


def held(cache: FileCache, *paths: str) -> dict[str, bytes | None]:
    found = {path: cache.get(path) for path in paths}
    return {path: resource.plain.content for path, resource in found.items() if resource is not None}


def test_a_content_without_room_goes_and_its_version_stays() -> None:
    cache = FileCache(content_bytes_max=200, entry_bytes_max=10 * 1700)
    for path in ("/a", "/b", "/a"):
        cache.put(path, cached(b"x" * 90))
    cache.put("/c", cached(b"y" * 100))
    assert held(cache, "/a", "/b", "/c") == {"/a": b"x" * 90, "/b": None, "/c": b"y" * 100}
    assert cache.content_bytes == 190
    cache.put("/d", cached(b"z" * 201))
    assert held(cache, "/a", "/d") == {"/a": b"x" * 90, "/d": None}
    cache.put("/e", cached(b"z" * 200))
    assert held(cache, "/a", "/b", "/c", "/d", "/e") == dict.fromkeys(("/a", "/b", "/c", "/d")) | {"/e": b"z" * 200}
    assert cache.content_bytes == 200


def test_the_entries_are_bounded() -> None:
    cache = FileCache(content_bytes_max=10_000, entry_bytes_max=3 * (OVERHEAD_BYTES + 2))
    for path in ("/a", "/b", "/c", "/a", "/d"):
        cache.put(path, cached(b"x"))
    assert held(cache, "/a", "/b", "/c", "/d") == dict.fromkeys(("/a", "/c", "/d"), b"x")
    assert (cache.content_bytes, cache.entry_bytes) == (3, 3 * (OVERHEAD_BYTES + 2))
    for path in ("/a", "/c", "/d", "/d"):
        cache.drop(path)
    assert (len(cache), cache.content_bytes, cache.entry_bytes) == (0, 0, 0)


def test_long_names_count() -> None:
    cache = FileCache(content_bytes_max=100, entry_bytes_max=4 * OVERHEAD_BYTES)
    cache.put("/a", cached(b""))
    cache.put("/" + "n" * 3 * OVERHEAD_BYTES, cached(b""))
    assert cache.get("/a") is None


def test_compressed_copies_count() -> None:
    cache = FileCache(content_bytes_max=100, entry_bytes_max=10_000)
    plain, copy = cached(b"x" * 60), cached(b"y" * 30)
    both = plain._replace(siblings={"br": copy.plain, "gzip": None})
    cache.put("/a", both)
    assert cache.content_bytes == 90
    cache.put("/b", cached(b"z" * 11))
    assert cache.content_bytes == 11
    resource = cache.get("/a")
    assert resource is not None
    assert [variant.content for variant in resource.variants()] == [None, None]


def test_an_entry_takes_about_as_much_as_it_counts_for(site: Site, clock: Clock) -> None:
    names = [f"/a file with a name of usual length {number}.txt" for number in range(400)]
    for name in names:
        site.write(name[1:], "")
    site.get(names[0].replace(" ", "%20"))
    gc.collect()
    tracemalloc.start()
    try:
        for name in names:
            site.get(name.replace(" ", "%20"))
        gc.collect()
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert used / len(names) < 1.3 * OVERHEAD_BYTES


@pytest.mark.slow
def test_threads_keep_the_count_right() -> None:
    """In a blocking mount, all threads of the pool share one handler."""
    cache = FileCache(content_bytes_max=4 * 70, entry_bytes_max=6 * 1540)
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
    assert (len(cache), cache.content_bytes, cache.entry_bytes) == (0, 0, 0)
