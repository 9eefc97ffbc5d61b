"""Nox sessions: all checks that a change must pass.

    nox                                 the default sessions, in this order
    nox -s quick                        the tests that need no socket, in some seconds
    nox -s "tests(3.13t)" -- -k parser  one session, with arguments for pytest
    nox -s bench                        the microbenchmarks, compared with the last run
    nox -s frameworks                   Flask and Django applications, with the GIL off
    nox -s fuzz -- --seconds 3600       mutated messages, for an hour
    nox -s soak -- --requests 10000000  a server under load, with checks of its memory and descriptors
    nox -s equivalence -- REVISION      a commit and this tree, compared byte by byte from outside

`scripts/python3.13t` finds or builds the free-threaded interpreter. The tests also run on other supported interpreters
if the machine has them. pyproject.toml lists the versions of the tools under `dependency-groups`. scripts/test runs the
tags of the default sessions side by side: `measure`, `suite`, `system` and `checks`.
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
OTHERS = ("3.13", "3.14t", "3.14")
NAMES = (*(f"python{label}" for label in OTHERS), "python3.12", "python3.11", "python3.10", "python3")
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
nox.options.sessions = ["lint", "types", "tidy", "tests", "system", "coverage", "observability", "build"]


# --- The interpreters of this machine. ---


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A CPython that runs: its release, whether it is free-threaded, and its real path."""

    release: tuple[int, int]
    free_threaded: bool
    path: str

    @property
    def label(self) -> str:
        """The usual name of the version: 3.13 or 3.13t."""
        return "{}.{}".format(*self.release) + ("t" if self.free_threaded else "")


def free_threaded() -> str:
    """Return the path of the interpreter that scripts/python3.13t finds or builds; its name if there is none."""
    interpreter = probe(str(ROOT / "scripts" / "python3.13t"), seconds=None)
    return interpreter.path if interpreter else "python3.13t"


def interpreters() -> dict[str, Interpreter]:
    """Return the other CPythons by label. The first one of a label counts."""
    found: dict[str, Interpreter] = {}
    for path in candidates():
        if (interpreter := probe(path)) and interpreter.label not in found:
            found[interpreter.label] = interpreter
    return found


def candidates() -> Iterator[str]:
    """Yield paths of interpreters: the one that runs nox, those on PATH, those of pyenv."""
    yield sys.executable
    for directory in (*on_path(), *of_pyenv()):
        for name in NAMES:
            if os.access(path := directory / name, os.X_OK):
                yield str(path)


def on_path() -> Iterator[Path]:
    """Return the absolute directories of PATH."""
    directories = map(Path, os.environ.get("PATH", "").split(os.pathsep))
    return (directory for directory in directories if directory.is_absolute())


