"""What can be set for a directory that is served. Frozen; any thread may use it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import translate

from ..config import ConfigError
from ..http import REASONS, check_fields

_SUFFIX = re.compile(r"\.[^./\\\0]+")
_MEDIA_TYPE = re.compile(r"[!-.0-~]++/[!-~][ -~]*+")


@dataclass(frozen=True, slots=True)
class StaticOptions:
    """The options of `StaticFiles`. Names of files are paths below the directory, without a leading slash.

    Attributes:
        index: the files that stand for their directory; the first that exists is served.
        listing: list a directory that has none of them, as HTML or JSON.
        fallback: the file that is served, with status 200, for paths that lead to nothing: the page of an application
            that routes in the browser. Paths whose last name has a suffix stay 404, unless the client asks for HTML.
        precompressed: send `app.js.br`, `app.js.zst` or `app.js.gz` for `app.js` to clients that accept it.
        cache_control: patterns of names, such as `*.css` or `assets/*`, and the Cache-Control of the files that match;
            the first match counts. `*` also matches slashes.
        content_types: media types by suffix, such as `.md`. They go before the built-in table.
        error_pages: files that are sent with an error, by status.

    Raises:
        ConfigError: an option is invalid.
    """

    index: tuple[str, ...] = ("index.html",)
    listing: bool = False
    fallback: str = ""
    precompressed: bool = True
    cache_control: tuple[tuple[str, str], ...] = ()
    content_types: Mapping[str, str] = field(default_factory=dict)
    error_pages: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Validate the options that could otherwise only fail in a response."""
        for _, value in self.cache_control:
            _check_value("Cache-Control", value)
        for suffix, content_type in self.content_types.items():
            _check_value("Content-Type", content_type)
            if not _SUFFIX.fullmatch(suffix) or not _MEDIA_TYPE.fullmatch(content_type):
                raise ConfigError(f"{suffix}={content_type} is not of the form .SUFFIX=TYPE/SUBTYPE")
        for status in self.error_pages:
            if status < 400 or status not in REASONS:
                raise ConfigError(f"{status} is not the status of an error")
        for name in (*self.index, self.fallback, *self.error_pages.values()):
            if name.startswith("/") or "\0" in name:
                raise ConfigError(f"{name!r} is not the name of a file below the directory")


def compile_cache_control(options: StaticOptions) -> list[tuple[re.Pattern[str], str]]:
    """Return the patterns of `cache_control` ready for use, each with its value."""
    return [(re.compile(translate(pattern)), value) for pattern, value in options.cache_control]


def parse_pairs(option: str, pairs: Iterable[str]) -> list[tuple[str, str]]:
    """Split arguments of the form NAME=VALUE at the first equals sign.

    Raises:
        ConfigError: there is none, or nothing before or behind it.
    """
    parsed = []
    for pair in pairs:
        name, _, value = pair.partition("=")
        if not name or not value:
            raise ConfigError(f"{option}: {pair!r} is not of the form NAME=VALUE")
        parsed.append((name, value))
    return parsed


def _check_value(name: str, value: str) -> None:
    try:
        check_fields(((name, value),))
    except ValueError as error:
        raise ConfigError(str(error)) from None
