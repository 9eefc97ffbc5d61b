"""Finding the application that a command line names: each way to write it, and each mistake answered in one line."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mreactor import App, ConfigError
from mreactor.loading import load

SHOP = """
from mreactor import App
app = App()
number = 5

class Shelf:
    app = App()

def make(name="x"):
    return app

def needs_more(more):
    return app

def unfit():
    App().get("/")(make_app)

def make_app() -> App:
    return App()

def wsgi(environ, start_response):
    return []

async def asgi(scope, receive, send):
    pass
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current directory with the module `shop`. Modules imported from it are removed afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    before = set(sys.modules)
    (tmp_path / "shop.py").write_text(SHOP)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    "target",
    [
        "shop:wsgi",
        "shop:app",
        "shop",
        "shop.py",
        "./shop.py",
        "shop.py:app",
        "shop:Shelf.app",
        "shop:make()",
        "shop:make_app()",
    ],
)
def test_each_way_to_name_an_application(here: Path, target: str) -> None:
    assert isinstance(load(target), App)


def test_a_module_in_a_package(here: Path) -> None:
    (here / "store").mkdir()
    (here / "store" / "web.py").write_text("import mreactor\nclass Site:\n    app = mreactor.App()\n")
    assert isinstance(load("store.web:Site.app"), App)


def test_a_file_elsewhere_imports_what_lies_beside_it(here: Path) -> None:
    (here / "other").mkdir()
    (here / "other" / "site_one.py").write_text("import part_one\napplication = part_one.app\n")
    (here / "other" / "part_one.py").write_text("import mreactor\napp = mreactor.App()\n")
    assert isinstance(load("other/site_one.py"), App)


def test_the_only_app_of_a_module_is_meant(here: Path) -> None:
    (here / "one.py").write_text("import mreactor\nsite = mreactor.App()\n")
    assert isinstance(load("one"), App)


def test_the_current_directory_is_added_once(here: Path) -> None:
    load("shop:app")
    load("shop:app")
    assert sys.path.count(str(here)) == 1


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("", "names no application"),
        ("shop:", "write module:attribute, such as shop:app"),
        (":app", "names no application"),
        (".shop:app", "names no application"),
        ("no_such_module:app", "No module named 'no_such_module'"),
        ("no_such.module:app", "No module named 'no_such'"),
        ("shpo:app", "did you mean shop?"),
        ("shpo.py", "there is no file 'shpo.py'; did you mean shop.py?"),
        ("no/such/file.py", "there is no file"),
        ("shop.web:app", "is not a package"),
        ("shop:other", "shop has no 'other'; its Apps: app"),
        ("shop:Shelf.other", "shop.Shelf has no 'other'; its Apps: app"),
        ("shop:number", "5 is neither an App nor a WSGI application"),
        ("shop:number.app", "shop.number has no 'app'"),
        ("shop:App", "'shop:App' is a class; write shop:App() to serve an instance, or name one"),
        ("shop:make", "is a function, not an App; write shop:make() to serve what it returns"),
        ("shop:number()", "shop.number is an int and cannot be called"),
        ("shop:asgi", "an ASGI application"),
        ("two", "has several Apps; write two:one or two:other"),
        ("factory", "write factory:create_app() to serve what it returns"),
        ("empty", "has no App; write module:attribute"),
        ("needs", "No module named 'not_installed', at needs.py, line 3"),
        ("deep", "'not_installed', at needs.py, line 3, from middle.py, line 2, from deep.py, line 1"),
        ("needs_name", "cannot import name 'nothing' from 'shop'"),
        ("needs_name", "(shop.py), at needs_name.py, line 1"),
        ("shop:needs_more()", "shop.needs_more is called without arguments: missing a required argument: 'more'"),
        ("unfit", "cannot serve 'unfit': the handler of '/', show (unfit.py, line 2), does not fit its parameters: its "
                  "first parameter must be the request; write (request), at unfit.py, line 2"),
        ("shop:unfit()", "at shop.py, line"),
        ("calendar.py", "cannot import 'calendar.py': Python has another module 'calendar' ("),
        ("calendar", "rename the file"),
        ("calendar:app", "rename the file"),
        ("quits", "it exited with 7, at quits.py, line 2"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_in_one_line(here: Path, target: str, said: str) -> None:
    modules = {
        "two": "from mreactor import App\none = App()\nother = App()\n",
        "factory": "from mreactor import App\ndef create_app():\n    return App()\n",
        "empty": "",
        "needs": "\n\nimport not_installed\n",
        "needs_name": "from shop import nothing\n",
        "quits": "\nraise SystemExit(7)\n",
        "deep": "import middle\n",
        "middle": "\nimport needs\n",
        "unfit": "from mreactor import App\n@App().get('/')\ndef show():\n    pass\n",
        "calendar": SHOP,
    }
    for name, source in modules.items():
        (here / f"{name}.py").write_text(source)
    with pytest.raises(ConfigError) as caught:
        load(target)
    text = str(caught.value).replace(f"{here}/", "")
    assert said in text
    assert "\n" not in text


@pytest.mark.parametrize("source", ["1 / 0\n", "def broken(:\n"])
def test_another_exception_of_an_application_is_not_caught(here: Path, source: str) -> None:
    """Its traceback helps its author."""
    (here / "fails.py").write_text(source)
    with pytest.raises((ZeroDivisionError, SyntaxError)):
        load("fails:app")
