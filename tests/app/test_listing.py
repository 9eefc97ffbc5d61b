"""Listings of directories: what is in them, their order, their escapes, as a page and as JSON."""

import html
import json
import os
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes, urljoin

import pytest

from mreactor.app import listing
from mreactor.http.handler import MustWait
from mreactor.http.response import Response
from mreactor.http.status import HTTPError
from tests.app.site import LONG_AGO, Site, descriptors, field

JSON = "Accept: application/json"


@pytest.fixture
def listed(tmp_path: Path) -> Site:
    root = tmp_path / "root"
    root.mkdir()
    return Site(root, listing=True)


def page(site: Site, target: str = "/") -> str:
    body = site.get(target).body
    assert isinstance(body, bytes)
    return body.decode()


def links(text: str) -> list[tuple[str, str]]:
    """Return address and text of the links in the rows."""
    rows = text.partition("<tbody>")[2]
    return [
        (html.unescape(a), html.unescape(b)) for a, b in re.findall(r'<a href="([^"]*)">(.*?)</a>', rows, re.DOTALL)
    ]


def names(site: Site, target: str = "/") -> list[str]:
    return [text for _, text in links(page(site, target)) if text != ".."]


def entries(response: Response) -> list[dict[str, object]]:
    assert response.content_type == "application/json"
    assert isinstance(response.body, bytes)
    found = json.loads(response.body)["entries"]
    assert isinstance(found, list)
    return found


def test_a_page(listed: Site) -> None:
    listed.write("docs/notes.txt", b"x" * 1500)
    (listed.root / "docs" / "sub").mkdir()
    response = listed.get("/docs/")
    assert (response.status, response.content_type) == (200, "text/html; charset=utf-8")
    text = page(listed, "/docs/")
    assert links(text) == [("../", ".."), ("./sub/", "sub/"), ("./notes.txt", "notes.txt")]
    assert '<time datetime="1994-11-06T08:49:37Z"' in text
    assert 'title="1500 bytes">1.5 kB' in text
    assert "<title>Index of /docs/</title>" in text
    assert "2 entries, 1.5 kB" in text
    assert "<script" not in text
    policy = field(response, "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert (field(response, "Vary"), field(response, "X-Content-Type-Options")) == ("Accept", "nosniff")


def test_the_top_has_no_parent(listed: Site) -> None:
    assert links(page(listed)) == []
    assert "0 entries, 0 B" in page(listed)


def test_json(listed: Site) -> None:
    listed.write("b c.txt", b"x" * 1500)
    (listed.root / "sub").mkdir()
    response = listed.get("/", JSON)
    assert field(response, "Vary") == "Accept"
    folder, file = entries(response)
    assert (folder["name"], folder["href"], folder["type"], folder["size"]) == ("sub", "./sub/", "directory", None)
    assert file == {
        "name": "b c.txt",
        "href": "./b%20c.txt",
        "type": "file",
        "size": 1500,
        "modified": "1994-11-06T08:49:37Z",
    }


def test_an_index_comes_before_the_listing(listed: Site) -> None:
    listed.write("index.html", "front")
    assert listed.get("/").body == b"front"


def test_a_file_with_a_slash_is_not_listed(listed: Site) -> None:
    listed.write("a.txt", "x")
    with pytest.raises(HTTPError, match="404"):
        listed.get("/a.txt/")
    with pytest.raises(HTTPError, match="404"):
        listed.get("/nothing/")


def test_a_directory_without_slash_is_redirected(listed: Site) -> None:
    (listed.root / "docs").mkdir()
    assert field(listed.get("/docs"), "Location") == "/docs/"


def test_what_is_not_served_is_not_listed(listed: Site, outside: Path) -> None:
    listed.write("a.txt", "x")
    listed.write(".hidden", "x")
    listed.write("back\\slash", "x")
    os.mkfifo(listed.root / "fifo")
    (listed.root / "broken").symlink_to("nowhere")
    (listed.root / "out").symlink_to(outside)
    (listed.root / "in").symlink_to("a.txt")
    assert names(listed) == ["a.txt", "in"]
    for name in names(listed):
        assert listed.get(f"/{name}").status == 200


AWKWARD = [
    "a b",
    "a&b",
    "<b>",
    'q"uote',
    "it's",
    "100%",
    "a?b",
    "a#b",
    "a:b",
    "größe",
    "%41",
    "a;b",
    "~x",
    "x\ny",
    "?C=N",
]


def test_awkward_names_are_escaped_and_lead_to_their_files(listed: Site) -> None:
    for number, name in enumerate(AWKWARD):
        listed.write(f"d d/{name}", str(number))
    text = page(listed, "/d%20d/")
    found = [entry for entry in links(text) if entry[1] != ".."]
    assert sorted(name for _, name in found) == sorted(AWKWARD)
    for address, name in found:
        target = urljoin("http://x/d%20d/", address).removeprefix("http://x")
        assert listed.get(target).body == str(AWKWARD.index(name)).encode()
    for name in ("<b>", "a&b"):
        assert f">{name}<" not in text


def test_a_name_that_is_not_utf_8(listed: Site) -> None:
    (listed.root / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"x")
    ((address, text),) = links(page(listed))
    assert (unquote_to_bytes(address), text) == (b"./caf\xe9.txt", "caf\ufffd.txt")
    assert entries(listed.get("/", JSON))[0]["href"] == "./caf%E9.txt"


def test_the_path_is_escaped(listed: Site) -> None:
    (listed.root / "<i>" / "&").mkdir(parents=True)
    text = page(listed, "/%3Ci%3E/%26/")
    assert "<i>" not in text
    assert '<a href="../">&lt;i&gt;</a>/&amp;/' in text
    assert '<a href="../../" title="top">/</a>' in text


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "z/ a2 a10 B c"),
        ("?sort=name", "z/ a2 a10 B c"),
        ("?sort=-name", "z/ c B a10 a2"),
        ("?sort=size", "z/ c B a2 a10"),
        ("?sort=-size", "z/ a10 a2 B c"),
        ("?sort=time", "z/ B a2 a10 c"),
        ("?sort=-time", "z/ c a10 a2 B"),
        ("?sort=owner", "z/ a2 a10 B c"),
        ("?C=N;O=D", "z/ a2 a10 B c"),
        ('?sort=-size"><b>', "z/ a2 a10 B c"),
    ],
)
def test_order(listed: Site, query: str, expected: str) -> None:
    for name, size, age in (("a10", 9, 2), ("a2", 3, 1), ("B", 2, 0), ("c", 1, 3)):
        listed.write(name, b"x" * size, LONG_AGO + age)
    (listed.root / "z").mkdir()
    encoded = query.replace('"', "%22").replace("<", "%3C").replace(">", "%3E")
    assert names(listed, f"/{encoded}") == expected.split()


