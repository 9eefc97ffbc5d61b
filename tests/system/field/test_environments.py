"""Surroundings as reports tell of them: options of the interpreter, limits, signals, what the application sets."""

import os
import re
import resource
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from tests.support.drivers import PATIENCE_SECONDS
from tests.support.processes import ROOT, ServerProcess, ask, environment, start
from tests.support.vectors import get

APP = """
from mreactor import App, Request

app = App()

@app.get("/ok")
def ok(request):
    return "ok"

@app.get("/wait", blocking=True)
def wait(request):
    import time
    time.sleep(0.2)
    return "waited"

@app.get("/boom")
def boom(request):
    raise ValueError("caf\\u00e9 \\u20ac")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "env_app.py").write_text(APP)
    return tmp_path


def begin(folder: Path, backend: str, more: str) -> None:
    """Put code in front of the application's."""
    (folder / "env_app.py").write_text(more + APP)


def check(server: ServerProcess, *, complains: bool = False) -> None:
    assert ask(server, get("/ok"))[::2] == (200, "ok")
    assert ask(server, get("/wait"))[::2] == (200, "waited")
    assert ask(server, get("/boom"))[0] == 500
    assert server.stop() == 0
    assert "the handler of GET /boom failed" in server.stderr or complains


def serve(folder: Path, backend: str, **more: str) -> object:
    return start(folder, "--backend", backend, "--threads", "2", "env_app:app", cwd=folder, **more)


