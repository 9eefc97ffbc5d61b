"""What every reactor does, whichever way it waits for its sockets.

A reactor is a thread that owns everything it touches on a request: its context, its clients, its timers. All of it is
created inside the thread. From outside come connections (`add_connection`) and messages (`post`), nothing else.
"""

import errno
import logging
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

from ...concurrency import ConnectionLimit, Job, Mailbox, ThreadPool
from ...http import HTTPError
from ...http1 import CLOSED, IDLE, LINGERING, READY, SENDING, Connection, ReactorContext
from ...metrics import BUCKETS
from ...runtime import private_int, release_empty_pages, use_batch_scheduling
from ..timer_wheel import TICK_SECONDS, TimerWheel
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
NEW_CONNECTION = 1 << 34

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
        make_context: called inside the thread.
        jobs: where blocking handlers run.
        fds_max: no file descriptor handed over is as large as this.
        family: the address family of the connections.
        connection_limit: counts the connections of each client address; None: they are not bounded.
        batch_scheduling: it does not interrupt other threads when it wakes: there are more of its kind than cores.
    """

    client_type: Callable[[socket.SocketType, Connection], Client]
    ring_fd = -1  # where another ring may post connections, see `NEW_CONNECTION`

    def __init__(
        self,
        index: int,
        make_context: Callable[[], ReactorContext],
        jobs: ThreadPool,
        fds_max: int,
        family: int,
        connection_limit: ConnectionLimit | None = None,
        batch_scheduling: bool = False,
    ) -> None:
        super().__init__(name=f"reactor-{index}", daemon=True)
        self.index = index
        self.ready = threading.Event()
        self.failure: BaseException | None = None
        self.heartbeat = 0.0  # monotonic seconds of the last tick; written here, read by the watchdog
        self._make_context = make_context
        self._jobs = jobs
        self._fds_max = fds_max
        self._family = family
        self._connection_limit = connection_limit
        self._batch_scheduling = batch_scheduling
        self._mailbox: Mailbox[Message] = Mailbox()
        self._is_draining = False
        self._is_stopped = False
        self._bytes_counted_early = (
            0  # bytes counted as sent of which the kernel then took none; counted again when it does
        )

    # For other threads.

    def add_connection(self, fd: int) -> None:
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
            if self._batch_scheduling:
                use_batch_scheduling()
            self.context = self._make_context()
            self.timers = TimerWheel(self.context.now, self._fds_max)
            self._clients: list[Client | None] = [None] * self._fds_max
            self._fd_highest = 0
            self._deferred_clients: list[
                Client
            ] = []  # there is more to do for them, and no event will say so
            self._has_messages = False
            self._drain_check_after = (
                0.0  # when draining has begun and what was handed over before is adopted
            )
            # Copies of its own, as of everything: see `sharing`.
            self._bounds = [private_int(bound) for bound in BUCKETS]
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
    def _process_client(self, client: Client) -> None:
        """Let a client go as far as it can in one turn: send, read, and separate_hot_classes."""

    @abstractmethod
    def _discard(self, client: Client) -> None:
        """Give up a client whose connection is closed; again does nothing."""

    def _close_discarded(self) -> None:
        """After a round: close what was given up in it."""

    def _close(self) -> None:
        """Give back what `_open` has created."""

    def _open_client(self, fd: int) -> None:
        """Make a client of a connection handed over."""
        counters = self.context.counters
        counters.accepted += 1
        sock = socket.SocketType(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, 0, fd)
        try:
            peer = sock.getpeername()
            if self._connection_limit is not None and not self._connection_limit.acquire(peer):
                counters.error("address")
                refuse(sock)
                raise ConnectionRefusedError("this address has too many connections")
            client = self.client_type(sock, Connection(self.context, peer))
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
            self._process_client(client)
        except Exception as error:
            self._fail(client, error)

    def _apply_state(self, client: Client) -> None:
        """Do what the connection wants besides reading and sending."""
        connection = client.connection
        job = connection.next_job()
        if job is not None:
            self._submit_job(client, job)
        state = connection.state
        if state == CLOSED:
            self._discard(client)
            return
        if state == READY:
            self._deferred_clients.append(client)
        elif state == LINGERING and not client.write_closed:
            self._shut(client)
        deadline = connection.deadline
        if state == IDLE:
            # The fast lanes set the deadline anew and do not schedule it: it is looked at in time for the soonest one.
            deadline = min(deadline, self.context.idle_deadline)
        self.timers.schedule(client.fd, deadline)

    def _submit_job(self, client: Client, job: Job) -> None:
        if self._jobs.submit(job, partial(self.post, (client, job))):
            return
        if client.connection.state == CLOSED:
            job.run()  # it closes what nobody waits for: better here, where it may take time, than never
        else:
            job.error = HTTPError(503, "Too many requests are waiting.")
            self.post((client, job))

    def _shut(self, client: Client) -> None:
        """Tell the peer that all is said (FIN)."""
        client.write_closed = True
        try:
            client.shut(socket.SHUT_WR)
        except OSError:
            client.connection.abort()
            self._discard(client)

    def _count_sent(self, count: int) -> None:
        """Count bytes that the kernel has taken, but for those that the fast lane has counted before it did."""
        paid = min(count, self._bytes_counted_early)
        self._bytes_counted_early -= paid
        self.context.counters.bytes_out += count - paid

    def _remove_client(self, client: Client) -> None:
        """Strike a client off the tables, just before its descriptor is closed and its number can come again."""
        self._clients[client.fd] = None
        self.timers.forget(client.fd)
        self.context.counters.closed += 1
        if self._connection_limit is not None:
            self._connection_limit.release(client.connection.peer)

    def _fail(self, client: Client | None, error: Exception) -> None:
        """A client's socket or connection failed: it is closed, and nobody else is touched."""
        if client is None:
            log.error("an event failed", exc_info=error)
            return
        if not isinstance(error, OSError):
            self.context.counters.error("connection")
            log.error("a connection failed and was closed", exc_info=error)
        elif error.errno == errno.ETIMEDOUT:
            self.context.count_timeout(SENDING)  # the kernel saw the stall first: see `listen` in server.py
        elif error.errno in PEER_ERRORS:
            self.context.counters.error("peer")
        else:
            self.context.counters.error("socket")
            log.warning("a socket failed and was closed: %s", error)
        client.connection.abort()
        self._apply_state(client)

    def _run_deferred(self) -> None:
        """After a round's events, attend to what is not one: messages, and clients that have had a turn already.

        Messages come last, since they may close a client of which the round still had an event.
        """
        if self._has_messages:
            self._has_messages = False
            self._handle_messages()
        again = self._deferred_clients[:]
        self._deferred_clients.clear()
        for client in again:
            if client.closing:
                continue
            try:
                if client.connection.state == READY:
                    client.connection.resume()
                self._process_client(client)
            except Exception as error:
                self._fail(client, error)
        self._close_discarded()

    def _tick(self, now: int, received: int, sent: int, spent: int, longest: int) -> int:
        """Close the books, four times a second, act on deadlines, and return memory.

        Args:
            now: monotonic nanoseconds.
            received, sent: bytes of the fast lane since the last tick.
            spent: nanoseconds of context, of all requests since the last tick.
            longest: nanoseconds of the longest round since the last tick.

        Returns:
            when the next tick is due.
        """
        counters = self.context.counters
        counters.bytes_in += received
        counters.bytes_out += sent
        counters.service_time.total += spent
        counters.loop_lag.observe(longest)
        self.heartbeat = now / 1e9
        if self.context.access is not None:
            self.context.access.turn(self.heartbeat)
        self._handle_timeouts(self.heartbeat)
        release_empty_pages()
        if (
            self._is_draining
            and counters.accepted == counters.closed
            and self.heartbeat > self._drain_check_after
        ):
            self._is_stopped = True
        return now + TICK_NANOSECONDS

    def _handle_timeouts(self, now: float) -> None:
        """Act on the deadlines that have passed."""
        for fd in self.timers.due(now):
            client = self._clients[fd]
            if client is None or client.closing:
                continue
            try:
                if self._has_timely_request(client, now):
                    # Not left to an event: a read ends at urgent data, and not each backend hears of what is behind it.
                    self._deferred_clients.append(client)
                    continue
                self._check_socket_error(client)
                client.connection.handle_timeout(now)
                self._process_client(client)
            except Exception as error:
                self._fail(client, error)
        self._close_discarded()

    def _check_socket_error(self, client: Client) -> None:
        """See for ourselves how a client is whose time has come, where events do not tell all; raises OSError."""

    def _has_timely_request(self, client: Client, now: float) -> bool:
        """Whether an idle client's next request was in time, and this thread too busy to see it: it will next round."""
        connection = client.connection
        return connection.state == IDLE and connection.deadline <= now and client.has_unread()

    def _handle_messages(self) -> None:
        for message in self._mailbox.take():
            match message:
                case "drain":
                    self._drain()
                case "stop":
                    self._is_stopped = True
                case (Client() as client, Job() as job):
                    self._return_job(client, job)
                case int(fd):
                    self._open_client(fd)

    def _return_job(self, client: Client, job: Job) -> None:
        try:
            client.connection.job_done(job)
            if client.closing:
                self._apply_state(client)
                return
            if job.since <= self.context.now:
                self.context.counters.service_time.observe(int((self.context.now - job.since) * 1e9))
            self._process_client(client)
        except Exception as error:
            self._fail(client, error)

    def _drain(self) -> None:
        """Let clients finish: what they have sent is read and answered, and each answer is the connection's last."""
        self._is_draining = True
        self._drain_check_after = time.monotonic() + TICK_SECONDS
        self.context.drain()
        for client in self._all_clients():
            try:
                self._process_client(client)
                if not client.has_unread():
                    client.connection.drain()
                    self._process_client(client)
            except Exception as error:
                self._fail(client, error)

    def _all_clients(self) -> list[Client]:
        clients = self._clients[: self._fd_highest + 1]
        return [client for client in clients if client is not None and not client.closing]

    def _end(self) -> None:
        """Cut off the clients that are left and give everything back."""
        for client in self._all_clients():
            client.connection.abort()
            self._discard(client)
        self._close()
        if self.context.access is not None:
            self.context.access.flush()
        self._mailbox.close()
