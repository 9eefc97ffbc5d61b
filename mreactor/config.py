"""Configuration: every setting and every limit, declared once.

A field has its unit in its name and its help text as metadata. The command line, its help, the validation and the table
in `docs/configuration.md` are derived from the fields. Instances are frozen, because they cross threads.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .addresses import BindAddress, TrustedProxies, parse_address
from .runtime import hot, usable_cpus

# An environment variable of processes that serve under --reload: "first", then "again" after each change.
RELOADED = "MREACTOR_RELOADED"

LOG_LEVELS = ("off", "error", "warning", "info", "debug")
INTERFACES = ("auto", "native", "wsgi")
BACKENDS = ("epoll", "io_uring", "auto")
DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8080
LOG_FIELDS = ("duration", "route", "request-id")
# A token (RFC 9110 section 5.6.2).
FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
ACCEPTS = ("auto", "accept4", "io_uring")
TEXTS = tuple[str, ...]
TYPE_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "True or False", TEXTS: "a list of texts"}


class ConfigError(ValueError):
    """An invalid setting. Its text is one plain line for the user."""


def setting(default: Any, help: str, **metadata: Any) -> Any:  # noqa: A002
    """Declare a setting with its default and its help text.

    Metadata: `minimum` and `maximum` (inclusive), `choices`, `env` (environment variable), `metavar`.
    """
    return field(default=default, metadata={"help": help, **metadata})


@hot()
@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one client may cost. Sizes are in bytes, times in seconds."""

    request_line_bytes_max: int = setting(8 * 1024, "maximum request line size; 414 if exceeded", minimum=64)
    head_bytes_max: int = setting(32 * 1024, "maximum request head size; 431 if exceeded", minimum=256)
    fields_max: int = setting(100, "maximum number of header or trailer fields; 431 if exceeded", minimum=1)
    body_bytes_max: int = setting(16 * 1024 * 1024, "maximum request body size; 413 if exceeded", minimum=0)
    head_seconds: float = setting(10.0, "time to receive a complete request head; then 408")
    body_grace_seconds: float = setting(5.0, "grace period before --body-rate-min is enforced")
    body_stall_seconds: float = setting(30.0, "maximum pause while a request body arrives; then 408")
    body_rate_min: int = setting(500, "minimum average request body rate; 408 if slower", minimum=1)
    keepalive_seconds: float = setting(
        75.0, "time to keep an idle connection open; longer than the 60 s of common load balancers"
    )
    write_stall_seconds: float = setting(
        30.0, "maximum time without an acknowledgement of a client that reads a response; then reset"
    )
    write_rate_min: int = setting(
        500, "minimum average rate of acknowledged bytes after --write-stall-seconds; reset if slower", minimum=1
    )
    linger_seconds: float = setting(
        30.0, "time to discard late data before closing, so that no reset destroys the response"
    )
    linger_bytes_max: int = setting(2**40, "maximum late data to discard before closing", minimum=0)
    drain_seconds: float = setting(10.0, "time for active requests to complete at shutdown")
    tls_handshake_seconds: float = setting(10.0, "time to complete a TLS handshake; then close")
    connections_max: int = setting(
        16_384, "maximum number of open connections; 503 if exceeded", minimum=1, maximum=2**20
    )
    connections_per_address_max: int = setting(
        0, "maximum number of open connections per client address; 0 for no limit", minimum=0
    )
    buffered_bytes_max: int = setting(
        2**30, "maximum memory for the request bodies of all connections; 503 if exceeded", minimum=1024
    )
    pipelined_per_turn_max: int = setting(
        64, "maximum number of pipelined requests to serve before other clients get a turn", minimum=1
    )
    sendfile_bytes_min: int = setting(64 * 1024, "minimum size of served files for sendfile", minimum=1)
    blocking_threads: int = setting(16, "maximum number of threads for blocking handlers", minimum=1)
    blocking_queue_max: int = setting(
        1024, "maximum number of requests waiting for a blocking thread; 503 if exceeded", minimum=1
    )
    blocking_streams_max: int = setting(
        256, "maximum number of further threads that wait for the clients of blocking streams", minimum=1
    )
    unsent_bytes_max: int = setting(
        2**30,
        "maximum memory for the responses of slow clients; if exceeded, the client without progress for the longest "
        "time is reset",
        minimum=1024,
    )
    body_memory_bytes_max: int = setting(
        256 * 1024, "maximum request body size to keep in memory; larger ones go to a temporary file", minimum=0
    )


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration of a server."""

    host: str = setting(DEFAULT_HOST, "listen address; 0.0.0.0 or :: for all interfaces", metavar="ADDRESS")
    port: int = setting(DEFAULT_PORT, "TCP port; 0 to pick a free one and print it", minimum=0, maximum=65535)
    threads: int = setting(0, "number of reactor threads; 0 for one per usable CPU", minimum=0, maximum=1024)
    backend: str = setting("epoll", "I/O backend; auto prefers io_uring", choices=BACKENDS, env="WORKER_BACKEND")
    accept: str = setting("auto", "how to accept connections; auto follows --backend", choices=ACCEPTS)
    backlog: int = setting(4096, "maximum length of the listen queue", minimum=1, maximum=2**31 - 1)
    static: str = setting("", "directory to serve at /, with or without APP", metavar="DIR")
    mount: tuple[str, ...] = setting((), "directory to serve below a path; may be repeated", metavar="/PATH=DIR")
    listing: bool = setting(False, "list served directories that have no index.html")
    fallback: str = setting(
        "", "file in --static to serve where there is none, for single-page applications", metavar="FILE"
    )
    error_page: tuple[str, ...] = setting(
        (), "file in --static to send with an error, such as 404=404.html; may be repeated", metavar="STATUS=FILE"
    )
    cache_control: tuple[str, ...] = setting(
        (),
        "Cache-Control of served files, such as '*.css=max-age=3600'; may be repeated, the first match counts",
        metavar="PATTERN=VALUE",
    )
    content_type: tuple[str, ...] = setting(
        (), "media type of served files, such as .md=text/plain; may be repeated", metavar=".SUFFIX=TYPE"
    )
    demo: bool = setting(False, "without APP, serve the demo's routes beside --static and --mount")
    log_level: str = setting("info", "minimum log level", choices=LOG_LEVELS, env="HTTP_SERVER_LOG")
    log_format: str = setting("plain", "log line format", choices=("plain", "json"))
    access_log: str = setting(
        "",
        "log requests as common, combined, json or short, to stdout or FILE; off for none; short on a terminal",
        metavar="FORMAT[:FILE]",
    )
    access_log_fields: str = setting(
        "",
        "what else a line of --access-log shows: duration, route and request-id, separated by commas",
        metavar="LIST",
    )
    request_id_header: str = setting(
        "",
        "give each request an id, from this field of --trusted-proxies or a new one, and send it in this field",
        metavar="NAME",
    )
    admin: str = setting("", "serve metrics and a live page on this address", metavar="HOST:PORT")
    admin_public: bool = setting(False, "allow --admin to listen on a non-loopback address")
    # Sockets and restarts.
    bind: tuple[str, ...] = setting(
        (),
        "listen on HOST:PORT, [::1]:PORT, unix:PATH[,mode=660][,group=NAME], fd:N, or without TLS plain:HOST:PORT,"
        " instead of --host and --port; may be repeated",
        metavar="ADDRESS",
    )
    reuse_port: bool = setting(False, "let other processes listen on the same TCP ports (SO_REUSEPORT)")
    drain_delay_seconds: float = setting(
        0.0, "time to keep accepting after SIGTERM while readiness fails, so that balancers notice", minimum=0
    )
    # Balancers and proxies.
    trusted_proxies: tuple[str, ...] = setting(
        (),
        "network of balancers or proxies, such as 10.0.0.0/8; or unix, for clients of unix sockets; may be repeated",
        metavar="NETWORK",
    )
    proxy_protocol: bool = setting(
        False, "connections of --trusted-proxies begin with a header of the PROXY protocol, version 1 or 2"
    )
    forwarded_fields: str = setting(
        "x-forwarded",
        "fields in which --trusted-proxies tell the client's address: X-Forwarded-For and -Proto, or Forwarded",
        choices=("x-forwarded", "forwarded", "off"),
    )
    # The process.
    user: str = setting("", "become this user once the sockets are open", metavar="USER")
    group: str = setting("", "become this group; without it the main group of --user", metavar="GROUP")
    pid_file: str = setting("", "write the number of the process to this file", metavar="FILE")
    restart_seconds: float = setting(60.0, "time for a new process to start at SIGUSR2; then it is ended")
    # TLS.
    tls_cert: tuple[str, ...] = setting(
        (), "serve HTTPS with the certificate chain in this PEM file; more than one for more host names", metavar="FILE"
    )
    tls_key: tuple[str, ...] = setting(
        (), "PEM file of the private key, one for each --tls-cert; without it the key is in that file", metavar="FILE"
    )
    tls_password_file: str = setting("", "file whose first line is the password of the keys", metavar="FILE")
    tls_client_ca: str = setting(
        "", "ask clients for a certificate from one of the authorities in this PEM file", metavar="FILE"
    )
    tls_client_cert: str = setting(
        "required", "whether a client must have a certificate; with --tls-client-ca", choices=("optional", "required")
    )
    tls_min: str = setting("1.2", "minimum version of TLS", choices=("1.2", "1.3"))
    tls_ciphers: str = setting(
        "", "ciphers of TLS 1.2 as an OpenSSL cipher list; without it ECDHE with AES-GCM or ChaCha20", metavar="LIST"
    )
    tls_redirect: bool = setting(
        False, "redirect requests of plain:HOST:PORT addresses to HTTPS, but for /.well-known/acme-challenge/"
    )
    tls_redirect_port: int = setting(
        0, "port of HTTPS as clients see it; 0 for that of the first address with TLS", minimum=0, maximum=65535
    )
    require_free_threading: bool = setting(False, "refuse to start while the GIL is on; later be not ready")
    wsgi_inline: bool = setting(False, "call the WSGI application in the reactors' threads; it must never wait")
    interface: str = setting("auto", "what APP is; auto recognises it", choices=INTERFACES)
    limits: Limits = field(default_factory=Limits)
    route_metrics: bool = setting(False, "measure the time that handlers take, by route, for --admin")
    # For development.
    reload: bool = setting(False, "restart when a Python file below this directory or the application's changes")
    debug: bool = setting(False, "show the traceback of a failed handler to the client; never in production")

    def __post_init__(self) -> None:
        """Validate all settings; see `validate`."""
        validate(self)
        validate(self.limits)
        _validate_tls(self)
        self._validate_addresses()
        self._validate_log()

    def _validate_addresses(self) -> None:
        if self.bind and (self.host, self.port) != (DEFAULT_HOST, DEFAULT_PORT):
            raise ConfigError("--bind: it takes the place of --host and --port; give one or the other")
        if self.proxy_protocol and not self.trusted_proxies:
            raise ConfigError("--proxy-protocol: it needs --trusted-proxies, since clients could forge the header")
        try:
            TrustedProxies(self.trusted_proxies)
        except ValueError as error:
            raise ConfigError(f"--trusted-proxies: {error}") from None
        # For its errors.
        _ = self.addresses

    def _validate_log(self) -> None:
        fields = self.log_fields
        if not set(fields) <= set(LOG_FIELDS) or len(set(fields)) < len(fields):
            raise ConfigError(
                f"--access-log-fields: {self.access_log_fields!r} is not a list of {', '.join(LOG_FIELDS)}, each once"
            )
        if self.request_id_header and not FIELD_NAME.fullmatch(self.request_id_header):
            raise ConfigError(f"--request-id-header: {self.request_id_header!r} is not the name of a header field")

    @property
    def log_fields(self) -> tuple[str, ...]:
        """The names in `access_log_fields`, in their order."""
        return tuple(name.strip() for name in self.access_log_fields.split(",")) if self.access_log_fields else ()

    @property
    def addresses(self) -> tuple[BindAddress, ...]:
        """The addresses of `bind`."""
        try:
            return tuple(map(parse_address, self.bind))
        except ValueError as error:
            raise ConfigError(f"--bind: {error}") from None

    @property
    def picks_port(self) -> bool:
        """The kernel chooses a port, so the user has to be told."""
        return any(not each.port for each in self.addresses if each.host) if self.bind else not self.port

    @property
    def logs_requests(self) -> bool:
        """There is an access log."""
        return self.access_log not in ("", "off")

    @property
    def reactors(self) -> int:
        """The number of reactor threads to run."""
        return self.threads or usable_cpus()


def validate(settings: Any) -> None:
    """Check each field of a settings object against its type and bounds.

    Raises:
        ConfigError: names the option, its value and what is allowed.
    """
    for spec in dataclasses.fields(settings):
        value = getattr(settings, spec.name)
        if reason := _find_error(value, spec.type, spec.metadata):
            raise ConfigError(f"{option(spec.name)}: {value!r} {reason}")


def _validate_tls(config: Config) -> None:
    if config.tls_key and len(config.tls_key) != len(config.tls_cert):
        raise ConfigError("--tls-key: there must be one for each --tls-cert, in the same order, or none")
    for name in ("tls_password_file", "tls_client_ca", "tls_redirect"):
        if getattr(config, name) and not config.tls_cert:
            raise ConfigError(f"{option(name)}: it needs --tls-cert")
    if config.tls_redirect and not any(each.plain for each in config.addresses):
        raise ConfigError("--tls-redirect: it needs an address to redirect, such as --bind plain:0.0.0.0:80")


def option(name: str) -> str:
    """Return the command-line option of a field."""
    return "--" + name.replace("_", "-")


def size(count: int) -> str:
    """Format a number of bytes in the largest unit that divides it, such as `16 MiB`."""
    units = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
    return next((f"{count // one} {name}" for one, name in units if count and count % one == 0), f"{count} bytes")


def _has_type(value: Any, kind: Any) -> bool:
    """Tell whether a value has a field's type. True and False are ints in Python, and none here."""
    if kind == TEXTS:
        return isinstance(value, tuple) and all(isinstance(each, str) for each in value)
    return isinstance(value, (int, float) if kind is float else kind) and isinstance(value, bool) == (kind is bool)


def _find_error(value: Any, kind: Any, metadata: Mapping[str, Any]) -> str:
    """Return what is wrong with a value, or an empty string."""
    choices = metadata.get("choices")
    if choices and value not in choices:
        return "is not one of " + ", ".join(choices)
    if not _has_type(value, kind):
        return f"is not {TYPE_NAMES.get(kind, kind.__name__)}"
    if kind is float and not math.isfinite(value):
        return "is not a positive number of seconds"
    if kind is float and value <= 0 and "minimum" not in metadata:
        return "is not a positive number of seconds"
    if "minimum" in metadata and value < metadata["minimum"]:
        return f"is less than {metadata['minimum']}"
    if "maximum" in metadata and value > metadata["maximum"]:
        return f"is more than {metadata['maximum']}"
    return ""
