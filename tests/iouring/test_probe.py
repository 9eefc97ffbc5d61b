"""The probe: what it finds, how it explains a refusal, and that an import makes no io_uring call."""

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mreactor.iouring import BufferRing, Ring, RingUnavailable, SystemCalls, abi, errors, mapping, probe
from tests.iouring.rings import count_descriptors

# The package exports a function under the module's name.
probe_module = sys.modules["mreactor.iouring.probe"]
ROOT = Path(__file__).resolve().parents[2]


needs_io_uring = pytest.mark.usefixtures("io_uring")


class RefusingCalls(SystemCalls):
    """Calls that fail with `error` where `refuses(number, opcode)` is true. Others go to the kernel."""

    def __init__(self, error: int, refuses: Callable[[int, object], bool]) -> None:
        super().__init__()
        real_syscall, real_errno = self.syscall, self.errno
        refused = False

        def syscall(number: int, *arguments: object) -> int:
            nonlocal refused
            refused = refuses(number, arguments[1] if len(arguments) > 1 else None)
            return -1 if refused else real_syscall(number, *arguments)

        self.syscall = syscall
        self.errno = lambda: error if refused else real_errno()


def refuse_setup(error: int) -> SystemCalls:
    return RefusingCalls(error, lambda number, _: number == abi.NR_SETUP)


def refuse_registration(error: int, opcode: int) -> SystemCalls:
    return RefusingCalls(error, lambda number, which: (number, which) == (abi.NR_REGISTER, opcode))


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, str | None], None]:
    """Return a function that sets the release and kernel.io_uring_disabled as the explanations find them."""

    def pretend(release: str, switch: str | None) -> None:
        found = os.uname()
        fields = (found.sysname, found.nodename, release, found.version, found.machine)
        monkeypatch.setattr(os, "uname", lambda: os.uname_result(fields))
        path = tmp_path / "io_uring_disabled"
        if switch is not None:
            path.write_text(f"{switch}\n")
        monkeypatch.setattr(errors, "DISABLED_SWITCH", str(path))

    return pretend


# --- usable -------------------------------------------------------------------------------------------------


@needs_io_uring
def test_a_probe_reports_what_the_kernel_has() -> None:
    result = probe()
    assert result.usable
    assert (result.cause, result.remedy) == ("", "")
    assert result.kernel == os.uname().release
    assert result.features & abi.FEAT_EXT_ARG
    assert {abi.OP_NOP, abi.OP_RECV, abi.OP_MSG_RING} <= result.operations
    assert 255 not in result.operations


@needs_io_uring
def test_a_probe_leaves_nothing_behind() -> None:
    descriptors, threads = count_descriptors(), threading.active_count()
    for _ in range(40):
        assert probe().usable
    assert (count_descriptors(), threading.active_count()) == (descriptors, threads)


@needs_io_uring
def test_a_kernel_before_6_6_is_used_with_an_index_array() -> None:
    attempts: list[int] = []

    def refuse_first(number: int, _: object) -> bool:
        if number == abi.NR_SETUP:
            attempts.append(number)
        return number == abi.NR_SETUP and len(attempts) == 1

    with Ring(4, cq_entries=16, calls=RefusingCalls(errno.EINVAL, refuse_first)) as ring:
        assert not ring.flags & abi.SETUP_NO_SQARRAY
        for start in range(0, 30, 3):
            for user_data in range(start, start + 3):
                ring.prepare_nop(user_data)
            ring.submit_and_wait(3)
            assert [user_data for user_data, _, _ in ring.completions()] == list(range(start, start + 3))
    attempts.clear()
    result = probe(RefusingCalls(errno.EINVAL, refuse_first))
    assert result.usable
    assert not result.no_sqarray


