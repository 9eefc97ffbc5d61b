"""Listening sockets that this process did not open: of systemd, of the process before it, of a descriptor's number."""

import os
import socket
from collections.abc import Iterator, Sequence

from .start_error import StartError

FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
# Of a socket that systemd passes: what comes behind this is the socket's name (sd_listen_fds_with_names(3)).
ACTIVATED = "systemd:"


class InheritedSockets:
    """Sockets that wait to be taken, each with the key of its address. Main thread only.

    Args:
        found: pairs of a key and a descriptor.

    Attributes:
        taken: keys of those that were taken.
    """

    def __init__(self, found: Sequence[tuple[str, int]] = ()) -> None:
        self._waiting = list(found)
        self.taken: list[str] = []

    @property
    def descriptors(self) -> list[int]:
        """The descriptors of the inherited sockets that are not in use."""
        return [fd for _, fd in self._waiting]

    def take(self, key: str) -> socket.socket | None:
        """Return the socket of an address; None if there is none."""
        for index, (found, fd) in enumerate(self._waiting):
            if found == key:
                del self._waiting[index]
                sock = adopt(fd, key)
                self.taken.append(key)
                return sock
        return None

    def take_activated(self) -> Iterator[tuple[str, socket.socket]]:
        """Yield key and socket of each that systemd has passed."""
        for key in [key for key, _ in self._waiting if key.startswith(ACTIVATED)]:
            if (sock := self.take(key)) is not None:
                yield key, sock

    def take_descriptor(self, fd: int) -> socket.socket:
        """Return the socket with a descriptor's number.

        Raises:
            StartError: it is no listening socket.
        """
        return self.take(f"fd:{fd}") or adopt(fd, f"fd:{fd}")

    def close(self) -> None:
        """Close the sockets that are not in use. Their addresses are no longer configured."""
        for _, fd in self._waiting:
            os.close(fd)
        self._waiting.clear()


def adopt(fd: int, name: str) -> socket.socket:
    """Return a listening stream socket by its descriptor, which programs that the application starts do not inherit.

    Raises:
        StartError: the descriptor is something else.
    """
    try:
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise StartError(f"cannot listen on {name}: {error.strerror}") from None
    is_listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if sock.type != socket.SOCK_STREAM or sock.family not in FAMILIES or not is_listening:
        sock.detach()
        raise StartError(f"cannot listen on {name}: not a listening stream socket")
    sock.set_inheritable(False)
    return sock
