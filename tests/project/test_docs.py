"""The documents tell the truth: samples run and answer as shown, tables are those of the code, links lead somewhere."""

import contextlib
import importlib.machinery
import importlib.util
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import results
from mreactor.app.application import App
from mreactor.cli import make_parser
from mreactor.config import Config
from mreactor.demo import make_demo
from mreactor.http1.states import State
from mreactor.server.server import Server
from tests.project import test_tidy
from tests.support.curl import Curl, check_dialogue, dialogues

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
GUIDE, ARCHITECTURE, CONFIGURATION, STATES, TLS = (
    DOCS / name for name in ("guide.md", "architecture.md", "configuration.md", "states.md", "tls.md")
)
PERFORMANCE, DECISIONS = DOCS / "performance.md", DOCS / "decisions"
NOTES = sorted(DECISIONS.glob("[0-9]*.md"))
PAGES = sorted({*ROOT.glob("*.md"), ROOT / "bench" / "README.md", *DOCS.rglob("*.md")})

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


# --- Reading documents. ---


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a language, in order."""
    return [match[2] for match in BLOCK.finditer(text) if match[1] == language]


def sections(page: Path) -> dict[str, str]:
    """The text under each heading of the second level."""
    _, *parts = re.split(r"^## (.*)$", page.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def rows(text: str) -> list[list[str]]:
    """The cells of all table rows, headings included, without their rulers."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not set(line) <= set("|-: ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def quoted(cell: str) -> list[str]:
    """What stands in backquotes in a cell."""
    return re.findall(r"`([^`]+)`", cell)


# --- Running samples. ---


def run_sample(source: str, name: str) -> dict[str, object]:
    """Execute a sample as a module of its own; returns its names."""
    module = types.ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
    return module.__dict__


@contextlib.contextmanager
def serving(app: App) -> Iterator[int]:
    """Serve an application with one reactor; gives the port."""
    server = Server(Config(port=0, threads=1), app)
    server.start()
    try:
        yield server.address[1]
    finally:
        server.stop()


def guide_sections() -> list[tuple[str, str]]:
    return [(title, text) for title, text in sections(GUIDE).items() if blocks(text, "python")]


@pytest.mark.parametrize(("title", "text"), [pytest.param(*one, id=one[0]) for one in guide_sections()])
def test_the_guide_s_samples_answer_as_shown(title: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # samples name the directory static
    app: object = None
    for language, block in ((match[1], match[2]) for match in BLOCK.finditer(text)):
        if language == "python":
            app = run_sample(block, title)["app"]
            assert isinstance(app, App)
        elif language == "console":
            assert isinstance(app, App), "a sample comes before what it responds"
            with serving(app) as port:
                for command, shown in dialogues(block):
                    check_dialogue(port, command, shown)


def test_the_guide_has_samples_with_and_without_dialogues() -> None:
    found = {title: len(blocks(text, "console")) for title, text in guide_sections()}
    assert len(found) >= 10
    assert sum(found.values()) >= 10


def test_each_sample_of_the_configuration_page_runs() -> None:
    (sample,) = blocks(CONFIGURATION.read_text(), "python")
    assert isinstance(run_sample(sample, "configuration")["config"], Config)


def test_each_sample_of_the_tls_page_is_an_application() -> None:
    samples = blocks(TLS.read_text(), "python")
    assert len(samples) == 2
    for sample in samples:
        assert isinstance(run_sample(sample, "tls")["app"], App)


def test_the_readme_s_application_works() -> None:
    (sample,) = blocks(README.read_text(), "python")
    app = run_sample(sample, "shop")["app"]
    assert isinstance(app, App)
    with serving(app) as port:
        status, _, headers, content = Curl("curl http://127.0.0.1:8080/price/apple").run(port)
        assert (status, content) == (200, b'{"name":"apple","cents":30}')
        assert Curl("curl http://127.0.0.1:8080/price/pear").run(port)[0] == 404
        command = "curl -d '[7]' http://127.0.0.1:8080/orders"
        status, _, headers, content = Curl(command).run(port)
        assert (status, headers["Location"], content) == (201, "/orders/1", b'{"ordered":[7]}')


def test_the_readme_s_first_requests_are_answered() -> None:
    commands = re.findall(r"^curl .*$", README.read_text(), re.MULTILINE)
    assert commands
    with serving(make_demo(Config(static=str(ROOT / "static")))) as port:
        answers = {curl.target: curl.run(port) for curl in map(Curl, commands)}
    assert {status for status, *_ in answers.values()} == {200}
    assert answers["/"][3] == b"Welcome to mreactor"


# --- Tables. ---


def load_script(name: str) -> types.ModuleType:
    """A script without a suffix, as a module."""
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), str(ROOT / "scripts" / name))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_the_table_of_settings_is_that_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])  # the script adds to it
    script = load_script("configuration-table")
    page = CONFIGURATION.read_text()
    assert page == script.replaced(page), "run scripts/configuration-table --write"


