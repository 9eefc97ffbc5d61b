"""The admin listener: metrics, health, readiness and the live page, on an address of its own.

It is a small server made of the same parts as the large one: an acceptor, one epoll reactor, an application. Its two
threads are its own, so it answers while the reactors that it reports on are busy or stuck. It only reads: what it knows
of the server is a `ServerStatus`, and what it takes from a reactor is a snapshot of its counters.
"""

import base64
import hashlib
import ipaddress
import os
import platform
import re
import resource
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from .. import __version__
from ..app import App
from ..concurrency import ThreadPool
from ..config import Config, ConfigError, Limits
from ..http import HTML, TEXT, Request, Response
from ..http1 import ReactorContext, render_overload
from ..logs import AccessLog
from ..metrics import Counters, ReactorSnapshot, Snapshot, choose_format, render_text, stats
from ..net import Accept4Acceptor, Acceptor, Command, EpollReactor, Reactor, ReactorOptions
from ..runtime import usable_cpus
from .watchdog import STARTING, reactor_state, unhealthy_reactors

# One snapshot serves all who ask within this time: a reader costs each reactor next to nothing, and many cost no more.
SNAPSHOT_SECONDS = 0.2

BACKLOG = 64
LIMITS = Limits(connections_max=256, body_bytes_max=0)
JOIN_SECONDS = 2.0
START_SECONDS_MAX = 10.0

# Answers are of this moment and for who asked; nothing of them is for other sites.
FIELDS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)


@dataclass(slots=True)
class ServerStatus:
    """What the admin listener may see of a server. The server's thread writes it, the admin's reads.

    Attributes:
        reactors: the server's own list, which fills while it starts.
        has_gil: whether one thread of Python runs at a time; asked anew each time, since an extension may switch it on.
        backend: how reactors wait, in words, once it is chosen.
        address: where the server listens, once it does.
        report: the lines of the start-up report, once there is one.
        acceptor, access: None before they are started, or for ever.
        is_draining: the server is about to end.
    """

    config: Config
    reactors: Sequence[Reactor[Any]]
    has_gil: Callable[[], bool]
    backend: str = ""
    address: tuple[str, int] = ("", 0)
    report: Sequence[str] = ()
    acceptor: Acceptor | None = None
    access: AccessLog | None = None
    is_draining: bool = False

    def objections(self, now: float) -> tuple[str, ...]:
        """Why no traffic should be sent to the server; none if it is ready.

        Args:
            now: monotonic seconds.
        """
        if self.is_draining:
            return ("the server is draining",)
        if self.acceptor is None or any(reactor_state(one, now) == STARTING for one in self.reactors):
            return ("the server is starting",)
        found = [str(ailment) for ailment in unhealthy_reactors(self.reactors, now)]
        if not self.acceptor.is_alive():
            found.append("the acceptor has ended")
        return tuple(found)


class SnapshotCache:
    """Takes snapshots of a server; used by the admin reactor's thread alone."""

    def __init__(self, view: ServerStatus) -> None:
        self._view = view
        self._started = time.time()
        self._taken = 0.0  # monotonic seconds
        self._latest: Snapshot | None = None

    def check(self) -> Snapshot:
        """The state of the server, `SNAPSHOT_SECONDS` old at most."""
        now = time.monotonic()
        if self._latest is None or now - self._taken >= SNAPSHOT_SECONDS:
            self._latest, self._taken = self._take(now), now
        return self._latest

    def _take(self, now: float) -> Snapshot:
        view = self._view
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return Snapshot(
            time=time.time(),
            started=self._started,
            info=describe(view),
            report=tuple(view.report),
            reasons=view.objections(now),
            is_draining=view.is_draining,
            has_gil=view.has_gil(),
            connections_max=view.config.limits.connections_max,
            refused=view.acceptor.refused if view.acceptor is not None else 0,
            lines_dropped=view.access.dropped + view.access.lost if view.access is not None else 0,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            resident_bytes=_resident_bytes(),
            reactors=tuple(_observe(reactor, now) for reactor in view.reactors),
        )


