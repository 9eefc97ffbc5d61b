"""Conditional requests for a resource that is read (RFC 9110 section 13). Pure functions."""

import re

from .dates import parse_date
from .headers import Headers

# An entity tag (RFC 9110 section 8.8.3). Old clients send tags with spaces (RFC 2616 section 3.11), so a tag may hold
# anything but quotes.
_TAG = re.compile(r'(W/)?+("[^"]*+")')


def evaluate_conditions(headers: Headers, etag: str, modified: int | None) -> int:
    """Return the status that the conditions of a GET or HEAD request lead to: 200, 304 or 412 (section 13.2.2).

    Args:
        etag: the strong entity tag of the current version, with its quotes; empty if it has none.
        modified: when it was modified, in seconds since the epoch; None if that is not known.
    """
    required = headers.get("if-match")
    if required is not None:
        if required != "*" and etag not in strong_tags(required):
            return 412
    elif modified is not None and (date := _date(headers, "if-unmodified-since")) is not None and modified > date:
        return 412
    known = headers.get("if-none-match")
    if known is not None:
        is_known = known == "*" or etag in opaque_tags(known)
    else:
        date = None if modified is None else _date(headers, "if-modified-since")
        is_known = date is not None and modified is not None and modified <= date
    return 304 if is_known else 200


def opaque_tags(field: str) -> list[str]:
    """Return the entity tags of a list, with their quotes and without `W/`: the comparison is weak (section 8.8.3.2).

    What stands between the tags of a malformed list is ignored.
    """
    return [opaque for _, opaque in _TAG.findall(field)]


def strong_tags(field: str) -> list[str]:
    """Return the strong entity tags of a list, for If-Match: the comparison is strong. Otherwise as `opaque_tags`."""
    return [opaque for weak, opaque in _TAG.findall(field) if not weak]


def _date(headers: Headers, name: str) -> int | None:
    value = headers.get(name)
    return None if value is None else parse_date(value)
