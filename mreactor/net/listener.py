"""The listening socket, and the process's limit on open files. Used by the server's thread, before others start."""

import errno
import logging
import resource
import socket
from collections.abc import Callable, Sequence
from typing import Any

from ..config import Config

log = logging.getLogger("mreactor")

# A connection, and the file that it is sending.
FDS_PER_CONNECTION = 2
# Descriptors beside those: libraries, blocking handlers.
RESERVED_FDS = 512
FD_TABLE_ENTRIES_MIN = 64 * 1024
# The kernel takes no more bytes for a socket while it holds so many that it has not sent yet.
UNSENT_BYTES_IN_KERNEL = 128 * 1024
# The machine does not have this address, or not its family.
NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})

type AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]


class StartError(RuntimeError):
    """The server cannot start; the text is one plain line with cause and remedy."""


def listen(config: Config) -> socket.socket:
    """Open a listening socket on the configured address; `::` accepts IPv4 as well.

    Of a name with several addresses, take the first that this machine has, IPv4 before IPv6.

    Raises:
        StartError: the address is unknown, taken or not permitted.
    """
    try:
        addresses = preferred(
            socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        )
    except OSError as error:
        raise StartError(f"cannot listen on {config.host or 'an empty host'}: {error.strerror}") from None
    except UnicodeError:
        # The codec for domain names raises it, with a text for programmers.
        raise StartError(f"cannot listen on {config.host}: not a valid host name") from None
    for index, (family, *_, address) in enumerate(addresses, 1):
        try:
            return _listen_on(family, address, config)
        except OSError as error:
            if error.errno not in NOT_HERE or index == len(addresses):
                raise StartError(f"cannot listen on {config.host} port {config.port}: {error.strerror}") from None
    raise AssertionError("a name has at least one address")


def preferred(found: Sequence[AddressInfo]) -> list[AddressInfo]:
    """Sort what `getaddrinfo` returns: IPv4 before IPv6, as most clients and probes expect of `localhost`."""
    return sorted(found, key=lambda each: each[0] != socket.AF_INET)


def _listen_on(family: int, address: tuple[Any, ...], config: Config) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and config.host == "::":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Accepted connections inherit it. See docs/decisions/060.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES_IN_KERNEL)
        listener.bind(address)
        listener.listen(config.backlog)
    except BaseException:
        listener.close()
        raise
    return listener


def raise_fd_limit(connections_max: int) -> int:
    """Raise the soft limit on open files to what the connections need, up to the hard limit. Warn if that is too low.

    Returns:
        the number of entries for a table that is indexed by file descriptor.
    """
    wanted = connections_max * FDS_PER_CONNECTION + RESERVED_FDS
    try:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
            # Not every connection sends a file, so a limit that leaves fewer for files is no reason to warn.
            if allowed < connections_max + RESERVED_FDS:
                log.warning(
                    "the limit on open files, %d, is too low for --connections-max %d", allowed, connections_max
                )
    except (OSError, ValueError) as error:
        # A sandbox forbids it, or the hard limit is above what the kernel now allows (fs.nr_open).
        log.warning("cannot raise the limit on open files to %d: %s", wanted, error)
    return max(FD_TABLE_ENTRIES_MIN, wanted)


def start_thread(start: Callable[[], None], name: str) -> None:
    """Call a thread's `start`.

    Raises:
        StartError: the process may have no further thread.
    """
    try:
        start()
    except RuntimeError as error:
        raise StartError(f"cannot start the thread {name}: {error}; raise the limit on processes") from None
