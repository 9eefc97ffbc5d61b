"""The states of an HTTP/1.1 connection and the permitted transitions. docs/states.md shows them as a diagram."""

from enum import IntEnum
from math import inf
from typing import Final

from .. import protocol
from ..config import Limits


class State(IntEnum):
    """The names of the states. IDLE, READY, LINGERING and CLOSED are those that a reactor acts on."""

    IDLE = protocol.IDLE  # between requests; the buffers are empty and no response is due
    HEAD = 1  # part of a request head, or an empty line before one, has arrived
    BODY = 2  # a request's body is arriving
    WAITING = 3  # the thread pool runs a blocking handler or computes a part of a blocking stream; or a stream pauses
    SENDING = 4  # a response is being sent
    READY = protocol.READY  # there is more to read or to compute, and the other clients' turn comes first
    LINGERING = protocol.LINGERING  # late bytes are read, so that no reset destroys the last response
    CLOSED = protocol.CLOSED


# A connection holds its state as a bare int: an Enum member is shared between threads. See docs/decisions/002.
IDLE: Final = protocol.IDLE
HEAD: Final = int(State.HEAD)
BODY: Final = int(State.BODY)
WAITING: Final = int(State.WAITING)
SENDING: Final = int(State.SENDING)
READY: Final = protocol.READY
LINGERING: Final = protocol.LINGERING
CLOSED: Final = protocol.CLOSED

NEXT_STATES: dict[int, frozenset[int]] = {
    IDLE: frozenset({HEAD, BODY, WAITING, SENDING, LINGERING, CLOSED}),
    HEAD: frozenset({IDLE, BODY, WAITING, SENDING, LINGERING, CLOSED}),
    BODY: frozenset({IDLE, WAITING, SENDING, READY, CLOSED}),
    WAITING: frozenset({IDLE, SENDING, CLOSED}),
    SENDING: frozenset({IDLE, READY, WAITING, LINGERING, CLOSED}),
    READY: frozenset({HEAD, BODY, WAITING, SENDING, CLOSED}),
    LINGERING: frozenset({CLOSED}),
    CLOSED: frozenset(),
}

# The metrics' name of a passed deadline, by the state that it ends.
TIMEOUT_KINDS = {IDLE: "keepalive", HEAD: "head", BODY: "body", SENDING: "write", LINGERING: "linger"}

# The next request of a client that got a response this recently, or is new, may be on its way when the server drains.
# For as long the server reads on after it has ended an idle connection.
DRAIN_GRACE_SECONDS = 1.0


# A peer that is silent for this long while the connection lingers has nothing on its way. One that keeps sending is
# read until `linger_seconds` are over, because many clients read the response only behind their whole request.
LINGER_SILENCE_SECONDS = 2.0


def state_timeouts(limits: Limits) -> dict[int, float]:
    """Return the seconds that each state may last; infinite for no bound. The reactor bounds SENDING."""
    timeouts = dict.fromkeys(NEXT_STATES, inf)
    timeouts[IDLE] = limits.keepalive_seconds
    timeouts[HEAD] = limits.head_seconds
    timeouts[BODY] = limits.body_grace_seconds
    timeouts[LINGERING] = min(limits.linger_seconds, LINGER_SILENCE_SECONDS)
    return timeouts
