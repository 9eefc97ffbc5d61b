"""Another user and group for the process, once its sockets are open; and the file with its number. Main thread only."""

import grp
import logging
import os
import pwd

from ..config import ConfigError
from ..net import StartError

log = logging.getLogger("mreactor")


def become(user: str, group: str) -> None:
    """Become a user and a group, by name or number; empty for no change. Every thread changes.

    Raises:
        ConfigError: there is no such user or group.
        StartError: the process may not.
    """
    uid, gid = _find_user(user), _find_group(group)
    if user and not group:
        gid = _primary_group(uid)
    if uid in (-1, os.geteuid()) and gid in (-1, os.getegid()):
        # So it is after a restart.
        return
    try:
        if user:
            os.initgroups(_name(uid), gid)
        elif gid >= 0:
            os.setgroups([gid])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    except OSError as error:
        name = "--user" if user else "--group"
        raise StartError(f"{name}: cannot become {user or group}: {error.strerror}; start the server as root") from None


def write_pid_file(path: str) -> None:
    """Write the process's number to a file, in one step.

    Raises:
        StartError: it cannot be written.
    """
    temporary = f"{path}.{os.getpid()}"
    try:
        with open(temporary, "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
        os.replace(temporary, path)
    except OSError as error:
        raise StartError(f"--pid-file: cannot write {path}: {error.strerror}") from None


def remove_pid_file(path: str) -> None:
    """Remove the file, unless it names another process, such as the one that has taken over."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            if file.read().strip() == str(os.getpid()):
                os.unlink(path)
    except OSError as error:
        log.debug("cannot remove %s: %s", path, error)


def _find_user(user: str) -> int:
    if not user or user.isdecimal():
        return int(user or -1)
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        raise ConfigError(f"--user: there is no user {user!r}") from None


def _find_group(group: str) -> int:
    if not group or group.isdecimal():
        return int(group or -1)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ConfigError(f"--group: there is no group {group!r}") from None


def _primary_group(uid: int) -> int:
    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        raise ConfigError(f"--user: the user {uid} has no entry; give --group as well") from None


def _name(uid: int) -> str:
    """Return a user's name, of whose groups the process becomes a member; a number stands for no groups."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
