"""The reactor of the admin listener. It makes room for a new connection instead of refusing it."""

import socket
from typing import Any

from ..net import EpollReactor

CONNECTIONS_MAX = 256


class AdminReactor(EpollReactor):
    """An epoll reactor that closes the connection with the soonest deadline when it has too many.

    That is the one that has been idle for longest, among connections in the same state. So clients that leave their
    connections open cannot keep a health check out.
    """

    def _make_client(self, sock: socket.SocketType) -> Any:
        clients = self._all_clients()
        if len(clients) >= CONNECTIONS_MAX:
            oldest = min(clients, key=lambda client: client.connection.deadline)
            oldest.connection.abort()
            self._discard(oldest)
        return super()._make_client(sock)
