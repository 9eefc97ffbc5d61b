"""What the process was started with: its command line, and what systemd or the process before it has passed.

The variables are read once and removed from the environment, so that no program of the application takes them for its
own: LISTEN_FDS (sd_listen_fds(3)), NOTIFY_SOCKET (sd_notify(3)), WATCHDOG_USEC (sd_watchdog_enabled(3)), and HANDOVER.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from ..net import ACTIVATED, InheritedSockets, Listener

# A JSON object: `pid` of the process before, `reply` the descriptor to answer on, `sockets` pairs of key and
# descriptor.
HANDOVER = "MREACTOR_HANDOVER"
LISTEN = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
FIRST_FD = 3


@dataclass(slots=True)
class Startup:
    """What a process was started with. Main thread only.

    Attributes:
        command: the program and its arguments, to start the same again.
        folder, environment: its directory and its variables, without those that were for this process only.
        sockets: inherited listening sockets.
        listeners: those that were opened before the process became another user.
        reply_fd: where the process before waits for an answer; -1 if there is none.
        predecessor: the process that handed its sockets over; 0 if there is none.
        notify_address: where systemd listens; empty for nowhere.
        watchdog_seconds: systemd restarts a service that is silent for longer; 0 if it does not.
    """

    command: list[str] = field(default_factory=lambda: [sys.executable, *sys.orig_argv[1:]])
    folder: str = "."
    environment: dict[str, str] = field(default_factory=dict)
    sockets: InheritedSockets = field(default_factory=InheritedSockets)
    listeners: list[Listener] = field(default_factory=list)
    reply_fd: int = -1
    predecessor: int = 0
    notify_address: str = ""
    watchdog_seconds: float = 0.0

    def reply(self, **answer: object) -> None:
        """Answer the process that is waiting for this one; only the first answer counts."""
        fd, self.reply_fd = self.reply_fd, -1
        if fd >= 0:
            try:
                os.write(fd, json.dumps(answer).encode())
            except OSError:
                pass  # it has ended meanwhile
            os.close(fd)


def _current_folder() -> str:
    """Return the current directory; the root if it is gone, as nothing can be found there any more."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "/"


@cache
def take_startup() -> Startup:
    """Read what the process was started with; remove it from the environment. The first call counts."""
    startup = read_startup(os.environ)
    for name in (HANDOVER, *LISTEN, "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"):
        os.environ.pop(name, None)
    return startup


def read_startup(environment: Mapping[str, str]) -> Startup:
    """Interpret the variables of a process."""
    startup = Startup(folder=_current_folder(), environment=dict(environment))
    # They name a process, or hold descriptors of this one. Systemd's others are for the next process as well.
    for name in (HANDOVER, *LISTEN, "WATCHDOG_PID"):
        startup.environment.pop(name, None)
    startup.notify_address = environment.get("NOTIFY_SOCKET", "")
    if environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
        startup.watchdog_seconds = _parse(environment.get("WATCHDOG_USEC", "")) / 1e6
    if handover := environment.get(HANDOVER):
        found = json.loads(handover)
        startup.predecessor, startup.reply_fd = found["pid"], found["reply"]
        startup.sockets = InheritedSockets([(key, fd) for key, fd in found["sockets"]])
    elif environment.get("LISTEN_PID") == str(os.getpid()):
        startup.sockets = InheritedSockets(_activated(environment))
    for fd in (startup.reply_fd, *startup.sockets.descriptors):
        if fd >= 0:
            os.set_inheritable(fd, False)
    return startup


def _activated(environment: Mapping[str, str]) -> list[tuple[str, int]]:
    count = _parse(environment.get("LISTEN_FDS", ""))
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    names += ["unknown"] * (count - len(names))
    return [(ACTIVATED + (names[index] or "unknown"), FIRST_FD + index) for index in range(count)]


def _parse(number: str) -> int:
    return int(number) if number.isascii() and number.isdecimal() else 0
