"""The house rules, read from the package's source: who may import whom, how long things may be, what is out of bounds.

Design: a module imports only from floors below its own. What is allowed beyond that is listed here, and short.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "mreactor"
ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / PACKAGE).rglob("*.py"))

# One row a floor, from the ground up. The modules of a folder in WHOLE stand here as one, under the folder's name.
FLOORS = (
    "config log metrics timers mailbox sharing scheduling allocator typecache names addresses iouring",
    "http1 http1.grammar http1.headers http1.dates http1.status",
    "http1.request http1.response",
    "http1.parser http1.body router accesslog state job stream heads",
    "app static wsgi replies exposition service reception answer outbox connection",
    "reactor acceptor jobs watchdog",
    "backends requestpath admin server demo",
    "cli __main__ __init__",
)

# Folders whose modules are parts of one thing, and may import one another.
WHOLE = {"iouring", "reactor", "acceptor"}

# Neighbours on one floor of whom the first may import the second.
NEIGHBOURS = {
    ("iouring", "sharing"),
    ("names", "typecache"),
    ("config", "scheduling"),
    ("connection", "service"),
    ("connection", "reception"),
    ("connection", "answer"),
    ("connection", "outbox"),
    ("outbox", "answer"),
    ("outbox", "service"),
    ("answer", "service"),
    ("answer", "replies"),
    ("service", "replies"),
    ("connection", "replies"),
    ("reception", "service"),
    ("stream", "job"),
    ("reactor", "jobs"),
    ("acceptor", "reactor"),
    ("server", "backends"),
    ("server", "requestpath"),
    ("server", "admin"),
    ("__main__", "cli"),
}

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
BANNED_NAMES = {"utils", "helpers", "manager", "data", "common", "misc"}
MAY_PRINT = {"cli"}


def module_name(path: Path) -> str:
    """The dotted name inside the package: `http1.parser`; a folder's `__init__` has the folder's name."""
    parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def listed_as(name: str) -> str:
    """The name under which a module stands in FLOORS."""
    folder = name.partition(".")[0]
    return folder if folder in WHOLE else name


def floor_of(name: str) -> int | None:
    """The number of a module's floor; None for a module that has none."""
    return next((number for number, floor in enumerate(FLOORS) if listed_as(name) in floor.split()), None)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of all that a file imports, `from X import Y` as X.Y, functions' imports included."""
    package = [PACKAGE, *path.relative_to(ROOT / PACKAGE).parts[:-1]]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            around = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*around, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def imported_modules(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name inside the package of each of its own modules that a file imports.

    The version does not count: a constant, set in the package's `__init__` before that imports anything.
    """
    known = {module_name(file) for file in FILES}
    for line, full in imports(path):
        top, _, name = full.partition(".")
        if top != PACKAGE or name == "__version__":
            continue
        while name and name not in known:
            name = name.rpartition(".")[0]
        yield line, name or "__init__"


def may_import(importer: str, imported: str) -> bool:
    """Whether one module may import another: both have a floor."""
    above, below = floor_of(importer), floor_of(imported)
    assert above is not None
    assert below is not None
    pair = listed_as(importer), listed_as(imported)
    return below < above or pair[0] == pair[1] or pair in NEIGHBOURS


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def each_file() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", FILES, ids=lambda path: module_name(path))


def test_the_package_is_there() -> None:
    assert ROOT / PACKAGE / "config.py" in FILES


@each_file()
def test_stands_on_a_floor(path: Path) -> None:
    assert floor_of(module_name(path)) is not None, f"give it a floor: list {module_name(path)} in FLOORS"


@each_file()
def test_imports_only_from_below(path: Path) -> None:
    name = module_name(path)
    housed = [(line, other) for line, other in imported_modules(path) if floor_of(other) is not None]
    wrong = [f"line {line} imports {other}" for line, other in housed if not may_import(name, other)]
    assert not wrong, f"{name} imports from its own floor or above: {'; '.join(wrong)}"


@each_file()
def test_imports_only_the_standard_library(path: Path) -> None:
    tops = {full.partition(".")[0] for _, full in imports(path)}
    assert tops - {PACKAGE} <= sys.stdlib_module_names


@each_file()
def test_is_no_longer_than_a_file_may_be(path: Path) -> None:
    lines = path.read_text().count("\n")
    assert lines <= FILE_LINES_MAX


@each_file()
def test_has_no_function_longer_than_it_may_be(path: Path) -> None:
    lengths = {one.name: (one.end_lineno or one.lineno) - one.lineno + 1 for one in functions(path)}
    assert not {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES_MAX}


@each_file()
def test_is_named_for_what_it_is(path: Path) -> None:
    assert not BANNED_NAMES & set(module_name(path).split("."))


@each_file()
def test_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(tree_of(path)), "a module begins with a docstring: what it owns, who runs it"


@each_file()
def test_prints_nothing(path: Path) -> None:
    calls = (node.func for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call))
    printing = any(isinstance(called, ast.Name) and called.id == "print" for called in calls)
    assert not printing or module_name(path) in MAY_PRINT


def test_floors_list_each_module_once() -> None:
    names = " ".join(FLOORS).split()
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("server", "reactor.epoll", True),
        ("connection", "http1.parser", True),
        ("reactor.epoll", "reactor.base", True),
        ("connection", "service", True),
        ("service", "connection", False),
        ("reactor.epoll", "jobs", True),
        ("jobs", "reactor.epoll", False),
        ("connection", "reactor.base", False),
        ("http1.parser", "router", False),
        ("config", "log", False),
    ],
)
def test_the_rule_itself(importer: str, imported: str, allowed: bool) -> None:
    assert may_import(importer, imported) is allowed
