"""Unix sockets: the socket file, its permissions, and files that a dead server has left behind."""

import errno
import grp
import os
import socket
import stat

from ..addresses import BindAddress
from .start_error import StartError

ANSWER_SECONDS_MAX = 1.0


def open_unix(
    bind: BindAddress, backlog: int, inherited: socket.socket | None
) -> tuple[socket.socket, tuple[str, int, int] | None]:
    """Listen on a unix socket, or continue with one that was inherited.

    Returns:
        the socket, and its file as path, device and inode: None for an abstract one.

    Raises:
        StartError: another server listens there, or the file cannot be made.
    """
    group = _find_group(bind)
    if inherited is not None and not bind.path.startswith("@") and not os.path.exists(bind.path):
        # Somebody has removed the file, so no client finds this socket.
        inherited.close()
        inherited = None
    sock = inherited or socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if bind.path.startswith("@"):
            if inherited is None:
                sock.bind("\0" + bind.path[1:])
                sock.listen(backlog)
            return sock, None
        path = os.path.abspath(bind.path)
        if inherited is None:
            _bind(sock, path)
        if bind.group:
            os.chown(path, -1, group)
        if bind.mode is not None:
            os.chmod(path, bind.mode)
        # No client can connect before this, so none connects with other permissions.
        if inherited is None:
            sock.listen(backlog)
        found = os.stat(path, follow_symlinks=False)
        return sock, (path, found.st_dev, found.st_ino)
    except OSError as error:
        sock.close()
        raise StartError(f"cannot listen on {bind.text}: {error.strerror}") from None
    except BaseException:
        sock.close()
        raise


def _bind(sock: socket.socket, path: str) -> None:
    try:
        sock.bind(path)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not _is_stale(path):
            raise
        os.unlink(path)
        sock.bind(path)


def _is_stale(path: str) -> bool:
    """Tell whether a file is a socket on which no server answers."""
    if not stat.S_ISSOCK(os.stat(path, follow_symlinks=False).st_mode):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # A server whose queue is full lets a connection wait.
        probe.settimeout(ANSWER_SECONDS_MAX)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return False


def _find_group(bind: BindAddress) -> int:
    if not bind.group or bind.group.isdecimal():
        return int(bind.group or -1)
    try:
        return grp.getgrnam(bind.group).gr_gid
    except KeyError:
        raise StartError(f"cannot listen on {bind.text}: there is no group {bind.group!r}") from None
