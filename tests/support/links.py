"""Slow links: two network namespaces with veth pairs between them, each shaped by tbf to a rate of its own.

The server listens in one namespace and its clients connect from the other, so nothing of the machine's own network is
touched. `missing_links` says why a machine cannot have them.
"""

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

SERVER, CLIENTS = "server", "clients"
# At 64 kbit/s a segment waits for 4 seconds in it.
QUEUE_BYTES = 32_000
BURST_BYTES = 3_000

type Address = tuple[str, int]


class Links:
    """Links between two namespaces, as a context manager.

    Args:
        rates: the rate of each link towards the clients, as tc writes it, such as `64kbit`; empty for no limit.
        queue_bytes: how much waits before each link. What is beyond is dropped, as a provider's queue does.
    """

    def __init__(self, rates: list[str], queue_bytes: int = QUEUE_BYTES) -> None:
        self._rates = rates
        self._queue_bytes = queue_bytes
        self._names = {side: f"mreactor-{os.getpid()}-{threading.get_native_id()}-{side}" for side in (SERVER, CLIENTS)}

    def __enter__(self) -> Self:
        try:
            for name in self._names.values():
                ip("netns", "add", name)
                ip("-n", name, "link", "set", "lo", "up")
            for number, rate in enumerate(self._rates):
                self._add(number, rate)
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def host(self, number: int) -> str:
        """Return the server's address on a link."""
        return f"10.83.{number}.1"

    def inside[T](self, side: str, function: Callable[[], T]) -> T:
        """Call a function in a thread that lives in a namespace. Sockets that it makes stay there."""
        results: list[T] = []
        failures: list[BaseException] = []

        def run() -> None:
            try:
                with open(f"/run/netns/{self._names[side]}") as namespace:
                    os.setns(namespace.fileno(), os.CLONE_NEWNET)
                results.append(function())
            except BaseException as failure:
                failures.append(failure)

        thread = threading.Thread(target=run, name=f"in-{side}")
        thread.start()
        thread.join()
        if failures:
            raise failures[0]
        return results[0]

    def connect(self, number: int, port: int, window: int = 0) -> socket.socket:
        """Connect a client through a link; it takes about `window` bytes without reading, 0 for the usual."""

        def connect() -> socket.socket:
            sock = socket.socket()
            if window:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
            sock.settimeout(60.0)
            sock.connect((self.host(number), port))
            return sock

        return self.inside(CLIENTS, connect)

    def cut(self, number: int) -> None:
        """Lose every packet of a link from now on, as if the client's machine had lost its power."""
        ip("-n", self._names[CLIENTS], "link", "set", f"link{number}", "down")

    def server_sockets(self) -> dict[int, str]:
        """Return the state of each of the server's sockets in the kernel's table, by the client's port."""

        def read() -> dict[int, str]:
            # Not of the process: its main thread lives in another namespace.
            lines = Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
            fields = [line.split() for line in lines]
            return {int(there[-4:], 16): state for _, _, there, state, *_ in fields if state != LISTENING}

        return self.inside(SERVER, read)

    def _add(self, number: int, rate: str) -> None:
        device, server, clients = f"link{number}", self._names[SERVER], self._names[CLIENTS]
        ip("link", "add", device, "netns", server, "type", "veth", "peer", "name", device, "netns", clients)
        for name, host in ((server, 1), (clients, 2)):
            ip("-n", name, "addr", "add", f"10.83.{number}.{host}/24", "dev", device)
            ip("-n", name, "link", "set", device, "up")
        if rate:
            tbf = ("root", "tbf", "rate", rate, "burst", str(BURST_BYTES), "limit", str(self._queue_bytes))
            subprocess.run(("tc", "-n", server, "qdisc", "add", "dev", device, *tbf), check=True, capture_output=True)

    def _remove(self) -> None:
        for name in self._names.values():
            subprocess.run(("ip", "netns", "del", name), check=False, capture_output=True)


# In proc_net_tcp(5).
LISTENING = "0A"


def ip(*arguments: str) -> None:
    """Run ip(8)."""
    subprocess.run(("ip", *arguments), check=True, capture_output=True)


@cache
def missing_links() -> str:
    """Return why this machine cannot have slow links; empty if it can."""
    if absent := [tool for tool in ("ip", "tc") if shutil.which(tool) is None]:
        return f"slow links: {absent[0]} is not installed"
    try:
        with Links(["64kbit"]) as links:
            links.cut(0)
    except subprocess.CalledProcessError as error:
        return f"slow links: {' '.join(error.cmd[:4])}: {error.stderr.decode().strip()}"
    except OSError as error:
        return f"slow links: {error}"
    return ""
