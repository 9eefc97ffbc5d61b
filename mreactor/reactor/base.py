"""What every reactor does, whichever way it waits for its sockets.

A reactor is a thread that owns everything it touches on a request: its service, its clients, its timers. All of it is
created inside the thread. From outside come connections (`hand`) and messages (`post`), nothing else.
"""

import errno
import logging
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

from ..addresses import Addresses
from ..allocator import return_pages
from ..connection import Connection
from ..http1.status import HTTPError
from ..job import Job
from ..jobs import Jobs
from ..mailbox import Mailbox
from ..metrics import BUCKETS
from ..scheduling import give_way
from ..service import Service
from ..sharing import own
from ..state import CLOSED, IDLE, LINGERING, READY, SENDING
from ..timers import TICK_SECONDS, TimerWheel
from .client import Client

log = logging.getLogger("mreactor")

# What a peer can do to a socket at any time; everything else is worth a line in the log.
PEER_ERRORS = frozenset(
    {errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN, errno.EHOSTUNREACH, errno.ENETUNREACH}
)

TICK_NANOSECONDS = int(TICK_SECONDS * 1e9)

DRAIN = "drain"
STOP = "stop"

# What another ring posts into a reactor's ring along with a connection: the user_data of its completion.
HANDED = 1 << 34

BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nServer: mreactor\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: 39\r\nRetry-After: 1\r\nConnection: close\r\n\r\nThis server has too many connections.\r\n"
)


def refuse(sock: socket.SocketType) -> None:
    """Tell a client politely that there is no room. What it has sent is read first, else a reset could follow."""
    try:
        sock.recv(64 * 1024)
    except OSError:
        pass  # nothing has come yet, or the client is gone
    try:
        sock.send(BUSY)
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the client is gone, which is what we want


type Message = str | int | tuple[Client, Job]


