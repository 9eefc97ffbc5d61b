"""Made-up measurements for the tests of the benchmarks."""

from bench import cases, machine, report
from bench.heat import Heat, Lane
from bench.load import Errors, Outcome
from bench.sample import Sample


def sample(rate: float, cpu_us: float = 10.0, errors: Errors | None = None) -> Sample:
    latency = {"50": 500.0, "99": 900.0, "99.9": 2_500.0, "100": 4_000.0}
    outcome = Outcome(2.0, int(rate * 2), int(rate * 200), errors or Errors(), latency)
    return Sample(outcome, cpu_us, 0.97, 20 << 20, 0.5)


def heat_of(case: str, **rates: list[float]) -> Heat:
    lanes = [Lane(name.replace("__", "-"), "1.0", [sample(rate) for rate in by]) for name, by in rates.items()]
    return Heat(cases.BY_NAME[case], lanes)


def report_of(*heats: Heat, load_before: float = 0.1) -> report.Report:
    facts = machine.Machine(
        "2030-01-02 03:04", "A <fast> & new CPU", 2, "6.1", "Python 3.13.5t", "wrk 4", load_before, "c"
    )
    return report.Report(facts, "server on core 0, load on core 1", 3, 2.0, ("nginx", "granian"), heats)
