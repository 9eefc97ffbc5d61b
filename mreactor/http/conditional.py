"""Conditional requests (RFC 9110 section 13). Pure functions."""

import re

from .dates import parse_date
from .headers import Headers

# An entity tag (RFC 9110 section 8.8.3). Old clients send tags with spaces (RFC 2616 section 3.11), so a tag may hold
# anything but quotes.
_TAG = re.compile(r'(W/)?+("[^"]*+")')


# The fields of a request that can lead to anything but the whole of the present version.
_CONDITIONS = frozenset({"if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range"})


# What a request has that resumes a download or seeks in a video.
RANGE_ALONE = frozenset({"range"})


def selecting_fields(headers: Headers) -> frozenset[str]:
    """Return the names of the request's conditions and ranges. One look, as most requests have none."""
    return _CONDITIONS.intersection(headers)


def evaluate_conditions(headers: Headers, etag: str, modified: int | None, *, is_read: bool = True) -> int:
    """Return the status that the conditions of a request lead to: 200, 304 or 412 (section 13.2.2).

    Args:
        etag: the entity tag of the current version, with its quotes; empty if it has none.
        modified: when it was modified, in seconds since the epoch; None if that is not known.
        is_read: the method is GET or HEAD. A version that the client has is then 304, otherwise 412.
    """
    required = headers.get("if-match")
    if required is not None:
        # A weak tag never matches: the comparison is strong, and the tags of the field are without `W/`.
        if required != "*" and etag not in strong_tags(required):
            return 412
    elif modified is not None and (date := _date(headers, "if-unmodified-since")) is not None and modified > date:
        return 412
    known = headers.get("if-none-match")
    if known is not None:
        if known == "*" or (etag and etag.removeprefix("W/") in opaque_tags(known)):
            return 304 if is_read else 412
    elif is_read and modified is not None:
        date = _date(headers, "if-modified-since")
        if date is not None and modified <= date:
            return 304
    return 200


def range_applies(headers: Headers, etag: str, modified: int | None) -> bool:
    """Whether the Range field of a GET request counts (section 13.1.5): If-Range is absent or names this version.

    Tags are compared strongly. A date must be equal, and `modified` must be a strong validator: the version was not
    changed twice in that second.
    """
    condition = headers.get("if-range")
    if condition is None:
        return True
    if condition.startswith(('"', "W/")):
        return bool(etag) and condition == etag and not etag.startswith("W/")
    return modified is not None and parse_date(condition) == modified


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
