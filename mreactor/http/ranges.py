"""Byte ranges (RFC 9110 section 14): which parts of a representation a request asks for. Pure functions."""

import re
from typing import NamedTuple

# More ranges than this are ignored. Readers of PDF files and disk images ask for a few; hundreds are an attack.
RANGES_MAX = 32

# range-spec (RFC 9110 section 14.1.1). Offsets of more than 30 digits are no offsets: their conversion costs time.
_SPEC = re.compile(r"[ \t]*+(?:([0-9]{1,30})-([0-9]{0,30})|-([0-9]{1,30}))?+[ \t]*+", re.ASCII)
_UNIT = "bytes="
_SINGLE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{0,18})", re.ASCII)


class Region(NamedTuple):
    """A region of a representation, in bytes. It is never empty."""

    start: int
    length: int

    @property
    def end(self) -> int:
        """The offset past the last byte."""
        return self.start + self.length

    def content_range(self, size: int) -> str:
        """Return the value of Content-Range for this region of `size` bytes."""
        return f"bytes {self.start}-{self.end - 1}/{size}"


def parse_ranges(field: str, size: int) -> tuple[Region, ...] | None:
    """Return the regions that a Range field asks for, in its order; regions that touch are merged.

    Args:
        field: the value of Range.
        size: the length of the representation in bytes.

    Returns:
        an empty tuple if none of the ranges can be satisfied (416); None if the field is to be ignored: another unit, a
        malformed range, more ranges than `RANGES_MAX`, or an empty representation, which has no range at all.
    """
    if field[: len(_UNIT)].lower() != _UNIT or size == 0 or field.count(",") >= RANGES_MAX:
        return None
    if (match := _SINGLE.fullmatch(field)) is not None:
        # The commonest form, at a third of the cost.
        begin, end = int(match[1]), int(match[2]) + 1 if match[2] else size
        if match[2] and end <= begin:
            return None
        return (Region(begin, min(end, size) - begin),) if begin < size else ()
    regions = []
    is_empty = True
    for spec in field[len(_UNIT) :].split(","):
        match = _SPEC.fullmatch(spec)
        if match is None:
            return None
        first, last, suffix = match.groups()
        if first is None and suffix is None:
            # A list may have empty elements (RFC 9110 section 5.6.1.2).
            continue
        if last and int(last) < int(first):
            return None
        is_empty = False
        region = _resolve(first, last, suffix, size)
        if region is not None:
            regions.append(region)
    return None if is_empty else _merge(regions)


def _resolve(first: str | None, last: str | None, suffix: str | None, size: int) -> Region | None:
    """Return the region of one range; None if it cannot be satisfied."""
    if first is None:
        length = min(int(suffix or 0), size)
        return Region(size - length, length) if length else None
    start = int(first)
    end = min(int(last) + 1, size) if last else size
    return Region(start, end - start) if start < size else None


def _merge(regions: list[Region]) -> tuple[Region, ...]:
    """Merge regions that overlap or touch. A merged region takes the place of the first of its members."""
    if len(regions) < 2:
        return tuple(regions)
    merged: list[tuple[int, Region]] = []
    for place, region in sorted(enumerate(regions), key=lambda entry: entry[1]):
        if merged and region.start <= merged[-1][1].end:
            first_place, last = merged.pop()
            end = max(last.end, region.end)
            merged.append((min(first_place, place), Region(last.start, end - last.start)))
        else:
            merged.append((place, region))
    return tuple(region for _, region in sorted(merged))