# --- refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "release", "switch", "cause", "remedy"),
    [
        (errno.ENOSYS, "4.19.0-27-amd64", None, "Linux 4.19.0-27-amd64 is too old", "Linux 6.1 or newer"),
        (errno.ENOSYS, "6.12.1", "0", "a seccomp filter hides io_uring", "seccomp profile that allows"),
        (errno.EPERM, "6.12.1", "2", "kernel.io_uring_disabled is 2: no process", "sysctl kernel.io_uring_disabled=0"),
        (errno.EPERM, "6.12.1", "1", "kernel.io_uring_disabled is 1: only members", "kernel.io_uring_group"),
        (errno.EPERM, "6.12.1", "0", "a seccomp filter or a container's policy", "seccomp profile that allows"),
        (errno.EPERM, "6.1.0", None, "a seccomp filter or a container's policy", "seccomp profile that allows"),
        (errno.EACCES, "6.12.1", "0", "a security module such as SELinux", "module's policy"),
        (errno.EINVAL, "5.15.0-91-generic", None, "Linux 5.15.0-91-generic is too old", "Linux 6.1 or newer"),
        (errno.EINVAL, "6.12.1", "0", "a sandbox may emulate the kernel", "outside such a sandbox"),
        (errno.ENOMEM, "6.12.1", "0", "no memory for the ring", "ulimit -l"),
        (errno.EMFILE, "6.12.1", "0", "no file descriptor is left", "ulimit -n"),
        (errno.EIO, "6.12.1", "0", "the kernel refused io_uring_setup: Input/output error", "kernel's log"),
        (errno.EPERM, "odd", "0", "a seccomp filter or a container's policy", "seccomp profile that allows"),
    ],
)
def test_each_refusal_names_its_cause_and_remedy(
    kernel: Callable[[str, str | None], None], error: int, release: str, switch: str | None, cause: str, remedy: str
) -> None:
    kernel(release, switch)
    descriptors = count_descriptors()
    with pytest.raises(RingUnavailable) as raised:
        Ring(8, cq_entries=16, calls=refuse_setup(error))
    assert raised.value.errno == error
    assert cause in raised.value.cause
    assert remedy in raised.value.remedy
    assert f"io_uring is unavailable: {raised.value.cause}; remedy: {raised.value.remedy}" in str(raised.value)
    assert "\n" not in str(raised.value)
    result = probe(refuse_setup(error))
    assert not result.usable
    assert (result.cause, result.remedy) == (raised.value.cause, raised.value.remedy)
    assert count_descriptors() == descriptors


@needs_io_uring
@pytest.mark.parametrize(
    ("opcode", "error", "cause"),
    [
        (abi.REGISTER_RING_FDS, errno.ENOMEM, "ENOMEM from IORING_REGISTER_RING_FDS"),
        (abi.REGISTER_PROBE, errno.EPERM, "EPERM from IORING_REGISTER_PROBE"),
        (abi.REGISTER_PBUF_RING, errno.EINVAL, "EINVAL from IORING_REGISTER_PBUF_RING"),
        (abi.UNREGISTER_PBUF_RING, errno.EIO, "Input/output error"),
    ],
)
def test_a_refused_registration_is_unusable(opcode: int, error: int, cause: str) -> None:
    descriptors = count_descriptors()
    result = probe(refuse_registration(error, opcode))
    assert not result.usable
    assert cause in result.cause
    assert result.remedy
    assert count_descriptors() == descriptors


@needs_io_uring
def test_a_refused_ring_of_buffers_leaves_the_ring_usable() -> None:
    with Ring(4, cq_entries=8, calls=refuse_registration(errno.ENOMEM, abi.REGISTER_PBUF_RING)) as ring:
        with pytest.raises(RingUnavailable, match="ENOMEM from IORING_REGISTER_PBUF_RING"):
            BufferRing(ring, group=0, count=4, size=64)
        ring.prepare_nop(user_data=1)
        ring.submit_and_wait(1)
        assert list(ring.completions()) == [(1, 0, 0)]


