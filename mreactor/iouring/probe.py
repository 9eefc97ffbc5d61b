"""Whether io_uring works here, found out by using it.

Owns the list of what a reactor needs. Makes a small ring in the calling thread, tries everything once, and
closes it again. Never called at import: some sandboxes kill a process for its first io_uring call, so only a
program that wants io_uring may ask.
"""

import errno
import os
import socket
import struct
import sys
from dataclasses import dataclass

from . import abi
from .buffers import BufferRing
from .errors import RingUnavailable, refusal
from .memory import Memory
from .ring import Ring
from .syscalls import SystemCalls

OPERATIONS_NEEDED = frozenset(
    {
        abi.OP_NOP,
        abi.OP_POLL_ADD,
        abi.OP_TIMEOUT,
        abi.OP_ACCEPT,
        abi.OP_ASYNC_CANCEL,
        abi.OP_CLOSE,
        abi.OP_READ,
        abi.OP_SEND,
        abi.OP_RECV,
        abi.OP_SPLICE,
        abi.OP_MSG_RING,
    }
)
_MESSAGE = b"probe"
_WAIT_NS = 1_000_000_000


@dataclass(frozen=True)
class ProbeResult:
    """The outcome of a probe. Where `usable` is False, `cause` and `remedy` are sentences for a person."""

    usable: bool
    kernel: str  # the running kernel's release
    cause: str = ""
    remedy: str = ""
    features: int = 0  # FEAT_* bits
    no_sqarray: bool = False  # whether the SQ comes without its index array (6.6)
    operations: frozenset[int] = frozenset()  # opcodes that the kernel supports


def probe(calls: SystemCalls | None = None) -> ProbeResult:
    """Try all that a reactor needs. Does not raise. Some 100 µs."""
    kernel = os.uname().release
    try:
        _require_platform()
        with Ring(8, cq_entries=16, calls=calls) as ring:
            operations = _supported_operations(ring)
            _require_operations(operations)
            _try_nop(ring)
            _try_receive(ring)
            no_sqarray = bool(ring.flags & abi.SETUP_NO_SQARRAY)
            return ProbeResult(True, kernel, "", "", ring.features, no_sqarray, operations)
    except OSError as error:
        refused = _as_refusal(error)
        return ProbeResult(False, kernel, refused.cause, refused.remedy)


def _as_refusal(error: OSError) -> RingUnavailable:
    return error if isinstance(error, RingUnavailable) else refusal(error.errno or errno.EIO, "the trial")


def _require_platform() -> None:
    """The layouts are those of 64-bit little-endian Linux."""
    if sys.platform != "linux" or sys.maxsize < 1 << 32 or sys.byteorder != "little":
        bits = sys.maxsize.bit_length() + 1
        cause = f"this binding does not know {sys.platform}, {bits} bits, {sys.byteorder}-endian"
        raise RingUnavailable(errno.ENOSYS, cause, "run on 64-bit little-endian Linux")


def _supported_operations(ring: Ring) -> frozenset[int]:
    """The opcodes that the kernel says it supports."""
    answer = Memory(abi.PROBE_HEADER_SIZE + abi.PROBE_OPS_MAX * abi.PROBE_OP_SIZE)
    try:
        ring.register(abi.REGISTER_PROBE, answer.address, abi.PROBE_OPS_MAX)
        return frozenset(opcode for opcode in range(abi.PROBE_OPS_MAX) if _is_supported(answer, opcode))
    except OSError as error:
        raise refusal(error.errno or errno.EINVAL, "IORING_REGISTER_PROBE") from error
    finally:
        answer.close()


def _is_supported(answer: Memory, opcode: int) -> bool:
    offset = abi.PROBE_HEADER_SIZE + opcode * abi.PROBE_OP_SIZE + abi.PROBE_OP_FLAGS_OFFSET
    flags: int = struct.unpack_from("<H", answer.pages, offset)[0]
    return bool(flags & abi.PROBE_OP_SUPPORTED)


def _require_operations(operations: frozenset[int]) -> None:
    missing = OPERATIONS_NEEDED - operations
    if missing:
        raise refusal(errno.EINVAL, f"IORING_REGISTER_PROBE, opcodes {sorted(missing)} are missing")


def _try_nop(ring: Ring) -> None:
    ring.prepare_nop(user_data=1)
    ring.submit_and_wait(1, _WAIT_NS)
    if [(user_data, res) for user_data, res, _ in ring.completions()] != [(1, 0)]:
        raise refusal(errno.EIO, "a no-op")


def _try_receive(ring: Ring) -> None:
    """A multishot receive into a provided buffer, which is what the whole design rests upon."""
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
    """The message, then the end of the stream."""
    ring.submit_and_wait(2, _WAIT_NS)
    outcomes = list(ring.completions())
    (_, length, flags), *rest = outcomes or [(0, -errno.ETIME, 0)]
    if length < 0:
        raise refusal(-length, "a multishot receive")
    if buffers.take(flags >> abi.CQE_BUFFER_SHIFT, length) != _MESSAGE or [res for _, res, _ in rest] != [0]:
        raise refusal(errno.EIO, "a multishot receive")
