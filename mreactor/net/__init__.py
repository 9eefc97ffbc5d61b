"""Sockets and the threads that own them: listener, acceptors, reactors, timers. Knows no HTTP."""

from .acceptor.accept4 import Accept4Acceptor
from .acceptor.base import Acceptor
from .backends import Backend, choose
from .listener import StartError, listen, preferred, raise_fd_limit, start_thread
from .overload import Refusals
from .reactor.base import Reactor
from .reactor.epoll import EpollReactor
from .reactor.io_uring import UringReactor
from .reactor.options import Command, ReactorOptions

__all__ = [
    "Accept4Acceptor", "Acceptor", "Backend", "Command", "EpollReactor", "Reactor", "ReactorOptions",
    "Refusals", "StartError", "UringReactor", "choose", "listen", "preferred", "raise_fd_limit",
    "start_thread",
]  # fmt: skip
