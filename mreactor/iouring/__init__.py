"""io_uring for CPython, with the standard library alone.

`Ring` submits operations and reads completions, `BufferRing` provides the buffers of multishot receives,
`probe` says whether all this works here. The constants are in `abi`. Importing makes no io_uring call. Needs
Linux 6.1, 64-bit, little endian; each ring belongs to the thread that made it.
"""

from . import abi
from .buffers import BufferRing
from .memory import BASE_OFFSET, Memory, address_of, base_of
from .operations import NO_OFFSET, Operations, encode_timespec
from .refusal import RingUnavailable
from .ring import Ring
from .support import Support, probe
from .syscalls import SystemCalls

__all__ = [
    "BASE_OFFSET",
    "NO_OFFSET",
    "BufferRing",
    "Memory",
    "Operations",
    "Ring",
    "RingUnavailable",
    "Support",
    "SystemCalls",
    "abi",
    "address_of",
    "base_of",
    "encode_timespec",
    "probe",
]
