"""Content types of files, by suffix. The table is frozen, and the same on every machine."""

import os
from collections.abc import Mapping
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


# Types that compress well, though their names do not begin with text/. Media and archives are compressed already.
_COMPRESSIBLE = frozenset(
    {"application/javascript", "application/json", "application/wasm", "application/xml", "application/rtf"}
    | {"application/toml", "application/yaml", "font/otf", "font/ttf", "image/bmp", "image/vnd.microsoft.icon"}
)


def guess_content_type(path: bytes, types: Mapping[str, str] = CONTENT_TYPES) -> str:
    """Return the content type of a file by its last suffix; text is declared as UTF-8 unless it names a charset."""
    suffix = os.path.splitext(path)[1].decode("latin-1").lower()
    content_type = types.get(suffix, BINARY)
    if content_type.startswith("text/") and ";" not in content_type:
        return f"{content_type}; charset=utf-8"
    return content_type


def is_compressible(content_type: str) -> bool:
    """Whether a compressed copy of a file with this type may lie beside it."""
    media_type = content_type.partition(";")[0]
    return media_type.startswith("text/") or media_type in _COMPRESSIBLE or media_type.endswith(("+json", "+xml"))