class Admin:
    """The listener and its two threads. `start` and `stop` are called by the server's thread.

    Args:
        view: the server to report on.
        fds_max: no file descriptor of this process is as large as this.
    """

    def __init__(self, view: ServerStatus, fds_max: int) -> None:
        self._view = view
        self._fds_max = fds_max
        self._observer = SnapshotCache(view)
        self._reactor: EpollReactor | None = None
        self._acceptor: Acceptor | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port listened on, once started."""
        return self._address

    def start(self) -> None:
        """Listen and answer.

        Raises:
            ConfigError: the address cannot be used, or is open to the network and that was not asked for.
            OSError: the address is taken, or not this machine's.
        """
        family, address = resolve(self._view.config)
        listener = socket.create_server(
            address, family=family, backlog=BACKLOG, dualstack_ipv6=address[0] == "::"
        )
        host, port = listener.getsockname()[:2]
        self._address: tuple[str, int] = (host, port)
        routes = self._make_app().freeze()
        jobs = ThreadPool(1, 1)  # of which there are none
        options = ReactorOptions(fds_max=self._fds_max, family=family)
        self._reactor = EpollReactor(0, lambda: ReactorContext(LIMITS, routes), jobs, options)
        self._reactor.name = "admin"
        self._reactor.start()
        if not self._reactor.ready.wait(START_SECONDS_MAX) or self._reactor.failure is not None:
            listener.close()
            raise OSError(0, f"its thread could not start: {self._reactor.failure or 'no answer'}")
        self._acceptor = Accept4Acceptor(
            listener,
            [self._reactor],
            connections_max=LIMITS.connections_max,
            fds_max=self._fds_max,
            overload_response=render_overload(),
        )
        self._acceptor.name = "admin-acceptor"
        self._acceptor.start()

    def stop(self) -> None:
        """End both threads; again does nothing."""
        if self._acceptor is not None:
            self._acceptor.stop()
            self._acceptor.join(JOIN_SECONDS)
        if self._reactor is not None:
            self._reactor.post(Command.STOP)
            self._reactor.join(JOIN_SECONDS)
        self._acceptor = self._reactor = None

    def _make_app(self) -> App:
        app = App()
        page, policy = load_page()
        page_fields = (*FIELDS, ("Content-Security-Policy", policy))

        @app.get("/", constant=True)
        def live(request: Request) -> Response:
            return Response(page, headers=page_fields, content_type=HTML)

        @app.get("/metrics")
        def metrics(request: Request) -> Response:
            form = choose_format(request.headers.get("accept", ""))
            return Response(render_text(self._observer.check(), form), headers=FIELDS, content_type=form)

        @app.get("/stats.json")
        def numbers(request: Request) -> Response:
            return Response(stats(self._observer.check()), headers=FIELDS)

        @app.get("/healthz")
        def health(request: Request) -> Response:
            return Response("ok\n", headers=FIELDS)

        @app.get("/readyz")
        def readiness(request: Request) -> Response:
            reasons = self._view.objections(time.monotonic())
            if not reasons:
                return Response("ready\n", headers=FIELDS)
            return Response("".join(f"{reason}\n" for reason in reasons), 503, FIELDS, content_type=TEXT)

        return app


def resolve(config: Config) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """Family and address to listen on, as `Config.admin` says.

    Raises:
        ConfigError: it is not HOST:PORT, or is no loopback address and `admin_public` is off.
    """
    host, _, port = config.admin.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not re.fullmatch("[0-9]{1,5}", port, re.ASCII) or int(port) > 65535:
        raise ConfigError(f"--admin: {config.admin!r} is not HOST:PORT, such as 127.0.0.1:9100 or [::1]:9100")
    try:
        family, *_, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ConfigError(f"--admin: {host!r} is no address of this machine: {error.strerror}") from None
    except UnicodeError:  # from the codec of domain names, in words of its own
        raise ConfigError(f"--admin: {host!r} is not the name of a host") from None
    bare = str(address[0])
    if not config.admin_public and not ipaddress.ip_address(bare).is_loopback:
        raise ConfigError(
            f"--admin: {config.admin} would show metrics to the network; add --admin-public if it shall"
        )
    return family, (bare, int(port))


def load_page() -> tuple[bytes, str]:
    """The live page, and the Content-Security-Policy that lets its own style and script run, and nothing else."""
    page = files(__package__).joinpath("page.html").read_bytes()
    hashes = {
        tag: " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode('ascii')}'"
            for content in re.findall(rb"<%b>(.*?)</%b>" % (tag, tag), page, re.DOTALL)
        )
        for tag in (b"style", b"script")
    }
    return page, (
        f"default-src 'none'; style-src {hashes[b'style']}; script-src {hashes[b'script']}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def describe(view: ServerStatus) -> dict[str, str]:
    """What a server is, as short texts; they become labels of `mreactor_info`."""
    host, port = view.address
    return {
        "version": __version__,
        "implementation": platform.python_implementation(),
        "python": platform.python_version(),
        "gil": "on" if view.has_gil() else "off",
        "backend": view.backend.partition(",")[0],
        "reactors": str(view.config.reactors),
        "cpus": str(usable_cpus()),
        "address": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
    }


def _observe(reactor: Reactor[Any], now: float) -> ReactorSnapshot:
    """A reactor's state and counters; zeros for one that has none yet."""
    state = reactor_state(reactor, now)
    has_begun = reactor.ready.is_set() and reactor.failure is None
    counters = reactor.context.counters.snapshot() if has_begun else Counters()
    age = max(0.0, now - reactor.heartbeat) if reactor.heartbeat else 0.0
    return ReactorSnapshot(reactor.index, state, age, counters)


def _resident_bytes() -> int:
    # Not by `open`: in 3.13t, closing a buffered file takes some 50 ms while other threads are busy.
    fd = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(fd, 128).split()[1]) * resource.getpagesize()
    finally:
        os.close(fd)
