"""What the measurements beside nginx have in common: figures of alternating rounds, and their table."""

import argparse
import statistics
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.ratios import pairwise


@dataclass(frozen=True, slots=True)
class Figure:
    """What one measurement gave: so many a second, and microseconds of the server's CPU time for each."""

    rate: float
    cpu: float


def table(figures: Mapping[tuple[str, str], Sequence[Figure]], wanted: Mapping[str, float]) -> Iterator[str]:
    """Yield the lines of a Markdown table.

    Args:
        figures: by case and server, in the order of the rounds. Each case has `nginx`.
        wanted: by case, the ratio of the rates to nginx that is wanted.
    """
    yield "| Case | Server | A second | Ratio to nginx, wanted | CPU for each, ratio |"
    yield "|---|---|---|---|---|"
    for (case, server), found in figures.items():
        base = figures[case, "nginx"]
        ratio = pairwise([one.rate for one in found], [one.rate for one in base])
        cpu_ratio = pairwise([one.cpu for one in found], [one.cpu for one in base])
        rate, cpu = statistics.median(one.rate for one in found), statistics.median(one.cpu for one in found)
        yield f"| {case} | {server} | {rate:,.0f} | {ratio}, {wanted[case]} | {cpu:.1f} us, {cpu_ratio} |"


def names_among(known: Collection[str]) -> Callable[[str], list[str]]:
    """Return the type of an option that takes names of cases, separated by commas."""

    def names(text: str) -> list[str]:
        found = [name for name in text.split(",") if name]
        if unknown := [name for name in found if name not in known]:
            raise argparse.ArgumentTypeError(f"no case {unknown[0]!r}; there are {', '.join(known)}")
        return found

    return names
