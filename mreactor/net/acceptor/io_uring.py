"""The acceptor that accepts through io_uring: one multishot accept, and new connections posted from ring to ring.

A connection for a reactor with a ring of its own is posted there with `IORING_OP_MSG_RING` (docs/decisions/035): no
queue, no wake-up call, no system call of its own, and one number crosses.
"""

import errno
import logging
import os
import socket
from typing import Any

from ...iouring import CQE_MORE, SQE_CQE_SKIP_SUCCESS, Ring
from ...runtime import hot
from ..reactor.base import Reactor
from ..reactor.io_uring import NEW_CONNECTION
from .base import WAKE_SECONDS, Acceptor

log = logging.getLogger("mreactor")

# A round accepts few connections. A thousand at once would take memory of many sizes, which the thread then keeps.
ENTRIES = 64
CQ_ENTRIES = 256
# In a row; with the pauses between them, a second.
FAILURES_MAX = 20
ACCEPTED = 1 << 32
CANCELLED = 2 << 32
# The low bits of ACCEPTED hold the listener's index.
# A post that failed. The low bits hold the file descriptor, the high bits the reactor's number.
UNDELIVERED = 3 << 32

FD_MASK = 0xFFFFFFFF
INDEX_SHIFT = 34


@hot("dispatch", "hand_over", "_is_full", "_round", "_handle_accepted")
class UringAcceptor(Acceptor):
    """An acceptor with a ring. It feeds reactors of any kind."""

    _ring: Ring | None = None
    _failures = 0

    def _serve(self) -> None:
        with Ring(ENTRIES, cq_entries=CQ_ENTRIES) as ring:
            self._ring = ring
            self._armed: set[int] = set()
            try:
                for index in range(len(self.listeners)):
                    self._arm(ring, index)
                while not self.is_stopping:
                    self._round(ring)
                for listener in self.listeners:
                    ring.prepare_cancel_fd(listener.sock.fileno(), CANCELLED)
                while self._armed:
                    self._round(ring)
                # Until the kernel has all posts of the last round.
                while not self._round(ring, 0):
                    pass
            finally:
                self._ring = None

    def hand_over(self, reactor: Reactor[Any], fd: int) -> None:
        """Post a connection into the reactor's ring, or hand it over in the way of a reactor without one."""
        if reactor.ring_fd < 0 or self._ring is None:
            reactor.add_connection(fd)
        else:
            failure = UNDELIVERED | fd | reactor.index << INDEX_SHIFT
            self._ring.prepare_msg_ring(reactor.ring_fd, fd, NEW_CONNECTION, failure, SQE_CQE_SKIP_SUCCESS)

    def _arm(self, ring: Ring, index: int) -> None:
        flags = socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        ring.prepare_accept_multishot(self.listeners[index].sock.fileno(), ACCEPTED | index, flags)
        self._armed.add(index)

    def _round(self, ring: Ring, min_complete: int = 1) -> bool:
        """Submit, wait, and handle completions. Return whether the kernel has taken everything that was queued."""
        is_taken = False
        try:
            is_taken = ring.submit_and_wait(min_complete, int(WAKE_SECONDS * 1e9))
            self._failures = 0
        except OSError as error:
            # What was queued stays queued, and completions are still read. Only a ring that keeps failing is given up.
            self._failures += 1
            if self._failures > FAILURES_MAX:
                raise
            self.handle_accept_error(self.listeners[0].sock.fileno(), error.errno or 0)
        for user_data, res, flags in ring.completions():
            if ACCEPTED <= user_data < CANCELLED:
                self._handle_accepted(ring, user_data & FD_MASK, res, flags)
            elif user_data >= UNDELIVERED:
                self._retry(self.reactors[user_data >> INDEX_SHIFT], user_data & FD_MASK, res)
        return is_taken

    def _handle_accepted(self, ring: Ring, index: int, res: int, flags: int) -> None:
        listener = self.listeners[index].sock
        if res >= 0:
            self.dispatch(res)
        elif res == -errno.EAGAIN:
            # Another process shares the socket and has set it non-blocking, so the kernel does not wait.
            os.set_blocking(listener.fileno(), True)
        elif res != -errno.ECANCELED:
            self.handle_accept_error(listener.fileno(), -res)
        if not flags & CQE_MORE:
            self._armed.discard(index)
            if not self.is_stopping:
                self._arm(ring, index)

    def _retry(self, reactor: Reactor[Any], fd: int, res: int) -> None:
        """Hand over by mailbox: the reactor's ring was full, or is gone."""
        log.warning("a connection could not be posted to a ring (%s) and goes by mailbox", os.strerror(-res))
        reactor.add_connection(fd)
