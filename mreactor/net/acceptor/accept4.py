"""The acceptor that blocks in `accept4`, and deals by `Reactor.add_connection`."""

from ...runtime import hot
from .base import Acceptor


@hot("accept_blocking", "accept_one", "dispatch", "hand_over", "_is_full")
class Accept4Acceptor(Acceptor):
    """An acceptor on the plain system call, which is also what the others fall back to."""

    def _serve(self) -> None:
        self.accept_blocking()
