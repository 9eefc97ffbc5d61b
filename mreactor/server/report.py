"""The start-up report: what runs, where, and what to change about it."""

import math
import platform
import sys
from collections.abc import Sequence

from .. import __version__
from ..addresses import show_address
from ..config import Config, size
from ..runtime import cpu_quota, gil_cause, has_gil, usable_cpus

type Address = tuple[str, int]


def render_report(
    config: Config, backend: str, urls: Sequence[str], admin: Address | None, application: str = ""
) -> list[str]:
    """Render the report, a line each. The last lines are the URLs to open.

    Args:
        backend: the chosen backend, in words.
        urls: where the server listens.
        admin: the address of the admin listener, if there is one.
        application: its name; empty if it has none.
    """
    limits = config.limits
    quota = f", CPU quota {cpu_quota():g}" if cpu_quota() < math.inf else ""
    return [
        f"mreactor {__version__} on {platform.python_implementation()} {platform.python_version()},"
        f" GIL {'on' if has_gil() else 'off'}",
        f"backend {backend}",
        f"{count(config.reactors, 'reactor thread')} on {count(usable_cpus(), 'usable CPU')}{quota}",
        f"limits: {count(limits.connections_max, 'connection')}, body {size(limits.body_bytes_max)},"
        f" head {limits.head_seconds:g} s, keep-alive {limits.keepalive_seconds:g} s, drain {limits.drain_seconds:g} s",
        *([f"application {application}"] if application else []),
        *([f"metrics and live page on {url(*admin)}"] if admin else []),
        *(f"listening on {each}" for each in urls),
    ]


def interpreter_warnings() -> list[str]:
    """Return what limits this interpreter, a line each, with the remedy."""
    if cause := gil_cause():
        return [cause]
    if sys.version_info < (3, 13, 3):
        return ["free-threaded Python before 3.13.3 does not scale with threads: use 3.13.3 or later"]
    return []


def scheme(config: Config) -> str:
    """Return the scheme of the server's URLs."""
    return "https" if config.tls_cert else "http"


def url(host: str, port: int, scheme: str = "http") -> str:
    """Return the URL of an address, or the name of a unix socket."""
    address = show_address(host, port)
    return address if address.startswith("unix:") else f"{scheme}://{address}"


def count(number: int, noun: str) -> str:
    """Return a number of things, such as `1 reactor thread`."""
    return f"{number} {noun}" + ("" if number == 1 else "s")
