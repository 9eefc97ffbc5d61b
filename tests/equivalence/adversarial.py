"""The table of malformed and odd messages as scripts: each whole, in pieces, and byte by byte."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from tests.adversarial.case import FOLLOWING, Case
from tests.adversarial.table import CASES

from .script import END, SETTLE, Open, Script, Send, Step

OFFSETS = 3  # places at which a case is cut, one at a time
BYTEWISE_BYTES_MAX = 300


def adversarial_scripts() -> Iterator[Script]:
    """Yield the table's cases in all their ways to come."""
    for case in CASES:
        yield Script(f"{case.name}, whole", steps_of(case, ()))
        for cut in offsets(len(case.raw)):
            yield Script(f"{case.name}, cut at {cut}", steps_of(case, (cut,)))
        if len(case.raw) <= BYTEWISE_BYTES_MAX:
            yield Script(f"{case.name}, byte by byte", steps_of(case, range(1, len(case.raw))))


def steps_of(case: Case, cuts: Sequence[int]) -> tuple[Step, ...]:
    """Send a case in pieces; then a valid request, which is answered if the connection is open; then the end."""
    edges = [0, *cuts, len(case.raw)]
    steps: list[Step] = [Open()]
    for start, end in pairwise(edges):
        steps += [Send(case.raw[start:end]), *SETTLE]
    if not case.is_cut:
        # By the second probe's response, the round that has read the last piece is over, and has closed what it ends.
        steps += [*SETTLE, Send(FOLLOWING)]
    return (*steps, *END)


def offsets(size: int) -> list[int]:
    """Choose a few places to cut, evenly spread."""
    return sorted({size * part // (OFFSETS + 1) for part in range(1, OFFSETS + 1)} - {0, size})
