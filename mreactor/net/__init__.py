"""Sockets and the threads that own them: listener, acceptors, reactors, timers. Knows no HTTP."""

from .acceptor.accept4 import Accept4Acceptor
from .acceptor.base import Acceptor
from .backends import Backend, choose
from .inherited import ACTIVATED, InheritedSockets
from .listener import (
    Listener,
    close_all,
    listen,
    open_listeners,
    plain_matcher,
    preferred,
    raise_fd_limit,
    start_thread,
)
from .overload import Refusals
from .reactor.base import Reactor
from .reactor.epoll import EpollReactor
from .reactor.io_uring import UringReactor
from .reactor.options import Command, ReactorOptions
from .start_error import StartError

__all__ = [
    "ACTIVATED", "Accept4Acceptor", "Acceptor", "Backend", "Command", "EpollReactor", "InheritedSockets", "Listener",
    "Reactor", "ReactorOptions", "Refusals", "StartError", "UringReactor", "choose", "close_all", "listen",
    "open_listeners", "plain_matcher", "preferred", "raise_fd_limit", "start_thread",
]  # fmt: skip
