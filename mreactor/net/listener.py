"""The listening sockets, and the process's limit on open files. Used by the server's thread, before others start."""

import errno
import logging
import os
import resource
import socket
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..addresses import BindAddress
from ..config import Config
from .inherited import InheritedSockets
from .start_error import StartError
from .unix_socket import open_unix

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


@dataclass(slots=True)
class Listener:
    """A listening socket. The acceptor closes it in the end.

    Attributes:
        key: the same for the same address in this process and in the one that takes over from it.
        is_foreign: systemd, or the process that opened the descriptor, keeps it open.
        is_shared: the queue and the socket file are left to others. So it is with foreign sockets, and with those that
            another process of the same server serves as well. It holds from the beginning: a start that fails closes
            the listeners that it has, and must not end the service of others.
        file: the socket file to remove in the end, as path, device and inode; None for none.
        plain: no TLS here. Unix sockets never have TLS.
    """

    sock: socket.socket
    key: str
    is_foreign: bool = False
    is_shared: bool = False
    file: tuple[str, int, int] | None = None
    plain: bool = False

    def __post_init__(self) -> None:
        self.is_shared = self.is_shared or self.is_foreign
        self.plain = self.plain or self.is_unix

    @property
    def address(self) -> tuple[str, int]:
        """Host, with its zone where it has one, and port; for a unix socket its path and 0."""
        name = self.sock.getsockname()
        if isinstance(name, tuple):
            return with_zone(name), name[1]
        return (name if isinstance(name, str) else "@" + name[1:].decode(errors="replace")), 0

    @property
    def is_unix(self) -> bool:
        """The socket has a path instead of host and port."""
        return self.sock.family == socket.AF_UNIX

    def close(self) -> None:
        """Stop listening, unless others do. Idempotent.

        A forked process may hold a copy: shut down, so that new clients are refused and the address is free.
        """
        if self.sock.fileno() < 0:
            return
        if not self.is_shared:
            try:
                self._remove_file()
                self.sock.shutdown(socket.SHUT_RDWR)
            except OSError as error:
                log.debug("closing %s: %s", self.key, error)
        self.sock.close()

    def _remove_file(self) -> None:
        """Remove the socket file, unless another server has put its own in its place."""
        if self.file is not None:
            path, device, inode = self.file
            try:
                found = os.stat(path, follow_symlinks=False)
            except FileNotFoundError:
                return
            if stat.S_ISSOCK(found.st_mode) and (found.st_dev, found.st_ino) == (device, inode):
                os.unlink(path)


def open_listeners(config: Config, inherited: InheritedSockets | None = None) -> list[Listener]:
    """Open the configured listening sockets, or take them over. Sockets of systemd come first.

    They take the place of `host` and `port`, and come in addition to `bind`.

    Raises:
        StartError: an address is unknown, taken or not permitted.
    """
    inherited = inherited or InheritedSockets()
    opened: list[Listener] = []
    try:
        for key, sock in inherited.take_activated():
            opened.append(Listener(sock, key, is_foreign=True))
        for bind in config.addresses:
            opened += _open(bind, config, inherited)
        if not opened:
            opened.append(_open_default(config, inherited))
        for listener in opened:
            _set_options(listener.sock)
    except BaseException:
        close_all(opened)
        raise
    return opened


def _open_default(config: Config, inherited: InheritedSockets) -> Listener:
    """Listen on `host` and `port`, on one address."""
    key = f"tcp:{config.host}:{config.port}"
    before = inherited.take(key)
    return Listener(before or listen(config), key, is_shared=before is not None)


def _open(bind: BindAddress, config: Config, inherited: InheritedSockets) -> list[Listener]:
    """Open an address of `bind`: one socket, or one for each address of a name."""
    if bind.fd >= 0:
        return [Listener(inherited.take_descriptor(bind.fd), f"fd:{bind.fd}", is_foreign=True, plain=bind.plain)]
    if bind.path:
        key = f"unix:{bind.path}" if bind.path.startswith("@") else f"unix:{os.path.abspath(bind.path)}"
        before = inherited.take(key)
        sock, file = open_unix(bind, config.backlog, before)
        return [Listener(sock, key, is_shared=sock is before, file=file)]
    opened: list[Listener] = []
    addresses = _resolve(bind.host, bind.port)
    is_dual = bind.host == "::" and not any(
        other.host == "0.0.0.0" and other.port == bind.port for other in config.addresses
    )
    for index, (family, *_, address) in enumerate(addresses, 1):
        key = f"tcp:{address[0]}:{bind.port}"
        # With port 0 the first address gets a free port, and the others the same one.
        port = opened[0].address[1] if opened else bind.port
        before = inherited.take(key)
        try:
            sock = before or _listen_on(family, (address[0], port, *address[2:]), config, is_dual=is_dual)
        except OSError as error:
            is_last = index == len(addresses) and not opened
            if error.errno not in NOT_HERE or is_last:
                close_all(opened)
                raise StartError(f"cannot listen on {bind.text}: {explain_bind(error)}") from None
            continue
        opened.append(Listener(sock, key, is_shared=before is not None, plain=bind.plain))
    return opened


