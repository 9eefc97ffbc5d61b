"""Tables in Markdown, padded so that they read well on a terminal too. Pure functions."""

from collections.abc import Sequence


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is aligned to the left and all others, being figures, to the right."""
    cells = [[escape(cell) for cell in row] for row in (header, *rows)]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(header))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(line(row, widths) for row in (cells[0], rule, *cells[1:])) + "\n"


def line(row: Sequence[str], widths: Sequence[int]) -> str:
    """One row, its cells padded to their widths."""
    others = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
    return "| " + " | ".join((row[0].ljust(widths[0]), *others)) + " |"


def escape(cell: str) -> str:
    """A bar would end the cell, a line feed the row."""
    return cell.replace("|", "\\|").replace("\n", " ")


def latency(microseconds: float | None) -> str:
    """A duration with about three figures and its unit; a dash where there is none."""
    if microseconds is None:
        return "-"
    if microseconds < 1000:
        return f"{microseconds:.0f} µs"
    milliseconds = microseconds / 1000
    return f"{milliseconds:.3g} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.3g} s"


def mebibytes(count: float) -> str:
    return f"{count / (1 << 20):,.1f}"