def test_the_heads_sort(listed: Site) -> None:
    assert '<th aria-sort="ascending"><a href="?sort=-name">' in page(listed)
    assert '<th><a href="?sort=size">' in page(listed)
    assert '<th aria-sort="descending"><a href="?sort=size">' in page(listed, "/?sort=-size")


def test_the_entries_are_bounded(listed: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "ENTRIES_MAX", 3)
    for number in range(5):
        listed.write(f"{number}", "x")
    assert len(names(listed)) == 3
    assert "3 entries, 3 B; 2 more are not shown" in page(listed)


def test_times_beyond_the_calendar() -> None:
    assert listing._format_time(10**18) == "1970-01-01T00:00:00Z"
    assert listing._format_time(-1) == "1969-12-31T23:59:59Z"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (1_500_000_000, "1.5 GB"),
        (2 * 10**12, "2.0 TB"),
        (3 * 10**15, "3.0 PB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert listing._format_size(count) == text


def test_a_listing_keeps_no_descriptor(listed: Site) -> None:
    listed.write("a", "x")
    before = descriptors()
    listed.get("/")
    listed.get("/", JSON)
    assert descriptors() == before


def test_a_reactor_leaves_the_directory_to_the_pool(listed: Site) -> None:
    with pytest.raises(MustWait):
        listed.handler(listed.request("/"))
    request = listed.request("/")
    request.may_wait = True
    assert listed.handler(request).status == 200
