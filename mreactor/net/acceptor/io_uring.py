"""The acceptor that accepts through io_uring: one multishot accept, and new connections posted from ring to ring.

A connection for a reactor with a ring of its own is posted there with `IORING_OP_MSG_RING`: no queue, no wake-up call,
one number crosses, and it costs no system call of its own.
"""

import errno
import logging
import os
import socket

from ...iouring import CQE_MORE, SQE_CQE_SKIP_SUCCESS, Ring
from ...runtime import hot
from ..reactor.base import NEW_CONNECTION, Reactor
from .base import WAKE_SECONDS, Acceptor

log = logging.getLogger("mreactor")

# A round accepts few connections at once. A thousand would take memory of many sizes, which the thread then keeps.
ENTRIES = 64
CQ_ENTRIES = 256
FAILURES_MAX = 20  # in a row; with the pauses between them, a second
ACCEPTED = 1 << 32
CANCELLED = 2 << 32
UNDELIVERED = 3 << 32  # beside it the file descriptor and above it the reactor's number: a post that failed

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
            try:
                self._arm(ring)
                while not self.is_stopping:
                    self._round(ring)
                ring.prepare_cancel_fd(self.listener.fileno(), CANCELLED)
                while self._is_armed:
                    self._round(ring)
                while not self._round(ring, 0):
                    pass  # the posts of the last round are not all on their way
            finally:
                self._ring = None

    def hand_over(self, reactor: Reactor, fd: int) -> None:
        """Post a connection into the reactor's ring, or hand it over as that reactor likes it."""
        if reactor.ring_fd < 0 or self._ring is None:
            reactor.add_connection(fd)
        else:
            failure = UNDELIVERED | fd | reactor.index << INDEX_SHIFT
            self._ring.prepare_msg_ring(reactor.ring_fd, fd, NEW_CONNECTION, failure, SQE_CQE_SKIP_SUCCESS)

    def _arm(self, ring: Ring) -> None:
        flags = socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        ring.prepare_accept_multishot(self.listener.fileno(), ACCEPTED, flags)
        self._is_armed = True

    def _round(self, ring: Ring, min_complete: int = 1) -> bool:
        """Submit, wait, and act on what has completed; returns whether the kernel has taken all that was queued."""
        is_taken = False
        try:
            is_taken = ring.submit_and_wait(min_complete, int(WAKE_SECONDS * 1e9))
            self._failures = 0
        except OSError as error:
            # What was queued is still there, and what has completed is read: only a ring that is lost is given up.
            self._failures += 1
            if self._failures > FAILURES_MAX:
                raise
            self.handle_accept_error(error.errno or 0)
        for user_data, res, flags in ring.completions():
            if user_data == ACCEPTED:
                self._handle_accepted(ring, res, flags)
            elif user_data >= UNDELIVERED:
                self._retry(self.reactors[user_data >> INDEX_SHIFT], user_data & FD_MASK, res)
        return is_taken

    def _handle_accepted(self, ring: Ring, res: int, flags: int) -> None:
        if res >= 0:
            self.dispatch(res)
        elif res != -errno.ECANCELED:
            self.handle_accept_error(-res)
        if not flags & CQE_MORE:
            self._is_armed = False
            if not self.is_stopping:
                self._arm(ring)

    def _retry(self, reactor: Reactor, fd: int, res: int) -> None:
        """A reactor's ring was full, or is gone: hand over by mailbox, which has room. It is still its turn."""
        log.warning("a connection could not be posted (%s) and goes by mailbox", os.strerror(-res))
        reactor.add_connection(fd)
