"""Test whether io_uring works here, by using it.

The probe is never called at import. Some sandboxes kill a process for its first io_uring call, so only a program that
is configured for io_uring may make one.
"""

import errno
import os
import socket
import struct
import sys
from dataclasses import dataclass

from . import abi
from .buffers import BufferRing
from .errors import RingUnavailable, explain_refusal
from .memory import Memory
from .ring import Ring
from .syscalls import SystemCalls

OPERATIONS_NEEDED = frozenset({
    abi.OP_NOP, abi.OP_POLL_ADD, abi.OP_TIMEOUT, abi.OP_ACCEPT, abi.OP_ASYNC_CANCEL, abi.OP_CLOSE, abi.OP_READ,
    abi.OP_SEND, abi.OP_RECV, abi.OP_SPLICE, abi.OP_MSG_RING,
})  # fmt: skip
_MESSAGE = b"probe"
_WAIT_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """The result of a probe.

    Attributes:
        usable: whether a reactor can use io_uring.
        kernel: the running kernel's release.
        cause, remedy: sentences for a person, if it is not usable.
        features: FEAT_* bits.
        no_sqarray: the SQ has no index array (since 6.6).
        operations: opcodes that the kernel supports.
    """

    usable: bool
    kernel: str
    cause: str = ""
    remedy: str = ""
    features: int = 0
    no_sqarray: bool = False
    operations: frozenset[int] = frozenset()


def probe(calls: SystemCalls | None = None) -> ProbeResult:
    """Create a small ring in this thread and try all that a reactor needs. Does not raise."""
    kernel = os.uname().release
    try:
        _require_platform()
        with Ring(8, cq_entries=16, calls=calls) as ring:
            operations = _supported_operations(ring)
            _require_operations(operations)
            _try_nop(ring)
            _try_receive(ring)
            return ProbeResult(
                usable=True,
                kernel=kernel,
                features=ring.features,
                no_sqarray=bool(ring.flags & abi.SETUP_NO_SQARRAY),
                operations=operations,
            )
    except RingUnavailable as error:
        refusal = error
    except OSError as error:
        refusal = explain_refusal(error.errno or errno.EIO, "the probe")
    return ProbeResult(usable=False, kernel=kernel, cause=refusal.cause, remedy=refusal.remedy)


def _require_platform() -> None:
    """Refuse platforms other than 64-bit little-endian Linux, whose layouts differ."""
    if sys.platform != "linux" or sys.maxsize < 1 << 32 or sys.byteorder != "little":
        bits = sys.maxsize.bit_length() + 1
        cause = f"{sys.platform}, {bits} bits, {sys.byteorder}-endian is not supported"
        raise RingUnavailable(errno.ENOSYS, cause, "run on 64-bit little-endian Linux")


def _supported_operations(ring: Ring) -> frozenset[int]:
    """Return the opcodes that the kernel supports."""
    reply = Memory(abi.PROBE_HEADER_SIZE + abi.PROBE_OPS_MAX * abi.PROBE_OP_SIZE)
    try:
        ring.register(abi.REGISTER_PROBE, reply.address, abi.PROBE_OPS_MAX)
        return frozenset(opcode for opcode in range(abi.PROBE_OPS_MAX) if _is_supported(reply, opcode))
    except OSError as error:
        raise explain_refusal(error.errno or errno.EINVAL, "IORING_REGISTER_PROBE") from error
    finally:
        reply.close()


def _is_supported(reply: Memory, opcode: int) -> bool:
    offset = abi.PROBE_HEADER_SIZE + opcode * abi.PROBE_OP_SIZE + abi.PROBE_OP_FLAGS_OFFSET
    flags: int = struct.unpack_from("<H", reply.pages, offset)[0]
    return bool(flags & abi.PROBE_OP_SUPPORTED)


def _require_operations(operations: frozenset[int]) -> None:
    missing = OPERATIONS_NEEDED - operations
    if missing:
        raise explain_refusal(errno.EINVAL, f"IORING_REGISTER_PROBE, opcodes {sorted(missing)} are missing")


def _try_nop(ring: Ring) -> None:
    ring.prepare_nop(user_data=1)
    ring.submit_and_wait(1, _WAIT_NS)
    if [(user_data, res) for user_data, res, _ in ring.completions()] != [(1, 0)]:
        raise explain_refusal(errno.EIO, "a no-op")


def _try_receive(ring: Ring) -> None:
    """Try a multishot receive into a provided buffer."""
    buffers = BufferRing(ring, group=0, count=2, size=64)
    near, far = socket.socketpair()
    try:
        near.send(_MESSAGE)
        near.close()
        ring.prepare_recv_multishot(far.fileno(), group=0, user_data=2)
        _check_received(ring, buffers)
    finally:
        near.close()
        far.close()
        buffers.close()


def _check_received(ring: Ring, buffers: BufferRing) -> None:
    """Expect the message, then the end of the stream."""
    ring.submit_and_wait(2, _WAIT_NS)
    outcomes = list(ring.completions())
    (_, length, flags), *rest = outcomes or [(0, -errno.ETIME, 0)]
    if length < 0:
        raise explain_refusal(-length, "a multishot receive")
    if buffers.take(flags >> abi.CQE_BUFFER_SHIFT, length) != _MESSAGE or [res for _, res, _ in rest] != [0]:
        raise explain_refusal(errno.EIO, "a multishot receive")
