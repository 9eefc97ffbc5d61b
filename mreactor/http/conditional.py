"""Conditional requests (RFC 9110 section 13): whether the client already has the current version. Pure functions."""

import re
from collections.abc import Iterator

from .dates import parse_date
from .headers import Headers

# One element of a list of entity tags, with the comma behind it. Elements may be empty (RFC 9110 section 5.6.1). Old
# clients send tags with spaces (RFC 2616 section 3.11), so a tag may hold anything but quotes.
_ELEMENT = re.compile(r'[ \t]*+(?:(?:W/)?("[^"]*+"))?[ \t]*+(?:,|\Z)')


def is_not_modified(headers: Headers, etag: str, modified: int) -> bool:
    """Whether If-None-Match, or else If-Modified-Since, says that the client has this version (section 13.2.2).

    The version has a strong entity tag, with its quotes, and its Last-Modified in seconds since the epoch.
    """
    tags = headers.get("if-none-match")
    if tags is not None:
        return tags in (etag, "*") or etag in opaque_tags(tags)
    since = headers.get("if-modified-since")
    date = None if since is None else parse_date(since)
    return date is not None and modified <= date


def opaque_tags(field: str) -> Iterator[str]:
    """Yield the entity tags of a list, with their quotes, up to the first malformed element.

    The tags come without `W/`, as the weak comparison needs them (RFC 9110 section 8.8.3.2).
    """
    end = 0
    while end < len(field) and (element := _ELEMENT.match(field, end)):
        end = element.end()
        if element[1]:
            yield element[1]
