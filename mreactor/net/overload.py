"""How clients are turned away when there is no room for them.

A client that writes its whole request before it reads would lose the response: closing a socket with unread bytes
sends a reset. So a thread reads and drops what such clients send, for a moment, and for a bounded number of them.
"""

import os
import select
import socket
import threading
import time
from collections.abc import Callable

from ..concurrency import Mailbox

# Further refused clients are closed at once.
LINGERING_MAX = 64
# A client that closes, or is silent for this long, has read the response.
SILENCE_SECONDS = 1.0
LINGER_SECONDS_MAX = 5.0
READ_BYTES = 64 * 1024
CHECK_SECONDS = 0.25


class Refusals:
    """Refuses clients with one response. Safe to use from any thread.

    Its thread starts with the first client that has to linger and ends with the last: a daemon, so that it keeps no
    process alive.

    Args:
        response: what a client gets.
        plain_response: what it gets instead if `is_plain` says so of its socket.
        is_plain: tells whether a socket's client came by a listener without TLS, where the others have it; None if
            there is one kind of listeners only.
    """

    def __init__(
        self,
        response: bytes,
        *,
        plain_response: bytes = b"",
        is_plain: Callable[[socket.SocketType], bool] | None = None,
    ) -> None:
        self._response = response
        self._plain_response = plain_response
        self._is_plain = is_plain
        self._lock = threading.Lock()
        # The lock guards both. The mailbox is the thread's, and there is one as long as the thread runs.
        self._mailbox: Mailbox[socket.socket] | None = None
        self._lingering = 0

    def refuse(self, sock: socket.SocketType, *, lingers: bool = True) -> None:
        """Send the response and shut the write side. The caller closes the socket; lingering uses a copy.

        Args:
            sock: made with the family AF_UNIX, as `plain_matcher` needs it.
            lingers: False if descriptors have run out. The socket is then closed at once.
        """
        try:
            sock.recv(READ_BYTES)
        except OSError:
            pass  # nothing has come yet, or the client is gone
        try:
            is_plain = self._is_plain is not None and self._is_plain(sock)
            sock.send(self._plain_response if is_plain else self._response)
            sock.shutdown(socket.SHUT_WR)
            if lingers:
                self._linger(sock)
        except OSError:
            pass  # the client is gone, or no descriptor is left

    def _linger(self, sock: socket.SocketType) -> None:
        with self._lock:
            if self._lingering >= LINGERING_MAX:
                return
            copy = socket.socket(fileno=os.dup(sock.fileno()))
            if self._mailbox is None:
                mailbox: Mailbox[socket.socket] = Mailbox()
                thread = threading.Thread(target=self._read_late, args=(mailbox,), name="refusals", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    mailbox.close()
                    copy.close()
                    return  # no thread is left
                self._mailbox = mailbox
            self._mailbox.post(copy)
            self._lingering += 1

    def _read_late(self, mailbox: Mailbox[socket.socket]) -> None:
        poll = select.poll()
        poll.register(mailbox, select.POLLIN)
        clients: dict[int, _Refused] = {}
        while not self._is_over(mailbox):
            events = poll.poll(CHECK_SECONDS * 1000)
            now = time.monotonic()
            for sock in mailbox.take():
                clients[sock.fileno()] = _Refused(sock, now)
                poll.register(sock, select.POLLIN)
            for fd, _ in events:
                if fd in clients:
                    clients[fd].read(now)
            over = [fd for fd, client in clients.items() if client.ends <= now]
            for fd in over:
                poll.unregister(fd)
                clients.pop(fd).close()
            with self._lock:
                self._lingering -= len(over)

    def _is_over(self, mailbox: Mailbox[socket.socket]) -> bool:
        """Return whether no client lingers, in the mailbox either. The next client then starts another thread."""
        with self._lock:
            if self._lingering:
                return False
            self._mailbox = None
            mailbox.close()
            return True


class _Refused:
    """A client that has its response. `ends` is when it is closed, in monotonic seconds."""

    def __init__(self, sock: socket.socket, now: float) -> None:
        self._sock = sock
        self._ends_at_last = now + LINGER_SECONDS_MAX
        self.ends = now + SILENCE_SECONDS

    def read(self, now: float) -> None:
        """Drop what has come."""
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.ends = min(now + SILENCE_SECONDS, self._ends_at_last) if data else now

    def close(self) -> None:
        """Close the socket, also where a forked process holds a copy."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the client is gone
        self._sock.close()
