"""The states of a connection and the ways between them."""

from enum import IntEnum
from typing import Final


class State(IntEnum):
    """Where a connection stands."""

    IDLE = 0  # between requests; nothing is buffered, nothing is owed
    HEAD = 1  # a part of a request head has come
    BODY = 2  # a request's body is coming
    WAITING = 3  # a blocking handler, or a blocking stream's next part, is being computed elsewhere
    SENDING = 4  # an answer is owed to the peer
    READY = 5  # further requests are buffered, and the others' turn comes first: call `resume`
    LINGERING = (
        6  # all is said; the write side is shut and late bytes are read, so that no reset destroys the answer
    )
    CLOSED = 7


# Connections hold their state as a bare int: members of an Enum are shared between threads and reference-counted with
# atomic operations, small ints are immortal and cost nothing.
IDLE: Final = int(State.IDLE)
HEAD: Final = int(State.HEAD)
BODY: Final = int(State.BODY)
WAITING: Final = int(State.WAITING)
SENDING: Final = int(State.SENDING)
READY: Final = int(State.READY)
LINGERING: Final = int(State.LINGERING)
CLOSED: Final = int(State.CLOSED)

NEXT_STATES: dict[int, frozenset[int]] = {
    IDLE: frozenset({HEAD, BODY, WAITING, SENDING, CLOSED}),
    HEAD: frozenset({IDLE, BODY, WAITING, SENDING, CLOSED}),
    BODY: frozenset({IDLE, WAITING, SENDING, CLOSED}),
    WAITING: frozenset({SENDING, CLOSED}),
    SENDING: frozenset({IDLE, READY, WAITING, LINGERING, CLOSED}),
    READY: frozenset({HEAD, BODY, WAITING, SENDING, CLOSED}),
    LINGERING: frozenset({CLOSED}),
    CLOSED: frozenset(),
}

# What a passed deadline is called in the metrics, by the state that it ends.
TIMEOUT_KINDS = {IDLE: "keepalive", HEAD: "head", BODY: "body", SENDING: "write", LINGERING: "linger"}

# A client that got a response this long ago, or is new, may have its next request on the way when the server drains.
DRAIN_GRACE_SECONDS = 1.0
