"""Each example runs as its docstring says, and its responses are those that the docstring shows."""

import ast
import re
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.curl import check_dialogue, dialogues

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
FILES = sorted(path for path in EXAMPLES.glob("*.py") if not path.name.startswith("test_"))
PAGE = EXAMPLES / "README.md"
INDENT = " " * 4
LINES_MAX = 60
# One example shows most of the API at once.
LONG, LONG_LINES_MAX = "shortener", 190


def each_example() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text()), clean=False) or ""


def console(path: Path) -> list[tuple[str, list[str]]]:
    """Return the curl commands of a docstring, each with its output, without the blank lines that separate them."""
    lines = [line.removeprefix(INDENT) for line in docstring(path).splitlines() if not line or line[0] == " "]
    first = next(number for number, line in enumerate(lines) if line.startswith("$ "))
    return [
        (command, "\n".join(shown).rstrip("\n").splitlines()) for command, shown in dialogues("\n".join(lines[first:]))
    ]


@each_example()
def test_responds_as_its_docstring_shows(path: Path, tmp_path: Path) -> None:
    started = re.search(rf"^{INDENT}mreactor (\S+)$", docstring(path), re.MULTILINE)
    assert started is not None, "the docstring says how to start it"
    modules = f"{processes.ROOT}:{EXAMPLES}"
    with processes.start(tmp_path, "--threads", "1", started[1], cwd=tmp_path, PYTHONPATH=modules) as server:
        for command, shown in console(path):
            check_dialogue(server.address[1], command, shown)
        assert server.stop() == 0


@each_example()
def test_shows_at_least_two_requests(path: Path) -> None:
    commands = [command for command, _ in console(path)]
    assert len(commands) >= 2
    assert all(command.startswith("curl ") for command in commands)


@each_example()
def test_is_short(path: Path) -> None:
    code = path.read_text().replace(docstring(path), "")
    assert len(code.splitlines()) <= (LONG_LINES_MAX if path.stem == LONG else LINES_MAX)


def test_the_page_lists_every_example() -> None:
    listed = [name for name in re.findall(r"\]\((\w+\.py)\)", PAGE.read_text()) if not name.startswith("test_")]
    assert sorted(listed) == [path.name for path in FILES]
