"""The request path's attribute names are listed completely, and interned apart before its modules are imported."""

import importlib.machinery
import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from mreactor.runtime import interned_names
from mreactor.runtime.type_cache import is_known

ROOT = Path(__file__).resolve().parents[2]

# Run in a fresh process: pytest has interned some names of the request path before.
REPORT = """
from mreactor.runtime import HOT, INTERNED
from mreactor.runtime.interned_names import listed_names
from mreactor.runtime.type_cache import address_part, attribute_names_used, attributes

names = set(attribute_names_used(HOT)) & {name for cls in HOT for name in attributes(cls)}
parts = {address_part(name) for name in INTERNED}
print(len(listed_names()), len(INTERNED) - len(parts), len(names & set(INTERNED)) / len(names))
"""


def load_script() -> ModuleType:
    """Return scripts/attribute-names as a module."""
    loader = importlib.machinery.SourceFileLoader("attribute_names", str(ROOT / "scripts" / "attribute-names"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def report(path: Path) -> tuple[int, int, float]:
    """Return what a process that imports the package from `path` prints: names listed, collisions, share interned."""
    out = subprocess.check_output(
        [sys.executable, "-c", REPORT], env={"PYTHONPATH": str(path)}, cwd=path.parent, timeout=60
    )
    listed, collisions, share = out.split()
    return int(listed), int(collisions), float(share)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    # The script puts no folder on the path and writes no compiled file beside itself.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return load_script()


def test_the_list_is_current_and_complete(script: ModuleType) -> None:
    current = script.LIST.read_text("ascii")
    assert current == script.listing(), "run scripts/attribute-names --write"
    assert interned_names.listed_names() == current.split()
    assert {"receive_data", "deadline", "wants_read"} <= set(current.split())


def test_attribute_names_are_those_in_code(script: ModuleType) -> None:
    source = "self.first = other.second(third) + 1.5  # not a.fourth\n'nor a.fifth'\na.x"
    assert script.attribute_names(source) == {"first", "second"}


def test_names_of_modules_with_a_hot_class_are_listed_once_in_order(script: ModuleType, tmp_path: Path) -> None:
    hot = "@hot()\nclass X:\n    "
    (tmp_path / "part").mkdir()
    (tmp_path / "module.py").write_text(hot + "a.second")
    (tmp_path / "part" / "module.py").write_text(hot + "a.first, b.second  # \N{EURO SIGN}", "utf-8")
    (tmp_path / "part" / "cold.py").write_text("a.third")
    assert script.listing(tmp_path) == "first\nsecond\n"


def test_the_script_prints_and_writes_the_list(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "LIST", tmp_path / "names.txt")
    script.main([])
    script.main(["--write"])
    assert script.LIST.read_text() == capsys.readouterr().out == script.listing()


def test_without_a_list_no_names_are_interned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interned_names, "LIST", "no such file")
    assert interned_names.listed_names() == []
    assert interned_names.intern_listed_names() == []


def test_a_loader_that_cannot_read_data_leaves_names_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interned_names.__spec__, "loader", object())
    assert interned_names.listed_names() == []


def test_an_unknown_interpreter_interns_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interned_names, "is_known", lambda: False)
    monkeypatch.setattr(interned_names, "listed_names", pytest.fail)
    assert interned_names.intern_listed_names() == []


def test_the_list_is_read_from_an_archive(tmp_path: Path) -> None:
    archive = tmp_path / "mreactor.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in (ROOT / "mreactor").rglob("*"):
            if path.suffix in {".py", ".txt", ".html"}:
                file.write(path, path.relative_to(ROOT))
    listed, _, share = report(archive)
    assert listed == len(interned_names.listed_names())
    assert (share > 0.7) is is_known()


# Elsewhere there is nothing to test, and a skip counts as a failure.
if is_known():

    def test_the_package_interns_its_names_apart() -> None:
        _, collisions, share = report(ROOT)
        assert collisions == 0
        assert share > 0.7
