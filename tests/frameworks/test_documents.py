"""The samples of docs/wsgi.md and of the README run, and answer as shown."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.frameworks.conftest import Serve
from tests.project.test_docs import README, blocks, sections
from tests.support.curl import Curl, check_dialogue, dialogues
from tests.support.processes import ROOT, environment, start
from tests.support.vectors import get

PAGE = ROOT / "docs" / "wsgi.md"


def write_samples(folder: Path) -> None:
    """Write each sample to the file that its first line names."""
    (folder / "public").mkdir()
    (folder / "public" / "style.css").write_text("body {}")
    for sample in blocks(PAGE.read_text(), "python"):
        found = re.match(r"# (\w+\.py)\n", sample)
        assert found is not None, "a sample begins with its file's name"
        (folder / found[1]).write_text(sample)


@pytest.mark.parametrize("title", ["Flask", "Django"])
def test_the_samples_answer_as_shown(title: str, tmp_path: Path) -> None:
    write_samples(tmp_path)
    text = sections(PAGE)[title]
    (command,) = re.findall(r"^mreactor (.*)$", "".join(blocks(text, "sh")), re.MULTILINE)
    talks = [talk for console in blocks(text, "console") for talk in dialogues(console)]
    assert talks
    with start(tmp_path, *command.split(), cwd=tmp_path) as server:
        for request, shown in talks:
            check_dialogue(server.address[1], request, shown)
        assert server.stop() == 0


def test_static_files_lie_beside_it(tmp_path: Path) -> None:
    write_samples(tmp_path)
    for command in (("site_with_files:app",), ("--mount", "/static=public", "shop:app")):
        with start(tmp_path, *command, cwd=tmp_path) as server:
            port = server.address[1]
            assert Curl("curl http://127.0.0.1:8080/static/style.css").run(port)[3] == b"body {}"
            assert Curl("curl http://127.0.0.1:8080/price/apple").run(port)[0] == 200
            assert server.stop() == 0


def test_hooks_lie_around_it(tmp_path: Path) -> None:
    write_samples(tmp_path)
    with start(tmp_path, "protected:app", cwd=tmp_path) as server:
        with server.connect() as client:
            response = client.ask(get("/price/apple"))
        assert (response.status, response.headers["x-content-type-options"]) == (200, "nosniff")
        assert response.headers["x-frame-options"] == "DENY"
        assert server.stop() == 0


def test_the_sample_of_a_test_passes(tmp_path: Path) -> None:
    write_samples(tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py"]
    ended = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stdout


def test_the_flask_application_of_the_readme(tmp_path: Path) -> None:
    (sample,) = blocks(README.read_text(), "py")
    (tmp_path / "hello.py").write_text(sample)
    with start(tmp_path, "hello:app", cwd=tmp_path) as server:
        status, _, _, content = Curl("curl http://127.0.0.1:8080/hello/world").run(server.address[1])
        assert (status, content) == (200, b"Hello, world!")
        assert server.stop() == 0


def test_a_factory_and_a_reactor_s_thread(tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(
        "import threading\nfrom flask import Flask\n"
        "def create_app():\n    app = Flask(__name__)\n"
        "    @app.get('/')\n    def root(): return threading.current_thread().name\n    return app\n"
    )
    for options, thread in (((), "blocking-1"), (("--wsgi-inline",), "reactor-0")):
        with start(tmp_path, "--threads", "1", *options, "made:create_app()", cwd=tmp_path) as server:
            assert Curl("curl http://127.0.0.1:8080/").run(server.address[1])[3] == thread.encode()
            assert server.stop() == 0


def test_the_options_named_are_those_of_the_server(serve: Serve) -> None:
    from mreactor.cli import make_parser

    known = {option for action in make_parser()._actions for option in action.option_strings}
    assert set(re.findall(r"`(--[a-z-]+)", PAGE.read_text())) <= known
