"""What conftest sees to: skipped tests are counted aloud, or fail; a user's variables do not reach the suites."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import has_io_uring

ROOT = Path(__file__).resolve().parents[2]
SUITE = """\
import pytest

def test_one():
    pytest.skip({reason!r})
"""


def run(folder: Path, suite: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a suite of its own with this project's conftest."""
    (folder / "test_one.py").write_text(suite)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", str(folder)]
    command += [f"--rootdir={folder}"]
    return subprocess.run(command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True)


def test_skips_are_counted_aloud(tmp_path: Path) -> None:
    done = run(tmp_path, SUITE.format(reason="wrk is not installed"))
    assert done.returncode == 0
    assert "1 tests skipped, for what this machine lacks" in done.stdout
    assert "    1  wrk is not installed\n" in done.stdout


def test_a_skip_for_want_of_io_uring_fails_where_the_kernel_has_it(tmp_path: Path) -> None:
    done = run(tmp_path, SUITE.format(reason="io_uring: a probe that is wrong"))
    assert done.returncode == has_io_uring()
    if has_io_uring():
        assert "skipped, but this kernel has io_uring: io_uring: a probe that is wrong" in done.stdout


def test_a_kernel_that_is_too_old_or_refuses_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    has_io_uring.cache_clear()
    monkeypatch.setattr("os.uname", lambda: type("Uname", (), {"release": "6.0.19-amd64"}))
    try:
        assert not has_io_uring()
    finally:
        has_io_uring.cache_clear()


def test_suites_do_not_hear_of_the_user_s_variables(tmp_path: Path) -> None:
    """`WORKER_BACKEND=io_uring scripts/test` is one of the first things that people try."""
    suite = "import mreactor.cli, os\ndef test(): assert mreactor.cli.parse([], os.environ)[0] == mreactor.Config()\n"
    assert run(tmp_path, suite, WORKER_BACKEND="io_uring", HTTP_SERVER_LOGS="1").returncode == 0