@needs_io_uring
@pytest.mark.parametrize("failing", ["rings", "entries"])
def test_a_ring_that_cannot_be_mapped_is_closed_again(failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = mapping.map_shared
    refused_offset = {"rings": abi.OFF_RINGS, "entries": abi.OFF_SQES}[failing]

    def refuse(fd: int, size: int, offset: int) -> object:
        if offset == refused_offset:
            raise OSError(errno.ENOMEM, "no room")
        return real(fd, size, offset)

    monkeypatch.setattr(mapping, "map_shared", refuse)
    descriptors = count_descriptors()
    with pytest.raises(RingUnavailable, match="ENOMEM from mmap of the ring"):
        Ring(8, cq_entries=16)
    assert count_descriptors() == descriptors


@needs_io_uring
@pytest.mark.parametrize(("silent_from", "cause"), [(1, "a no-op"), (2, "a multishot receive: Timer expired")])
def test_a_kernel_that_completes_nothing_is_unusable(silent_from: int, cause: str) -> None:
    entered: list[int] = []

    def refuse(number: int, _: object) -> bool:
        if number == abi.NR_ENTER:
            entered.append(number)
        return number == abi.NR_ENTER and len(entered) >= silent_from

    result = probe(RefusingCalls(errno.EINTR, refuse))
    assert not result.usable
    assert f"the kernel refused {cause}" in result.cause


@needs_io_uring
def test_a_kernel_that_receives_something_else_is_unusable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BufferRing, "take", lambda *_: b"something else")
    assert "the kernel refused a multishot receive" in probe().cause


@needs_io_uring
def test_missing_features_and_operations_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    descriptors = count_descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(mapping, "FEATURES_NEEDED", 1 << 31)
        assert "features 0x" in probe().cause
    with monkeypatch.context() as patch:
        patch.setattr(probe_module, "OPERATIONS_NEEDED", frozenset({abi.OP_NOP, 254, 255}))
        assert "opcodes [254, 255] are missing" in probe().cause
    assert count_descriptors() == descriptors


@pytest.mark.parametrize(("name", "value"), [("platform", "darwin"), ("maxsize", 2**31 - 1), ("byteorder", "big")])
def test_other_platforms_are_refused_without_a_system_call(
    name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[int] = []

    def record(number: int, _: object) -> bool:
        called.append(number)
        return True

    calls = RefusingCalls(errno.EPERM, record)
    with monkeypatch.context() as patch:
        patch.setattr(sys, name, value)
        result = probe(calls)
    assert not result.usable
    assert "64-bit little-endian Linux" in result.remedy
    assert called == []


# --- under a real filter ------------------------------------------------------------------------------------

# A seccomp filter that applies `action` to the three calls. Its five instructions load the number, allow numbers
# below 425 and above 427, apply the action to the others, and allow.
FILTER = """
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
steps = (0x20, 0, 0, 0), (0x35, 0, 2, 425), (0x25, 1, 0, 427), (6, 0, 0, {action}), (6, 0, 0, 0x7FFF0000)
buffer = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *step) for step in steps))
argument = ctypes.create_string_buffer(struct.pack("<H6xQ", 5, ctypes.addressof(buffer)))
unused = [ctypes.c_ulong(0)] * 2
assert libc.prctl(38, ctypes.c_ulong(1), ctypes.c_ulong(0), *unused) == 0
assert libc.prctl(22, ctypes.c_ulong(2), argument, *unused) == 0
"""
KILL = 0x80000000
FAIL = 0x00050000


def run_filtered(action: int, program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", FILTER.format(action=action) + program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_importing_makes_no_io_uring_call() -> None:
    done = run_filtered(KILL, "import mreactor.iouring\nprint('alive')")
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


def test_the_filter_notices_a_call() -> None:
    done = run_filtered(KILL, "import mreactor.iouring\nmreactor.iouring.probe()\nprint('alive')")
    assert done.returncode < 0
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("error", "cause"), [(errno.EPERM, "EPERM from io_uring_setup"), (errno.ENOSYS, "ENOSYS from io_uring_setup")]
)
def test_a_real_seccomp_filter_is_explained(error: int, cause: str) -> None:
    done = run_filtered(FAIL | error, "import mreactor.iouring\nprint(mreactor.iouring.probe())")
    assert done.returncode == 0, done.stderr
    assert "usable=False" in done.stdout
    assert cause in done.stdout
    assert "seccomp profile that allows" in done.stdout