@pytest.mark.parametrize(
    "options",
    [
        {"PYTHONOPTIMIZE": "2"},
        {"PYTHONWARNINGS": "error"},
        {"PYTHONDEVMODE": "1"},
        {"PYTHONMALLOC": "mimalloc_debug"},
        {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "tr_TR.UTF-8", "TZ": "Pacific/Kiritimati"},
        {"PYTHONSAFEPATH": "", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"},
        {"PYTHONTRACEMALLOC": "5"},
        {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_of_the_interpreter(folder: Path, backend: str, options: dict[str, str]) -> None:
    with serve(folder, backend, **options) as server:
        check(server)


@pytest.mark.parametrize(
    "code",
    [
        "import locale, os, time\nos.environ['TZ'] = 'Asia/Tokyo'\ntime.tzset()\n",
        "import sys\nsys.setrecursionlimit(120)\n",
        "import io, sys\nsys.stderr = io.StringIO()\nsys.stderr.close()\n",
        "import sys\nsys.stderr = None\n",
        "import threading\nthreading.excepthook = lambda *_: 1 / 0\n",
        "import gc\ngc.disable()\n",
        "import os\nos.umask(0o777)\n",
        "import sys\nsys.setswitchinterval(1e-6)\n",
        "import warnings\nwarnings.simplefilter('error')\n",
        "import decimal\ndecimal.getcontext().prec = 2\n",
        "import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n",
        "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(3600,), daemon=True).start()\n",
        "import random\nrandom.seed(1)\nimport asyncio\nasyncio.set_event_loop(asyncio.new_event_loop())\n",
    ],
    ids=lambda code: code.split("\n")[-2][:40],
)
def test_what_an_application_sets(folder: Path, backend: str, code: str) -> None:
    begin(folder, backend, code)
    with serve(folder, backend) as server:
        check(server)


@pytest.mark.parametrize("hook", ["setprofile", "settrace"])
def test_a_profiler_in_all_threads_that_fails(folder: Path, backend: str, hook: str) -> None:
    """Coverage tools and debuggers set one. One that raises is switched off by the interpreter."""
    begin(folder, backend, f"import threading\nthreading.{hook}(lambda *_: None)\n")
    with serve(folder, backend) as server:
        check(server)


@pytest.mark.parametrize("timer", ["ITIMER_REAL", "ITIMER_PROF", "ITIMER_VIRTUAL"])
def test_signals_a_thousand_times_a_second(folder: Path, backend: str, timer: str) -> None:
    """Sampling profilers do this. Each system call may end with EINTR."""
    number = {"ITIMER_REAL": "SIGALRM", "ITIMER_PROF": "SIGPROF", "ITIMER_VIRTUAL": "SIGVTALRM"}[timer]
    code = (
        f"import signal\nsignal.signal(signal.{number}, lambda *_: None)\n"
        f"signal.setitimer(signal.{timer}, 0.001, 0.001)\n"
    )
    begin(folder, backend, code)
    with serve(folder, backend) as server:
        ends = time.monotonic() + 1.5
        with server.connect() as client:
            while time.monotonic() < ends:
                assert client.ask(get("/ok")).text == "ok"
        check(server)


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_handler_of_the_application_for_the_end_does_not_prevent_it(folder: Path, backend: str, number: str) -> None:
    begin(folder, backend, f"import signal\nsignal.signal(signal.{number}, signal.SIG_IGN)\n")
    with serve(folder, backend) as server:
        check(server)


def test_a_directory_that_is_gone(folder: Path, backend: str) -> None:
    gone = folder / "gone"
    gone.mkdir()
    code = (
        "import os, sys; os.chdir(sys.argv[1]); os.rmdir(sys.argv[1]);"
        "sys.argv[:] = ['mreactor', '--port', '0', '--threads', '1', '--backend', sys.argv[2], 'env_app:app'];"
        "from mreactor.cli import main; raise SystemExit(main())"
    )
    variables = environment(PYTHONPATH=f"{ROOT}{os.pathsep}{folder}")
    with subprocess.Popen(
        [sys.executable, "-c", code, gone, backend], env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            line = process.stdout.readline()
            assert re.match(rb"listening on ", line), process.stderr.read()
            process.terminate()
            assert process.wait(PATIENCE_SECONDS) == 0
        finally:
            process.kill()


def test_a_package_in_a_zip_file(folder: Path, backend: str) -> None:
    archive = folder / "all.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in (ROOT / "mreactor").rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                file.write(path, path.relative_to(ROOT))
    with serve(folder, backend, PYTHONPATH=str(archive)) as server:
        check(server)


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_NOFILE, 40),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_STACK, 1 << 20),
    ],
    ids=["MEMLOCK", "NOFILE", "CORE", "STACK"],
)
def test_limits_of_the_process(folder: Path, backend: str, limit: int, value: int) -> None:
    begin(folder, backend, f"import resource\nresource.setrlimit({limit}, ({value}, {value}))\n")
    with serve(folder, backend) as server:
        check(server)


def test_a_pool_that_can_start_no_thread(folder: Path, backend: str) -> None:
    """The request gets a response, and the server keeps serving."""
    code = (
        "import threading\nreal = threading.Thread.start\n"
        "def start(self):\n"
        "    if self.name.startswith('blocking') and not open_gate:\n"
        '        raise RuntimeError("can\'t start new thread")\n'
        "    real(self)\n"
        "threading.Thread.start = start\nopen_gate = []\n"
    )
    more = "\n@app.get('/open')\ndef gate(request):\n    open_gate.append(1)\n    return 'open'\n"
    begin(folder, backend, code)
    with (folder / "env_app.py").open("a") as file:
        file.write(more)
    with serve(folder, backend) as server:
        assert ask(server, get("/wait"))[0] == 503
        assert ask(server, get("/open"))[0] == 200
        check(server)


def test_a_burst_of_short_connections_beside_forks(folder: Path, backend: str) -> None:
    """Descriptors are closed once, and numbers are used again at once."""
    with serve(folder, backend) as server:
        before = server.count_descriptors()

        def burst() -> None:
            for _ in range(300):
                assert ask(server, get("/ok"))[0] == 200

        threads = [threading.Thread(target=burst) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        end = time.monotonic() + PATIENCE_SECONDS
        while server.count_descriptors() > before:
            assert time.monotonic() < end
            time.sleep(0.01)
        check(server)
