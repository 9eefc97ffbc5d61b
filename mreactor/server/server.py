"""The server: creates its threads, connects them, and ends them. No other module knows all the parts."""

import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from socket import SocketType
from typing import TYPE_CHECKING, Any, Self

from ..addresses import TrustedProxies
from ..admin import AdminListener, ServerStatus, Watchdog
from ..app import App, Route, RouteTimes, adapt
from ..concurrency import ConnectionLimit, ThreadPool
from ..config import RELOADED, Config, ConfigError
from ..http1 import (
    ReactorContext,
    Redirector,
    encode_overload,
    has_context_variables,
    observation_maker,
    render_plain_refusal,
)
from ..logs import AccessLog, flush, suppress_failures
from ..net import (
    Acceptor,
    Backend,
    Command,
    Listener,
    Reactor,
    ReactorOptions,
    Refusals,
    StartError,
    choose,
    close_all,
    open_listeners,
    plain_matcher,
    raise_fd_limit,
    start_thread,
)  # fmt: skip
from ..protocol import Context
from ..proxy import Forwarding, ProxyPreface
from ..runtime import IS_FREE_THREADED, before_threads, gil_cause, has_gil, usable_cpus, watch_gil
from ..wsgi import Application
from . import forked_children
from .notify import Notifier
from .privileges import remove_pid_file, write_pid_file
from .report import count, interpreter_warnings, render_report, scheme, url
from .restart import POLL_SECONDS, Restart, Successor
from .signals import SignalQueue, sigpipe_blocked
from .startup import Startup, take_startup

if TYPE_CHECKING:
    from ..tls import Certificates

log = logging.getLogger("mreactor")

START_SECONDS_MAX = 30.0
ABORT_SECONDS = 1.0
WATCH_SECONDS = 1.0
JOIN_SECONDS = 0.05
# Between two lines about what a drain waits for. A usual drain takes less.
DRAIN_REPORT_SECONDS = 2.0
# Of the drain after a restart: by then idle connections are closed, and their clients have a moment to notice.
IDLE_END_SECONDS = 3.0
# What a new client of TLS gets when the server is full: a fatal alert, internal_error (RFC 8446 section 6).
OVERLOAD_ALERT = b"\x15\x03\x03\x00\x02\x02\x50"
# The interpreter bounds the nesting of JSON by a number of levels, which fit into this stack and not into the smaller
# ones that an unlimited or small RLIMIT_STACK and musl give to threads. The kernel commits the memory as it is used.
STACK_BYTES_MIN = 8 * 1024 * 1024