def close_all(listeners: Iterable[Listener]) -> None:
    """Close listeners that are not used."""
    for listener in listeners:
        listener.close()


def plain_matcher(listeners: Iterable[Listener]) -> Callable[[socket.SocketType], bool]:
    """Return a function that tells whether a connection came by a plain listener.

    It takes a socket object that was made with the family AF_UNIX, whatever the descriptor's own is: `getsockname`
    sizes its buffer by it, and the addresses of that family are the longest.
    """
    names = [listener.sock.getsockname() for listener in listeners if listener.plain]
    plain = {name[:2] for name in names if isinstance(name, tuple)}
    # The connection's own address is then one of the machine's.
    ports = {port for host, port in plain if host in ("0.0.0.0", "::")}

    def is_plain(sock: socket.SocketType) -> bool:
        name = sock.getsockname()
        return not isinstance(name, tuple) or name[:2] in plain or name[1] in ports

    return is_plain


def listen(config: Config) -> socket.socket:
    """Open a listening socket on `host` and `port`; `::` accepts IPv4 as well.

    Of a name with several addresses, take the first that this machine has, IPv4 before IPv6.

    Raises:
        StartError: the address is unknown, taken or not permitted.
    """
    addresses = _resolve(config.host, config.port)
    for index, (family, *_, address) in enumerate(addresses, 1):
        try:
            sock = _listen_on(family, address, config, is_dual=config.host == "::")
        except OSError as error:
            if error.errno not in NOT_HERE or index == len(addresses):
                raise StartError(f"cannot listen on {config.host} port {config.port}: {explain_bind(error)}") from None
            continue
        return sock
    raise AssertionError("a name has at least one address")


def explain_bind(error: OSError) -> str:
    """Return why an address cannot be listened on, with a remedy where there is a usual one."""
    remedy = {
        errno.EADDRINUSE: "; end the program that listens there, or choose another port, such as 0 for a free one",
        errno.EACCES: "; choose a port from 1024 on, or start as root with --user",
    }
    return f"{error.strerror}{remedy.get(error.errno or 0, '')}"


def _resolve(host: str, port: int) -> list[AddressInfo]:
    try:
        return preferred(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE))
    except OSError as error:
        raise StartError(f"cannot listen on {host or 'an empty host'}: {error.strerror}") from None
    except UnicodeError:
        # The codec for domain names raises it, with a text for programmers.
        raise StartError(f"cannot listen on {host}: not a valid host name") from None


def with_zone(name: tuple[Any, ...]) -> str:
    """Return the host of a socket's name. That of one link has a zone, as it must to be reached: `fe80::1%eth0`."""
    host = str(name[0])
    # The kernel has the zone as a number, which other addresses leave at 0.
    if len(name) < 4 or not name[3] or "%" in host:
        return host
    try:
        return f"{host}%{socket.if_indextoname(name[3])}"
    except OSError:
        # The interface is gone.
        return f"{host}%{name[3]}"


def preferred(found: Sequence[AddressInfo]) -> list[AddressInfo]:
    """Sort what `getaddrinfo` returns: IPv4 before IPv6, as most clients and probes expect of `localhost`."""
    return sorted(dict.fromkeys(found), key=lambda each: each[0] != socket.AF_INET)


def _listen_on(family: int, address: tuple[Any, ...], config: Config, *, is_dual: bool) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if config.reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not is_dual)
        listener.bind(address)
        listener.listen(config.backlog)
    except BaseException:
        listener.close()
        raise
    return listener


def _set_options(listener: socket.socket) -> None:
    """Set what accepted connections inherit. See docs/decisions/060."""
    if listener.family != socket.AF_UNIX:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES_IN_KERNEL)


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
