"""Sockets and the threads that own them: listener, acceptors, reactors, timers."""

from .acceptor.accept4 import Accept4Acceptor
from .acceptor.base import Acceptor
from .acceptor.io_uring import UringAcceptor
from .backends import Backend, choose
from .reactor.base import DRAIN, STOP, Reactor
from .reactor.client import Client, EpollClient, UringClient
from .reactor.epoll import EpollReactor
from .reactor.io_uring import UringReactor
from .timer_wheel import TimerWheel

__all__ = [
    "DRAIN",
    "STOP",
    "Accept4Acceptor",
    "Acceptor",
    "Backend",
    "Client",
    "EpollClient",
    "EpollReactor",
    "Reactor",
    "TimerWheel",
    "UringAcceptor",
    "UringClient",
    "UringReactor",
    "choose",
]
