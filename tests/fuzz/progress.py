"""Tells how far a campaign has come."""

# ruff: noqa: T201
from .campaign import Result

TELL_SECONDS = 10.0


class Teller:
    """Shows a line now and then."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, result: Result) -> None:
        """Show a line, if it is time."""
        if result.seconds < self._next:
            return
        self._next = result.seconds + TELL_SECONDS
        print(
            f"{result.messages:>12,} messages, {result.messages / result.seconds:,.0f}/s,"
            f" {result.after.resident / 1e6:.0f} MB, {len(result.findings)} findings",
            flush=True,
        )


def be_mute(result: Result) -> None:
    """Show nothing: of several processes one is enough."""
