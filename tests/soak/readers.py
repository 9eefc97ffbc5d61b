"""Slow readers by the thousand: steady, and none is cut off; but the memory of their responses is bounded."""

import selectors
import socket
import time
from dataclasses import dataclass, field

from .clients import Address, connect, control_client, normal_client, raise_descriptor_limit
from .server import Server
from .slow import CONTROL_FACTOR, P99_SECONDS_MAX

WINDOW = 4096
READ_BYTES = 4096
READ_SECONDS = 0.5
# Beside the bound, once all have asked: heads, connections, caches.
EXTRA_BYTES = 32 << 20
# While they ask, also responses that were dropped a moment ago: the allocator returns them when no thread can use them.
DROPPED_BYTES = 96 << 20
TARGETS = {"file": b"/files/huge.bin", "memory": b"/memory"}


@dataclass(slots=True)
class Gathered:
    """What came of it.

    Attributes:
        asked, left: for each kind, how many readers there were, and how many were still served at the end.
        resident: the server's memory before, at its peak, and while all that are left read, in bytes.
        latencies, control: p50 and p99 of a normal client, and of one whose server has no load, in seconds.
        failure: of the normal client.
    """

    bound: int
    asked: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    resident: tuple[int, int, int] = (0, 0, 0)
    latencies: tuple[float, float] = (0.0, 0.0)
    control: tuple[float, float] = (0.0, 0.0)
    failure: str = ""

    def __str__(self) -> str:
        kinds = ", ".join(
            f"{self.left[kind]} of {count} readers of a {kind} left" for kind, count in self.asked.items()
        )
        before, peak, steady = (count / 2**20 for count in self.resident)
        return (
            f"{kinds}\nresident {before:.0f} MiB before, {peak:.0f} at the peak, {steady:.0f} afterwards;"
            f" bound {self.bound / 2**20:.0f} MiB\nnormal client: p50 {self.latencies[0] * 1000:.1f}, p99"
            f" {self.latencies[1] * 1000:.1f} ms; without slow ones p99 {self.control[1] * 1000:.1f} ms"
        )

    def faults(self) -> list[str]:
        """What is not as it must be, for people."""
        found = self.memory_faults()
        if self.left["file"] < self.asked["file"]:
            found.append(f"{self.asked['file'] - self.left['file']} steady readers of a file were cut off")
        if self.latencies[1] > P99_SECONDS_MAX + CONTROL_FACTOR * self.control[1]:
            found.append(f"the normal client's p99 is {self.latencies[1] * 1000:.0f} ms")
        if self.failure:
            found.append(f"the normal client failed: {self.failure}")
        return found

    def memory_faults(self) -> list[str]:
        """Those of `faults` that may come by chance: what was dropped while all asked may stay resident for long."""
        found = []
        before, peak, steady = self.resident
        if steady - before > self.bound + EXTRA_BYTES:
            found.append(f"{(steady - before) / 2**20:.0f} MiB are held")
        if peak - before > self.bound + EXTRA_BYTES + DROPPED_BYTES:
            found.append(f"{(peak - before) / 2**20:.0f} MiB were held at the peak")
        return found


def gather(server: Server, count: int, seconds: float, bound: int) -> Gathered:
    """Have so many readers of a few KB a second, half of them of a file, beside a normal client."""
    raise_descriptor_limit()
    result = Gathered(bound)
    before = peak = server.look().resident
    with control_client() as control, normal_client(server.address) as normal, selectors.DefaultSelector() as readers:
        for kind, target in TARGETS.items():
            result.asked[kind] = count // 2
            for _ in range(count // 2):
                readers.register(_ask(server.address, target), selectors.EVENT_READ, kind)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begun = time.monotonic()
            _read_all(readers)
            peak = max(peak, server.look().resident)
            time.sleep(max(0.0, begun + READ_SECONDS - time.monotonic()))
        steady = server.look().resident
        left = [key.data for key in readers.get_map().values()]
        for key in list(readers.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
    result.left = {kind: left.count(kind) for kind in TARGETS}
    result.resident = (before, peak, steady)
    result.latencies = (normal.quantile(0.5), normal.quantile(0.99))
    result.control = (control.quantile(0.5), control.quantile(0.99))
    result.failure = str(normal.failure or control.failure or "")
    return result


def _ask(address: Address, target: bytes) -> socket.socket:
    sock = connect(address, WINDOW)
    sock.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
    return sock


def _read_all(readers: selectors.BaseSelector) -> None:
    """Read a little of each, and forget those that are reset."""
    for key, _ in readers.select(0):
        assert isinstance(key.fileobj, socket.socket), "only sockets are registered"
        try:
            data = key.fileobj.recv(READ_BYTES)
        except OSError:
            data = b""
        if not data:
            readers.unregister(key.fileobj)
            key.fileobj.close()
