"""Which way of waiting and which way of accepting a server uses, and why."""

from dataclasses import dataclass

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
    """A choice made.

    Attributes:
        reactor, acceptor: the classes to use.
        description: both choices in words, with the reason where there was one.
    """

    reactor: type[Reactor]
    acceptor: type[Acceptor]
    description: str


def choose(config: Config) -> Backend:
    """Choose as configured. Without a word of io_uring in the settings, no call of io_uring is made.

    Raises:
        ConfigError: io_uring was demanded and the kernel does not give it; with cause and remedy.
    """
    if "io_uring" not in (config.backend, config.accept) and config.backend != "auto":
        return Backend(EpollReactor, Accept4Acceptor, "epoll, accepting by accept4")
    support = probe()
    if not support.usable:
        if "io_uring" in (config.backend, config.accept):
            raise ConfigError(f"io_uring cannot be used: {support.cause}; {support.remedy}")
        return Backend(
            EpollReactor, Accept4Acceptor, f"epoll, since io_uring cannot be used: {support.cause}"
        )
    reactor = EpollReactor if config.backend == "epoll" else UringReactor
    accept = (
        config.accept if config.accept != "auto" else ("io_uring" if reactor is UringReactor else "accept4")
    )
    acceptor = UringAcceptor if accept == "io_uring" else Accept4Acceptor
    why = f", which works on this kernel, {support.kernel}" if config.backend == "auto" else ""
    return Backend(
        reactor, acceptor, f"{'io_uring' if reactor is UringReactor else 'epoll'}{why}, accepting by {accept}"
    )
