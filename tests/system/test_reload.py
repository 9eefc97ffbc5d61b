"""--reload and --debug: what a developer changes is served, and what is broken is shown."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mreactor.reload import FILES_MAX, scan
from tests.support.drivers import PATIENCE_SECONDS, SocketClient
from tests.support.processes import LISTENING, ServerProcess, start
from tests.support.vectors import get

pytestmark = pytest.mark.slow

APP = "from mreactor import App\napp = App()\n@app.get('/')\ndef root(request):\n    return '{text}'\n"
WSGI = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'{text}']\n"


def wait(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < end, "it never happens"
        time.sleep(0.05)


def text_of(server: ServerProcess) -> str:
    """Return what the server that has started last responds."""
    host, port = LISTENING.findall(server.stdout)[-1]
    try:
        with SocketClient((host, int(port))) as client:
            return client.ask(get("/")).text
    except (OSError, AssertionError):
        return ""


@pytest.mark.parametrize("source", [APP, WSGI], ids=["native", "wsgi"])
def test_a_change_is_served_and_a_mistake_is_shown(source: str, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    (folder / "sub").mkdir(parents=True)
    (folder / "shop.py").write_text(source.format(text="one"))
    with start(tmp_path, "--reload", "--threads", "1", "shop.py", cwd=folder) as server:
        assert text_of(server) == "one"
        (folder / "shop.py").write_text(source.format(text="number two"))
        wait(lambda: text_of(server) == "number two")
        assert "shop.py changed: restarting" in server.stderr
        # Nobody sent the signals, and the author has seen the report.
        wait(lambda: server.stderr.count("listening on") == 2)
        assert server.stderr.count("usable CPU") == 1
        assert "SIGTERM" not in server.stderr
        assert "second signal" not in server.stderr
        (folder / "shop.py").write_text("def broken(:\n")
        wait(lambda: "the server has ended; waiting for a change" in server.stderr)
        assert "SyntaxError: invalid syntax" in server.stderr
        assert 'shop.py", line 1' in server.stderr
        (folder / "shop.py").write_text(source.format(text="three at last"))
        wait(lambda: text_of(server) == "three at last")
        (folder / "sub" / "new.py").write_text("")
        wait(lambda: "new.py changed: restarting" in server.stderr)
        wait(lambda: text_of(server) == "three at last")
        port = int(LISTENING.findall(server.stdout)[-1][1])
        assert server.stop() == 0
    with pytest.raises(OSError):
        SocketClient(("127.0.0.1", port))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_both_processes(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(APP.format(text="one"))
    with start(tmp_path, "--reload", "--threads", "1", "shop.py", cwd=tmp_path) as server:
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        server.send_signal(number)
        assert server.wait() == 0
    assert children
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def test_what_is_watched(tmp_path: Path) -> None:
    for name in (
        "a.py",
        "sub/b.py",
        ".git/c.py",
        "venv/d.py",
        "mine/pyvenv.cfg",
        "mine/e.py",
        "f.txt",
        "__pycache__/g.py",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    assert {os.path.relpath(path, tmp_path) for path in scan({tmp_path})} == {"a.py", "sub/b.py"}
    assert FILES_MAX >= 1000


def test_a_change_does_not_wait_for_calls_of_an_application(tmp_path: Path) -> None:
    source = (
        "import time\ndef app(environ, start_response):\n    start_response('200 OK', [])\n"
        "    if environ['PATH_INFO'] == '/slow': time.sleep(300)\n    return [b'{text}']\n"
    )
    (tmp_path / "shop.py").write_text(source.format(text="one"))
    with start(tmp_path, "--reload", "--threads", "1", "shop:app", cwd=tmp_path) as server:
        assert text_of(server) == "one"
        with server.connect() as client:
            client.send(get("/slow"))
            time.sleep(0.2)
            (tmp_path / "shop.py").write_text(source.format(text="number two"))
            wait(lambda: text_of(server) == "number two")
        assert server.stop() == 0


FAILING = """
def app(environ, start_response):
    if environ["PATH_INFO"] == "/started":
        start_response("200 OK", [])
    if environ["PATH_INFO"] == "/parts":
        return parts(start_response)
    raise KeyError("<b>lost</b>")

def parts(start_response):
    start_response("200 OK", [("Content-Length", "100")])
    raise KeyError("<b>lost</b>")
    yield b"never"
"""


@pytest.mark.parametrize("options", [(), ("--wsgi-inline",)], ids=["pool", "inline"])
@pytest.mark.parametrize(("path", "place"), [("/", "7, in app"), ("/started", "7, in app"), ("/parts", "11, in parts")])
def test_debug_shows_the_traceback_of_a_wsgi_application(
    path: str, place: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "shop.py").write_text(FAILING)
    with start(tmp_path, "--debug", "--threads", "1", *options, "shop:app", cwd=tmp_path) as server:
        with server.connect() as client:
            page = client.ask(get(path))
            assert (page.status, page.headers["content-type"]) == (500, "text/html; charset=utf-8")
            assert "&lt;b&gt;lost&lt;/b&gt;" in page.text
            assert f"shop.py&quot;, line {place}" in page.text
            # The frames are those of the application.
            assert "exchange.py" not in page.text
            assert client.ask(get(path)).status == 500
        assert server.stop() == 0


def test_debug_shows_the_traceback_escaped(tmp_path: Path) -> None:
    source = (
        "from mreactor import App\napp = App()\n@app.get('/')\ndef root(request):\n    raise KeyError('<b>lost</b>')\n"
    )
    (tmp_path / "shop.py").write_text(source)
    with start(tmp_path, "--debug", "--threads", "1", "shop.py", cwd=tmp_path) as server:
        assert "--debug: clients are shown the tracebacks" in server.stderr
        with server.connect() as client:
            page = client.ask(get("/"))
            assert (page.status, page.headers["content-type"]) == (500, "text/html; charset=utf-8")
            assert "&lt;b&gt;lost&lt;/b&gt;" in page.text
            assert "shop.py&quot;, line 5, in root" in page.text
            assert "<b>" not in page.text
            text = client.ask(get("/", "Accept: application/json"))
            assert (text.status, text.headers["content-type"]) == (500, "text/plain; charset=utf-8")
            assert text.text.endswith("KeyError: '<b>lost</b>'\n")
