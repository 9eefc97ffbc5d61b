"""Nox sessions: all that is checked before a change lands.

    nox                                 the default sessions, in this order
    nox -s "tests(3.13t)" -- -k parser  one of them, with arguments for pytest
    nox -s bench                        the microbenchmarks, compared with the last run
    nox -s fuzz -- --seconds 3600       mutated messages, for an hour
    nox -s soak -- --requests 10000000  a server under load, its memory and descriptors watched
    nox -s equivalence -- REVISION      a commit and this tree, compared byte by byte from outside

The tests run on every interpreter found that mreactor is for; on the free-threaded 3.13 always. Versions of the tools
stand in pyproject.toml, under `dependency-groups`. The tags part the default sessions into three parts that take
equally long, for scripts/test to run side by side.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml("pyproject.toml")
SUPPORTED = ("3.13t", "3.13", "3.14t", "3.14")
NAMES = (*(f"python{label}" for label in SUPPORTED), "python3.12", "python3.11", "python3.10", "python3")
PROBE_SECONDS = 20
PROBE = """
import sys, sysconfig
suffix = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
print(sys.implementation.name, sys.version_info[0], sys.version_info[1], suffix, sys.executable, sep="|")
"""

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = True
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "tidy", "tests", "coverage", "observability", "build"]


# --- The interpreters of this machine. ---


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A CPython that answered: its release, whether it is free-threaded, where it really is."""

    release: tuple[int, int]
    free_threaded: bool
    path: str

    @property
    def label(self) -> str:
        """As people call it: 3.13 or 3.13t."""
        return "{}.{}".format(*self.release) + ("t" if self.free_threaded else "")


def interpreters() -> dict[str, Interpreter]:
    """The CPythons found, by label; of two with the same label, the first."""
    found: dict[str, Interpreter] = {}
    for path in candidates():
        if (interpreter := probe(path)) and interpreter.label not in found:
            found[interpreter.label] = interpreter
    return found


def candidates() -> Iterator[str]:
    """Paths worth asking: the interpreter that runs nox, those on PATH, those of pyenv, the one we built."""
    yield sys.executable
    for directory in (*on_path(), *of_pyenv(), cache() / "python3.13t" / "bin"):
        for name in NAMES:
            if os.access(path := directory / name, os.X_OK):
                yield str(path)


def on_path() -> Iterator[Path]:
    """The directories of PATH, but for this project's own scripts."""
    directories = map(Path, os.environ.get("PATH", "").split(os.pathsep))
    return (
        directory for directory in directories if directory.is_absolute() and directory != ROOT / "scripts"
    )


def of_pyenv() -> list[Path]:
    """Where pyenv keeps interpreters that are on no PATH, the newest first."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    return sorted(root.glob("versions/3.*/bin"), reverse=True)


def cache() -> Path:
    """The folder where scripts/python3.13t keeps what it built."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "mreactor")


