"""The house rules, read from the package's source: who imports whom, how long functions are, which names are banned.

A package imports from packages on floors below its own, by the names that their `__init__` exports. Inside a package
imports are free. There are no exemptions.
"""

import ast
import io
import sys
import tokenize
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "mreactor"
ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / PACKAGE).rglob("*.py"))

# One row a floor, from the ground up. A word is a package, or a module that lies beside the packages.
FLOORS = (
    "runtime",
    "addresses concurrency metrics",
    "config iouring protocol",
    "config_file http net option_hints proxy tls",
    "wsgi",
    "app logs",
    "http1 demo loading",
    "admin testing",
    "server reload",
    "cli",
    "__init__",
    "__main__",
)

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
FUNCTION_LINES_MEDIAN_MAX = 8
BANNED_NAMES = {"utils", "helpers", "manager", "data", "common", "misc"}
MAY_PRINT = {"cli"}


def module_name(path: Path) -> str:
    """The dotted name inside the package, such as `http1.connection`; a folder's `__init__` has the folder's name."""
    parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def room(name: str) -> str:
    """The word of FLOORS that a module belongs to."""
    return name.partition(".")[0]


def floor(name: str) -> int | None:
    """The number of a module's floor; None for a module that has none."""
    return next((number for number, words in enumerate(FLOORS) if room(name) in words.split()), None)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of each import of a file, `from X import Y` as X.Y, functions' imports included."""
    package = [PACKAGE, *path.relative_to(ROOT / PACKAGE).parts[:-1]]
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            around = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*around, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def own_imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name inside the package of what a file imports of its own package.

    The version does not count: `__init__` sets this constant before it imports anything.
    """
    for line, full in imports(path):
        top, _, name = full.partition(".")
        if top == PACKAGE and name != "__version__":
            yield line, name


def exported(package: str) -> set[str]:
    """The names in the `__all__` of a package."""
    for node in parse(ROOT / PACKAGE / package / "__init__.py").body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            names = ast.literal_eval(node.value)
            assert isinstance(names, list)
            return set(names)
    raise AssertionError(f"{package}/__init__.py has no __all__")


def is_package(name: str) -> bool:
    return (ROOT / PACKAGE / name / "__init__.py").is_file()


def objection(importer: str, imported: str) -> str:
    """Why a module may not import a dotted name; empty if it may."""
    if room(importer) == room(imported):
        return ""
    above, below = floor(importer), floor(imported)
    if above is None or below is None:
        return "has no floor"
    if below >= above:
        return "is on the same floor or above"
    _, *inner = imported.split(".")
    if is_package(room(imported)) and inner and (len(inner) > 1 or inner[0] not in exported(room(imported))):
        return f"is not exported by {room(imported)}/__init__.py"
    return ""


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, docstring included."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def comments_behind_code(source: str) -> Iterator[int]:
    """Lines where a trailing comment has pushed the code apart: a closing bracket with a comment behind it."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        before = token.line[: token.start[1]].strip()
        if token.type == tokenize.COMMENT and before in {")", "]", "}"} and not token.string.startswith("# fmt:"):
            yield token.start[0]


def each_file() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", FILES, ids=lambda path: module_name(path))


def test_the_package_is_there() -> None:
    assert ROOT / PACKAGE / "config.py" in FILES


@each_file()
def test_stands_on_a_floor(path: Path) -> None:
    assert floor(module_name(path)) is not None, f"give it a floor: list {room(module_name(path))} in FLOORS"


@each_file()
def test_imports_only_from_below_and_by_the_front_door(path: Path) -> None:
    name = module_name(path)
    found = [(line, other, objection(name, other)) for line, other in own_imports(path)]
    wrong = [f"line {line}: {other} {why}" for line, other, why in found if why]
    assert not wrong, f"{name}: {'; '.join(wrong)}"


@each_file()
def test_imports_only_the_standard_library(path: Path) -> None:
    tops = {full.partition(".")[0] for _, full in imports(path)}
    assert tops - {PACKAGE} <= sys.stdlib_module_names


@each_file()
def test_has_no_function_longer_than_it_may_be(path: Path) -> None:
    lengths = {function.name: length(function) for function in functions(path)}
    assert not {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES_MAX}


@each_file()
def test_a_long_file_is_pointed_out(path: Path) -> None:
    """Files are split by responsibility. A long one is a hint that it has two, so this warns and does not fail."""
    lines = path.read_text().count("\n")
    if lines > FILE_LINES_MAX:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(f"{module_name(path)} has {lines} lines: does it do one thing?", stacklevel=1)


@each_file()
def test_has_comments_above_the_code(path: Path) -> None:
    lines = list(comments_behind_code(path.read_text()))
    assert not lines, f"lines {lines}: move the comment above the statement"


@each_file()
def test_is_named_for_what_it_is(path: Path) -> None:
    assert not BANNED_NAMES & set(module_name(path).split("."))


@each_file()
def test_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(parse(path)), "a module begins with a docstring: what it owns, on which thread it runs"


@each_file()
def test_prints_nothing(path: Path) -> None:
    calls = (node.func for node in ast.walk(parse(path)) if isinstance(node, ast.Call))
    printing = any(isinstance(called, ast.Name) and called.id == "print" for called in calls)
    assert not printing or module_name(path) in MAY_PRINT


@pytest.mark.parametrize(
    "package", sorted({room(module_name(path)) for path in FILES if len(path.parts) > len(ROOT.parts) + 2})
)
def test_exports_only_what_it_has(package: str) -> None:
    source = parse(ROOT / PACKAGE / package / "__init__.py")
    imported = {
        alias.asname or alias.name for node in source.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert exported(package) <= imported


def test_functions_are_short() -> None:
    lengths = sorted(length(function) for path in FILES for function in functions(path))
    assert lengths[len(lengths) // 2] <= FUNCTION_LINES_MEDIAN_MAX


def test_floors_list_each_package_once() -> None:
    names = " ".join(FLOORS).split()
    assert len(names) == len(set(names))
    assert set(names) == {room(module_name(path)) for path in FILES}


@pytest.mark.parametrize(
    ("importer", "imported", "reason"),
    [
        ("server.server", "net.EpollReactor", ""),
        ("net.reactor.epoll", "net.reactor.base.Reactor", ""),
        ("http1.connection", "http.Response", ""),
        ("http1.connection", "protocol.FileBody", ""),
        ("http1.connection", "http.response.Response", "is not exported by http/__init__.py"),
        ("net.reactor.base", "http.HTTPError", "is on the same floor or above"),
        ("concurrency.thread_pool", "net.Reactor", "is on the same floor or above"),
        ("config", "protocol.FileBody", "is on the same floor or above"),
        ("http.request", "app.Router", "is on the same floor or above"),
        ("cellar.rat", "http.Request", "has no floor"),
    ],
)
def test_the_rule_itself(importer: str, imported: str, reason: str) -> None:
    assert objection(importer, imported) == reason


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("x = (\n    1\n)  # one\n", [3]),
        ("x = 1  # one\n", []),
        ("x = (\n    1\n)  # fmt: skip\n", []),
        ("# one\nx = (1)\n", []),
    ],
)
def test_the_rule_for_comments_itself(source: str, lines: list[int]) -> None:
    assert list(comments_behind_code(source)) == lines
