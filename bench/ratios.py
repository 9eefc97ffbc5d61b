"""The statistics of a race: medians, spreads, and ratios taken round by round.

Pure functions. A round's runs are neighbours in time and meet the same state of the machine; so servers are
compared within each round first, and the median is taken of those ratios, not the ratio of two medians.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Ratio:
    """The median of the rounds' ratios, with the lowest and the highest."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f}x ({self.low:.2f}-{self.high:.2f})"


def pairwise(rates: Sequence[float], base: Sequence[float]) -> Ratio | None:
    """Each round's rate to the base's in the same round; None where no round has both.

    The sequences are by round from the first on; one may be shorter, when the race was broken off.
    """
    ratios = [rate / other for rate, other in zip(rates, base, strict=False) if other > 0]
    return Ratio(median(ratios), min(ratios), max(ratios)) if ratios else None


def spread(values: Sequence[float]) -> float:
    """The distance from the lowest to the highest value, as a share of the median (0.1: ten per cent)."""
    middle = median(values)
    return (max(values) - min(values)) / middle if middle else 0.0
