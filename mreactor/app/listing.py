"""Listings of directories, as a page without a script or as JSON.

Any thread may use them. They read a directory and the metadata of each entry, so they run where it is allowed to wait.
"""

import base64
import functools
import hashlib
import os
import re
import time
from collections.abc import Callable
from html import escape
from importlib.resources import files
from stat import S_ISDIR, S_ISREG
from string import Template
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from ..http import HTML, JSON, RequestHead, Response, choose_type
from .document_root import NAME, OpenFile

# More entries are counted and left out. A page of this many has 1.3 MB and takes a thread 0.15 s.
ENTRIES_MAX = 5000

COLUMNS = (("name", "Name"), ("size", "Size"), ("time", "Modified"))


class Entry(NamedTuple):
    """A file or directory in a listing.

    Attributes:
        encoded: the name in the file system.
        title: the name as text, with a slash if it is a directory; what is not UTF-8 is replaced.
        size: the bytes of a file, 0 for a directory.
        modified: seconds of Unix time.
    """

    encoded: bytes
    title: str
    is_directory: bool
    size: int
    modified: int

    @property
    def address(self) -> str:
        """The relative URL. The dot keeps a colon in the name from being taken for the end of a scheme."""
        return f"./{quote(self.encoded, safe="!$&'()*+,;=:@~")}{'/' if self.is_directory else ''}"


class Listing(NamedTuple):
    """The entries of a directory, and how many more there are than are listed."""

    entries: list[Entry]
    left_out: int


def respond_with_listing(head: RequestHead, directory: OpenFile, leads_inside: Callable[[bytes], bool]) -> Response:
    """Make the response that lists an open directory.

    Args:
        leads_inside: whether the file that a symbolic link leads to is served.
    """
    listing = read_directory(directory, leads_inside)
    key, descends = _order(head.query_string)
    entries = sorted(listing.entries, key=SORT_KEYS[key], reverse=descends)
    entries.sort(key=lambda entry: not entry.is_directory)
    fields = [("Vary", "Accept"), ("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-cache")]
    if choose_type(head.headers.get("accept", ""), ("text/html", JSON)) == JSON:
        return Response(_describe(head, entries, listing.left_out), headers=fields)
    fields.append(("Content-Security-Policy", load_page()[1]))
    return Response(_render(head, entries, listing.left_out, key, descends=descends), headers=fields, content_type=HTML)


def read_directory(directory: OpenFile, leads_inside: Callable[[bytes], bool]) -> Listing:
    """Read the entries that are served: regular files and directories that are not hidden."""
    entries: list[Entry] = []
    left_out = 0
    with directory.scan() as found:
        for item in found:
            encoded = os.fsencode(item.name)
            if not NAME.fullmatch(encoded):
                continue
            if len(entries) >= ENTRIES_MAX:
                left_out += 1
                continue
            try:
                status = item.stat()
            except OSError:
                # The entry is gone, or a link that leads nowhere.
                continue
            is_served = S_ISREG(status.st_mode) or S_ISDIR(status.st_mode)
            if is_served and (not item.is_symlink() or leads_inside(directory.path + encoded)):
                entries.append(_make_entry(encoded, status))
    return Listing(entries, left_out)


def _make_entry(encoded: bytes, status: os.stat_result) -> Entry:
    is_directory = S_ISDIR(status.st_mode)
    title = encoded.decode("utf-8", "replace") + ("/" if is_directory else "")
    return Entry(encoded, title, is_directory, 0 if is_directory else status.st_size, int(status.st_mtime))


def _by_name(entry: Entry) -> Any:
    """Compare names as people do: `a10` comes behind `a9`, and case decides last."""
    parts = re.split("([0-9]{1,18})", entry.title.casefold())
    return [(part, 0) if index % 2 == 0 else ("", int(part)) for index, part in enumerate(parts)], entry.title


def _by_size(entry: Entry) -> Any:
    return entry.size, _by_name(entry)


def _by_time(entry: Entry) -> Any:
    return entry.modified, _by_name(entry)


SORT_KEYS: dict[str, Callable[[Entry], Any]] = {"name": _by_name, "size": _by_size, "time": _by_time}


def _order(query: str) -> tuple[str, bool]:
    """Return the column to sort by and whether it descends, from `?sort=size` or `?sort=-size`."""
    match = re.fullmatch("sort=(-?)(name|size|time)", query)
    return (match[2], bool(match[1])) if match else ("name", False)


def _describe(head: RequestHead, entries: list[Entry], left_out: int) -> dict[str, Any]:
    """Return the listing as JSON."""
    return {
        "path": head.path,
        "entries": [
            {
                "name": entry.title.removesuffix("/"),
                "href": entry.address,
                "type": "directory" if entry.is_directory else "file",
                "size": None if entry.is_directory else entry.size,
                "modified": _format_time(entry.modified),
            }
            for entry in entries
        ],
        "left_out": left_out,
    }


def _render(head: RequestHead, entries: list[Entry], left_out: int, key: str, *, descends: bool) -> str:
    """Return the listing as a page."""
    rows = [_render_row(entry) for entry in entries]
    if head.raw_path.count("/") > 1:
        rows.insert(0, f'<tr><td>{_icon("d")}<a href="../">..</a><td><td>')
    total = sum(entry.size for entry in entries)
    summary = f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'}, {_format_size(total)}"
    return load_page()[0].substitute(
        path=escape(head.path),
        crumbs=_render_crumbs(head.raw_path),
        heads="".join(_render_head(column, title, key, descends=descends) for column, title in COLUMNS),
        rows="\n".join(rows),
        summary=summary + (f"; {left_out} more are not shown" if left_out else ""),
    )


def _render_row(entry: Entry) -> str:
    icon = _icon("d" if entry.is_directory else "f")
    size = "" if entry.is_directory else f' title="{entry.size} bytes">{_format_size(entry.size)}'
    iso = _format_time(entry.modified)
    return (
        f'<tr><td>{icon}<a href="{escape(entry.address)}">{escape(entry.title)}</a><td{size or ">"}'
        f'<td><time datetime="{iso}" title="{iso}">{iso[:10]} <span class="clock">{iso[11:16]}</span></time>'
    )


def _render_head(column: str, title: str, key: str, *, descends: bool) -> str:
    """Return a column's head: a link that sorts by it, and the other way if it is sorted by it already."""
    if column != key:
        return f'<th><a href="?sort={column}">{title}</a>'
    sign, order = ("", "descending") if descends else ("-", "ascending")
    return f'<th aria-sort="{order}"><a href="?sort={sign}{column}">{title}</a>'


def _render_crumbs(raw_path: str) -> str:
    """Return the path with a link for each directory above."""
    names = raw_path.strip("/").split("/") if raw_path != "/" else []
    links = []
    for index, name in enumerate(names):
        above = len(names) - 1 - index
        text = escape(unquote(name, errors="replace"))
        links.append(f'<a href="{"../" * above}">{text}</a>' if above else text)
    root = f'<a href="{"../" * len(names)}" title="top">/</a>' if names else "/"
    return f"Index of {root}" + "/".join(links) + ("/" if links else "")


def _icon(name: str) -> str:
    return f'<svg class="{name}" aria-hidden="true"><use href="#{name}"/></svg>'


def _format_size(count: int) -> str:
    """Format a number of bytes in decimal units, as file managers do."""
    if count < 1000:
        return f"{count} B"
    size = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        size /= 1000
        if size < 999.95:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} PB"


def _format_time(seconds: int) -> str:
    """Format a time in UTC (RFC 3339). Times beyond the calendar are shown as its beginning."""
    try:
        t = time.gmtime(seconds)
    except (OverflowError, ValueError, OSError):
        t = time.gmtime(0)
    return f"{t.tm_year:04}-{t.tm_mon:02}-{t.tm_mday:02}T{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}Z"


@functools.cache
def load_page() -> tuple[Template, str]:
    """Return the page, and a Content-Security-Policy that allows its own style and nothing else. Read once."""
    text = files(__package__).joinpath("listing.html").read_text(encoding="utf-8")
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None, "the page has a style"
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    return Template(text), policy
