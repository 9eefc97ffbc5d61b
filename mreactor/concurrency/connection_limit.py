"""The limit on open connections per client address, over all reactors."""

import threading
from collections.abc import Container
from typing import Any


class ConnectionLimit:
    """A limit of `connections_max` open connections per client address. Safe to call from any thread.

    Clients without an address, those of unix sockets, are not counted, nor are exempt ones.

    Args:
        exempt: addresses of proxies, which have many clients behind them.

    Reactors take its lock once when a connection begins and once when it ends, if the limit is set.
    """

    def __init__(self, connections_max: int, exempt: Container[str] = ()) -> None:
        self._exempt = exempt
        self._connections_max = connections_max
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}

    def acquire(self, peer: tuple[Any, ...]) -> bool:
        """Count a connection of a peer, as `getpeername` returns it. Return False, and count nothing, at the limit."""
        host = peer[0]
        if not host:
            return True
        with self._lock:
            if host in self._exempt:
                return True
            count = self._counts.get(host, 0)
            if count >= self._connections_max:
                return False
            self._counts[host] = count + 1
            return True

    def release(self, peer: tuple[Any, ...]) -> None:
        """Remove a connection that `acquire` counted."""
        host = peer[0]
        if not host:
            return
        with self._lock:
            if host in self._exempt:
                return
            count = self._counts[host] - 1
            if count:
                self._counts[host] = count
            else:
                del self._counts[host]