def probe(path: str) -> Interpreter | None:
    """Ask an interpreter what it is. None where it does not run, as a shim may that has no version chosen."""
    try:
        answer = subprocess.run(
            [path, "-I", "-c", PROBE], capture_output=True, text=True, check=True, timeout=PROBE_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return None
    name, major, minor, suffix, executable = answer.stdout.strip().split("|")
    if name != "cpython":
        return None
    return Interpreter((int(major), int(minor)), suffix == "t", os.path.realpath(executable))


FOUND = interpreters()
FREE_THREADED = FOUND["3.13t"].path if "3.13t" in FOUND else "python3.13t"


def ordinary(oldest: tuple[int, int]) -> Interpreter | None:
    """The newest interpreter with the GIL, for tools that publish no wheels without it."""
    fit = [one for one in FOUND.values() if not one.free_threaded and one.release >= oldest]
    return max(fit, key=lambda one: one.release, default=None)


CHECKER = ordinary((3, 10))
MEASURER = ordinary((3, 13))
# The interpreter that measures coverage runs the package's whole suite as well; it need not be run there twice.
TESTED = [nox.param(FREE_THREADED, id="3.13t")] + [
    nox.param(FOUND[label].path, id=label)
    for label in SUPPORTED[1:]
    if label in FOUND and FOUND[label] != MEASURER
]

# Tests of the live page drive a browser for a minute; they have a session of their own, which installs it.
PAGE = "tests/system/test_page.py"
# Tests of what surrounds the package, of which they run no line that others do not.
SURROUNDINGS = "tests/project"


# --- The sessions. ---


@nox.session(tags=["third-part"])
def lint(session: nox.Session) -> None:
    """Layout and lint rules, by ruff."""
    install(session, "lint")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session(python=CHECKER.path if CHECKER else FREE_THREADED, tags=["third-part"])
def types(session: nox.Session) -> None:
    """Strict type check, by mypy; on an ordinary Python if there is one."""
    if CHECKER is None:
        session.warn("no ordinary Python found: an older mypy runs on 3.13t, uncompiled and slow")
    install(session, "types" if CHECKER else "types-free-threaded")
    session.run("mypy", "mreactor", "bench", "noxfile.py")


@nox.session(python=FREE_THREADED, tags=["third-part"])
def tidy(session: nox.Session) -> None:
    """The house rules: floors, lengths, names."""
    install(session, "test")
    session.run("python", "-m", "pytest", "tests/project/test_tidy.py", *session.posargs)


@nox.session(tags=["second-part"])
@nox.parametrize("python", TESTED)
def tests(session: nox.Session) -> None:
    """The whole suite but the browser's part, on each interpreter found."""
    install(session, "test")
    session.run("python", "-m", "pytest", f"--ignore={PAGE}", *session.posargs)


@nox.session(python=MEASURER.path if MEASURER else FREE_THREADED, tags=["first-part"])
def coverage(session: nox.Session) -> None:
    """Branch coverage of the package, child processes included; on an ordinary Python if there is one."""
    if MEASURER is None:
        session.warn(
            "no ordinary Python 3.13 found: coverage has no C tracer on 3.13t and is some five times slower"
        )
    install(session, "coverage")
    session.run("coverage", "erase")
    try:
        ignored = [f"--ignore={path}" for path in (PAGE, SURROUNDINGS)]
        session.run("coverage", "run", "-m", "pytest", *ignored, *session.posargs)
    finally:  # the figure is worth seeing beside a failed test, too
        session.run("coverage", "combine", "--quiet")
        session.run("coverage", "report")


@nox.session(python=FREE_THREADED, tags=["third-part"])
def observability(session: nox.Session) -> None:
    """Metrics by the official parser, and the live page in Chromium, which is installed where that is possible."""
    install(session, "observability")
    if shutil.which("chromium") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        session.run("apt-get", "update", "-qq", external=True, success_codes=[0, 100])
        session.run(
            "apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium",
            external=True, silent=True, success_codes=[0, 100], env={"DEBIAN_FRONTEND": "noninteractive"},
        )  # fmt: skip
    session.run("python", "-m", "pytest", "tests/metrics/test_exposition.py", PAGE, *session.posargs)


@nox.session(python=FREE_THREADED)
def fuzz(session: nox.Session) -> None:
    """Mutated messages through the connection; `nox -s fuzz -- --seconds 3600`."""
    install(session, "test")
    session.run("python", "-m", "tests.fuzz", *(session.posargs or ("--seconds", "60")))


@nox.session(python=FREE_THREADED)
@nox.parametrize("backend", ["epoll", "io_uring"])
def soak(session: nox.Session, backend: str) -> None:
    """A server under mixed load; `-- slow`: slow clients by the thousand; `-- drain`: ends under load."""
    install(session, "test")
    asked = session.posargs or ("--requests", "1000000")
    session.run("python", "-m", "tests.soak", *asked, "--backend", backend)


@nox.session(python=FREE_THREADED, tags=["third-part"])
def build(session: nox.Session) -> None:
    """Wheel and source archive, what they hold, and the command that the wheel installs."""
    out = Path(session.create_tmp(), "dist")
    shutil.rmtree(out, ignore_errors=True)
    install(session, "build")
    session.run("python", "-m", "build", "--outdir", str(out), str(ROOT), silent=True)
    (wheel,) = out.glob("*.whl")
    (sdist,) = out.glob("*.tar.gz")
    session.log(f"{wheel.name}: {wheel.stat().st_size:,} bytes; {sdist.name}: {sdist.stat().st_size:,} bytes")
    compare_with_tree(session, wheel)
    session.install("--force-reinstall", "--no-deps", str(wheel))
    session.chdir(out)
    session.run("mreactor", "--help", silent=True)


@nox.session(python=FREE_THREADED)
def bench(session: nox.Session) -> None:
    """The microbenchmarks in bench/, stored and compared with the last stored run."""
    install(session, "bench")
    options = ("--benchmark-only", "--benchmark-autosave", "--benchmark-compare", "-W", "default")
    session.run("python", "-m", "pytest", "bench", *options, *session.posargs)


@nox.session(python=FREE_THREADED)
def equivalence(session: nox.Session) -> None:
    """Compare the servers of a commit and of this tree; `nox -s equivalence -- REVISION --messages 200000`."""
    if not session.posargs:
        session.error("name the commit to compare with: nox -s equivalence -- REVISION")
    revision, *options = session.posargs
    checkout = str(Path(session.create_tmp(), "checkout"))
    session.run("git", "worktree", "add", "--force", "--detach", checkout, revision, external=True)
    try:
        session.run("python", "-m", "tests.equivalence", checkout, str(ROOT), *options)
    finally:
        session.run("git", "worktree", "remove", "--force", checkout, external=True)


def install(session: nox.Session, group: str) -> None:
    """Install a dependency group of pyproject.toml."""
    session.install(*nox.project.dependency_groups(PROJECT, group))


def compare_with_tree(session: nox.Session, wheel: Path) -> None:
    """Fail unless the wheel holds the package's files, all of them and no others."""
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = (path for path in (ROOT / "mreactor").rglob("*") if path.is_file())
    wanted = {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}
    if packed != wanted:
        session.error(f"the wheel and the tree differ in: {', '.join(sorted(packed ^ wanted))}")
