"""What every acceptor does: dispatch connections to the reactors in turn, refuse what is too much, and outlive errors.

An acceptor is one dedicated thread. Nothing that a peer or the kernel does ends it, and no error makes it spin. It
creates nothing that a reactor then owns: what crosses is a file descriptor.
"""

import ctypes
import errno
import logging
import os
import select
import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from ...runtime import use_batch_scheduling
from ..reactor.base import Reactor, refuse

log = logging.getLogger("mreactor")

WAKE_SECONDS = 0.25  # waiting ends this often, to look whether the acceptor is to stop
PAUSE_SECONDS = 0.05  # after an error that lasts, such as a full file table
BURST_SECONDS = 5.0  # errors this close to each other are one burst, and one line in the log

# Errors of one connection that was gone before it was accepted; the next one is not concerned (accept(2)).
GONE = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPERM,
        errno.EPROTO,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
        errno.EINTR,
    }
)


# Bound once: each `libc.accept4` would search the library's object.
_ACCEPT4: Callable[..., int] = ctypes.CDLL(None, use_errno=True).accept4
_NON_BLOCKING = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


def accept4(listener: int) -> int:
    """accept4(2): a new connection, non-blocking and closed on exec; -1 with ctypes' errno where there is none.

    `socket.accept` makes a socket object for each connection, and another call sets it non-blocking: 3 µs more.
    """
    return _ACCEPT4(listener, None, None, _NON_BLOCKING)


class Acceptor(threading.Thread, ABC):
    """Accepts on one listening socket.

    Args:
        listener: bound and listening; the acceptor closes it in the end.
        reactors: who gets the connections, strictly in turn.
        connections_max: connections open at once, over all reactors; further ones get 503.
        fds_max: file descriptors from this number on are refused as well: the reactors' tables end there.
    """

    def __init__(
        self, listener: socket.socket, reactors: Sequence[Reactor], connections_max: int, fds_max: int
    ) -> None:
        super().__init__(name="acceptor", daemon=True)
        self.accepted = 0
        self.refused = 0
        self.is_stopping = False
        self.listener = listener
        self.reactors = reactors
        self._connections_max = connections_max
        self._fds_max = fds_max
        self._closed_at_least = 0  # connections known to be closed again; looked up only when it matters
        self._last_error = 0.0
        self._idle_fd = -1

    def stop(self) -> None:
        """Stop within `WAKE_SECONDS`, after what the kernel has queued is accepted; called by any thread."""
        self.is_stopping = True

    def run(self) -> None:
        """Accept until stopped."""
        self._idle_fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        # Where acceptor and reactor share a core, a connection for each request costs 68 µs of CPU time and not 84.
        use_batch_scheduling()
        self.listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # connections inherit it
        try:
            self._serve()
        except Exception:
            log.exception("the acceptor failed; connections are accepted in the plain way from now on")
            self.accept_blocking()
        # Clients in the kernel's queue believe themselves connected, and may have sent a request: they are served.
        os.set_blocking(self.listener.fileno(), False)
        while self.accept_one():
            pass
        self.listener.close()
        self._close_idle_fd()

    @abstractmethod
    def _serve(self) -> None:
        """Accept and dispatch until `is_stopping`."""

    def accept_one(self) -> bool:
        """Accept one connection with the system call and dispatch it; False where none came."""
        fd = accept4(self.listener.fileno())
        if fd >= 0:
            self.dispatch(fd)
            return True
        error = ctypes.get_errno()
        if error == errno.EAGAIN:
            return False
        self.handle_accept_error(error)
        return not self.is_stopping

    def dispatch(self, fd: int) -> None:
        """Give a connection to the reactor whose turn it is, or refuse it."""
        if fd >= self._fds_max or self._is_full():
            self._refuse(fd)
            return
        reactor = self.reactors[self.accepted % len(self.reactors)]
        try:
            self.hand_over(reactor, fd)
        except (OSError, ValueError) as error:  # a ValueError: the reactor has ended, and closed its epoll
            os.close(fd)
            self._log_throttled("a connection could not be handed to %s: %s", reactor.name, error)
            return
        self.accepted += 1

    def hand_over(self, reactor: Reactor, fd: int) -> None:
        """Pass a connection to a reactor."""
        reactor.add_connection(fd)

    def handle_accept_error(self, error: int) -> None:
        """Go on after an error of accept, an errno, without spinning on one that lasts."""
        if error in GONE:
            return
        if error == errno.EMFILE:
            self._log_throttled(
                "accept failed: %s; raise the limit on open files (ulimit -n) or lower --connections-max",
                os.strerror(error),
            )
            self._accept_and_close()
        else:
            self._log_throttled("accept failed: %s", os.strerror(error))
        time.sleep(PAUSE_SECONDS)

    def accept_blocking(self) -> None:
        """Accept by blocking accept4 until stopped."""
        # The socket stays blocking; a receive timeout is what ends accept4 with EAGAIN when nobody comes.
        wake = struct.pack("ll", int(WAKE_SECONDS), int(WAKE_SECONDS % 1 * 1e6))
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, wake)
        while not self.is_stopping:
            self.accept_one()

    def _is_full(self) -> bool:
        if self.accepted - self._closed_at_least < self._connections_max:
            return False
        self._closed_at_least = sum(reactor.context.counters.closed for reactor in self.reactors)
        return self.accepted - self._closed_at_least >= self._connections_max

    def _refuse(self, fd: int) -> None:
        self.refused += 1
        self._log_throttled(
            "refusing connections: the limit of %d open connections is reached", self._connections_max
        )
        with socket.socket(self.listener.family, socket.SOCK_STREAM, 0, fd) as sock:
            sock.setblocking(False)
            refuse(sock)

    def _accept_and_close(self) -> None:
        """With every descriptor in use, accept one connection on the reserve and close it: clients wait for nothing."""
        waiting = select.poll()
        waiting.register(self.listener, select.POLLIN)
        if not waiting.poll(0):
            return  # accept reports a full table even where nobody waits, and would now block
        self._close_idle_fd()
        fd = accept4(self.listener.fileno())
        if fd >= 0:
            self._refuse(
                fd
            )  # otherwise another thread was faster: the pause that follows is all there is to do
        try:
            self._idle_fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            pass  # there will be another occasion

    def _close_idle_fd(self) -> None:
        fd, self._idle_fd = self._idle_fd, -1
        if fd >= 0:
            os.close(fd)

    def _log_throttled(self, message: str, *args: object) -> None:
        now = time.monotonic()
        if now - self._last_error > BURST_SECONDS:
            log.error(message, *args)
        self._last_error = now
