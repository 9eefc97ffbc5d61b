"""The connection of a balancer until its PROXY header is complete. Then the client's own connection takes its place."""

from collections.abc import Callable
from math import inf
from typing import Any

from ..addresses import TrustedProxies
from ..concurrency import Job
from ..protocol import CLOSED, REPLACED, Connection, Context, Peer, SecurePeer
from .header import ProxyHeader, parse_header

# A state of this protocol's own: the header is incomplete.
EXPECTING = 1


class ProxyPreface:
    """Makes the connections of one reactor, in place of its context. Reactor thread only.

    Args:
        context: makes a client's connection, once its address is known.
        trusted: networks whose connections begin with a header. Others have none.
        seconds: the time for it to arrive.
    """

    def __init__(self, context: Context, trusted: TrustedProxies, seconds: float) -> None:
        self.context = context
        self._trusted = trusted
        self._seconds = seconds

    def connect(self, peer: Peer) -> Connection:
        """Make the connection of a new client."""
        return self._begin(peer, self.context.connect)

    def connect_plain(self, peer: Peer) -> Connection:
        """Do the same for a client without TLS; see `net.Connector`."""
        return self._begin(peer, self._method("connect_plain"))

    def connect_redirected(self, peer: Peer) -> Connection:
        """Do the same for a client that is redirected to HTTPS."""
        return self._begin(peer, self._method("connect_redirected"))

    def _method(self, name: str) -> Callable[[Peer], Connection]:
        return getattr(self.context, name, self.context.connect)

    def _begin(self, peer: Peer, connect: Callable[[Peer], Connection]) -> Connection:
        if peer[0] not in self._trusted:
            return connect(peer)
        return PrefaceConnection(self.context, connect, peer, self.context.now + self._seconds)


class PrefaceConnection:
    """Waits for the PROXY header; implements `protocol.Connection`. Reactor thread only; sends nothing."""

    __slots__ = ("_connect", "_context", "_received", "deadline", "peer", "state", "successor")

    resets = False
    in_flight = False
    more_follows = False
    unsent_bytes = 0

    def __init__(self, context: Context, connect: Callable[[Peer], Connection], peer: Peer, deadline: float) -> None:
        self._context = context
        self._connect = connect
        self._received = b""
        self.peer = peer
        self.state = EXPECTING
        self.deadline = deadline
        self.successor: Connection | None = None

    @property
    def wants_read(self) -> bool:
        """The header is incomplete."""
        return self.state == EXPECTING

    @property
    def awaits_rest(self) -> bool:
        """The header is incomplete."""
        return self.state == EXPECTING

    def receive_data(self, data: bytes) -> bytes | None:
        """Take bytes from the balancer. A wrong header ends the connection without an answer."""
        return self.receive_uncached(data)

    def receive_uncached(self, data: bytes) -> bytes | None:
        """Do the same."""
        self._received += data
        try:
            found = parse_header(self._received) if data else None
        except ValueError:
            self._refuse()
            return None
        if found is not None:
            self._accept(*found)
        elif not data:
            self._refuse() if self._received else self.abort()
        return None

    def take_rest(self) -> bytes:
        """Return what came behind the header: the client's first bytes."""
        rest, self._received = self._received, b""
        return rest

    def handle_timeout(self, now: float) -> None:
        """End the connection if its deadline has passed."""
        if now >= self.deadline and self.state == EXPECTING:
            self._context.counters.timeout("proxy")
            self.abort()

    def drain(self) -> None:
        """Do nothing: the client's request is about to come."""

    def abort(self) -> None:
        """End the connection. Idempotent."""
        self.state, self.deadline, self._received = CLOSED, inf, b""

    def _accept(self, header: ProxyHeader, length: int) -> None:
        peer = self.peer if header.peer is None else header.peer
        if header.is_secure:
            peer = SecurePeer(peer)
        self._received = self._received[length:]
        self.successor = self._connect(peer)
        self.state = REPLACED

    def _refuse(self) -> None:
        self._context.counters.error("proxy")
        self.abort()

    # It has nothing to send and no jobs.

    def call_cached_route(self, route: Any, body: bytes) -> bytes | None:
        """Fail: this connection is never idle."""
        raise NotImplementedError

    def data_to_send(self) -> bytes:
        """Return nothing."""
        return b""

    def data_sent(self, count: int) -> None:
        """Do nothing."""

    def queue_remainder(self, response: bytes, sent: int) -> None:
        """Fail: there is no response."""
        raise NotImplementedError

    def next_job(self) -> Job | None:
        """Return nothing."""
        return None

    def reject_job(self, job: Job) -> None:
        """Fail: there is no job."""
        raise NotImplementedError

    def job_done(self, job: Job) -> None:
        """Fail: there is no job."""
        raise NotImplementedError

    def resume(self) -> None:
        """Do nothing: this connection takes no turns."""