class Reactor(threading.Thread, ABC):
    """One thread, one way of waiting, one table of clients.

    Args:
        index: the reactor's number, from 0.
        make_service: called inside the thread.
        jobs: where blocking handlers run.
        fds_max: no file descriptor handed over is as large as this.
        family: the address family of the connections.
        addresses: counts the connections of each client address; None: they are not bounded.
        gives_way: it does not interrupt other threads when it wakes: there are more of its kind than cores.
    """

    client_type: Callable[[socket.SocketType, Connection], Client]
    ring_fd = -1  # where another ring may post connections, see `HANDED`

    def __init__(
        self,
        index: int,
        make_service: Callable[[], Service],
        jobs: Jobs,
        fds_max: int,
        family: int,
        addresses: Addresses | None = None,
        gives_way: bool = False,
    ) -> None:
        super().__init__(name=f"reactor-{index}", daemon=True)
        self.index = index
        self.ready = threading.Event()
        self.failure: BaseException | None = None
        self.heartbeat = 0.0  # monotonic seconds of the last tick; written here, read by the watchdog
        self._make_service = make_service
        self._jobs = jobs
        self._fds_max = fds_max
        self._family = family
        self._addresses = addresses
        self._gives_way = gives_way
        self._mailbox: Mailbox[Message] = Mailbox()
        self._is_draining = False
        self._is_stopped = False
        self._debt = 0  # bytes counted as sent of which the kernel then took none; counted again when it does

    # For other threads.

    def hand(self, fd: int) -> None:
        """Hand over an accepted connection, non-blocking; called by the acceptor.

        Raises:
            OSError: it cannot be taken; the caller closes it.
        """
        self.post(fd)

    def post(self, message: Message) -> None:
        """Leave a message; called by any thread."""
        self._mailbox.post(message)

    # The reactor's own.

    def run(self) -> None:
        """Serve until stopped, or until drained."""
        try:
            if self._gives_way:
                give_way()
            self.service = self._make_service()
            self.timers = TimerWheel(self.service.now, self._fds_max)
            self._clients: list[Client | None] = [None] * self._fds_max
            self._fd_highest = 0
            self._again: list[Client] = []  # there is more to do for them, and no event will say so
            self._has_mail = False
            self._quiet_since = 0.0  # when draining has begun and what was handed over before is adopted
            # Copies of its own, as of everything: see `sharing`.
            self._bounds = [own(bound) for bound in BUCKETS]
            self._open()
            self.heartbeat = time.monotonic()
        except BaseException as failure:
            self.failure = failure
            self.ready.set()
            return
        self.ready.set()
        while not self._is_stopped:
            try:
                self._serve()
            except BaseException:
                # Nothing is known to lead here. If something does, the others' connections live on.
                log.exception("a round of %s failed", self.name)
                time.sleep(0.01)
        self._end()

    @abstractmethod
    def _open(self) -> None:
        """Create what waiting needs."""

    @abstractmethod
    def _serve(self) -> None:
        """Wait for events and act on them, round after round, until stopped."""

    @abstractmethod
    def _drive(self, client: Client) -> None:
        """Let a client go as far as it can in one turn: send, read, and settle."""

    @abstractmethod
    def _discard(self, client: Client) -> None:
        """Give up a client whose connection is closed; again does nothing."""

    def _bury(self) -> None:
        """After a round: close what was given up in it."""

    def _close(self) -> None:
        """Give back what `_open` has created."""

    def _adopt(self, fd: int) -> None:
        """Make a client of a connection handed over."""
        counters = self.service.counters
        counters.accepted += 1
        sock = socket.SocketType(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, 0, fd)
        try:
            peer = sock.getpeername()
            if self._addresses is not None and not self._addresses.enter(peer):
                counters.error("address")
                refuse(sock)
                raise ConnectionRefusedError("this address has too many connections")
            client = self.client_type(sock, Connection(self.service, peer))
        except Exception as error:
            if not isinstance(
                error, OSError
            ):  # one means that the client is gone, or has too many connections
                log.exception("a connection could not be adopted")
            counters.closed += 1
            sock.close()
            return
        self._fd_highest = max(self._fd_highest, fd)
        self._clients[fd] = client
        try:
            if self._is_draining:
                client.connection.drain()
            self._drive(client)
        except Exception as error:
            self._fail(client, error)

    def _settle(self, client: Client) -> None:
        """Do what the connection wants besides reading and sending."""
        connection = client.connection
        job = connection.take_job()
        if job is not None:
            self._start(client, job)
        state = connection.state
        if state == CLOSED:
            self._discard(client)
            return
        if state == READY:
            self._again.append(client)
        elif state == LINGERING and not client.is_shut:
            self._shut(client)
        deadline = connection.deadline
        if state == IDLE:
            # The fast lanes set the deadline anew and do not schedule it: it is looked at in time for the soonest one.
            deadline = min(deadline, self.service.idle_deadline)
        self.timers.schedule(client.fd, deadline)

    def _start(self, client: Client, job: Job) -> None:
        if self._jobs.submit(job, partial(self.post, (client, job))):
            return
        if client.connection.state == CLOSED:
            job.run()  # it closes what nobody waits for: better here, where it may take time, than never
        else:
            job.error = HTTPError(503, "Too many requests are waiting.")
            self.post((client, job))

    def _shut(self, client: Client) -> None:
        """Tell the peer that all is said (FIN)."""
        client.is_shut = True
        try:
            client.shut(socket.SHUT_WR)
        except OSError:
            client.connection.abort()
            self._discard(client)

    def _count_sent(self, count: int) -> None:
        """Count bytes that the kernel has taken, but for those that the fast lane has counted before it did."""
        paid = min(count, self._debt)
        self._debt -= paid
        self.service.counters.bytes_out += count - paid

    def _forget(self, client: Client) -> None:
        """Strike a client off the tables, just before its descriptor is closed and its number can come again."""
        self._clients[client.fd] = None
        self.timers.forget(client.fd)
        self.service.counters.closed += 1
        if self._addresses is not None:
            self._addresses.leave(client.connection.peer)

    def _fail(self, client: Client | None, error: Exception) -> None:
        """A client's socket or connection failed: it is closed, and nobody else is touched."""
        if client is None:
            log.error("an event failed", exc_info=error)
            return
        if not isinstance(error, OSError):
            self.service.counters.error("connection")
            log.error("a connection failed and was closed", exc_info=error)
        elif error.errno == errno.ETIMEDOUT:
            self.service.count_timeout(SENDING)  # the kernel saw the stall first: see `listen` in server.py
        elif error.errno in PEER_ERRORS:
            self.service.counters.error("peer")
        else:
            self.service.counters.error("socket")
            log.warning("a socket failed and was closed: %s", error)
        client.connection.abort()
        self._settle(client)

    def _attend_rest(self) -> None:
        """After a round's events, attend to what is not one: messages, and clients that have had a turn already.

        Messages come last, since they may close a client of which the round still had an event.
        """
        if self._has_mail:
            self._has_mail = False
            self._attend_messages()
        again = self._again[:]
        self._again.clear()
        for client in again:
            if client.is_gone:
                continue
            try:
                if client.connection.state == READY:
                    client.connection.resume()
                self._drive(client)
            except Exception as error:
                self._fail(client, error)
        self._bury()

    def _tick(self, now: int, received: int, sent: int, spent: int, longest: int) -> int:
        """Close the books, four times a second, act on deadlines, and return memory.

        Args:
            now: monotonic nanoseconds.
            received, sent: bytes of the fast lane since the last tick.
            spent: nanoseconds of service, of all requests since the last tick.
            longest: nanoseconds of the longest round since the last tick.

        Returns:
            when the next tick is due.
        """
        counters = self.service.counters
        counters.bytes_in += received
        counters.bytes_out += sent
        counters.service_time.total += spent
        counters.loop_lag.observe(longest)
        self.heartbeat = now / 1e9
        if self.service.access is not None:
            self.service.access.turn(self.heartbeat)
        self._attend_time(self.heartbeat)
        return_pages()
        if self._is_draining and counters.accepted == counters.closed and self.heartbeat > self._quiet_since:
            self._is_stopped = True
        return now + TICK_NANOSECONDS

    def _attend_time(self, now: float) -> None:
        """Act on the deadlines that have passed."""
        for fd in self.timers.due(now):
            client = self._clients[fd]
            if client is None or client.is_gone:
                continue
            try:
                if self._is_late(client, now):
                    # Not left to an event: a read ends at urgent data, and not each backend hears of what is behind it.
                    self._again.append(client)
                    continue
                self._look_at(client)
                client.connection.expire(now)
                self._drive(client)
            except Exception as error:
                self._fail(client, error)
        self._bury()

    def _look_at(self, client: Client) -> None:
        """See for ourselves how a client is whose time has come, where events do not tell all; raises OSError."""

    def _is_late(self, client: Client, now: float) -> bool:
        """Whether an idle client's next request was in time, and this thread too busy to see it: it will next round."""
        connection = client.connection
        return connection.state == IDLE and connection.deadline <= now and client.has_unread()

    def _attend_messages(self) -> None:
        for message in self._mailbox.take():
            match message:
                case "drain":
                    self._drain()
                case "stop":
                    self._is_stopped = True
                case (Client() as client, Job() as job):
                    self._hand_back(client, job)
                case int(fd):
                    self._adopt(fd)

    def _hand_back(self, client: Client, job: Job) -> None:
        try:
            client.connection.complete(job)
            if client.is_gone:
                self._settle(client)
                return
            if job.since <= self.service.now:
                self.service.counters.service_time.observe(int((self.service.now - job.since) * 1e9))
            self._drive(client)
        except Exception as error:
            self._fail(client, error)

    def _drain(self) -> None:
        """Let clients finish: what they have sent is read and answered, and each answer is the connection's last."""
        self._is_draining = True
        self._quiet_since = time.monotonic() + TICK_SECONDS
        self.service.drain()
        for client in self._all_clients():
            try:
                self._drive(client)
                if not client.has_unread():
                    client.connection.drain()
                    self._drive(client)
            except Exception as error:
                self._fail(client, error)

    def _all_clients(self) -> list[Client]:
        clients = self._clients[: self._fd_highest + 1]
        return [client for client in clients if client is not None and not client.is_gone]

    def _end(self) -> None:
        """Cut off the clients that are left and give everything back."""
        for client in self._all_clients():
            client.connection.abort()
            self._discard(client)
        self._close()
        if self.service.access is not None:
            self.service.access.flush()
        self._mailbox.close()
