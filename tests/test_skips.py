"""Skipped tests: counted aloud, and a failure where the kernel has what they say it lacks."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import has_io_uring

ROOT = Path(__file__).resolve().parent.parent
SUITE = """\
import pytest

def test_one():
    pytest.skip({reason!r})
"""


def run(folder: Path, reason: str) -> subprocess.CompletedProcess[str]:
    """Run a suite of one test that is skipped, with this project's conftest."""
    (folder / "test_one.py").write_text(SUITE.format(reason=reason))
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", str(folder)]
    return subprocess.run([*command, f"--rootdir={folder}"], cwd=ROOT, capture_output=True, text=True)


def test_skips_are_counted_aloud(tmp_path: Path) -> None:
    done = run(tmp_path, "wrk is not installed")
    assert done.returncode == 0
    assert "1 tests skipped, for what this machine lacks" in done.stdout
    assert "    1  wrk is not installed\n" in done.stdout


def test_a_skip_for_want_of_io_uring_fails_where_the_kernel_has_it(tmp_path: Path) -> None:
    done = run(tmp_path, "io_uring: a probe that is wrong")
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
