"""The server: creates its threads, connects them, and ends them. No other module knows all the parts."""

import gc
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..admin import AdminListener, ServerStatus, Watchdog
from ..app import App
from ..concurrency import ConnectionLimit, ThreadPool
from ..config import Config, ConfigError
from ..http1 import ReactorContext, render_overload, render_plain_refusal
from ..logs import AccessLog, flush, suppress_failures
from ..net import (
    Acceptor,
    Backend,
    Command,
    Reactor,
    ReactorOptions,
    Refusals,
    StartError,
    choose,
    listen,
    raise_fd_limit,
    start_thread,
)  # fmt: skip
from ..protocol import Context
from ..runtime import IS_FREE_THREADED, before_threads, gil_cause, has_gil, usable_cpus, watch_gil
from .report import count, interpreter_warnings, render_report
from .signals import SignalQueue, sigpipe_blocked

if TYPE_CHECKING:
    from ..tls import Certificates

log = logging.getLogger("mreactor")

START_SECONDS_MAX = 30.0
ABORT_SECONDS = 1.0
WATCH_SECONDS = 1.0
JOIN_SECONDS = 0.05
# To a client of TLS that finds no room: a fatal alert, internal_error (RFC 8446 section 6).
OVERLOAD_ALERT = b"\x15\x03\x03\x00\x02\x02\x50"
# The interpreter bounds the nesting of JSON by a number of levels, which fit into this stack and not into the smaller
# ones that an unlimited or small RLIMIT_STACK and musl give to threads. The kernel commits the memory as it is used.
STACK_BYTES_MIN = 8 * 1024 * 1024


