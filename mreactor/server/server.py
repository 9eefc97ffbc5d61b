"""The server: wires acceptor, reactors and thread pool together and takes them apart again. It alone knows them all."""

import gc
import logging
import os
import platform
import queue
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from .. import __version__
from ..admin import Admin, ServerStatus, Watchdog
from ..app import App
from ..concurrency import ConnectionLimit, ThreadPool
from ..config import Config, size
from ..http1 import ReactorContext, render_overload
from ..logs import AccessLog, suppress_failures
from ..net import Acceptor, Backend, Command, Reactor, ReactorOptions, choose
from ..runtime import separate_hot_classes, usable_cpus

log = logging.getLogger("mreactor")

FDS_OF_OUR_OWN = 512  # beside the clients': libraries, files being sent, blocking handlers
FDS_TABLE_MAX = 64 * 1024
START_SECONDS_MAX = 30.0
ABORT_SECONDS = 1.0
WATCH_SECONDS = 1.0  # between two looks at the reactors


class StartError(RuntimeError):
    """The server cannot start; its text is one plain line with cause and remedy."""


class Server:
    """An application on one address.

    `start` and `stop` may be called from any one thread; `run` does both and minds the signals, so it belongs to the
    main thread.

    Args:
        config: all settings.
        app: the application; its routes are frozen by `start`.
    """

    def __init__(self, config: Config, app: App) -> None:
        self.config = config
        self._app = app
        self._reactors: list[Reactor[Any]] = []
        self._acceptor: Acceptor | None = None
        self._jobs: ThreadPool | None = None
        self._access: AccessLog | None = None
        self._view = ServerStatus(config, self._reactors, has_gil)
        self._admin: Admin | None = None
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port listened on, once started."""
        return self._address

    @property
    def admin_address(self) -> tuple[str, int] | None:
        """Host and port of the admin listener, once started; None where there is none."""
        return self._admin.address if self._admin is not None else None

    def start(self) -> None:
        """Listen and serve; returns when every thread is up.

        Raises:
            StartError: the address cannot be had, or a thread could not start.
            ConfigError: a setting cannot be used on this machine, io_uring or the access log's file.
        """
        suppress_failures()
        self.backend = choose(self.config)
        listener = listen(self.config)
        host, port = listener.getsockname()[:2]
        self._address: tuple[str, int] = (host, port)
        try:
            self._start_threads(listener)
        except BaseException:
            self.abort()
            listener.close()
            raise
        self._view.acceptor, self._view.access = self._acceptor, self._access
        self._view.report = [*report(self), *warnings()]
        # What lives now lives until the end: the collector need not look at it again.
        gc.collect()
        gc.freeze()

    def _start_threads(self, listener: socket.socket) -> None:
        backend, limits = self.backend, self.config.limits
        fds_max = raise_fd_limit(limits.connections_max)
        self._view.backend, self._view.address = backend.description, self._address
        if self.config.admin:
            self._start_admin(fds_max)
        if self.config.access_log:
            self._access = AccessLog(self.config.access_log)
            self._access.open()
            self._access.start()
        self._jobs = ThreadPool(limits.blocking_threads, limits.blocking_queue_max)
        self._app.freeze()
        log.debug("type cache: names that share a place: %s", separate_hot_classes())
        self._start_reactors(backend, fds_max, listener.family)
        self._acceptor = backend.acceptor(
            listener,
            self._reactors,
            connections_max=limits.connections_max,
            fds_max=fds_max,
            overload_response=render_overload(),
        )
        self._acceptor.start()

    def _start_reactors(self, backend: Backend, fds_max: int, family: int) -> None:
        per_address = self.config.limits.connections_per_address_max
        count = self.config.reactors
        options = ReactorOptions(
            fds_max=fds_max,
            family=family,
            connection_limit=ConnectionLimit(per_address) if per_address else None,
            overload_response=render_overload(),
            batch_scheduling=count > usable_cpus(),
        )
        assert self._jobs is not None, "the pool comes first"
        try:
            for index in range(count):
                make_context = partial(self._make_context, index / count)
                self._reactors.append(backend.reactor(index, make_context, self._jobs, options))
            for reactor in self._reactors:
                reactor.start()
        except (OSError, RuntimeError) as error:  # no descriptors, no threads
            cause = getattr(error, "strerror", None) or error
            raise StartError(f"{count} reactors cannot be started: {cause}; lower --threads") from None
        for reactor in self._reactors:
            if not reactor.ready.wait(START_SECONDS_MAX) or reactor.failure is not None:
                raise StartError(f"{reactor.name} could not start: {reactor.failure or 'no answer'}")

    def stop(self) -> None:
        """Drain: accept no more, let requests in flight finish within the drain time, then end every thread."""
        self._view.is_draining = True
        deadline = time.monotonic() + self.config.limits.drain_seconds
        if self._acceptor is not None:
            self._acceptor.stop()
            self._acceptor.join(ABORT_SECONDS)  # it takes 0.25 s; whatever becomes of it, the reactors drain
        for reactor in self._reactors:
            reactor.post(Command.DRAIN)
        while time.monotonic() < deadline and any(reactor.is_alive() for reactor in self._reactors):
            if self._second_signal():
                log.warning("second signal: connections are cut off")
                break
            self._wait_for_reactor()
        self.abort()

    def abort(self) -> None:
        """End every thread at once; connections that are left are cut off."""
        if self._acceptor is not None:
            self._acceptor.stop()
        for reactor in self._reactors:
            reactor.post(Command.STOP)
        deadline = time.monotonic() + ABORT_SECONDS
        for thread in (*self._reactors, self._acceptor):
            if thread is not None and thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        if self._jobs is not None:
            self._jobs.close()
        if self._access is not None:
            self._access.close()
        if self._admin is not None:
            self._admin.stop()

    def run(self, announce: Callable[[str, int], None] | None = None) -> int:
        """Start, report, serve until a signal, stop.

        Args:
            announce: called with host and port once the server listens.

        Returns:
            the exit code: 0 after a drain, 128 and the signal's number after a second signal.

        Raises:
            StartError, ConfigError: see `start`.
        """
        signal.signal(signal.SIGHUP, self._note_signal)
        # Nobody is served yet, so these end a start at once, even one that hangs in an application's factory.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        self.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note_signal)
        if announce is not None:
            announce(*self.address)
        for line in report(self):
            log.info("%s", line)
        for line in warnings():
            log.warning("%s", line)
        watchdog = Watchdog(self._reactors)
        while (received := self._wait_for_signal(watchdog)) == signal.SIGHUP:
            if self._access is None:
                log.info("SIGHUP: there is no access log to reopen")
                continue
            log.info("SIGHUP: reopening the access log")
            self._access.reopen()
        log.info(
            "%s: draining for at most %g s", signal.Signals(received).name, self.config.limits.drain_seconds
        )
        self.stop()
        log.info("stopped")
        second = self._second_signal()
        return 128 + second if second else 0

    def _start_admin(self, fds_max: int) -> None:
        self._admin = Admin(self._view, fds_max)
        try:
            self._admin.start()
        except OSError as error:
            # The socket module adds the address to what the error says; it is named already.
            reason = os.strerror(error.errno) if error.errno else error.strerror
            raise StartError(f"--admin: cannot listen on {self.config.admin}: {reason}") from None

    def _note_signal(self, number: int, frame: object) -> None:
        self._signals.put(number)

    def _wait_for_signal(self, watchdog: Watchdog) -> int:
        """The next signal; until it comes, the reactors are watched."""
        while True:
            try:
                return self._signals.get(timeout=WATCH_SECONDS)
            except queue.Empty:
                try:
                    watchdog.check(time.monotonic())
                except Exception:  # who watches must not be what ends the server
                    log.exception("the watchdog failed")

    def _second_signal(self) -> int:
        """The signal that asks to end at once; 0 while there is none. SIGHUP does not: logs rotate when they will."""
        while not self._signals.empty():
            number = self._signals.get()
            if number != signal.SIGHUP:
                self._signals.put(number)  # `run` asks again
                return number
        return 0

    def _wait_for_reactor(self) -> None:
        for reactor in self._reactors:
            reactor.join(0.05)
            if reactor.is_alive():
                return

    def _make_context(self, second_offset: float) -> ReactorContext:
        """Called by each reactor in its own thread, so that it owns what this creates."""
        buffer = self._access.buffer() if self._access is not None else None
        return ReactorContext(
            self.config.limits, self._app.routes, buffer, self.config.reactors, second_offset
        )


def listen(config: Config) -> socket.socket:
    """A listening socket on the configured address; `::` takes IPv4 as well.

    Raises:
        StartError: the address is unknown, taken or not permitted.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, proto)
    except OSError as error:
        raise StartError(f"cannot listen on {config.host or 'an empty host'}: {error.strerror}") from None
    except UnicodeError:  # from the codec of domain names, in words of its own
        raise StartError(f"cannot listen on {config.host}: Not the name of a host") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and config.host == "::":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Connections inherit it. A peer whose window stays shut is cut off by the kernel: `send` cannot tell, since the
        # kernel takes some bytes now and then without the peer having taken any.
        stall = min(int(config.limits.write_stall_seconds * 1000), 2**31 - 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, stall)
        listener.bind(address)
        listener.listen(config.backlog)
    except OSError as error:
        listener.close()
        raise StartError(f"cannot listen on {config.host} port {config.port}: {error.strerror}") from None
    return listener


