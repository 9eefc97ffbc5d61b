"""Plays scripts against one server, many at a time, from one thread."""

import select
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence

from .responses import blot_dates, find_end
from .script import (
    CLIENTS_MAX,
    CLOSED,
    LATE,
    OPEN,
    Await,
    AwaitEnd,
    AwaitInterim,
    Open,
    Outcome,
    Reset,
    Script,
    Send,
    ShutWrite,
    Step,
    Take,
    Terminate,
)
from .server import Address

PARALLEL = 24  # scripts at a time
PATIENCE_SECONDS = 20.0  # a step that waits longer has waited in vain
POLL_SECONDS = 1.0
READ_BYTES = 256 * 1024
SCRIPTS_MAX = 1_000_000  # of one server: each has sixteen addresses in 127.0.0.0/8
ABORT = struct.pack("ii", 1, 0)
RESET = "reset"


class Player:
    """Plays scripts. Used by one thread.

    Args:
        address: of the server.
        terminate: sends SIGTERM to it.
    """

    def __init__(self, address: Address, terminate: Callable[[], None]) -> None:
        self._address = address
        self.terminate = terminate
        self._poller = select.epoll()
        self._connections: dict[int, Connection] = {}
        self._count = 0

    def play(self, scripts: Sequence[Script], parallel: int = PARALLEL) -> list[Outcome]:
        """Play all scripts and return their outcomes in the same order."""
        plays = [Play(self, script, self._count + number) for number, script in enumerate(scripts)]
        self._count += len(scripts)
        waiting, active = iter(plays), set[Play]()
        while True:
            while len(active) < parallel and (play := next(waiting, None)) is not None:
                if not play.advance():
                    active.add(play)
            if not active:
                return [play.outcome() for play in plays]
            active -= {play for play in self._woken(active) if play.advance()}

    def close(self) -> None:
        """Release the poller."""
        self._poller.close()

    def connect(self, play: "Play", source: str) -> "Connection":
        """Open a connection from an address of its own."""
        sock = socket.socket()
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((source, 0))
        sock.connect(self._address)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(sock, play, self._poller)
        self._connections[sock.fileno()] = connection
        self._poller.register(sock, select.EPOLLIN)
        return connection

    def forget(self, connection: "Connection") -> None:
        """Close a connection."""
        del self._connections[connection.sock.fileno()]
        connection.sock.close()

    def _woken(self, active: set["Play"]) -> set["Play"]:
        """Handle the events that have come. Return the plays that can go on, or have waited in vain."""
        events = self._poller.poll(POLL_SECONDS)
        if not events:
            return {play for play in active if play.give_up_if_late()}
        woken = set()
        for fd, event in events:
            connection = self._connections[fd]
            connection.handle(event)
            woken.add(connection.play)
        return woken


class Connection:
    """One client's connection.

    Attributes:
        received: bytes that no step has taken yet.
        unsent: bytes that the socket did not take yet.
        end: how the server ended it; empty while it has not.
    """

    __slots__ = ("_poller", "end", "play", "received", "sock", "unsent")

    def __init__(self, sock: socket.socket, play: "Play", poller: select.epoll) -> None:
        self.sock = sock
        self.play = play
        self.received = b""
        self.unsent = b""
        self.end = ""
        self._poller = poller

    def send(self, data: bytes) -> None:
        """Send what the socket takes, and keep the rest."""
        had_rest = bool(self.unsent)
        try:
            data = data[self.sock.send(data) :]
        except BlockingIOError:
            pass
        except OSError:
            data = b""
        self.unsent = data
        if bool(data) != had_rest and self.end == "":
            self._poller.modify(self.sock, select.EPOLLIN | (select.EPOLLOUT if data else 0))

    def read(self) -> None:
        """Receive what is there."""
        try:
            data = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data, self.end = b"", RESET
        else:
            self.end = "" if data else CLOSED
        self.received += data
        if self.end:
            self.unsent = b""
            self._poller.unregister(self.sock)

    def handle(self, event: int) -> None:
        """Receive, and go on sending."""
        if event & ~select.EPOLLOUT and not self.end:
            self.read()
        if event & select.EPOLLOUT and self.unsent:
            self.send(self.unsent)

    def take(self, end: int) -> bytes:
        """Take received bytes up to an offset."""
        taken, self.received = self.received[:end], self.received[end:]
        return taken


