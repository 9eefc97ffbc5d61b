"""Content types of files, by suffix. The table is frozen, and the same on every machine."""

import os
from mimetypes import MimeTypes
from types import MappingProxyType

from ..http import BINARY

# Types that the standard library's table lacks. Compressed files are sent as they are, without Content-Encoding.
MORE_TYPES = {
    ".7z": "application/x-7z-compressed",
    ".bz2": "application/x-bzip2",
    ".epub": "application/epub+zip",
    ".flac": "audio/flac",
    ".geojson": "application/geo+json",
    ".gz": "application/gzip",
    ".ics": "text/calendar",
    ".jsonld": "application/ld+json",
    ".jxl": "image/jxl",
    ".log": "text/plain",
    ".m4a": "audio/mp4",
    ".map": "application/json",
    ".mkv": "video/x-matroska",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".ogv": "video/ogg",
    ".otf": "font/otf",
    ".tgz": "application/gzip",
    ".toml": "application/toml",
    ".ttf": "font/ttf",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xhtml": "application/xhtml+xml",
    # Not text/xml: its charset would override the one that the document declares (RFC 7303 section 3.2).
    ".xml": "application/xml",
    ".xz": "application/x-xz",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".zst": "application/zstd",
}

# A new MimeTypes does not read the mime.types files of the machine.
CONTENT_TYPES = MappingProxyType({**MimeTypes().types_map[True], **MORE_TYPES})


def guess_content_type(path: bytes) -> str:
    """Return the content type of a file by its last suffix; text is declared as UTF-8."""
    suffix = os.path.splitext(path)[1].decode("latin-1").lower()
    content_type = CONTENT_TYPES.get(suffix, BINARY)
    return f"{content_type}; charset=utf-8" if content_type.startswith("text/") else content_type
