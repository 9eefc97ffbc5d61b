"""The table: all chapters together, each entry under a name of its own."""

from . import authority, bounds, chunks, fields, framing, persistence, request_line, strangers
from .case import Case

CASES: tuple[Case, ...] = (
    request_line.CASES
    + authority.CASES
    + fields.CASES
    + framing.CASES
    + chunks.CASES
    + persistence.CASES
    + bounds.CASES
    + strangers.CASES
)