class Server:
    """An application on one address. Any one thread may call `start` and `stop`; only the main thread `run`.

    Args:
        config: all settings.
        app: the application. `start` freezes its routes.
    """

    def __init__(self, config: Config, app: App) -> None:
        self.config = config
        self._app = app
        self._reactors: list[Reactor[Any]] = []
        self._acceptor: Acceptor | None = None
        self._pool: ThreadPool | None = None
        self._access_log: AccessLog | None = None
        self._admin: AdminListener | None = None
        self._certificates: Certificates | None = None
        self._status = ServerStatus(config, self._reactors, has_gil, gil_cause=gil_cause)
        self._gil_is_known = False
        self._signals = SignalQueue()
        self._drain_deadline = 0.0

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the listening socket, after `start`."""
        return self._status.address

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
            StartError: the server cannot listen on the address or cannot start a thread, or must not run with a GIL.
            ConfigError: this machine does not support a setting: io_uring, a certificate, or the access log's file.
        """
        suppress_failures()
        watch_gil()
        if self.config.require_free_threading and (cause := gil_cause()):
            raise StartError(f"--require-free-threading: {cause}")
        if self.config.tls_cert:
            self._certificates = self._load_certificates()
        backend = choose(self.config)
        listener = listen(self.config)
        self._status.backend, self._status.address = backend.description, listener.getsockname()[:2]
        try:
            with sigpipe_blocked():
                self._start_threads(backend, listener)
        except BaseException:
            self.abort()
            listener.close()
            raise
        report = render_report(self.config, backend.description, self.address, self.admin_address)
        self._status.report = [*report, *interpreter_warnings()]
        self._status.acceptor, self._status.access_log = self._acceptor, self._access_log
        # See docs/decisions/011.
        gc.collect()
        gc.freeze()

    def stop(self) -> None:
        """Drain: accept no more connections, let requests in flight finish in time, then end every thread."""
        self._status.is_draining = True
        self._drain_deadline = deadline = time.monotonic() + self.config.limits.drain_seconds
        if self._acceptor is not None:
            self._acceptor.stop()
            # If the acceptor takes longer than this, the reactors drain all the same.
            self._acceptor.join(ABORT_SECONDS)
        for reactor in self._reactors:
            reactor.post(Command.DRAIN)
        self._wait_for_drain(deadline)
        self.abort()

    def abort(self) -> None:
        """Close all connections and end every thread at once."""
        if self._acceptor is not None:
            self._acceptor.stop()
        for reactor in self._reactors:
            reactor.post(Command.STOP)
        deadline = time.monotonic() + ABORT_SECONDS
        for thread in (*self._reactors, self._acceptor):
            if thread is not None and thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        for part in (self._pool, self._access_log, self._admin):
            if part is not None:
                part.close()

    def run(self, announce: Callable[[str, int], None] | None = None) -> int:
        """Start, log the report, serve until a signal, drain. Main thread only.

        Args:
            announce: called with host and port when the server listens.

        Returns:
            the exit code: 0 after a drain, 128 plus the number of a second signal.

        Raises:
            StartError, ConfigError: see `start`.
        """
        self._signals.prepare_start()
        try:
            return self._run(announce)
        finally:
            self._signals.restore()

    def _run(self, announce: Callable[[str, int], None] | None) -> int:
        self.start()
        self._signals.prepare_service()
        if announce is not None:
            announce(*self.address)
        self._log_report()
        return self._end(self._serve())

    def _end(self, number: int) -> int:
        """Drain after a signal; return the exit code."""
        log.info("%s: draining for up to %g s", signal.Signals(number).name, self.config.limits.drain_seconds)
        self.stop()
        log.info("stopped")
        flush()
        second = self._signals.second()
        return 128 + second if second else 0

    # Start.

    def _load_certificates(self) -> "Certificates":
        # A server without TLS needs neither OpenSSL nor a place for more classes in the type cache.
        from ..tls import Certificates

        return Certificates(self.config)

    def _start_threads(self, backend: Backend, listener: socket.socket) -> None:
        limits = self.config.limits
        threading.stack_size(max(threading.stack_size(), STACK_BYTES_MIN))
        fds_max = raise_fd_limit(limits.connections_max)
        if self.config.admin:
            self._admin = AdminListener(self._status, fds_max)
            self._admin.start()
        if self.config.access_log:
            self._access_log = AccessLog(self.config.access_log)
            self._access_log.open()
            start_thread(self._access_log.start, "access-log")
        self._pool = ThreadPool(limits.blocking_threads, limits.blocking_queue_max, limits.blocking_streams_max)
        self._status.pool = self._pool
        self._app.address = self.address
        self._app.freeze()
        log.debug("type cache collisions: %s", before_threads())
        options = self._reactor_options(fds_max, listener.family)
        self._start_reactors(backend, self._pool, options)
        self._acceptor = backend.acceptor(
            listener, self._reactors, connections_max=limits.connections_max, fds_max=fds_max, refusals=options.refusals
        )
        start_thread(self._acceptor.start, self._acceptor.name)

    def _reactor_options(self, fds_max: int, family: int) -> ReactorOptions:
        per_address = self.config.limits.connections_per_address_max
        return ReactorOptions(
            fds_max=fds_max,
            family=family,
            connection_limit=ConnectionLimit(per_address) if per_address else None,
            # A client of TLS could not read the response in plain text.
            refusals=Refusals(OVERLOAD_ALERT if self.config.tls_cert else render_overload()),
            limits=self.config.limits,
            reactors=self.config.reactors,
            batch_scheduling=self.config.reactors > usable_cpus(),
        )

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
        limits = self.config.limits
        context = ReactorContext(limits, self._app.routes, buffer, self.config.reactors, second_offset)
        if self._certificates is None:
            return context
        from ..tls import TlsContext

        return TlsContext(context, self._certificates, limits, render_plain_refusal)

    # Service.

    def _log_report(self) -> None:
        warnings, cause = interpreter_warnings(), gil_cause()
        for line in self._status.report:
            # An interpreter that has always a GIL is a choice; one that has lost its freedom is a fault.
            level = logging.ERROR if line == cause and IS_FREE_THREADED else logging.WARNING
            log.log(level if line in warnings else logging.INFO, "%s", line)
        self._gil_is_known = bool(cause)

    def _serve(self) -> int:
        """Watch the reactors until an ending signal; return its number."""
        watchdog = Watchdog(self._reactors)
        while True:
            number = self._signals.wait(WATCH_SECONDS)
            if number == signal.SIGHUP:
                self._renew_files()
            elif number:
                return number
            else:
                self._check(watchdog)

    def _check(self, watchdog: Watchdog) -> None:
        if not self._gil_is_known and (cause := gil_cause()):
            self._gil_is_known = True
            log.error("%s", cause)
        try:
            watchdog.check(time.monotonic())
        except Exception:
            # A bug in the watchdog must not end the server.
            log.exception("watchdog failed")

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

    # Stop.

    def _wait_for_drain(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            alive = [reactor for reactor in self._reactors if reactor.is_alive()]
            if not alive:
                return
            if self._signals.second():
                log.warning("second signal: closing all connections")
                return
            alive[0].join(JOIN_SECONDS)
