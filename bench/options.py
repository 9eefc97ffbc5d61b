"""What the command lines of the benchmarks share: numbers over zero, and the files to write."""

import argparse
from pathlib import Path


def positive(text: str) -> float:
    """A number over zero, for argparse."""
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError("has to be more than 0")
    return value


def positive_int(text: str) -> int:
    """A whole number over zero, for argparse."""
    value = int(text)
    if value <= 0:
        raise argparse.ArgumentTypeError("has to be more than 0")
    return value


def add_outputs(parser: argparse.ArgumentParser, *, svg: bool = True) -> None:
    """The options that name the files for the results."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="all samples, for machines")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the tables, as printed")
    if svg:
        parser.add_argument("--svg", type=Path, metavar="FILE", help="a bar chart")


def write(path: Path | None, text: str) -> None:
    """Write the text where a file was asked for."""
    if path is not None:
        path.write_text(text)
