"""io_uring for CPython, in pure Python.

`Ring` submits operations and reads completions. `BufferRing` provides the buffers of multishot receives. `probe` tests
whether this kernel supports both. Needs 64-bit little-endian Linux 6.1. Each ring belongs to the thread that created
it. The import makes no io_uring call.
"""

from . import abi
from .abi import CQE_BUFFER, CQE_BUFFER_SHIFT, CQE_MORE, OP_SEND, SQE_CQE_SKIP_SUCCESS
from .buffers import BufferRing
from .errors import RingUnavailable
from .memory import BASE_OFFSET, Memory, buffer_address, object_address
from .operations import NO_OFFSET, Operations, encode_timespec
from .probe import ProbeResult, probe
from .ring import Ring
from .syscalls import SystemCalls

__all__ = [
    "BASE_OFFSET", "CQE_BUFFER", "CQE_BUFFER_SHIFT", "CQE_MORE", "NO_OFFSET", "OP_SEND",
    "SQE_CQE_SKIP_SUCCESS", "BufferRing", "Memory", "Operations", "ProbeResult", "Ring", "RingUnavailable",
    "SystemCalls", "abi", "buffer_address", "encode_timespec", "object_address", "probe",
]  # fmt: skip