class Server:
    """An application on one address. Any one thread may call `start` and `stop`; only the main thread `run`.

    Args:
        config: all settings.
        app: the application, an `App`, whose routes `start` freezes, or a WSGI application.

    Raises:
        TypeError: `app` is something else.
    """

    def __init__(self, config: Config, app: App | Application) -> None:
        self.config = config
        try:
            self._app = app if isinstance(app, App) else adapt(app, config.interface, inline=config.wsgi_inline)
        except LookupError as error:
            raise TypeError(f"cannot serve {app!r:.80}: {error}") from None
        self._reactors: list[Reactor[Any]] = []
        self._acceptor: Acceptor | None = None
        self._pool: ThreadPool | None = None
        self._access_log: AccessLog | None = None
        self._admin: AdminListener | None = None
        self._certificates: Certificates | None = None
        self._status = ServerStatus(config, self._reactors, has_gil, gil_cause=gil_cause)
        # What the report says of the interpreter; and whether it, or a later line, says that the GIL is on.
        self._warnings: list[str] = []
        self._gil_is_reported = False
        self._signals = SignalQueue()
        self._drain_deadline = 0.0
        self._routes: tuple[Route, ...] = ()
        # The application's hooks for its end are still to be called.
        self._has_started_app = False
        self._listeners: list[Listener] = []
        self._addresses: tuple[tuple[str, int], ...] = ()
        self._redirect_port = 0
        # What `run` changes, which owns the process.
        self._startup = Startup()
        self._notifier = Notifier("")
        self._restart = Restart(self._startup, self._notifier, config.restart_seconds)
        self._isolates = False
        self._make_observation: Callable[[], Any] | None = None

    def __enter__(self) -> Self:
        """Start; see `start`."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; see `stop`."""
        self.stop()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the first listening socket, after `start`; of a unix socket its path and 0."""
        return self._status.address

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Host and port of each listening socket, as `address`."""
        return self._addresses

    @property
    def admin_address(self) -> tuple[str, int] | None:
        """Host and port of the admin listener, after `start`; None if there is no admin listener."""
        return self._admin.address if self._admin is not None else None

    @property
    def reactors(self) -> Sequence[Reactor[Any]]:
        """The reactors, after `start`."""
        return self._reactors

    @property
    def acceptor(self) -> Acceptor | None:
        """The acceptor, after `start`."""
        return self._acceptor

    @property
    def drain_deadline(self) -> float:
        """When the drain ends, in monotonic seconds; 0 before it begins."""
        return self._drain_deadline

    def start(self) -> None:
        """Listen and serve. Return when every thread runs.

        Raises:
            StartError: the server cannot listen on the address, cannot start a thread, was started before, or must not
                run with a GIL.
            ConfigError: this machine does not support a setting: io_uring, a certificate, or the access log's file. Or
                no address has TLS, so that requests cannot be redirected to it.
        """
        if self._status.report:
            raise StartError("this server was started before; make a new Server to start again")
        suppress_failures()
        watch_gil()
        if self.config.require_free_threading and (cause := gil_cause()):
            raise StartError(f"--require-free-threading: {cause}")
        if self.config.tls_cert:
            self._certificates = self._load_certificates()
        backend = choose(self.config)
        self._listeners = self._startup.listeners or open_listeners(self.config, self._startup.sockets)
        self._addresses = tuple(listener.address for listener in self._listeners)
        self._status.backend, self._status.address = backend.description, self._addresses[0]
        try:
            if self.config.tls_redirect:
                self._redirect_port = self._find_redirect_port()
            self._app.start()
            self._has_started_app = True
            self._routes = self._app.routes
            if self.config.route_metrics:
                self._status.route_times = times = RouteTimes()
                self._routes = times.wrap(self._routes)
            with sigpipe_blocked():
                self._start_threads(backend)
        except BaseException:
            self.abort()
            close_all(self._listeners)
            raise
        report = render_report(self.config, backend.description, self._urls(), self.admin_address, self._app.name)
        # In this order, so that a GIL that comes on meanwhile is reported twice, and not never.
        self._gil_is_reported = has_gil()
        self._warnings = interpreter_warnings()
        self._status.report = [*report, *self._warnings]
        self._status.acceptor, self._status.access_log = self._acceptor, self._access_log
        self._status.application = self._app.name
        # See docs/decisions/011.
        gc.collect()
        gc.freeze()

    def stop(self) -> None:
        """Drain: accept no more connections, let requests in flight finish in time, then end every thread."""
        self._status.is_draining = True
        self._wait_for_balancers()
        deadline = self._stop_accepting()
        self._post(Command.DRAIN)
        self._wait_for_drain(deadline)
        self.abort()

    def abort(self) -> None:
        """Close all connections and end every thread at once."""
        if self._acceptor is not None:
            self._acceptor.stop()
        self._post(Command.STOP)
        deadline = time.monotonic() + ABORT_SECONDS
        for thread in (*self._reactors, self._acceptor):
            if thread is not None and thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        for part in (self._pool, self._access_log, self._admin):
            if part is not None:
                part.close()
        if self._has_started_app:
            self._has_started_app = False
            self._app.stop()

    def run(self, announce: Callable[[str, int], None] | None = None) -> int:
        """Start, log the report, serve until a signal, drain. Main thread only.

        Args:
            announce: called with host and port of each listener when the server listens; without those that have no
                TLS in a server that has.

        Returns:
            the exit code: 0 after a drain, 128 plus the number of a second signal.

        Raises:
            StartError, ConfigError: see `start`.
        """
        self._signals.prepare_start()
        self._startup = take_startup()
        self._notifier = Notifier(self._startup.notify_address)
        self._restart = Restart(self._startup, self._notifier, self.config.restart_seconds)
        try:
            return self._run(announce)
        finally:
            self._signals.restore()
            if self.config.pid_file:
                remove_pid_file(self.config.pid_file)

    def _run(self, announce: Callable[[str, int], None] | None) -> int:
        self.start()
        if self.config.pid_file:
            try:
                write_pid_file(self.config.pid_file)
            except StartError:
                self.abort()
                raise
        self._signals.prepare_service()
        if announce is not None:
            for listener in self._listeners:
                if not (listener.plain and self.config.tls_cert):
                    announce(*listener.address)
        self._log_report()
        self._take_over()
        return self._end(self._serve())

    @property
    def _end_level(self) -> int:
        """The level of log lines about the end. Under --reload it is the watching process that ends this one."""
        return logging.DEBUG if self.config.reload else logging.INFO

    def _end(self, number: int) -> int:
        """Drain after a signal; return the exit code."""
        successor = self._restart.successor
        if successor is not None and number == signal.SIGUSR2:
            self._hand_over(successor)
        else:
            self._restart.cancel()
            seconds = self.config.limits.drain_seconds
            name = signal.Signals(number).name
            log.log(self._end_level, "%s: draining for up to %g s; a second signal ends it", name, seconds)
            self._notifier.stopping("draining")
            self.stop()
        log.log(self._end_level, "stopped")
        flush()
        second = self._signals.second()
        return 128 + second if second else 0

    # Start.

    def _load_certificates(self) -> "Certificates":
        # A server without TLS needs neither OpenSSL nor a place for more classes in the type cache.
        from ..tls import Certificates

        return Certificates(self.config)

    def _start_threads(self, backend: Backend) -> None:
        limits = self.config.limits
        threading.stack_size(max(threading.stack_size(), STACK_BYTES_MIN))
        fds_max = raise_fd_limit(limits.connections_max)
        if self.config.admin:
            self._admin = AdminListener(self._status, fds_max)
            self._admin.start(self._startup.sockets)
        if self.config.logs_requests:
            self._access_log = AccessLog(self.config.access_log, self.config.log_fields)
            self._access_log.open()
            start_thread(self._access_log.start, "access-log")
        self._pool = ThreadPool(limits.blocking_threads, limits.blocking_queue_max, limits.blocking_streams_max)
        self._status.pool = self._pool
        self._app.address = self.address
        self._isolates = has_context_variables()
        self._make_observation = observation_maker(self.config)
        forked_children.end_at_return()
        log.debug("type cache collisions: %s", before_threads())
        options = self._reactor_options(fds_max)
        self._start_reactors(backend, self._pool, options)
        self._acceptor = backend.acceptor(
            self._listeners,
            self._reactors,
            connections_max=limits.connections_max,
            fds_max=fds_max,
            refusals=options.refusals,
        )
        start_thread(self._acceptor.start, self._acceptor.name)

    def _reactor_options(self, fds_max: int) -> ReactorOptions:
        per_address = self.config.limits.connections_per_address_max
        proxies = TrustedProxies(self.config.trusted_proxies)
        is_plain = plain_matcher(self._listeners) if self._serves_plain else None
        return ReactorOptions(
            fds_max=fds_max,
            connection_limit=ConnectionLimit(per_address, proxies) if per_address else None,
            refusals=self._make_refusals(is_plain),
            is_plain=is_plain,
            preface=self._make_preface if self.config.proxy_protocol else None,
            limits=self.config.limits,
            reactors=self.config.reactors,
            batch_scheduling=self.config.reactors > usable_cpus(),
        )

    def _make_refusals(self, is_plain: Callable[[SocketType], bool] | None) -> Refusals:
        text = encode_overload(self._app.errors)
        if not self.config.tls_cert:
            return Refusals(text)
        # A client of TLS could not read the response in plain text, and a client of a plain listener reads no alert.
        return Refusals(OVERLOAD_ALERT, plain_response=text, is_plain=is_plain)

    def _start_reactors(self, backend: Backend, pool: ThreadPool, options: ReactorOptions) -> None:
        number = self.config.reactors
        try:
            for index in range(number):
                make_context = partial(self._make_context, index / number)
                self._reactors.append(backend.reactor(index, make_context, pool, options))
            for reactor in self._reactors:
                reactor.start()
        except (OSError, RuntimeError) as error:
            # The process has run out of descriptors or threads.
            cause = getattr(error, "strerror", None) or error
            raise StartError(f"cannot start {count(number, 'reactor')}: {cause}; lower --threads") from None
        for reactor in self._reactors:
            if not reactor.ready.wait(START_SECONDS_MAX):
                raise StartError(f"{reactor.name} did not start within {START_SECONDS_MAX:g} s")
            if reactor.failure is not None:
                raise StartError(f"{reactor.name} failed to start: {reactor.failure}")

    def _make_context(self, second_offset: float) -> Context:
        """Create a reactor's context. Called in the reactor's thread, which owns it."""
        buffer = self._access_log.buffer() if self._access_log is not None else None
        config, limits, forwarding = self.config, self.config.limits, None
        if config.trusted_proxies and config.forwarded_fields != "off":
            forwarding = Forwarding(TrustedProxies(config.trusted_proxies), config.forwarded_fields)
        context = ReactorContext(
            limits,
            self._routes,
            buffer,
            config.reactors,
            second_offset,
            forwarding,
            isolates=self._isolates,
            errors=self._app.errors,
            debug=config.debug,
            observation=self._make_observation() if self._make_observation is not None else None,
        )
        if self._certificates is None:
            return context
        from ..tls import TlsContext

        redirector = None
        if config.tls_redirect:
            redirector = Redirector(context, self._redirect_port, TrustedProxies(config.trusted_proxies))
        return TlsContext(
            context,
            self._certificates,
            limits,
            render_plain_refusal,
            serves_plain=self._serves_plain,
            connect_redirected=None if redirector is None else redirector.connect,
        )

    @property
    def _serves_plain(self) -> bool:
        """Some of the listeners have no TLS, and others have."""
        return bool(self.config.tls_cert) and any(listener.plain for listener in self._listeners)

    def _find_redirect_port(self) -> int:
        """Return the port of HTTPS as clients see it."""
        secure = [listener for listener in self._listeners if not listener.plain and not listener.is_unix]
        if not secure and not self.config.tls_redirect_port:
            raise ConfigError("--tls-redirect: it needs an address with TLS, such as --bind 0.0.0.0:443")
        return self.config.tls_redirect_port or secure[0].address[1]

    def _make_preface(self, context: Context) -> ProxyPreface:
        """Create what makes a reactor's connections under the PROXY protocol. Called in the reactor's thread."""
        trusted = TrustedProxies(self.config.trusted_proxies)
        return ProxyPreface(context, trusted, self.config.limits.head_seconds)

    # Service.

    def _log_report(self) -> None:
        # An interpreter that has always a GIL is a choice; one that has lost its freedom is a fault.
        level = logging.ERROR if self._gil_is_reported and IS_FREE_THREADED else logging.WARNING
        lines = self._status.report
        if self.config.reload and os.environ.get(RELOADED) == "again":
            # The author has seen the rest.
            lines = [line for line in lines if line.startswith("listening on")]
        for line in lines:
            log.log(level if line in self._warnings else logging.INFO, "%s", line)

    def _take_over(self) -> None:
        """Tell the process before this one, and systemd, that this one serves."""
        self._startup.sockets.close()
        self._startup.reply(taken=self._startup.sockets.taken)
        for listener in self._all_listeners():
            listener.is_shared = listener.is_foreign
        if not self._startup.predecessor:
            # Otherwise that process says so: until then systemd does not know this one.
            self._notifier.ready(self._describe())

    def _describe(self) -> str:
        return f"serving on {', '.join(self._urls())}"

    def _urls(self) -> list[str]:
        main = scheme(self.config)
        return [url(*listener.address, "http" if listener.plain else main) for listener in self._listeners]

    def _serve(self) -> int:
        """Watch the reactors until an ending signal, or until another process serves; return the signal's number."""
        watchdog = Watchdog(self._reactors)
        # Systemd wants to hear from a service twice in its time.
        interval = min(WATCH_SECONDS, self._startup.watchdog_seconds / 2 or WATCH_SECONDS)
        next_check = time.monotonic() + interval
        while True:
            number = self._signals.wait(interval if self._restart.successor is None else POLL_SECONDS)
            if number == signal.SIGHUP:
                self._renew_files()
            elif number == signal.SIGUSR2:
                self._restart.begin(self._all_listeners())
            elif number:
                return number
            elif time.monotonic() >= next_check:
                next_check = time.monotonic() + interval
                self._check(watchdog)
            if self._restart.is_complete():
                return signal.SIGUSR2

    def _check(self, watchdog: Watchdog) -> None:
        if not self._gil_is_reported and (cause := gil_cause()):
            self._gil_is_reported = True
            log.error("%s", cause)
        try:
            unhealthy = watchdog.check(time.monotonic())
        except Exception:
            # A bug in the watchdog must not end the server.
            log.exception("watchdog failed")
            return
        if not unhealthy:
            self._notifier.alive()
        if self._restart.successor is None:
            self._notifier.status("; ".join(map(str, unhealthy)) or self._describe())

    def _renew_files(self) -> None:
        """Act on SIGHUP: files have been replaced."""
        if self._access_log is not None:
            log.info("SIGHUP: reopening the access log")
            self._access_log.reopen()
        elif self._certificates is None:
            log.info("SIGHUP: no access log to reopen")
        if self._certificates is not None:
            try:
                self._certificates.reload()
                log.info("SIGHUP: new connections get the certificates as they are now")
            except ConfigError as error:
                log.error("SIGHUP: the certificates stay as they were: %s", error)

    def _all_listeners(self) -> list[Listener]:
        return [*self._listeners, *(self._admin.listeners if self._admin is not None else ())]

    # Stop.

    def _hand_over(self, successor: Successor) -> None:
        """Drain after another process has taken the listening sockets. Idle connections stay open for long.

        Their next request may be on its way. It is served, and its response says `Connection: close`.
        """
        self._notifier.hand_over(successor.pid, self._describe())
        for listener in self._all_listeners():
            listener.is_shared = listener.is_shared or listener.key in successor.taken
        deadline = self._stop_accepting()
        if self._admin is not None:
            self._admin.hand_over()
        log.info("process %d serves now: draining for up to %g s", successor.pid, self.config.limits.drain_seconds)
        self._post(Command.HAND_OVER)
        self._wait_for_drain(deadline - min(IDLE_END_SECONDS, self.config.limits.drain_seconds / 2))
        self._post(Command.DRAIN)
        self._wait_for_drain(deadline)
        self.abort()

    def _post(self, command: Command) -> None:
        for reactor in self._reactors:
            reactor.post(command)

    def _wait_for_balancers(self) -> None:
        """Keep accepting while readiness fails, for the drain delay or until a second signal."""
        end = time.monotonic() + self.config.drain_delay_seconds
        while time.monotonic() < end and not self._signals.second():
            time.sleep(JOIN_SECONDS)

    def _stop_accepting(self) -> float:
        """End the acceptor. Returns when the drain ends, in monotonic seconds."""
        self._drain_deadline = time.monotonic() + self.config.limits.drain_seconds
        if self._acceptor is not None:
            self._acceptor.stop()
            # If the acceptor takes longer than this, the reactors drain all the same.
            self._acceptor.join(ABORT_SECONDS)
        return self._drain_deadline

    def _wait_for_drain(self, deadline: float) -> None:
        report_due = time.monotonic() + DRAIN_REPORT_SECONDS
        while (now := time.monotonic()) < deadline:
            if now >= report_due:
                report_due = now + DRAIN_REPORT_SECONDS
                left = self._count_open()
                log.log(self._end_level, "still open: %s; waiting for up to %.0f s more", left, deadline - now)
            alive = [reactor for reactor in self._reactors if reactor.is_alive()]
            if not alive:
                return
            if self._signals.second():
                level = logging.DEBUG if self.config.reload else logging.WARNING
                log.log(level, "second signal: closing all connections")
                return
            alive[0].join(JOIN_SECONDS)

    def _count_open(self) -> str:
        """Return the number of connections that the reactors still have, in words."""
        return count(sum(reactor.context.counters.open for reactor in self._reactors), "connection")
