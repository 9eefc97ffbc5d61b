"""Configuration: every setting and every limit, named once.

A field carries its unit in its name and, as metadata, the sentence that explains it. The command line, its help, the
validation and the table in `docs/configuration.md` are all read from here. Instances are frozen: they cross threads.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .runtime import hot, usable_cpus

LOG_LEVELS = ("off", "error", "warning", "info", "debug")
BACKENDS = ("epoll", "io_uring", "auto")
ACCEPTS = ("auto", "accept4", "io_uring")
KINDS = {int: "a whole number", float: "a number", str: "text", bool: "True or False"}


class ConfigError(ValueError):
    """A setting that cannot be used; its text is one plain line for the user."""


def setting(default: Any, why: str, **metadata: Any) -> Any:
    """Declare one setting: its default, the reason for it, and what the command line needs to know.

    Metadata: `minimum` and `maximum` (inclusive), `choices`, `env` (environment variable), `metavar`.
    """
    return field(default=default, metadata={"why": why, **metadata})


@hot()
@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one peer may cost. Sizes are in bytes, times in seconds."""

    request_line_bytes_max: int = setting(8 * 1024, "longest request line; past it 414", minimum=64)
    head_bytes_max: int = setting(32 * 1024, "longest request head; past it 431", minimum=256)
    fields_max: int = setting(
        100, "most header fields in a request, or trailer fields; past it 431", minimum=1
    )
    body_bytes_max: int = setting(16 * 1024 * 1024, "longest request body; past it 413", minimum=0)
    head_seconds: float = setting(
        10.0, "a request head must be complete this long after it began; past it 408"
    )
    body_grace_seconds: float = setting(5.0, "a slow body is borne with for this long, whatever its rate")
    body_stall_seconds: float = setting(
        30.0, "between two pieces of a body, however fast it was; past it 408"
    )
    body_rate_min: int = setting(
        500, "bytes a second that a body must keep up on average; below it 408", minimum=1
    )
    keepalive_seconds: float = setting(
        75.0, "an idle connection is kept this long, longer than a balancer's 60 s"
    )
    write_stall_seconds: float = setting(
        30.0, "a peer that takes no byte of its answer for this long is cut off"
    )
    write_rate_min: int = setting(
        500, "bytes a second that a peer must take on average, past the stall", minimum=1
    )
    linger_seconds: float = setting(
        2.0, "after a refusal, how long late bytes are read so that the answer arrives"
    )
    linger_bytes_max: int = setting(1024 * 1024, "after a refusal, how many late bytes are read", minimum=0)
    drain_seconds: float = setting(10.0, "on SIGTERM, the time for requests in flight to finish")
    connections_max: int = setting(16_384, "open connections; further ones get 503", minimum=1, maximum=2**20)
    connections_per_address_max: int = setting(
        0, "open connections of one client address; 0: no bound", minimum=0
    )
    buffered_bytes_max: int = setting(
        1024 * 1024 * 1024, "bytes of unfinished request bodies held in all; past it 503", minimum=1024
    )
    pipelined_per_turn_max: int = setting(
        64, "requests answered for one client before the others' turn", minimum=1
    )
    sendfile_bytes_min: int = setting(
        64 * 1024, "the demo's files of this size and more go out by sendfile", minimum=1
    )
    blocking_threads: int = setting(16, "threads for handlers marked blocking", minimum=1)
    blocking_queue_max: int = setting(1024, "blocking requests waiting for a thread; past it 503", minimum=1)


@dataclass(frozen=True, slots=True)
class Config:
    """Everything a server is started with."""

    host: str = setting(
        "127.0.0.1", "address to listen on; :: or 0.0.0.0 for every interface", metavar="ADDRESS"
    )
    port: int = setting(8080, "TCP port; 0 takes a free one and prints it", minimum=0, maximum=65535)
    threads: int = setting(0, "reactor threads; 0: one for each usable CPU", minimum=0, maximum=1024)
    backend: str = setting("epoll", "how reactors wait for sockets", choices=BACKENDS, env="WORKER_BACKEND")
    accept: str = setting("auto", "how connections are accepted; auto: as the backend", choices=ACCEPTS)
    backlog: int = setting(4096, "connections the kernel queues before accept", minimum=1, maximum=2**31 - 1)
    static: str = setting("static", "directory that the demo application serves", metavar="DIR")
    log_level: str = setting(
        "info", "least severe log lines shown", choices=LOG_LEVELS, env="HTTP_SERVER_LOG"
    )
    log_format: str = setting("plain", "form of log lines", choices=("plain", "json"))
    access_log: str = setting(
        "",
        "one line for each request: common, combined or json, to stdout or to FILE",
        metavar="FORMAT[:FILE]",
    )
    admin: str = setting("", "serve metrics and the live page on this address", metavar="HOST:PORT")
    admin_public: bool = setting(False, "let --admin listen on an address other than loopback")
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Refuse what cannot work, with one plain line; see `ConfigError`."""
        validate(self)
        validate(self.limits)

    @property
    def reactors(self) -> int:
        """Number of reactor threads to run."""
        return self.threads or usable_cpus()


def validate(settings: Any) -> None:
    """Check each field of a settings object against its declared bounds.

    Raises:
        ConfigError: naming the setting, what it was and what it may be.
    """
    for spec in dataclasses.fields(settings):
        value = getattr(settings, spec.name)
        if reason := _objection(value, spec.type, spec.metadata):
            raise ConfigError(f"{option(spec.name)}: {value!r} {reason}")


def option(name: str) -> str:
    """The command-line spelling of a field name."""
    return "--" + name.replace("_", "-")


def size(count: int) -> str:
    """A number of bytes in the largest unit that divides it, such as `16 MiB`."""
    units = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
    return next(
        (f"{count // one} {name}" for one, name in units if count and count % one == 0), f"{count} bytes"
    )


def _objection(value: Any, kind: Any, metadata: Mapping[str, Any]) -> str:
    choices = metadata.get("choices")
    if choices and value not in choices:
        return "is not one of " + ", ".join(choices)
    if not isinstance(value, (int, float) if kind is float else kind):
        return f"is not {KINDS.get(kind, kind.__name__)}"
    if kind is float and not 0 < value < math.inf:
        return "is not a positive number of seconds"
    if "minimum" in metadata and value < metadata["minimum"]:
        return f"is less than {metadata['minimum']}"
    if "maximum" in metadata and value > metadata["maximum"]:
        return f"is more than {metadata['maximum']}"
    return ""
