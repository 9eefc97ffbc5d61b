"""What a slow peer has acknowledged: docs/decisions/060.

"Taken by the kernel" is not "taken by the peer": the send buffer holds megabytes, and EPOLLOUT comes only when much of
it is free again. The kernel tells what it still holds, so the rest has been acknowledged.
"""

import fcntl
import socket
import struct
import termios

from ...config import Limits

# Between two looks at a slow peer.
LOOK_SECONDS = 1.0
# The kernel may hold so much for a peer that has not been slow yet. With more, the watch begins.
UNWATCHED_BYTES_MAX = 64 * 1024


_INT = struct.Struct("i")
# `tcpi_delivered` in `struct tcp_info` of linux/tcp.h, from Linux 4.18.
_DELIVERED = struct.Struct("192xI")


def unacknowledged(fd: int) -> int:
    """Return the bytes that the kernel holds for a socket's peer: unsent, or sent and not acknowledged (tcp(7))."""
    count = bytearray(_INT.size)
    fcntl.ioctl(fd, termios.TIOCOUTQ, count)
    queued: int = _INT.unpack(count)[0]
    return queued


def delivered_segments(sock: socket.SocketType) -> int:
    """Return how many segments a TCP peer has, those behind a lost one included (SACK); 0 where nothing is known.

    Behind a long queue a lost segment comes again after many seconds, in which the peer acknowledges no further byte.
    """
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _DELIVERED.size)
    except OSError:
        return 0
    return _DELIVERED.unpack(info)[0] if len(info) == _DELIVERED.size else 0


class Delivery:
    """The watch over one slow peer, from the first send that fell short until the peer has acknowledged everything.

    Args:
        now: monotonic seconds.
        queued: what `unacknowledged` returns now.
        segments: what `delivered_segments` returns now.

    Attributes:
        sent: bytes that the kernel has taken since.
        held: bytes of memory that the unsent output keeps.
        progressed_at: when an acknowledgement was seen last.
    """

    __slots__ = ("_acknowledged", "_began", "_queued", "_segments", "held", "progressed_at", "sent")

    def __init__(self, now: float, queued: int, segments: int = 0) -> None:
        self._began = self.progressed_at = now
        self._queued = queued
        self._segments = segments
        self._acknowledged = 0
        self.sent = 0
        self.held = 0

    def note(self, now: float, queued: int, segments: int = 0) -> None:
        """Compare what the kernel holds now with what it has taken."""
        acknowledged = self._queued + self.sent - queued
        if acknowledged > self._acknowledged or segments != self._segments:
            self._acknowledged = max(acknowledged, self._acknowledged)
            self._segments = segments
            self.progressed_at = now

    def deadline(self, limits: Limits) -> float:
        """Compute when the peer must have acknowledged more: soon after the last time, and at a rate."""
        grace_ends = self._began + limits.write_stall_seconds
        stall_ends = self.progressed_at + limits.write_stall_seconds
        return min(stall_ends, grace_ends + self._acknowledged / limits.write_rate_min)
