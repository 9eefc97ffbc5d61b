"""The virtual environment of the other Python servers, in the user's cache directory.

They run on an ordinary Python, for which they publish wheels; mreactor has no part in it. Runs on the
harness's only thread.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.process import Missing

COMPETITORS = ("granian", "uvicorn", "gunicorn", "waitress")
ACCELERATORS = ("uvloop", "httptools")  # uvicorn's own recommended extras
PYTHON_VARIABLE = "MREACTOR_BENCH_PYTHON"
PROBE_SECONDS = 20.0
INSTALL_SECONDS = 600.0
PROBE = """
import sys, sysconfig
sys.exit(not (3, 10) <= sys.version_info < (3, 14) or bool(sysconfig.get_config_var("Py_GIL_DISABLED")))
"""
REMEDY = "install the competitors with: python -m bench.race --install"
VERSIONS = "import importlib.metadata as m, json, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"


def home() -> Path:
    """Where the environment lives."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.fspath(Path.home() / ".cache")
    return Path(cache, "mreactor", "bench-venv")


def python() -> str:
    """The interpreter of the environment; Missing where it was not installed to its end."""
    if not record().is_file():
        raise Missing(REMEDY)
    return os.fspath(home() / "bin" / "python")


def versions() -> dict[str, str]:
    """The competitors' versions, as noted when they were installed; empty without an environment."""
    if not record().is_file():
        return {}
    noted: dict[str, str] = json.loads(record().read_text())
    return noted


def record() -> Path:
    """Written last: an environment without it is an interrupted one."""
    return home() / "versions.json"


def install() -> dict[str, str]:
    """Make the environment again and return the versions that it holds; Missing says which step failed."""
    interpreter = ordinary_python()
    say(f"making {home()} with {interpreter}")
    step([interpreter, "-m", "venv", "--clear", os.fspath(home())])
    inside = os.fspath(home() / "bin" / "python")
    names = COMPETITORS + ACCELERATORS
    say(f"installing {', '.join(names)}")
    step([inside, "-m", "pip", "install", "--disable-pip-version-check", "--quiet", *names])
    noted = step([inside, "-c", VERSIONS, *names])
    record().write_text(noted)
    return versions()


def ordinary_python() -> str:
    """The first interpreter that can run the competitors; Missing names the way out."""
    for candidate in candidates():
        if is_ordinary(candidate):
            return candidate
    raise Missing(f"no ordinary Python 3.10 to 3.13 found: name one in {PYTHON_VARIABLE}")


def candidates() -> Iterator[str]:
    """Interpreters to try: the user's choice, 3.12 from PATH, pyenv or uv, then its neighbours."""
    if chosen := os.environ.get(PYTHON_VARIABLE):
        yield chosen
    if found := shutil.which("python3.12"):
        yield found
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    yield from (os.fspath(path) for path in sorted(pyenv.glob("3.12.*/bin/python3.12"), reverse=True))
    if uv := shutil.which("uv"):
        yield output([uv, "python", "find", "3.12"])
    for name in ("python3.13", "python3.11", "python3.10", "python3"):
        if found := shutil.which(name):
            yield found


def is_ordinary(interpreter: str) -> bool:
    """A Python 3.10 to 3.13 with a GIL, for which the competitors have wheels."""
    try:
        return subprocess.run([interpreter, "-c", PROBE], capture_output=True, timeout=PROBE_SECONDS).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def output(command: list[str]) -> str:
    """What a command prints, or nothing where it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def step(command: list[str]) -> str:
    """Run one step of the installation and return its output; Missing where it fails."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=INSTALL_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{' '.join(command)}: {error}") from error
    if done.returncode:
        raise Missing(f"{' '.join(command)} ended with status {done.returncode}")
    return done.stdout


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
