"""How many connections each client address has, over all reactors."""

import threading
from typing import Any


class ConnectionLimit:
    """A table for all reactors, so it has a lock: one moment of it at a connection's beginning and end, and only where
    the number of connections of an address is bounded.

    Args:
        connections_max: of one address.
    """

    def __init__(self, connections_max: int) -> None:
        self._connections_max = connections_max
        self._lock = threading.Lock()
        self._counts: dict[Any, int] = {}

    def acquire(self, peer: Any) -> bool:
        """Count a connection of a peer, as `getpeername` gives it; False, and not counted, where it is one too many."""
        host = peer[0]
        with self._lock:
            count = self._counts.get(host, 0)
            if count >= self._connections_max:
                return False
            self._counts[host] = count + 1
            return True

    def release(self, peer: Any) -> None:
        """A counted connection has ended."""
        host = peer[0]
        with self._lock:
            count = self._counts[host] - 1
            if count:
                self._counts[host] = count
            else:
                del self._counts[host]
