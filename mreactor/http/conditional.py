"""Conditional requests (RFC 9110 section 13): whether the client already has the current version. Pure functions."""

import re

from .dates import parse_date
from .headers import Headers

# The opaque part of an entity tag (RFC 9110 section 8.8.3). Old clients send spaces (RFC 2616 section 3.11), so
# a tag may hold anything but quotes.
_OPAQUE_TAG = re.compile(r'"[^"]*+"')


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


def opaque_tags(field: str) -> list[str]:
    """Return the entity tags of a list, with their quotes and without `W/`: the comparison is weak (section 8.8.3.2).

    What stands between the tags of a malformed list is ignored.
    """
    return _OPAQUE_TAG.findall(field)
