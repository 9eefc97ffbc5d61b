"""What a reactor is started with, and what other threads may tell it."""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ...concurrency import ConnectionLimit, Job
from ...config import Limits
from ...runtime import hot
from ..overload import Refusals
from .client import Client


@dataclass(frozen=True, slots=True)
class ReactorOptions:
    """Settings that all reactors of a server share.

    Attributes:
        fds_max: every descriptor that is handed over is smaller than this.
        family: address family of the connections.
        connection_limit: bounds the connections of each address; None for no bound.
        refusals: refuses a client that is over that bound.
        limits: how slowly a peer may take its responses, and the memory of all that wait.
        reactors: how many reactors share that memory.
        batch_scheduling: a reactor that wakes does not interrupt other threads; see docs/decisions/008.
    """

    fds_max: int
    family: int
    connection_limit: ConnectionLimit | None = None
    refusals: Refusals = field(default_factory=lambda: Refusals(b""))
    limits: Limits = field(default_factory=Limits)
    reactors: int = 1
    batch_scheduling: bool = False


class Command(enum.Enum):
    """What the server tells a reactor."""

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
