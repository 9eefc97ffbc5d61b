"""What a race of one case gave: a lane for each server that ran, a reason for each that did not.

Plain values, filled by the race and read by the report.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.cases import Case, Goal
from bench.ratios import Ratio, pairwise, spread
from bench.sample import Sample


@dataclass(slots=True)
class Lane:
    """One server within one case: its samples by round, and what went wrong, if anything did."""

    name: str
    version: str
    samples: list[Sample] = field(default_factory=list)
    failure: str = ""

    @property
    def rates(self) -> Sequence[float]:
        """Requests a second by round."""
        return [sample.outcome.requests_per_second for sample in self.samples]

    @property
    def costs(self) -> Sequence[float]:
        """Processor time of a request by round, in microseconds."""
        return [sample.cpu_us_per_request for sample in self.samples]

    @property
    def spread(self) -> float:
        """How far the rounds lie apart, as a share of their median."""
        return spread(self.rates)


@dataclass(slots=True)
class Heat:
    """One case's race."""

    case: Case
    lanes: list[Lane] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def retire(self) -> None:
        """Move the lanes that failed or never ran to the skipped ones."""
        for lane in self.lanes:
            if lane.failure or not lane.samples:
                self.skipped[lane.name] = lane.failure or "broken off before its first round"
        self.lanes = [lane for lane in self.lanes if lane.name not in self.skipped]

    def lane(self, name: str) -> Lane | None:
        """The lane of a server that ran."""
        return next((lane for lane in self.lanes if lane.name == name), None)

    def ratio(self, lane: Lane, base: str) -> Ratio | None:
        """The lane's rate to the base's, round by round; None where the base did not run.

        Every answer of a case has the same body, so that the ratio of requests is that of bytes as well.
        """
        other = self.lane(base)
        return pairwise(lane.rates, other.rates) if other else None

    def cpu_ratio(self, lane: Lane, base: str) -> Ratio | None:
        """The processor time of the lane's requests to that of the base's, round by round."""
        other = self.lane(base)
        return pairwise(lane.costs, other.costs) if other else None

    def verdicts(self) -> list[tuple[Goal, Ratio | None]]:
        """The case's goals with the ratios reached; None where one of the two did not run."""
        reached: list[tuple[Goal, Ratio | None]] = []
        for goal in self.case.goals:
            lane = self.lane(goal.server)
            compare = self.cpu_ratio if goal.cpu else self.ratio
            reached.append((goal, compare(lane, goal.base) if lane else None))
        return reached
