"""scripts/python3.13t: where it looks for an interpreter, what it accepts, what it remembers."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.provisioning import FIT, SCRIPTS, Machine, needs_keyring, needs_tools

pytestmark = needs_tools


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# --- Where it looks, and in which order. ---


def test_hands_its_arguments_on_as_they_are(machine: Machine) -> None:
    machine.command("python3.13t", 'if [ "$1" = -I ]; then echo ' + FIT + '; else printf "%s|" "$@"; fi\n')
    assert machine.run("-c", "a b", "", "*", "$HOME").stdout == "-c|a b||*|$HOME|"


def test_exits_as_the_interpreter_does(machine: Machine) -> None:
    machine.command("python3.13t", f'[ "$1" = -I ] || exit 7; echo {FIT}\n')
    assert machine.run().returncode == 7


def test_takes_the_one_named_in_the_environment_before_all(machine: Machine) -> None:
    machine.interpreter("python3.13t")
    mine = machine.interpreter("mine")
    assert machine.run("x", MREACTOR_PYTHON=str(mine)).stdout == "mine x\n"
    assert machine.run("x", MREACTOR_PYTHON="mine").stdout == "mine x\n"


def test_takes_path_before_the_cache(machine: Machine) -> None:
    machine.interpreter(str(machine.built))
    machine.interpreter("python3.13t").rename(machine.bin / "kept")
    machine.command("python3.13t", 'exec kept "$@"\n')
    machine.command("uv", "exit 9\n")
    assert machine.run("x").stdout == "python3.13t x\n"
    (machine.bin / "python3.13t").unlink()
    assert machine.run("x").stdout == "python3.13t x\n"
    assert (machine.cache / "mreactor" / "verified.cache").read_text() == f"{machine.built}\n{FIT}\n"


def test_takes_the_cache_before_uv(machine: Machine) -> None:
    machine.interpreter(str(machine.built))
    machine.command("uv", 'touch "$HOME/uv-was-asked"\n')
    assert machine.run("x").stdout == "python3.13t x\n"
    assert not (machine.home / "uv-was-asked").exists()


def test_looks_further_on_path_than_a_shim_that_leads_nowhere(machine: Machine) -> None:
    shim = machine.command("python3.13t", "echo 'no version chosen' >&2; exit 127\n")
    further = machine.interpreter(str(machine.home / "further" / "python3.13t"))
    done = machine.run("x", PATH=f"{machine.bin}:{further.parent}")
    assert done.stdout == "python3.13t x\n"
    assert f"passing over {shim}: it does not run" in done.stderr


def test_does_not_take_itself_for_an_interpreter(machine: Machine) -> None:
    further = machine.interpreter(str(machine.home / "further" / "python3.13t"))
    done = machine.run("x", PATH=f"{SCRIPTS}:{machine.bin}:{further.parent}")
    assert (done.stdout, done.stderr) == ("python3.13t x\n", "")


def test_refuses_to_be_named_as_the_interpreter(machine: Machine) -> None:
    done = machine.run(MREACTOR_PYTHON=str(SCRIPTS / "python3.13t"))
    assert done.returncode == 1
    assert "will not do" in done.stderr


def test_works_through_a_link_from_any_directory(machine: Machine) -> None:
    machine.interpreter("python3.13t")
    link = machine.home / "linked"
    link.symlink_to(SCRIPTS / "python3.13t")
    done = subprocess.run([link, "x"], env=machine.environment(), cwd="/", capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("python3.13t x\n", "")


# --- What it accepts. ---


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ("ordinary gil-on 3 13 5", "Python 3.13.5 is an ordinary build, with the GIL"),
        ("ordinary gil-on 3 12 9", "Python 3.12.9 is older than 3.13"),
        ("free gil-on 3 13 5", "Python 3.13.5 is free-threaded, but its GIL is switched on"),
        ("", "it does not run, or is no Python 3"),
    ],
)
def test_an_unfit_interpreter_is_an_error_where_it_was_named(machine: Machine, facts: str, reason: str) -> None:
    machine.interpreter("mine", facts)
    machine.interpreter("python3.13t")
    done = machine.run("x", MREACTOR_PYTHON="mine")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"mreactor: MREACTOR_PYTHON=mine will not do: {reason}\n"


def test_a_named_interpreter_that_is_not_there_is_an_error(machine: Machine) -> None:
    done = machine.run(MREACTOR_PYTHON="/nowhere/python")
    assert done.returncode == 1
    assert done.stderr == "mreactor: MREACTOR_PYTHON=/nowhere/python: there is no such command\n"


@pytest.mark.parametrize("facts", ["free gil-off 3 13 3", "free gil-off 3 14 0", "free gil-off 3 15 2"])
def test_takes_a_newer_one_without_a_word(machine: Machine, facts: str) -> None:
    machine.interpreter("python3.13t", facts)
    done = machine.run("x")
    assert (done.stdout, done.stderr) == ("python3.13t x\n", "")


@pytest.mark.parametrize("patch", [0, 1, 2])
def test_warns_each_time_of_one_that_scales_badly(machine: Machine, patch: int) -> None:
    machine.interpreter("python3.13t", f"free gil-off 3 13 {patch}")
    for _ in range(2):
        done = machine.run("x")
        assert done.stdout == "python3.13t x\n"
        assert f"warning: Python 3.13.{patch} does not scale well over threads" in done.stderr


def test_tells_at_each_start_that_the_one_in_the_cache_is_old(machine: Machine) -> None:
    machine.interpreter(str(machine.built), "free gil-off 3 13 5")
    for _ in range(2):
        done = machine.run("x")
        assert done.stdout == "python3.13t x\n"
        assert "Python 3.13.5 is old" in done.stderr
        assert done.stderr.endswith("To renew it: scripts/install-python3.13t\n")
    assert machine.asked() == ["python3.13t"]


def test_does_not_call_old_what_others_look_after(machine: Machine) -> None:
    machine.interpreter("python3.13t", "free gil-off 3 13 5")
    assert machine.run("x").stderr == ""


def test_asks_again_when_an_earlier_script_has_remembered_the_path_alone(machine: Machine) -> None:
    machine.interpreter(str(machine.built))
    (machine.cache / "mreactor" / "verified.cache").write_text(f"{machine.built}\n")
    assert machine.run("x").stdout == "python3.13t x\n"
    assert machine.asked() == ["python3.13t"]


# --- What it remembers. ---


def test_asks_an_interpreter_once(machine: Machine) -> None:
    machine.interpreter("python3.13t")
    for _ in range(3):
        assert machine.run("x").stdout == "python3.13t x\n"
    assert machine.asked() == ["python3.13t"]


def test_asks_again_when_the_interpreter_changed(machine: Machine) -> None:
    machine.interpreter("python3.13t")
    machine.run("x")
    os.utime(machine.bin / "python3.13t", (4_000_000_000, 4_000_000_000))
    machine.run("x")
    assert machine.asked() == ["python3.13t", "python3.13t"]


def test_what_was_named_once_is_not_taken_for_found(machine: Machine) -> None:
    machine.interpreter("mine")
    machine.interpreter("python3.13t")
    machine.run("x", MREACTOR_PYTHON="mine")
    assert machine.run("x").stdout == "python3.13t x\n"


def test_does_without_a_cache_that_cannot_be_written(machine: Machine) -> None:
    machine.interpreter("python3.13t")
    (machine.home / "file").touch()
    done = machine.run("x", XDG_CACHE_HOME=str(machine.home / "file"))
    assert (done.stdout, done.stderr) == ("python3.13t x\n", "")


# --- uv. ---


def test_takes_what_uv_has_and_does_not_ask_again(machine: Machine) -> None:
    path = machine.interpreter(str(machine.home / "uv" / "python3.13t"))
    machine.command("uv", f'echo "$*" >>"$HOME/uv-asked"; echo {path}\n')
    for _ in range(2):
        assert machine.run("x").stdout == "python3.13t x\n"
    assert (machine.home / "uv-asked").read_text() == "python find --system --no-project 3.13t\n"


def test_has_uv_install_one(machine: Machine) -> None:
    machine.command(
        "uv", 'case $2 in install) cp "$HOME/ready" "$HOME/py" ;; *) [ -e "$HOME/py" ] && echo "$HOME/py" ;; esac\n'
    )
    machine.interpreter(str(machine.home / "ready"))
    done = machine.run("x")
    assert done.stdout == "ready x\n"
    assert "asking uv for a free-threaded Python 3.13, for at most 120 s" in done.stderr


@needs_keyring
def test_does_not_wait_for_uv_longer_than_told(machine: Machine) -> None:
    machine.debian()
    machine.command("uv", "case $2 in install) echo 'connecting ...'; sleep 600 ;; *) exit 2 ;; esac\n")
    done = machine.run("x", MREACTOR_UV_SECONDS="1")
    assert "uv did not provide one" in done.stderr
    assert done.stdout == "interpreter x\n"
    assert machine.builds() == 1


@needs_keyring
def test_leaves_uv_out_when_it_may_take_no_time(machine: Machine) -> None:
    machine.debian()
    machine.command("uv", 'touch "$HOME/uv-was-asked"; exit 1\n')
    assert machine.run("x", MREACTOR_UV_SECONDS="0").stdout == "interpreter x\n"
    assert not (machine.home / "uv-was-asked").exists()
