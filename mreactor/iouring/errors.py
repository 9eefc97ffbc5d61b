"""Explain why the kernel refuses io_uring, and what helps. Safe to call from any thread. Makes no io_uring call."""

import errno
import os
import re

KERNEL_FLOOR = (6, 1)
DISABLED_SWITCH = "/proc/sys/kernel/io_uring_disabled"
_FLOOR_TEXT = "run Linux 6.1 or newer"
_SECCOMP_REMEDY = (
    "run under a seccomp profile that allows io_uring_setup, io_uring_enter and io_uring_register "
    "(the default profiles of Docker and containerd do not)"
)


class RingUnavailable(OSError):
    """The kernel refused a ring. `errno` is its error, `cause` the explanation, `remedy` what would help."""

    def __init__(self, error: int, cause: str, remedy: str) -> None:
        super().__init__(error, f"io_uring is unavailable: {cause}; remedy: {remedy}")
        self.cause = cause
        self.remedy = remedy


def explain_refusal(error: int, step: str) -> RingUnavailable:
    """Return the exception for errno `error` of `step`, for example "io_uring_setup"."""
    cause, remedy = _EXPLANATIONS.get(error, _explain_other)(step)
    if error not in _EXPLANATIONS:
        cause = f"{cause}: {os.strerror(error)}"
    return RingUnavailable(error, cause, remedy)


def kernel_version() -> tuple[int, int]:
    """Return (major, minor) of the running kernel; (0, 0) if its release is not a number."""
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _explain_enosys(step: str) -> tuple[str, str]:
    if kernel_version() < (5, 1):
        return f"Linux {os.uname().release} is too old (ENOSYS from {step})", _FLOOR_TEXT
    cause = f"a seccomp filter hides io_uring, or the kernel was built without it (ENOSYS from {step})"
    return cause, f"{_SECCOMP_REMEDY}, or a kernel with CONFIG_IO_URING"


def _explain_eperm(step: str) -> tuple[str, str]:
    switch = _read_disabled_switch()
    if switch == "2":
        return ("kernel.io_uring_disabled is 2: no process may use it (EPERM)", "sysctl kernel.io_uring_disabled=0")
    if switch == "1":
        cause = "kernel.io_uring_disabled is 1: only members of kernel.io_uring_group may use it (EPERM)"
        return cause, "sysctl kernel.io_uring_disabled=0, or join the group that kernel.io_uring_group names"
    return f"a seccomp filter or a container's policy forbids it (EPERM from {step})", _SECCOMP_REMEDY


def _explain_eacces(step: str) -> tuple[str, str]:
    cause = f"a security module such as SELinux forbids it (EACCES from {step})"
    return cause, "allow io_uring in that module's policy for this program"


def _explain_einval(step: str) -> tuple[str, str]:
    release = os.uname().release
    if kernel_version() < KERNEL_FLOOR:
        return f"Linux {release} is too old (EINVAL from {step})", _FLOOR_TEXT
    cause = f"Linux {release} should support this (EINVAL from {step}); a sandbox may emulate the kernel"
    return cause, f"{_FLOOR_TEXT}, outside such a sandbox"


def _explain_enomem(step: str) -> tuple[str, str]:
    cause = f"no memory for the ring within this process's limits (ENOMEM from {step})"
    return cause, "raise the locked-memory limit (ulimit -l, LimitMEMLOCK=) or the container's memory limit"


def _explain_descriptors(step: str) -> tuple[str, str]:
    cause = f"no file descriptor is left (from {step})"
    return cause, "raise the limit of open files (ulimit -n, LimitNOFILE=)"


def _explain_other(step: str) -> tuple[str, str]:
    return f"the kernel refused {step}", "look for the reason in the kernel's log"


def _read_disabled_switch() -> str:
    """Return the switch's value; empty before Linux 6.6 and where /proc is not readable."""
    try:
        with open(DISABLED_SWITCH, encoding="ascii") as switch:
            return switch.read().strip()
    except OSError:
        return ""


_EXPLANATIONS = {
    errno.ENOSYS: _explain_enosys,
    errno.EPERM: _explain_eperm,
    errno.EACCES: _explain_eacces,
    errno.EINVAL: _explain_einval,
    errno.ENOMEM: _explain_enomem,
    errno.EMFILE: _explain_descriptors,
    errno.ENFILE: _explain_descriptors,
}