def of_pyenv() -> list[Path]:
    """Return the folders of pyenv's interpreters, the newest first."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    return sorted(root.glob("versions/3.*/bin"), reverse=True)


def probe(path: str, seconds: float | None = PROBE_SECONDS) -> Interpreter | None:
    """Run an interpreter to learn what it is. Return None if it does not run, for example a shim without a version."""
    command = [path, "-I", "-c", PROBE]
    # The script's messages go to the terminal; a shim's complaints do not.
    errors = None if seconds is None else subprocess.DEVNULL
    try:
        output = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, check=True, timeout=seconds
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    name, major, minor, suffix, executable = output.strip().split("|")
    if name != "cpython":
        return None
    return Interpreter((int(major), int(minor)), suffix == "t", os.path.realpath(executable))


FREE_THREADED = free_threaded()
FOUND = interpreters()


def ordinary(oldest: tuple[int, int]) -> Interpreter | None:
    """Return the newest interpreter with the GIL, for tools that have no wheels for 3.13t."""
    fit = [one for one in FOUND.values() if not one.free_threaded and one.release >= oldest]
    return max(fit, key=lambda one: one.release, default=None)


CHECKER = ordinary((3, 10))
MEASURER = ordinary((3, 13))
# The sessions `tests` and `system` leave out the interpreter of `coverage`. The suites in FROM_OUTSIDE and SURROUNDINGS
# do not run on it.
TESTED = [nox.param(FREE_THREADED, id="3.13t")] + [
    nox.param(FOUND[label].path, id=label) for label in OTHERS if label in FOUND and FOUND[label] != MEASURER
]

# Tests of the live page need a browser and take a minute. The session `observability` runs them.
PAGE = "tests/system/test_page.py"
SYSTEM = "tests/system"
# Tests of documents, scripts and benchmarks. They cover no line of the package that other tests miss.
SURROUNDINGS = "tests/project"
# They take minutes, and run no line of the package that other tests do not run.
FROM_OUTSIDE = [
    "tests/equivalence",
    "tests/fuzz",
    "tests/system/faults",
    "tests/system/field",
    *(
        f"tests/system/test_{name}.py"
        for name in (
            "browser_files",
            "cold_files",
            "deploy",
            "forks",
            "limits",
            "nginx_ranges",
            "process",
            "restart",
            "slow_clients",
            "slow_links",
            "slow_readers",
        )
    ),
]
# Tests without sockets, processes and waiting, and the behaviour suite, of which only the in-memory driver runs.
QUICK = [
    *(f"tests/{folder}" for folder in ("http", "http1", "app", "concurrency", "logs", "metrics", "net")),
    "tests/test_config.py",
    *(f"tests/system/test_{name}.py" for name in ("behaviour", "fast_path", "limits", "second_protocol")),
]


# --- The sessions. ---


@nox.session(tags=["checks"])
def lint(session: nox.Session) -> None:
    """Format and lint rules, by ruff."""
    install(session, "lint")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session(python=CHECKER.path if CHECKER else FREE_THREADED, tags=["checks"])
def types(session: nox.Session) -> None:
    """Strict type check, by mypy; on an ordinary Python if there is one."""
    if CHECKER is None:
        session.warn("no ordinary Python found: an older mypy runs on 3.13t, uncompiled and slow")
    install(session, "types" if CHECKER else "types-free-threaded")
    session.run("mypy", "mreactor", "bench", "noxfile.py")
    # As the author of an application checks it: each sample of the guide, and each example.
    samples = Path(session.create_tmp()) / "samples"
    session.run("python", "scripts/extract-samples", str(samples))
    session.run("mypy", *sorted(map(str, samples.glob("*.py"))))


@nox.session(python=FREE_THREADED, tags=["checks"])
def tidy(session: nox.Session) -> None:
    """The house rules: floors, lengths, names; whether the list of attribute names is current."""
    install(session, "test")
    rules = ("tests/project/test_tidy.py", "tests/runtime/test_interned_names.py")
    session.run("python", "-m", "pytest", *rules, *session.posargs)


@nox.session(python=FREE_THREADED)
def quick(session: nox.Session) -> None:
    """The tests that need no socket, process or waiting; the behaviour suite with the in-memory driver."""
    install(session, "test")
    selection = ("-m", "not slow", "-k", "not epoll and not io_uring")
    session.run("python", "-m", "pytest", "-q", *selection, *QUICK, *session.posargs)


@nox.session(tags=["suite"])
@nox.parametrize("python", TESTED)
def tests(session: nox.Session) -> None:
    """The whole suite except for servers seen from outside, on each interpreter found."""
    install(session, "test")
    session.run("python", "-m", "pytest", f"--ignore={SYSTEM}", *session.posargs)


@nox.session(tags=["system"])
@nox.parametrize("python", TESTED)
def system(session: nox.Session) -> None:
    """Servers seen from outside, except for the live page, on each interpreter found. It mostly waits."""
    install(session, "test")
    session.run("python", "-m", "pytest", SYSTEM, f"--ignore={PAGE}", "--durations=30", *session.posargs)


@nox.session(python=MEASURER.path if MEASURER else FREE_THREADED, tags=["measure"])
def coverage(session: nox.Session) -> None:
    """Branch coverage of the package, child processes included; on an ordinary Python if there is one."""
    if MEASURER is None:
        session.warn("no ordinary Python 3.13 found: coverage has no C tracer on 3.13t and is some five times slower")
    install(session, "coverage")
    session.run("coverage", "erase")
    try:
        ignored = [f"--ignore={path}" for path in (PAGE, SURROUNDINGS, *FROM_OUTSIDE)]
        session.run("coverage", "run", "-m", "pytest", *ignored, *session.posargs)
    finally:
        # Report also after a failed test.
        session.run("coverage", "combine", "--quiet")
        session.run("coverage", "report")


@nox.session(python=FREE_THREADED, tags=["checks"])
def observability(session: nox.Session) -> None:
    """Metrics by the official parser, and the live page in Chromium, which the session installs if it can."""
    install(session, "observability")
    if shutil.which("chromium") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        session.run("apt-get", "update", "-qq", external=True, success_codes=[0, 100])
        session.run(
            "apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium",
            external=True, silent=True, success_codes=[0, 100], env={"DEBIAN_FRONTEND": "noninteractive"},
        )  # fmt: skip
    session.run("python", "-m", "pytest", "tests/metrics/test_exposition.py", PAGE, *session.posargs)


@nox.session(python=FREE_THREADED)
def frameworks(session: nox.Session) -> None:
    """Flask and Django applications on both backends, with the GIL off."""
    install(session, "frameworks")
    session.run("python", "-m", "pytest", "tests/frameworks", *session.posargs)


@nox.session(python=FREE_THREADED)
def fuzz(session: nox.Session) -> None:
    """Mutated messages through the connection; `nox -s fuzz -- --seconds 3600`."""
    install(session, "test")
    session.run("python", "-m", "tests.fuzz", *(session.posargs or ("--seconds", "60")))


@nox.session(python=FREE_THREADED)
@nox.parametrize("backend", ["epoll", "io_uring"])
def soak(session: nox.Session, backend: str) -> None:
    """A server under mixed load; `-- slow`: thousands of slow clients; `-- drain`: shutdown under load;
    `-- uploads`: refusals behind proxies; `-- unruly`: an application that forks and fails."""
    install(session, "test")
    arguments = session.posargs or ("--requests", "1000000")
    session.run("python", "-m", "tests.soak", *arguments, "--backend", backend)


@nox.session(python=FREE_THREADED, tags=["checks"])
def build(session: nox.Session) -> None:
    """Wheel and source archive: their contents, and the installed command."""
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
    """Fail unless the wheel contains exactly the files of the package."""
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = (path for path in (ROOT / "mreactor").rglob("*") if path.is_file())
    wanted = {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}
    if packed != wanted:
        session.error(f"the wheel and the tree differ in: {', '.join(sorted(packed ^ wanted))}")
