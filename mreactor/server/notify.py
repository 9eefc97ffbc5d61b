"""Messages to systemd about the state of the service (sd_notify(3)). Without systemd they go nowhere."""

import logging
import socket
import time

log = logging.getLogger("mreactor")


class Notifier:
    """Sends messages to the service manager. Main thread only.

    Args:
        address: the socket's path; `@` begins an abstract name. Empty for none.
    """

    def __init__(self, address: str) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._status = ""

    def ready(self, status: str) -> None:
        """Tell that the service is up, or again as it was."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self, status: str) -> None:
        """Tell that a new process starts. `ready` or `hand_over` ends this state."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", f"STATUS={status}")

    def hand_over(self, pid: int, status: str) -> None:
        """Tell that another process is the main one from now on. This process then sends nothing more."""
        self._send(f"MAINPID={pid}", "READY=1", f"STATUS={status}")
        self._address = ""

    def stopping(self, status: str) -> None:
        """Tell that the service ends."""
        self._send("STOPPING=1", f"STATUS={status}")

    def alive(self) -> None:
        """Keep the watchdog of systemd quiet."""
        self._send("WATCHDOG=1")

    def status(self, status: str) -> None:
        """Tell the state in words, if it has changed."""
        if status != self._status:
            self._send(f"STATUS={status}")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        for line in lines:
            name, _, text = line.partition("=")
            if name == "STATUS":
                self._status = text
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto("\n".join(lines).encode(errors="replace"), self._address)
        except OSError as error:
            log.debug("cannot notify the service manager: %s", error)
