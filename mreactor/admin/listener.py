"""The threads of the admin listener: an acceptor and one epoll reactor. See docs/decisions/038."""

import ipaddress
import os
import re
import socket
from typing import Any

from ..concurrency import ThreadPool
from ..config import Config, ConfigError, Limits
from ..http1 import ReactorContext, render_overload
from ..net import (
    Accept4Acceptor,
    Acceptor,
    Command,
    InheritedSockets,
    Listener,
    ReactorOptions,
    Refusals,
    StartError,
    preferred,
    start_thread,
)
from .endpoints import make_app
from .reactor import CONNECTIONS_MAX, AdminReactor
from .status import ServerStatus

BACKLOG = 64
LIMITS = Limits(body_bytes_max=0)
# The reactor makes room for more connections than it keeps. The acceptor refuses a burst that leaves it no time to.
ACCEPTED_MAX = 2 * CONNECTIONS_MAX
JOIN_SECONDS = 2.0
START_SECONDS_MAX = 10.0


class AdminListener:
    """The listener and its two threads. The server's thread calls `start` and `close`.

    Args:
        status: the server to report on.
        fds_max: every file descriptor of this process is below this number.
    """

    def __init__(self, status: ServerStatus, fds_max: int) -> None:
        self._status = status
        self._fds_max = fds_max
        self._reactor: AdminReactor | None = None
        self._acceptor: Acceptor | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the listening socket, after `start`."""
        return self._address

    @property
    def listeners(self) -> list[Listener]:
        """The listening socket, after `start`."""
        return [self._listener]

    def start(self, inherited: InheritedSockets | None = None) -> None:
        """Listen and serve.

        Args:
            inherited: sockets of the process before this one.

        Raises:
            ConfigError: see `resolve`.
            StartError: the address is taken or not of this machine.
        """
        family, address = resolve(self._status.config)
        key = f"admin:{self._status.config.admin}"
        sock = inherited.take(key) if inherited is not None else None
        try:
            is_dual = address[0] == "::"
            listener = sock or socket.create_server(address, family=family, backlog=BACKLOG, dualstack_ipv6=is_dual)
        except OSError as error:
            # `create_server` appends the address to `strerror`.
            cause = os.strerror(error.errno) if error.errno else error.strerror
            raise StartError(f"--admin: cannot listen on {self._status.config.admin}: {cause}") from None
        self._listener = Listener(listener, key, is_shared=sock is not None)
        self._address = self._listener.address
        try:
            self._start_threads(self._listener)
        except BaseException:
            self._listener.close()
            raise

    def hand_over(self) -> None:
        """Accept no more connections, since another process does. Requests that have come get their responses."""
        if self._acceptor is not None:
            self._acceptor.stop()
            self._acceptor.join(JOIN_SECONDS)
        if self._reactor is not None:
            self._reactor.post(Command.DRAIN)

    def close(self) -> None:
        """End both threads. Idempotent."""
        if self._acceptor is not None:
            self._acceptor.stop()
            self._acceptor.join(JOIN_SECONDS)
        if self._reactor is not None:
            self._reactor.post(Command.STOP)
            self._reactor.join(JOIN_SECONDS)
        self._acceptor = self._reactor = None

    def _start_threads(self, listener: Listener) -> None:
        config = self._status.config
        names = None if config.admin_public else frozenset({"localhost", split(config.admin)[0].lower()})
        app = make_app(self._status, names)
        routes = app.freeze()
        # No handler of this application blocks.
        pool = ThreadPool(1, 1)
        options = ReactorOptions(fds_max=self._fds_max)
        reactor = AdminReactor(0, lambda: ReactorContext(LIMITS, routes, errors=app.errors), pool, options)
        reactor.name = "admin"
        start_thread(reactor.start, reactor.name)
        self._reactor = reactor
        if not reactor.ready.wait(START_SECONDS_MAX) or reactor.failure is not None:
            raise StartError(f"--admin: its reactor did not start: {reactor.failure or 'timed out'}")
        acceptor = Accept4Acceptor(
            [listener],
            [reactor],
            connections_max=ACCEPTED_MAX,
            fds_max=self._fds_max,
            refusals=Refusals(render_overload()),
        )
        acceptor.name = "admin-acceptor"
        start_thread(acceptor.start, acceptor.name)
        self._acceptor = acceptor


def split(address: str) -> tuple[str, str]:
    """Split HOST:PORT."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), port


def resolve(config: Config) -> tuple[int, tuple[Any, ...]]:
    """Return the family and the address of `Config.admin`, as `bind` takes it.

    Raises:
        ConfigError: the text is not HOST:PORT, or not a loopback address while `admin_public` is off.
    """
    host, port = split(config.admin)
    if not host or not re.fullmatch("[0-9]{1,5}", port, re.ASCII) or int(port) > 65535:
        raise ConfigError(f"--admin: {config.admin!r} is not HOST:PORT, such as 127.0.0.1:9100 or [::1]:9100")
    try:
        family, *_, address = preferred(socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM))[0]
    except OSError as error:
        raise ConfigError(f"--admin: cannot resolve {host!r}: {error.strerror}") from None
    except UnicodeError:
        # The codec for domain names raises it, with a text for programmers.
        raise ConfigError(f"--admin: {host!r} is not a valid host name") from None
    if not config.admin_public and not ipaddress.ip_address(address[0]).is_loopback:
        raise ConfigError(
            f"--admin: {config.admin} would expose metrics to the network; pass --admin-public to allow it"
        )
    return family, address
