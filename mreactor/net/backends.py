"""Which reactor and which acceptor a server uses, and why."""

from dataclasses import dataclass
from typing import Any

from ..config import Config, ConfigError
from ..iouring import probe
from .acceptor.accept4 import Accept4Acceptor
from .acceptor.base import Acceptor
from .acceptor.io_uring import UringAcceptor
from .reactor.base import Reactor
from .reactor.epoll import EpollReactor
from .reactor.io_uring import UringReactor


@dataclass(frozen=True, slots=True)
class Backend:
    """A choice of classes.

    Attributes:
        reactor, acceptor: the classes to use.
        description: both in words, with the reason if there is one.
    """

    reactor: type[Reactor[Any]]
    acceptor: type[Acceptor]
    description: str


def choose(config: Config) -> Backend:
    """Choose as configured. Make no io_uring call unless the settings name io_uring or `auto`.

    Raises:
        ConfigError: io_uring was demanded and cannot be used here; the text gives cause and remedy.
    """
    wishes = (config.backend, config.accept)
    if "io_uring" not in wishes and config.backend != "auto":
        return Backend(EpollReactor, Accept4Acceptor, "epoll, accepting by accept4")
    found = probe()
    if found.usable:
        why = f", which works on this kernel, {found.kernel}" if config.backend == "auto" else ""
        return _choose_usable(config, why)
    if "io_uring" in wishes:
        raise ConfigError(f"io_uring cannot be used: {found.cause}; {found.remedy}")
    return Backend(EpollReactor, Accept4Acceptor, f"epoll, since io_uring cannot be used: {found.cause}")


def _choose_usable(config: Config, why: str) -> Backend:
    """Choose on a machine where io_uring works."""
    waits_by = "epoll" if config.backend == "epoll" else "io_uring"
    accepts_by = config.accept
    if accepts_by == "auto":
        accepts_by = "accept4" if waits_by == "epoll" else "io_uring"
    return Backend(
        EpollReactor if waits_by == "epoll" else UringReactor,
        UringAcceptor if accepts_by == "io_uring" else Accept4Acceptor,
        f"{waits_by}{why}, accepting by {accepts_by}",
    )
