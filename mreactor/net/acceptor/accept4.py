"""The acceptor that blocks in `accept4` and hands over by `Reactor.add_connection`."""

from ...runtime import hot
from .base import Acceptor


@hot("accept_blocking", "accept_one", "dispatch", "hand_over", "_is_full")
class Accept4Acceptor(Acceptor):
    """An acceptor on the plain system call. The other kinds fall back to it."""

    def _serve(self) -> None:
        self.accept_blocking()
