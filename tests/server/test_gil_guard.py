"""A real extension module that needs the GIL: loaded at the start, and in the middle of a request.

The test builds it with the C compiler, as a package with metadata that is installed in a folder.
"""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from mreactor.runtime import IS_FREE_THREADED, gil
from tests.support.processes import run, start
from tests.support.vectors import get

SOURCE = """
#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "old_driver", NULL, -1, NULL};
PyMODINIT_FUNC PyInit_old_driver(void) { return PyModule_Create(&module); }
"""
SHOP = """
from mreactor import App

app = App()

@app.get("/")
def root(request):
    return "root"

@app.get("/query", blocking=True)
def query(request):
    import old_driver
    return old_driver.__name__
"""
CAUSE = re.compile(
    r"the GIL is on: the extension module old_driver \(old-driver 1\.5\) has switched it on,"
    r" so threads do not run in parallel; use a version that supports free threading"
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages with the extension, and two applications."""
    folder = tmp_path_factory.mktemp("site")
    compiler = shutil.which("cc") or shutil.which("gcc")
    include = sysconfig.get_paths()["include"]
    if compiler is None or not Path(include, "Python.h").is_file():
        pytest.skip("a C compiler or Python's headers")
    (folder / "old_driver.c").write_text(SOURCE)
    library = f"old_driver{sysconfig.get_config_var('EXT_SUFFIX')}"
    subprocess.run(
        [compiler, "-shared", "-fPIC", f"-I{include}", "old_driver.c", "-o", library], cwd=folder, check=True
    )
    metadata = folder / "old_driver-1.5.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: old-driver\nVersion: 1.5\n")
    (metadata / "top_level.txt").write_text("old_driver\n")
    (metadata / "RECORD").write_text(f"{library},,\n")
    (folder / "shop.py").write_text(SHOP)
    (folder / "early.py").write_text("import old_driver\n" + SHOP)
    return folder


def ask(address: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(address + path, timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


# Elsewhere the GIL is always on, and there is nothing to guard.
if IS_FREE_THREADED:

    @pytest.mark.parametrize("requires", [False, True])
    def test_an_extension_that_is_loaded_by_a_request(site: Path, tmp_path: Path, requires: bool) -> None:
        options = ("--admin", "127.0.0.1:0", "--threads", "2", *(["--require-free-threading"] if requires else []))
        with start(tmp_path, *options, "shop:app", cwd=site) as server:
            admin = server.wait_until_said(r"live page on (http://\S+)")[1]
            assert ask(admin, "/readyz") == (200, "ready\n")
            assert "mreactor_gil_enabled 0" in ask(admin, "/metrics")[1]
            with server.connect() as client:
                assert client.ask(get("/query")).text == "old_driver"
                server.wait_until_said(CAUSE)
                assert re.search(r"ERROR\S* .*" + CAUSE.pattern, server.stderr, re.IGNORECASE)
                status, text = ask(admin, "/readyz")
                assert status == (503 if requires else 200)
                assert CAUSE.search(text)
                assert "mreactor_gil_enabled 1" in ask(admin, "/metrics")[1]
                stats = json.loads(ask(admin, "/stats.json")[1])
                assert (stats["gil"], bool(CAUSE.fullmatch(stats["gil_cause"]))) == (True, True)
                assert client.ask(get("/")).text == "root"
            assert server.stop() == 0
            assert len(CAUSE.findall(server.stderr)) == 1
            assert "RuntimeWarning" not in server.stderr

    def test_an_extension_that_the_application_imports(site: Path, tmp_path: Path) -> None:
        with start(tmp_path, "early:app", cwd=site) as server:
            server.wait_until_said(CAUSE)
            assert re.search(r"ERROR\S* .*" + CAUSE.pattern, server.stderr, re.IGNORECASE)
            assert server.stop() == 0

    def test_a_server_that_requires_free_threading_does_not_start(site: Path) -> None:
        done = run("--require-free-threading", "--port", "0", "early:app", cwd=site)
        assert done.returncode == 1
        assert CAUSE.search(done.stderr)
        assert "--require-free-threading" in done.stderr

    def test_a_gil_by_choice(site: Path, tmp_path: Path) -> None:
        done = run("--require-free-threading", "--port", "0", "shop:app", cwd=site, PYTHON_GIL="1")
        assert done.returncode == 1
        assert "start without PYTHON_GIL=1" in done.stderr


def test_other_warnings_are_shown_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    import warnings

    shown = []
    monkeypatch.setattr(gil, "IS_FREE_THREADED", True)
    monkeypatch.setattr(gil, "_modules", [])
    with warnings.catch_warnings():
        monkeypatch.setattr(warnings, "showwarning", lambda *arguments: shown.append(str(arguments[0])))
        gil.watch_gil()
        gil.watch_gil()
        warnings.simplefilter("always")
        warnings.warn("something else", RuntimeWarning, stacklevel=1)
        text = "The global interpreter lock (GIL) has been enabled to load module 'a.b', which has not declared"
        warnings.warn(text, RuntimeWarning, stacklevel=1)
    assert shown == ["something else"]
    assert gil._modules == ["a.b"]


def test_without_a_gil_there_is_no_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    assert gil.gil_cause() == ""
