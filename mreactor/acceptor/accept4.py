"""The acceptor that blocks in `accept4`, and deals by `Reactor.hand`."""

from .base import Acceptor


class Accept4Acceptor(Acceptor):
    """An acceptor on the plain system call, which is also what the others fall back to."""

    def _serve(self) -> None:
        self.serve_plainly()
