"""The listening socket, and the process's limit on open files. Used by the server's thread, before others start."""

import logging
import resource
import socket

from ..config import Config

log = logging.getLogger("mreactor")

# Descriptors beside the clients': libraries, files being sent, blocking handlers.
RESERVED_FDS = 512
FD_TABLE_ENTRIES_MIN = 64 * 1024
TIMEOUT_MS_MAX = 2**31 - 1


class StartError(RuntimeError):
    """The server cannot start; the text is one plain line with cause and remedy."""


def listen(config: Config) -> socket.socket:
    """Open a listening socket on the configured address; `::` accepts IPv4 as well.

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
    except UnicodeError:
        # The codec for domain names raises it, with a text for programmers.
        raise StartError(f"cannot listen on {config.host}: not a valid host name") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and config.host == "::":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Accepted connections inherit the timeout. See docs/decisions/053.
        timeout_ms = min(int(config.limits.write_stall_seconds * 1000), TIMEOUT_MS_MAX)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)
        listener.bind(address)
        listener.listen(config.backlog)
    except OSError as error:
        listener.close()
        raise StartError(f"cannot listen on {config.host} port {config.port}: {error.strerror}") from None
    return listener


def raise_fd_limit(connections_max: int) -> int:
    """Raise the soft limit on open files to what the connections need, up to the hard limit.

    Returns:
        the number of entries for a table that is indexed by file descriptor.
    """
    wanted = connections_max + RESERVED_FDS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        if allowed < wanted:
            log.warning(
                "the limit on open files, %d, is too low for --connections-max %d", allowed, connections_max
            )
    return max(FD_TABLE_ENTRIES_MIN, connections_max * 2)
