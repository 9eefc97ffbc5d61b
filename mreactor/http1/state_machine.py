"""The state of one connection, its deadline, and what ends it: a timeout or a drain."""

from typing import TYPE_CHECKING

from ..http import HTTPError
from ..runtime import hot
from .states import BODY, CLOSED, DRAIN_GRACE_SECONDS, HEAD, IDLE, LINGERING, NEXT_STATES, READY, State

if TYPE_CHECKING:
    from .context import ReactorContext


@hot("__init__", "_enter")
class StateMachine:
    """The base of `Connection`: a base and not an object of its own, because thousands of connections may be idle.

    A new connection is IDLE, and must send its first head within `head_seconds` instead of `keepalive_seconds`. It is
    new as long as `deadline` is the very object that the constructor made. So each new deadline ends this, also one
    that the reactor's fast path sets, at no cost. See docs/decisions/054.
    """

    __slots__ = ("_context", "_first_deadline", "deadline", "state")

    def __init__(self, context: "ReactorContext") -> None:
        self._context = context
        self.state = IDLE
        self.deadline = self._first_deadline = context.now + context.limits.head_seconds

    @property
    def wants_read(self) -> bool:
        """False: leave further bytes in the kernel. That is backpressure. The order of the states matters here."""
        return self.state <= BODY or self.state == LINGERING

    @property
    def in_flight(self) -> bool:
        """A request's head has been read, and its response is not complete. The order of the states matters here."""
        return BODY <= self.state <= READY

    @property
    def awaits_rest(self) -> bool:
        """A message has begun and its rest has not come."""
        return self.state == BODY or (self.state == HEAD and not self._holds_empty_line)

    @property
    def _holds_empty_line(self) -> bool:
        """All that is held is an empty line, or part of one. It is no part of a request (RFC 9112 section 2.2)."""
        raise NotImplementedError

    def handle_timeout(self, now: float) -> None:
        """Act on a deadline that has passed. Does nothing before it."""
        if now < self.deadline or self.state == CLOSED:
            return
        self._context.count_timeout(HEAD if self._is_new() else IDLE if self._holds_empty_line else self.state)
        if self.awaits_rest:
            self._refuse(HTTPError(408, "The request took too long to arrive."))
        elif self._context.draining and self.state != LINGERING:
            self._end_idle()
        else:
            self.abort()

    def drain(self) -> None:
        """Close if idle for long. Otherwise an idle connection gets a moment for a request that is on its way."""
        now, limits = self._context.now, self._context.limits
        if not (self.state == IDLE or self._holds_empty_line) or self.deadline <= now + DRAIN_GRACE_SECONDS:
            return
        idle_since = self.deadline - (limits.head_seconds if self._is_new() else limits.keepalive_seconds)
        self.deadline = min(self.deadline, now + DRAIN_GRACE_SECONDS)
        if idle_since < now - DRAIN_GRACE_SECONDS:
            self._end_idle()

    def abort(self) -> None:
        """End the connection, whatever it is doing. Idempotent."""
        raise NotImplementedError

    def _end_idle(self) -> None:
        """Tell the peer that the connection ends, and read for a moment on: a request may have been on its way."""
        raise NotImplementedError

    def _refuse(self, error: HTTPError) -> bytes | None:
        raise NotImplementedError

    def _is_new(self) -> bool:
        return self.deadline is self._first_deadline

    def _enter(self, state: int) -> None:
        assert state in NEXT_STATES[self.state], (State(self.state).name, State(state).name)
        self.state = state
        # The time for the first head runs from accept, so its first byte does not extend it.
        if state != HEAD or self.deadline is not self._first_deadline:
            self.deadline = self._context.now + self._context.state_timeouts[state]