def raise_fd_limit(connections_max: int) -> int:
    """Raise the soft limit on open files to what the connections need, as far as the hard limit allows.

    Returns:
        the number of entries that a table indexed by file descriptor needs.
    """
    wanted = connections_max + FDS_OF_OUR_OWN
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        if allowed < wanted:
            log.warning(
                "the limit on open files is %d: --connections-max %d is out of reach",
                allowed,
                connections_max,
            )
    return max(FDS_TABLE_MAX, connections_max * 2)


def report(server: Server) -> list[str]:
    """What a person wants to know when a server has started, a line each."""
    config, limits = server.config, server.config.limits
    host, port = server.address
    gil = "GIL on" if has_gil() else "GIL off"
    return [
        f"mreactor {__version__} on {platform.python_implementation()} {platform.python_version()}, {gil}",
        f"backend {server.backend.description}",
        f"{counted(config.reactors, 'reactor thread')} on {counted(usable_cpus(), 'usable CPU')}",
        f"limits: {counted(limits.connections_max, 'connection')}, body {size(limits.body_bytes_max)},"
        f" head {limits.head_seconds:g} s, keep-alive {limits.keepalive_seconds:g} s, drain {limits.drain_seconds:g} s",
        f"listening on {url(host, port)}",
        *([f"metrics and live page on {url(*server.admin_address)}"] if server.admin_address else []),
    ]


def counted(count: int, what: str) -> str:
    """A number of things, such as `1 reactor thread`."""
    return f"{count} {what}" + ("" if count == 1 else "s")


def url(host: str, port: int) -> str:
    """The URL of an address."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def warnings() -> list[str]:
    """What is wrong with this interpreter, a line each, with the remedy."""
    lines = []
    if has_gil():
        lines.append(
            "the GIL is on: reactors do not run in parallel; use a free-threaded build such as python3.13t"
        )
    elif sys.version_info < (3, 13, 3):
        lines.append("free-threaded Python before 3.13.3 does not scale with threads: use 3.13.3 or later")
    return lines


def has_gil() -> bool:
    """Whether this process runs one thread at a time: an ordinary build, or an extension that switched the GIL on."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())
