"""The face of the runtime package: what each call does, and that other interpreters are left alone."""

import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mreactor import runtime
from mreactor.runtime import allocator, private_bytes, private_int, scheduling, unshared
from mreactor.runtime.type_cache import is_known

IS_FREE_THREADED = not getattr(sys, "_is_gil_enabled", lambda: True)()


def run_in_thread[T](work: Callable[[], T]) -> T:
    """Return the result of `work` in a thread of its own."""
    results: list[T] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    return results[0]


def test_names_are_interned_at_import_where_the_layout_is_known() -> None:
    assert bool(runtime.INTERNED) is is_known()
    assert runtime.at_import() == [], "all names are interned by now"


def test_classes_are_adapted_before_threads_where_the_layout_is_known() -> None:
    left = runtime.before_threads()
    assert (left is None) is not is_known()
    assert runtime.before_threads() == left, "idempotent"


@pytest.mark.parametrize(("batch", "policy"), [(True, os.SCHED_BATCH), (False, os.SCHED_OTHER)])
def test_a_thread_uses_batch_scheduling_on_request(batch: bool, policy: int) -> None:
    def work() -> int:
        runtime.in_thread(batch=batch)
        return os.sched_getscheduler(0)

    assert run_in_thread(work) == policy
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_a_sandbox_that_forbids_the_policy_is_tolerated(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", forbid)
    runtime.in_thread(batch=True)
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_usable_cpus_follow_the_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduling, "cpu_quota", lambda: math.inf)
    before = os.sched_getaffinity(0)

    def work() -> int:
        os.sched_setaffinity(0, {min(before)})
        return runtime.usable_cpus()

    assert run_in_thread(work) == 1
    assert runtime.usable_cpus() == len(before)


@pytest.mark.parametrize(("quota", "cpus"), [(0.01, 1), (1.0, 1), (1.5, 2), (3.0, 3), (math.inf, 4)])
def test_usable_cpus_follow_the_quota(quota: float, cpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)))
    monkeypatch.setattr(scheduling, "cpu_quota", lambda: quota)
    assert runtime.usable_cpus() == cpus


def test_without_the_affinity_all_cpus_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(pid: int) -> set[int]:
        raise PermissionError

    monkeypatch.setattr(os, "sched_getaffinity", forbid)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    monkeypatch.setattr(scheduling, "cpu_quota", lambda: math.inf)
    assert runtime.usable_cpus() == 3


@pytest.mark.parametrize(
    ("memberships", "files", "quota"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000"}, 0.5),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 200000"}, 1.5),
        ("0::/\n", {"cpu.max": "400000 100000"}, 4.0),
        ("0::/outside\n", {"cpu.max": "400000 100000"}, 4.0),
        ("0::/\n", {}, math.inf),
        ("0::/\n", {"cpu.max": "nonsense"}, math.inf),
        (
            "3:cpu,cpuacct:/docker/x\n0::/\n",
            {"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            0.5,
        ),
        ("1:cpu:/x\n", {"cpu/x/cpu.cfs_quota_us": "-1\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("2:cpuacct:/\n", {"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
    ],
)
def test_the_quota_is_the_smallest_of_the_groups(
    memberships: str, files: dict[str, str], quota: float, tmp_path: Path
) -> None:
    listed, mounted = tmp_path / "cgroup", tmp_path / "mounted"
    listed.write_text(memberships)
    for name, text in files.items():
        (mounted / name).parent.mkdir(parents=True, exist_ok=True)
        (mounted / name).write_text(text)
    # A file above the mount point is not a quota.
    (tmp_path / "cpu.max").write_text("1 100000")
    assert scheduling.read_quota(listed, mounted) == quota


def test_without_proc_there_is_no_quota(tmp_path: Path) -> None:
    assert scheduling.read_quota(tmp_path / "nothing", tmp_path) == math.inf


def test_each_tick_releases_pages_on_the_free_threaded_build_only(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[tuple[int, int]] = []

    def fail(*arguments: int) -> bytes:
        reads.append(arguments)  # type: ignore[arg-type]
        raise OSError

    monkeypatch.setattr(os, "read", fail)
    monkeypatch.setattr(allocator, "IS_FREE_THREADED", False)
    runtime.every_tick()
    assert reads == []
    monkeypatch.setattr(allocator, "IS_FREE_THREADED", True)
    runtime.every_tick()
    assert reads == [(-1, size) for size in allocator.LARGE_BYTES]


@pytest.mark.parametrize("value", [0, 256, 257, 0xFFFFFFFF, (1 << 64) - 1])
def test_a_private_int_is_equal_and_a_new_object(value: int) -> None:
    copy = private_int(value)
    assert copy == value
    assert type(copy) is int
    # Small ints exist once in the process and are immortal.
    assert (copy is not value) is (IS_FREE_THREADED and value > 256)


@pytest.mark.parametrize("value", [b"", b"\r\n", b"\r\n\r\n", bytes(1000)])
def test_private_bytes_are_equal_and_a_new_object(value: bytes) -> None:
    copy = private_bytes(value)
    assert copy == value
    # The empty bytes object exists once in the process and is immortal.
    assert (copy is not value) is (IS_FREE_THREADED and value != b"")


def test_constants_are_not_copied_where_there_is_a_gil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unshared, "IS_FREE_THREADED", False)
    number, data = 10**6, b"constant"
    assert private_int(number) is number
    assert private_bytes(data) is data


def test_a_hot_method_must_exist() -> None:
    before = dict(runtime.HOT)
    with pytest.raises(AttributeError, match="no_such_method"):

        @runtime.hot("no_such_method")
        class _Misspelt:
            pass

    assert before == runtime.HOT


def test_the_runtime_is_imported_before_the_rest_of_the_package() -> None:
    program = """
import sys

class Recorder:
    def find_spec(self, name, *_):
        if name.startswith("mreactor."):
            print(name)

sys.meta_path.insert(0, Recorder())
import mreactor
"""
    names = subprocess.check_output([sys.executable, "-c", program], text=True, timeout=60).split()
    early = [name for name in names if name.startswith("mreactor.runtime")]
    assert names[: len(early)] == early
    assert "mreactor.app" in names