class Play:
    """One script being played."""

    def __init__(self, player: Player, script: Script, number: int) -> None:
        self._player = player
        self._steps = script.steps
        self._addresses = addresses(number)
        self._at = 0
        self._sending = False
        self._since = 0.0
        self._clients: dict[int, Connection] = {}
        self._received: list[tuple[int, bytes]] = []
        self._ends: list[str] = []
        self._resets = 0

    def advance(self) -> bool:
        """Do steps until one has to wait. Return whether the script is over."""
        self._since = time.monotonic()
        while self._at < len(self._steps):
            if not self._do(self._steps[self._at]):
                return False
            self._at += 1
        for number in sorted(self._clients):
            self._leave(number)
        return True

    def give_up_if_late(self) -> bool:
        """End the script where a step has waited in vain. Return whether that is so."""
        if time.monotonic() < self._since + PATIENCE_SECONDS:
            return False
        connection = self._clients[self._steps[self._at].client]
        self._note(connection.take(len(connection.received)))
        self._ends.append(LATE)
        self._at = len(self._steps)
        return True

    def outcome(self) -> Outcome:
        """Return what came of it."""
        return Outcome(tuple(self._received), tuple(self._ends), self._resets)

    def _do(self, step: Step) -> bool:
        """Do one step. Return False while it has to wait."""
        if isinstance(step, Open):
            self._open(step.client)
            return True
        if isinstance(step, Terminate):
            self._player.terminate()
            return True
        connection = self._clients[step.client]
        if isinstance(step, Send):
            return self._send(connection, step.data)
        if isinstance(step, ShutWrite):
            shut_write(connection.sock)
        elif isinstance(step, Reset):
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
            self._leave(step.client)
        else:
            return self._receive(connection, step)
        return True

    def _send(self, connection: Connection, data: bytes) -> bool:
        if not self._sending:
            connection.send(data)
        self._sending = bool(connection.unsent)
        return not self._sending

    def _receive(self, connection: Connection, step: Await | AwaitInterim | AwaitEnd | Take) -> bool:
        received = connection.received
        end = len(received)
        if isinstance(step, Take):
            if not connection.end:
                connection.read()
            end = len(connection.received)
        elif not connection.end:
            if isinstance(step, AwaitEnd):
                return False
            if isinstance(step, Await):
                end = find_end(received, step.methods)
            else:
                end = received.find(b"\r\n\r\n") + 4 if b"\r\n\r\n" in received else -1
            if end < 0:
                return False
        self._note(connection.take(end))
        return True

    def _note(self, data: bytes) -> None:
        self._received.append((self._at, blot_dates(data)))

    def _open(self, client: int) -> None:
        if client in self._clients:
            if not self._clients[client].end:
                return
            self._leave(client)
        self._clients[client] = self._player.connect(self, next(self._addresses))

    def _leave(self, client: int) -> None:
        connection = self._clients.pop(client)
        if connection.received:
            self._note(connection.received)
        self._ends.append(CLOSED if connection.end else OPEN)
        self._resets += connection.end == RESET
        self._player.forget(connection)


def addresses(number: int) -> Iterator[str]:
    """Yield the addresses from which a script's connections come: no two connections to a server share one."""
    assert number < SCRIPTS_MAX, "more scripts than there are addresses"
    for index in range(CLIENTS_MAX):
        address = (number + 4096) * CLIENTS_MAX + index
        yield f"127.{address >> 16}.{address >> 8 & 255}.{address & 255}"


def shut_write(sock: socket.socket) -> None:
    """Shut the write side of a socket that may have been reset."""
    try:
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass
