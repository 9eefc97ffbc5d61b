"""scripts/build-python3.13t as scripts/python3.13t runs it, and scripts/debian-mirrors."""

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.drivers import SOCKET_KINDS, missing
from tests.support.provisioning import (
    BLOCKING_MAKE,
    KEYRINGS,
    MAKE,
    SCRIPTS,
    SECONDS,
    Machine,
    Pipe,
    end,
    needs_keyring,
    needs_tools,
    read_until,
)

pytestmark = needs_tools

TRAINING = SCRIPTS / "train-python3.13t"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def began(machine: Machine) -> Iterator[Pipe]:
    """Tells that make was called, on a machine whose make waits for `go`."""
    pipe = Pipe(machine.home / "began")
    yield pipe
    pipe.close()


@pytest.fixture
def go(machine: Machine) -> Iterator[Pipe]:
    """Lets make go on."""
    machine.debian(BLOCKING_MAKE)
    pipe = Pipe(machine.home / "go")
    yield pipe
    pipe.close()


@pytest.fixture
def blocked(machine: Machine, began: Pipe, go: Pipe) -> Iterator[subprocess.Popen[str]]:
    """A run that has come to compiling and stays there until told to go on; ended with the test at the latest."""
    with machine.start("first") as process:
        try:
            assert began.hear() == "began"
            yield process
        finally:
            end(process)


# --- The build. ---


@needs_keyring
def test_builds_one_where_there_is_none_and_only_once(machine: Machine) -> None:
    machine.debian()
    first, second = machine.run("one"), machine.run("two")
    assert (first.stdout, second.stdout) == ("interpreter one\n", "interpreter two\n")
    assert str(machine.log) in first.stderr
    assert "[6/8] compiling" in first.stderr
    assert second.stderr == ""
    assert machine.builds() == 1
    assert "--disable-gil --enable-optimizations" in machine.log.read_text()
    assert not (machine.cache / "mreactor" / "build").exists()


@needs_keyring
def test_fetches_the_source_with_an_apt_of_its_own_that_checks_signatures(machine: Machine) -> None:
    machine.debian()
    machine.run("x")
    keyring = next(path for path in sorted(KEYRINGS, reverse=True) if path.suffix in {".pgp", ".gpg"})
    source = (machine.home / "sources.list").read_text()
    assert source == f"deb-src [signed-by={keyring}] http://mirror.example/debian forky main\n"
    work = machine.cache / "mreactor" / "build"
    settings = (machine.home / "apt.conf").read_text().splitlines()
    assert f'Dir::State::Lists "{work}/lists";' in settings
    assert f'Dir::Cache "{work}/archives";' in settings
    assert 'Dir::Etc::sourceparts "-";' in settings
    assert 'APT::Get::AllowUnauthenticated "false";' in settings
    assert 'Acquire::AllowInsecureRepositories "false";' in settings


@needs_keyring
def test_links_no_helper_as_a_whole(machine: Machine) -> None:
    machine.debian('case $1 in -j*) cp Makefile "$HOME" ;; esac\n' + MAKE)
    machine.run("x")
    makefile = (machine.home / "Makefile").read_text()
    assert makefile == "build_all: python scripts\n\nPrograms/_freeze_module: x\n$(PY_LDFLAGS_NOLTO)\n\n"


@needs_keyring
def test_falls_back_to_an_older_suite_once_the_newest_has_no_such_package(machine: Machine) -> None:
    machine.debian()
    assert machine.run("x", LACKING="forky").stdout == "interpreter x\n"
    assert (machine.home / "sources.list").read_text().endswith(" http://mirror.example/debian trixie main\n")


@needs_keyring
@pytest.mark.parametrize(
    ("command", "step", "advice"),
    [
        ("make", "step 6 of 8 (compiling) failed", "it starts over"),
        ("apt-get", "step 2 of 8 (fetching the package list) failed", "http://mirror.example/debian"),
        ("tar", "step 4 of 8 (unpacking) failed", "it starts over"),
    ],
)
def test_a_failed_step_says_which_and_how_to_go_on(machine: Machine, command: str, step: str, advice: str) -> None:
    machine.debian()
    machine.command(command, "echo 'error: out of luck'; exit 3\n")
    done = machine.run("x")
    assert (done.returncode, done.stdout) == (1, "")
    assert step in done.stderr
    assert "exit status" in done.stderr
    assert f"the log is {machine.log}" in done.stderr
    assert "    | error: out of luck\n" in done.stderr
    assert advice in done.stderr
    assert "MREACTOR_PYTHON" in done.stderr
    assert not machine.built.exists()


@needs_keyring
def test_a_build_that_lacks_a_module_is_not_published(machine: Machine) -> None:
    machine.debian()
    machine.command(str(machine.home / "interpreter"), "echo \"No module named '_ssl'\" >&2; exit 1\n")
    done = machine.run("x")
    assert "step 8 of 8 (checking) failed" in done.stderr
    assert "No module named '_ssl'" in done.stderr
    assert not machine.built.exists()


@needs_keyring
def test_names_the_missing_packages_to_who_may_not_install_them(machine: Machine) -> None:
    machine.debian()
    machine.command("id", "echo 1000\n")
    machine.command("dpkg-query", "case $* in *libssl-dev*|*zlib1g-dev*) exit 1 ;; *) echo installed ;; esac\n")
    done = machine.run("x")
    assert done.returncode == 1
    assert "apt-get install libssl-dev zlib1g-dev;" in done.stderr
    assert not (machine.home / "installed").exists()


@needs_keyring
def test_installs_the_missing_packages_where_it_may(machine: Machine) -> None:
    machine.debian()
    machine.command("id", "echo 0\n")
    machine.command("dpkg-query", "case $* in *libssl-dev*) exit 1 ;; *) echo installed ;; esac\n")
    assert machine.run("x").stdout == "interpreter x\n"
    assert (machine.home / "installed").read_text().splitlines()[-1].endswith(" libssl-dev")


def test_says_what_to_do_where_nothing_can_be_built(machine: Machine) -> None:
    done = machine.run("x")
    assert done.returncode == 1
    assert "without apt-get no way to build one" in done.stderr
    assert "MREACTOR_PYTHON" in done.stderr


def test_says_so_where_no_debian_archive_is_known(machine: Machine) -> None:
    machine.debian()
    (machine.home / "sources.list").write_text("deb http://mirror.example/ubuntu noble main\n")
    done = machine.run("x")
    assert done.returncode == 1
    assert "no Debian archive among this machine's apt sources" in done.stderr


# --- Renewing, and for all users. ---


@needs_keyring
def test_renews_the_one_in_the_cache(machine: Machine) -> None:
    machine.debian()
    machine.interpreter(str(machine.built), "free gil-off 3 13 5")
    done = machine.run(script="install-python3.13t")
    assert (done.returncode, machine.builds()) == (0, 1)
    assert f"built {machine.built.parent.parent} in " in done.stderr
    again = machine.run("x")
    assert (again.stdout, again.stderr) == ("interpreter x\n", "")


@needs_keyring
def test_a_renewal_that_fails_leaves_the_old_one(machine: Machine) -> None:
    machine.debian("exit 3\n")
    machine.interpreter(str(machine.built))
    assert machine.run(script="install-python3.13t").returncode == 1
    assert machine.run("x").stdout == "python3.13t x\n"


@needs_keyring
def test_installs_one_for_all_users_and_tells_them_when_it_is_old(machine: Machine) -> None:
    machine.debian()
    root = machine.home / "root"
    done = machine.run("all-users", script="install-python3.13t", MREACTOR_ROOT=str(root))
    command = root / "usr/local/bin/python3.13t"
    assert done.stderr.endswith(f"mreactor: all users have it as {command}\n")
    assert command.resolve() == root / "opt/mreactor/python3.13t/bin/python3.13t"
    path = f"{command.parent}:{machine.bin}"
    assert machine.run("x", PATH=path, MREACTOR_ROOT=str(root)).stdout == "interpreter x\n"
    assert machine.builds() == 1
    machine.interpreter(str(command.resolve()), "free gil-off 3 13 5")
    os.utime(command.resolve(), (4_000_000_000, 4_000_000_000))
    old = machine.run("x", PATH=path, MREACTOR_ROOT=str(root))
    assert "Python 3.13.5 is old" in old.stderr
    assert "scripts/install-python3.13t all-users, as root" in old.stderr


def test_says_that_it_needs_root_where_it_may_not_write(machine: Machine) -> None:
    (machine.home / "file").touch()
    done = machine.run("all-users", script="install-python3.13t", MREACTOR_ROOT=str(machine.home / "file"))
    assert done.returncode == 1
    assert done.stderr.endswith("/opt/mreactor cannot be written; run this as root\n")


def test_says_how_it_is_called(machine: Machine) -> None:
    done = machine.run("--every-user", script="install-python3.13t")
    assert (done.returncode, done.stderr) == (1, "mreactor: usage: scripts/install-python3.13t [all-users]\n")


# --- Two at once, and interruptions. ---


@needs_keyring
def test_of_two_at_once_the_second_waits_and_says_so(
    machine: Machine, blocked: subprocess.Popen[str], go: Pipe
) -> None:
    with machine.start("second") as second:
        try:
            assert second.stderr is not None
            read_until(
                second.stderr.fileno(),
                f"another run is getting the interpreter; waiting for it (its log: {machine.log})",
            )
            go.say("go")
            assert second.communicate(timeout=SECONDS)[0] == "interpreter second\n"
        finally:
            end(second)
    assert blocked.communicate(timeout=SECONDS)[0] == "interpreter first\n"
    assert machine.builds() == 1


@needs_keyring
def test_starts_over_after_a_build_was_killed(machine: Machine, blocked: subprocess.Popen[str]) -> None:
    os.killpg(blocked.pid, signal.SIGKILL)
    blocked.wait(timeout=SECONDS)
    half_made = machine.cache / "mreactor" / "build" / "tree" / "half-made.o"
    half_made.touch()
    assert not machine.built.exists()
    machine.command("make", f"[ ! -e {half_made} ] || exit 1\n{MAKE}")
    assert machine.run("again").stdout == "interpreter again\n"
    assert machine.builds() == 1


@needs_keyring
def test_an_interruption_is_named(machine: Machine, blocked: subprocess.Popen[str]) -> None:
    os.killpg(blocked.pid, signal.SIGTERM)
    _, said = blocked.communicate(timeout=SECONDS)
    assert blocked.returncode == 128 + signal.SIGTERM
    assert "interrupted ([6/8] compiling)" in said
    assert not machine.built.exists()


@needs_keyring
def test_a_terminal_sees_the_seconds_pass(machine: Machine, go: Pipe, began: Pipe) -> None:
    ours, theirs = pty.openpty()
    with machine.start("x", stderr=theirs) as process:
        try:
            assert began.hear() == "began"
            read_until(ours, "\r\033[Kmreactor: [6/8] compiling ... ")
            go.say("go")
            assert process.communicate(timeout=SECONDS)[0] == "interpreter x\n"
        finally:
            end(process)
            os.close(ours)
            os.close(theirs)


# --- Whose archive. ---


@pytest.mark.parametrize(
    ("name", "entry", "mirrors"),
    [
        ("a.list", "deb http://a.example/debian bookworm main", "http://a.example/debian"),
        ("a.list", "deb-src  http://a.example/pub/debian/ sid main contrib # local", "http://a.example/pub/debian/"),
        ("a.list", "# deb http://a.example/debian bookworm main", ""),
        (
            "a.list",
            "deb [ arch=amd64 signed-by=/k/debian-archive-keyring.gpg ] http://a.example/x sid main",
            "http://a.example/x",
        ),
        ("a.list", "deb [signed-by=/k/third.gpg arch=amd64] https://a.example/debian bookworm main", ""),
        ("a.list", "deb https://a.example/tools/runner/debian bookworm main", ""),
        ("a.list", "deb https://a.example/linux/debian bookworm stable", ""),
        ("a.list", "deb http://a.example/ubuntu noble main", ""),
        ("a.list", "deb http://a.example/debian-security bookworm-security main", ""),
        ("a.list", "deb http://a.example/debian bookworm-backports main", ""),
        (
            "a.sources",
            "Types: deb\nURIs: http://a.example/debian\nSuites: sid\nComponents: main",
            "http://a.example/debian",
        ),
        (
            "a.sources",
            "Types: deb deb-src\n# a comment\nURIs: http://a.example/debian\n http://b.example/debian\n"
            "Suites: trixie trixie-updates\nComponents:\n main\n contrib\n"
            "Signed-By: /k/debian-archive-keyring.pgp",
            "http://a.example/debian\nhttp://b.example/debian",
        ),
        ("a.sources", "URIs: http://a.example/debian\nSuites: sid\nComponents: main\nEnabled: no", ""),
        ("a.sources", "URIs: http://a.example/debian\nSuites: sid\nComponents: main\nSigned-By: /k/third.gpg", ""),
        (
            "a.sources",
            "URIs: http://a.example/debian\nSuites: sid\nComponents: main\n"
            "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQ",
            "",
        ),
        (
            "a.sources",
            "URIs: https://a.example/apt\nSuites: sid\nComponents: main\n\n"
            "URIs: http://b.example/debian\nSuites: sid\nComponents: main\n",
            "http://b.example/debian",
        ),
        ("a.sources.off", "URIs: http://a.example/debian\nSuites: sid\nComponents: main", ""),
    ],
)
def test_mirrors_are_debians_own(machine: Machine, name: str, entry: str, mirrors: str) -> None:
    parts = machine.home / "parts"
    parts.mkdir()
    (parts / name).write_text(entry + "\n")
    machine.command("apt-config", f"echo \"list='/nowhere'\"; echo \"parts='{parts}/'\"\n")
    done = machine.run(script="debian-mirrors")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == mirrors.splitlines()


def test_a_mirror_signed_by_debians_keyring_comes_first(machine: Machine) -> None:
    sources = machine.home / "sources.list"
    sources.write_text(
        "deb http://a.example/debian sid main\n"
        "deb [signed-by=/k/debian-archive-keyring.gpg] http://b.example/debian sid main\n"
        "deb http://b.example/debian sid main\n"
    )
    machine.command("apt-config", f"echo \"list='{sources}'\"; echo \"parts='/nowhere/'\"\n")
    done = machine.run(script="debian-mirrors")
    assert done.stdout.split() == ["http://b.example/debian", "http://a.example/debian"]


# --- The training. ---


@needs_keyring
def test_the_second_compilation_is_told_by_the_training(machine: Machine) -> None:
    machine.debian('case $1 in -j*) cp "${2#PROFILE_TASK=}" "$HOME/task" ;; esac\n' + MAKE)
    machine.run("x")
    assert (machine.home / "task").read_text() == TRAINING.read_text()


@needs_keyring
def test_no_loop_is_compiled_for_size(machine: Machine) -> None:
    machine.debian('case $1 in -j*) echo "$4" >"$HOME/flags" ;; esac\n' + MAKE)
    machine.run("x")
    flags = (machine.home / "flags").read_text().removeprefix("PGO_PROF_USE_FLAG=").split()
    assert {"-fprofile-use", "-fprofile-partial-training"} <= set(flags)


def test_the_training_serves_on_each_backend() -> None:
    done = subprocess.run(
        [sys.executable, TRAINING, "0.1"], capture_output=True, text=True, timeout=SECONDS, check=True
    )
    for backend in SOCKET_KINDS:
        if not missing(backend):
            assert re.search(rf"^trained on {backend}: [1-9]\d* rounds$", done.stdout, re.MULTILINE)