def test_the_table_of_settings_names_every_option() -> None:
    listed = {quoted(row[0])[0] for row in rows(CONFIGURATION.read_text()) if row[0].startswith("`--")}
    assert listed == options() - {"--config", "--help", "--version"}


def test_the_state_diagram_is_that_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])  # the script adds to it
    script = load_script("state-diagram")
    page = STATES.read_text()
    assert page == script.replaced(page), "run scripts/state-diagram --write"
    assert page.count(script.diagram()) == 1


def test_the_page_of_states_explains_each_state() -> None:
    names = [quoted(row[0])[0] for row in rows(STATES.read_text())[1:]]
    assert names == [state.name for state in State]


def test_the_table_of_floors_is_that_of_the_tidy_test() -> None:
    table = rows(sections(ARCHITECTURE)["Floors"])[1:]
    shown = {int(row[0]): set(quoted(row[1])) for row in table}
    assert shown == {number: set(words.split()) for number, words in enumerate(test_tidy.FLOORS)}


def test_the_files_that_the_architecture_points_to_exist() -> None:
    table = rows(sections(ARCHITECTURE)["Where to look"])[1:]
    paths = [path for row in table for path in quoted(row[1]) if "." in path]
    missing = [path for path in paths if not (ROOT / "mreactor" / path).exists() and not (ROOT / path).exists()]
    assert paths
    assert not missing


def test_the_tables_of_the_performance_page_are_those_of_the_recorded_runs() -> None:
    page = PERFORMANCE.read_text()
    assert [marked["part"] for marked in results.MARKED.finditer(page)] == ["differing", "repeated"]
    assert page == results.with_tables(page), "run python -m bench.results --write"


def test_the_performance_page_stays_one_page() -> None:
    assert len(PERFORMANCE.read_text().splitlines()) <= 135


def test_the_index_lists_every_decision_by_number_and_title() -> None:
    listed = re.findall(
        r"^\| \[(\d{3})\]\(([\w-]+\.md)\) \| (.+?) \|", (DECISIONS / "README.md").read_text(), re.MULTILINE
    )
    titles = [note.read_text().splitlines()[0].removeprefix("# ") for note in NOTES]
    assert listed == [(note.name[:3], note.name, title) for note, title in zip(NOTES, titles, strict=True)]
    numbers = [int(number) for number, *_ in listed]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("note", NOTES, ids=lambda note: note.stem)
def test_a_decision_has_its_four_parts_and_is_one_page(note: Path) -> None:
    assert list(sections(note)) == ["Context", "Tried", "Figures", "Verdict"]
    assert all(text.strip() for text in sections(note).values())
    assert len(note.read_text().splitlines()) <= 60


# --- Names and links. ---


def options() -> set[str]:
    return {name for action in make_parser()._actions for name in action.option_strings if name[1] == "-"}


@pytest.mark.parametrize("page", [README, GUIDE, ARCHITECTURE, CONFIGURATION], ids=lambda page: page.name)
def test_options_named_exist(page: Path) -> None:
    text = BLOCK.sub(lambda match: "" if match[1] == "console" else match[0], page.read_text())
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z](?![\w>-])", text))
    assert named <= options()


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings get."""
    titles = re.findall(r"^#+ (.*)$", BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?[^)]*\)", BLOCK.sub("", page.read_text()))
    for target, anchor in links:
        if "://" in target:
            continue
        leads_to = page.parent / target if target else page
        assert leads_to.exists(), target
        assert not anchor or anchor in anchors(leads_to), anchor
