"""What a reactor is started with, and what other threads may tell it."""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from socket import SocketType
from typing import Any, NamedTuple, Protocol

from ...concurrency import ConnectionLimit, Job
from ...config import Limits
from ...protocol import Connection, Context, Peer
from ...runtime import hot
from ..overload import Refusals
from .client import Client


class Connector(Protocol):
    """Makes the connections of a reactor: a context, or what stands before it.

    A context with several kinds of connections has further methods: `connect_plain` for those without TLS, and
    `connect_redirected` for those of them that came by TCP. See `ReactorOptions.is_plain`.
    """

    def connect(self, peer: Peer) -> Connection: ...


@dataclass(frozen=True, slots=True)
class ReactorOptions:
    """Settings that all reactors of a server share.

    Attributes:
        fds_max: every descriptor that is handed over is smaller than this.
        connection_limit: bounds the connections of each address; None for no bound.
        refusals: refuses a client that is over that bound.
        limits: how slowly a peer may take its responses, and the memory of all that wait.
        reactors: how many reactors share that memory.
        preface: makes what makes a reactor's connections, if that is not its context; called in the reactor's thread.
        is_plain: tells of a socket whether its connection is one without TLS; None if there is one kind only.
        batch_scheduling: a reactor that wakes does not interrupt other threads; see docs/decisions/008.
    """

    fds_max: int
    connection_limit: ConnectionLimit | None = None
    refusals: Refusals = field(default_factory=lambda: Refusals(b""))
    limits: Limits = field(default_factory=Limits)
    reactors: int = 1
    batch_scheduling: bool = False
    is_plain: Callable[[SocketType], bool] | None = None
    preface: Callable[[Context], Connector] | None = None


class Command(enum.Enum):
    """What the server tells a reactor.

    HAND_OVER: each connection's next response is its last. Idle connections stay open: their next request is served.
    DRAIN: that, and idle connections are closed.
    STOP: all connections are cut off.
    """

    HAND_OVER = enum.auto()
    DRAIN = enum.auto()
    STOP = enum.auto()


class NewConnection(NamedTuple):
    """An accepted socket, non-blocking. The reactor owns the descriptor from now on."""

    fd: int


@hot("__init__", "done")
class ClientJob[C: Client]:
    """A client's job on its way through the thread pool. It comes back as a message when it has run."""

    __slots__ = ("_post", "client", "job")

    def __init__(self, client: C, job: Job, post: Callable[[Any], None]) -> None:
        self.client = client
        self.job = job
        self._post = post

    def done(self) -> None:
        """Return to the reactor. The pool's thread calls this."""
        self._post(self)


type Message[C: Client] = Command | NewConnection | ClientJob[C]
