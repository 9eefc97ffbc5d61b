"""What all suites share: a count of what this machine could not test, said aloud at the end of a run."""

from collections import Counter

import pytest

pytest.register_assert_rewrite("answers", "drivers", "vectors")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A skipped test is easily overlooked, and a suite that skips is not a suite that passes."""
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        where = report.longrepr
        reason = where[2] if isinstance(where, tuple) else str(where)
        reasons[reason.removeprefix("Skipped: ")] += 1
    if not reasons:
        terminalreporter.write_line("nothing was skipped: this machine has all that the suites test")
        return
    terminalreporter.section(f"{reasons.total()} tests skipped, for what this machine lacks", yellow=True)
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count:5}  {reason}")
