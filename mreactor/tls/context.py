"""What all TLS connections of one reactor share: another protocol's context, and the server's certificates."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from .. import protocol
from ..config import Limits
from ..protocol import IDLE, QUIET, Connection, Context, Peer, no_fast_path
from ..runtime import hot
from .certificates import Certificates
from .connection import TlsConnection


@hot("begin_round")
class TlsContext:
    """Wraps the context of a protocol; implements `protocol.Context`. Reactor thread only.

    Args:
        inner: makes the connections that see the plaintext, and counts for all.
        certificates: those of the server. All reactors share them.
        render_plain_refusal: makes the response to a client that speaks HTTP without TLS.
        serves_plain: some of the reactor's clients do not use TLS. They come by `connect_plain`, and the fast path is
            theirs: a TLS connection is then never IDLE but QUIET.
        connect_redirected: makes the connections of plain ports whose requests are redirected to HTTPS; None if they
            are like other plain ones. With it no client has the fast path, whose caches hold no redirections.

    Attributes:
        draining: the server drains.
        idle_state: the state of a TLS connection that is idle.
    """

    def __init__(
        self,
        inner: Context,
        certificates: Certificates,
        limits: Limits,
        render_plain_refusal: Callable[[], bytes] = bytes,
        *,
        serves_plain: bool = False,
        connect_redirected: Callable[[Peer], Connection] | None = None,
    ) -> None:
        self.inner = inner
        self.certificates = certificates
        self.limits = limits
        self.render_plain_refusal = render_plain_refusal
        self.counters = inner.counters
        has_fast_path = serves_plain and connect_redirected is None
        self.fast_path = inner.fast_path if has_fast_path else no_fast_path()
        self.idle_state = QUIET if has_fast_path else IDLE
        self.draining = False
        self.connect_plain = inner.connect
        self.connect_redirected = connect_redirected or inner.connect
        self.next_second = inner.next_second
        self.begin_round(inner.now)

    def connect(self, peer: Peer) -> TlsConnection:
        """Make the connection of a new client."""
        return TlsConnection(self, peer)

    def begin_round(self, now: float) -> float:
        """Begin a round of the event loop; returns `idle_deadline`."""
        self.now = now
        self.idle_deadline = deadline = self.inner.begin_round(now)
        return deadline

    @property
    def slow_path_responses(self) -> int:
        """Responses of this round that the reactor has not counted."""
        return self.inner.slow_path_responses

    @slow_path_responses.setter
    def slow_path_responses(self, count: int) -> None:
        self.inner.slow_path_responses = count

    def begin_second(self, now: float) -> float:
        """Begin a second; returns `next_second`."""
        self.next_second = self.inner.begin_second(now)
        return self.next_second

    def tick(self, now: float) -> None:
        """Do what is due a few times a second."""
        self.inner.tick(now)

    def count_write_timeout(self) -> None:
        """Count a peer that took no bytes for too long, as the kernel noticed first."""
        self.inner.count_write_timeout()

    def drain(self) -> None:
        """From now on each connection's next response is its last."""
        self.draining = True
        self.inner.drain()

    def close(self) -> None:
        """Hand over everything that is left."""
        self.inner.close()


if TYPE_CHECKING:

    def _implements(context: TlsContext, connection: TlsConnection) -> tuple[protocol.Context, protocol.Connection]:
        return context, connection
