"""The soak: a load, and an eye on what the server holds meanwhile."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from .load import Load
from .server import Server, Sight

LOOK_SECONDS = 1.0
SETTLE_SECONDS = 60.0
GROWTH_MAX = 1.10
WARM_UP_REQUESTS = 500_000
WARM_UP_SHARE = 4  # a short soak is warmed up after this part of it
POOL_THREADS = 16


@dataclass(slots=True)
class Soaked:
    """What a soak has come to.

    Attributes:
        start, warm, end: the server before the load, after the warm-up, and when its clients have gone.
        peak: the most resident bytes seen.
    """

    requests: int
    seconds: float
    start: Sight
    warm: Sight
    end: Sight
    peak: int
    done: dict[str, int]
    complaints: list[str]

    def faults(self) -> list[str]:
        """What is not as it must be, for people."""
        found = [f"the log complains: {line}" for line in self.complaints[:10]]
        if self.end.resident > self.warm.resident * GROWTH_MAX:
            found.append(f"memory has grown from {self.warm.resident / 1e6:.1f} to {self.end.resident / 1e6:.1f} MB")
        if self.end.descriptors != self.start.descriptors:
            found.append(f"{self.end.descriptors} descriptors are open, {self.start.descriptors} were at the start")
        if self.end.threads > self.start.threads + POOL_THREADS:
            found.append(f"{self.end.threads} threads run, {self.start.threads} did at the start")
        return found


def soak(server: Server, requests: int, seconds: float, clients: int, tell: Callable[[int, Sight], None]) -> Soaked:
    """Keep a server busy with so many requests, or for so long.

    Raises:
        Unexpected: a response is not what it has to be.
    """
    start = server.look()
    watch = _Watch(server, min(WARM_UP_REQUESTS, requests // WARM_UP_SHARE), tell)
    with Load(server.address, clients) as load:
        begun = time.monotonic()
        load.run(requests, seconds, watch)
        taken = time.monotonic() - begun
    end = _settled(server, start)
    warm = watch.warm or end
    return Soaked(load.requests, taken, start, warm, end, watch.peak, dict(load.done), server.complaints())


class _Watch:
    """Looks at the server once a second."""

    def __init__(self, server: Server, warm_up: int, tell: Callable[[int, Sight], None]) -> None:
        self._server = server
        self._warm_up = warm_up
        self._tell = tell
        self._next = 0.0
        self.warm: Sight | None = None
        self.peak = 0

    def __call__(self, requests: int) -> None:
        is_warm = self.warm is None and requests >= self._warm_up
        if not is_warm and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LOOK_SECONDS
        sight = self._server.look()
        self.peak = max(self.peak, sight.resident)
        if is_warm:
            self.warm = sight
        self._tell(requests, sight)


def _settled(server: Server, start: Sight) -> Sight:
    """The server once it has noticed that all clients have gone."""
    limit = time.monotonic() + SETTLE_SECONDS
    while (sight := server.look()).descriptors != start.descriptors and time.monotonic() < limit:
        time.sleep(0.1)
    return sight
