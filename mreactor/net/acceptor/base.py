"""What every acceptor does: hand connections to the reactors in turn, refuse those past the limit, survive errors.

An acceptor is one dedicated thread. It never exits or spins on an error. It hands reactors file descriptors only, never
Python objects: docs/decisions/027.
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
from math import inf
from typing import Any

from ...runtime import in_thread
from ..listener import Listener
from ..overload import Refusals
from ..reactor.base import Reactor

log = logging.getLogger("mreactor")

# Waiting ends this often, to check whether the acceptor is to stop.
WAKE_SECONDS = 0.25
# After an error that lasts, such as a full file table.
PAUSE_SECONDS = 0.05
# Errors this close to each other are one burst and one line in the log.
BURST_SECONDS = 5.0

# A reactor's heartbeat comes four times a second. The watchdog uses the same bound.
STUCK_SECONDS = 5.0
# How often the reactors' open connections are counted, at most, and how many more than the emptiest one the reactor in
# turn may have. See docs/decisions/096.
COUNT_SECONDS = 0.01
UNEVEN_MAX = 1

# Errors of one connection that was gone before it was accepted (accept(2)). The next connection is not affected.
GONE = frozenset(
    {errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINTR}
)

# Bound once: each `libc.accept4` would search the library's object.
_ACCEPT4: Callable[..., int] = ctypes.CDLL(None, use_errno=True).accept4
_NON_BLOCKING = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


def accept4(listener: int) -> int:
    """Accept a connection, non-blocking and closed on exec; -1 with ctypes' errno if there is none (accept4(2)).

    `socket.accept` also makes a socket object, and sets the socket non-blocking by a second call.
    """
    return _ACCEPT4(listener, None, None, _NON_BLOCKING)


class Acceptor(threading.Thread, ABC):
    """Accepts on one or more listening sockets.

    Args:
        listeners: bound and listening. The acceptor closes them in the end.
        reactors: get the connections in turn, or the emptiest one where turns have become uneven.
        connections_max: connections open at once, over all reactors. Further ones are refused.
        fds_max: descriptors from this number on are refused as well, since the reactors' tables end there.
        refusals: refuses clients.

    Attributes:
        accepted, refused: connections so far. The acceptor writes them, any thread may read them.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        reactors: Sequence[Reactor[Any]],
        *,
        connections_max: int,
        fds_max: int,
        refusals: Refusals,
    ) -> None:
        super().__init__(name="acceptor", daemon=True)
        self.accepted = 0
        self.refused = 0
        self.is_stopping = False
        self.listeners = listeners
        self.reactors = reactors
        self._connections_max = connections_max
        self._fds_max = fds_max
        self._refusals = refusals
        # Connections known to be closed again. Counted again only when the limit seems to be reached.
        self._closed_at_least = 0
        # By reactor: connections handed over, and those that are open as far as it is known; infinite for a reactor
        # that does not answer.
        self._handed_over = [0] * len(reactors)
        self._open: list[float] = [0.0] * len(reactors)
        self._counted_at = -inf
        self._last_error = 0.0
        self._idle_fd = -1

    def stop(self) -> None:
        """Stop within `WAKE_SECONDS`, after accepting what the kernel has queued. Safe to call from any thread."""
        self.is_stopping = True

    def run(self) -> None:
        """Accept until stopped."""
        self._idle_fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        # See docs/decisions/008.
        in_thread(batch=True)
        for listener in self.listeners:
            self._prepare(listener)
        try:
            self._serve()
        except Exception:
            log.exception("acceptor failed; falling back to blocking accept4")
            self.accept_blocking()
        for listener in self.listeners:
            if not listener.is_shared:
                # Clients in the kernel's queue believe that they are connected, and may have sent a request.
                os.set_blocking(listener.sock.fileno(), False)
                while self.accept_one(listener.sock.fileno()):
                    pass
            listener.close()
        self._close_idle_fd()

    def _prepare(self, listener: Listener) -> None:
        # The application may have set a default timeout, which makes new sockets non-blocking.
        listener.sock.setblocking(True)
        # Ends a blocking accept4 with EAGAIN when no client comes.
        wake = struct.pack("ll", int(WAKE_SECONDS), int(WAKE_SECONDS % 1 * 1e6))
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, wake)
        if not listener.is_unix:
            # Accepted sockets inherit it.
            listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @abstractmethod
    def _serve(self) -> None:
        """Accept and dispatch until `is_stopping`."""

    def accept_one(self, listener: int) -> bool:
        """Accept one connection with the system call and dispatch it. Return False if none came."""
        fd = accept4(listener)
        if fd >= 0:
            self.dispatch(fd)
            return True
        error = ctypes.get_errno()
        if error == errno.EAGAIN:
            return False
        self.handle_accept_error(listener, error)
        return not self.is_stopping

    def dispatch(self, fd: int) -> None:
        """Give a connection to the reactor whose turn it is, or refuse it."""
        if fd >= self._fds_max or self._is_full():
            self._refuse(fd)
            return
        index = self._choose_reactor()
        reactor = self.reactors[index]
        try:
            self.hand_over(reactor, fd)
        except (OSError, ValueError) as error:
            # A ValueError means that the reactor has ended and closed its epoll.
            os.close(fd)
            self._log_throttled("a connection could not be handed to %s: %s", reactor.name, error)
            return
        self.accepted += 1
        self._handed_over[index] += 1
        self._open[index] += 1

    def _choose_reactor(self) -> int:
        """Return the reactor whose turn it is, or the emptiest one if that has clearly fewer connections.

        Turns alone become uneven when the clients of one reactor stay and those of another leave. A reactor that does
        not answer gets no connection while another one does.
        """
        turn = self.accepted % len(self.reactors)
        if len(self.reactors) > 1:
            now = time.monotonic()
            if now - self._counted_at >= COUNT_SECONDS:
                self._count_open(now)
            least = min(self._open)
            if self._open[turn] > least + UNEVEN_MAX:
                return self._open.index(least)
        return turn

    def _count_open(self, now: float) -> None:
        """Count the open connections of each reactor from what it publishes."""
        self._counted_at = now
        for index, reactor in enumerate(self.reactors):
            is_alive = now - reactor.heartbeat < STUCK_SECONDS
            self._open[index] = self._handed_over[index] - reactor.context.counters.closed if is_alive else inf

    def hand_over(self, reactor: Reactor[Any], fd: int) -> None:
        """Pass a connection to a reactor."""
        reactor.add_connection(fd)

    def handle_accept_error(self, listener: int, error: int) -> None:
        """Survive an errno of accept without spinning on one that lasts."""
        if error in GONE:
            return
        if error == errno.EMFILE:
            self._log_throttled(
                "accept failed: %s; raise the limit on open files (ulimit -n) or lower --connections-max",
                os.strerror(error),
            )
            self._accept_and_close(listener)
        else:
            self._log_throttled("accept failed: %s", os.strerror(error))
        time.sleep(PAUSE_SECONDS)

    def accept_blocking(self) -> None:
        """Accept by accept4 until stopped: blocking in it if there is one listener, and else by poll."""
        if len(self.listeners) > 1:
            self._accept_by_poll()
            return
        fd = self.listeners[0].sock.fileno()
        while not self.is_stopping:
            if not self.accept_one(fd):
                # The receive timeout has passed. Or a process that shares the socket has set it non-blocking.
                os.set_blocking(fd, True)

    def _accept_by_poll(self) -> None:
        waiting = select.poll()
        for listener in self.listeners:
            # A process that shares the socket may be faster.
            listener.sock.setblocking(False)
            waiting.register(listener.sock, select.POLLIN)
        while not self.is_stopping:
            for fd, _ in waiting.poll(WAKE_SECONDS * 1000):
                self.accept_one(fd)

    def _is_full(self) -> bool:
        if self.accepted - self._closed_at_least < self._connections_max:
            return False
        self._closed_at_least = sum(reactor.context.counters.closed for reactor in self.reactors)
        return self.accepted - self._closed_at_least >= self._connections_max

    def _refuse(self, fd: int, *, lingers: bool = True) -> None:
        self.refused += 1
        self._log_throttled("refusing connections: the limit of %d open connections is reached", self._connections_max)
        # The refusal asks for the address: see `plain_matcher`.
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fd) as sock:
            sock.setblocking(False)
            self._refusals.refuse(sock, lingers=lingers)

    def _accept_and_close(self, listener: int) -> None:
        """When every descriptor is in use, accept one connection on the idle one and refuse it.

        Otherwise the client would wait for nothing.
        """
        waiting = select.poll()
        waiting.register(listener, select.POLLIN)
        if not waiting.poll(0):
            return  # accept reports a full table even if no client waits, and would block now
        self._close_idle_fd()
        fd = accept4(listener)
        if fd >= 0:
            self._refuse(fd, lingers=False)
        try:
            self._idle_fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            pass  # another thread has taken the descriptor; the next refusal tries again

    def _close_idle_fd(self) -> None:
        fd, self._idle_fd = self._idle_fd, -1
        if fd >= 0:
            os.close(fd)

    def _log_throttled(self, message: str, *args: object) -> None:
        now = time.monotonic()
        if now - self._last_error > BURST_SECONDS:
            log.error(message, *args)
        self._last_error = now
