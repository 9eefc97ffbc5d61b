"""What every reactor does, however it waits for its sockets.

A reactor is a thread that owns everything it touches on a request: context, clients, timers. It creates all of that
inside the thread (docs/decisions/001). Other threads give it connections (`add_connection`) and messages (`post`).

A backend subclasses `Reactor` and provides `_open`, `_wait`, `_handle_events`, `_process_client`, `_discard`,
`_close_discarded`, `_look_once` and `_close`.
"""

import errno
import heapq
import logging
import socket
import threading
import time
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Any

from ...concurrency import Job, Mailbox, ThreadPool
from ...metrics import BUCKETS
from ...protocol import CLOSED, IDLE, LINGERING, NO_ADDRESS, QUIET, READY, REPLACED, Connection, Context, FileBody, Peer
from ...runtime import every_tick, in_thread, private_int
from ..timer_wheel import TICK_SECONDS, TimerWheel
from .client import Client, end
from .delivery import LOOK_SECONDS, UNWATCHED_BYTES_MAX, Delivery
from .options import ClientJob, Command, Connector, Message, NewConnection, ReactorOptions

log = logging.getLogger("mreactor")

# Before the address of an IPv4 client, where the socket accepts both families.
MAPPED = "::ffff:"
# A peer can cause these at any time. Every other error is worth a line in the log.
PEER_ERRORS = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN, errno.EHOSTUNREACH, errno.ENETUNREACH})

TICK_NANOSECONDS = int(TICK_SECONDS * 1e9)
# Bytes that a round sends off the fast path, before it holds clients back: docs/decisions/024.
SENT_A_ROUND_MAX = 8 << 20
# So many slow clients are looked at again, before one of them is reset.
SUSPECTS_MAX = 16
# Ticks that are further apart than this show that the reactor has stood still.
PAUSE_SECONDS = 4 * TICK_SECONDS


class Reactor[C: Client](threading.Thread, ABC):
    """One thread, one way of waiting, one table of clients.

    Args:
        index: the reactor's number, from 0.
        make_context: called inside the thread.
        pool: runs the connections' jobs.
        options: see `ReactorOptions`.

    Attributes:
        context: the context, once the reactor is ready.
        ready: set when the reactor serves, or has failed to start.
        failure: why it could not start.
        heartbeat: monotonic seconds of the last tick. The reactor writes it, the watchdog reads it.
        ring_fd: the ring to which another ring may post connections; -1 for none.
    """

    client_type: Callable[[socket.SocketType, Any], C]
    ring_fd = -1

    def __init__(
        self, index: int, make_context: Callable[[], Context], pool: ThreadPool, options: ReactorOptions
    ) -> None:
        super().__init__(name=f"reactor-{index}", daemon=True)
        self.index = index
        self.ready = threading.Event()
        self.failure: BaseException | None = None
        self.heartbeat = 0.0
        self._make_context = make_context
        self._pool = pool
        self._options = options
        self._mailbox: Mailbox[Message[C]] = Mailbox()
        self._is_draining = False
        self._closes_idle = False
        self._is_stopped = False
        # Bytes that the fast path has counted as sent before the kernel took them, so they are not counted again.
        self._bytes_counted_early = 0

    # For other threads.

    def add_connection(self, fd: int) -> None:
        """Take over an accepted connection, non-blocking. Called by the acceptor.

        Raises:
            OSError: it cannot be taken. The caller closes it.
        """
        self.post(NewConnection(fd))

    def post(self, message: Message[C]) -> None:
        """Leave a message. Safe to call from any thread."""
        self._mailbox.post(message)

    def count_in_flight(self) -> int:
        """Return how many connections have a request whose response is not complete. Safe to call from any thread.

        The reactor does nothing for it: it is for a reader who asks once a second or less often.
        """
        clients = self._clients[: self._fd_highest + 1]
        return sum(client is not None and client.connection.in_flight for client in clients)

    # Reactor thread only.

    def run(self) -> None:
        """Serve until stopped or drained."""
        try:
            self._start_up()
        except BaseException as failure:
            self.failure = failure
            return
        finally:
            self.ready.set()
        while not self._is_stopped:
            try:
                self._serve()
            except BaseException:
                # No known way leads here. If one does, the other clients' connections live on.
                log.exception("a round of %s failed", self.name)
                time.sleep(0.01)
        self._end()

    def _start_up(self) -> None:
        in_thread(batch=self._options.batch_scheduling)
        self.context = self._make_context()
        connector = (self._options.preface or _no_preface)(self.context)
        self._connect = connector.connect
        self._connect_plain = getattr(connector, "connect_plain", connector.connect)
        self._connect_redirected = getattr(connector, "connect_redirected", self._connect_plain)
        self.timers = TimerWheel(self.context.now, self._options.fds_max)
        # Clients by descriptor: docs/decisions/003.
        self._clients: list[C | None] = [None] * self._options.fds_max
        self._fd_highest = 0
        # Clients with work left that no event will announce.
        self._deferred_clients: list[C] = []
        # What may still be sent in this round. The last one may go past it.
        self._round_bytes_left = SENT_A_ROUND_MAX
        # Clients whose sockets are closed after the round.
        self._closing: list[C] = []
        self._has_messages = False
        # Messages or jobs have come up in this round.
        self._has_more_to_do = False
        # What the pool gets at the end of the round.
        self._new_jobs: list[ClientJob[C]] = []
        self._post_own = self.post
        # Earliest time at which a drain may end: by then every connection handed over before it has a client.
        self._drain_check_after = 0.0
        self._timeouts_handled_at = self.context.now
        # Clients with a watch over their delivery, by descriptor.
        self._watched: dict[int, C] = {}
        # An own object: docs/decisions/004.
        self._stall_seconds = self._options.limits.write_stall_seconds * 1.0
        self._unsent_max = self._options.limits.unsent_bytes_max // self._options.reactors
        self._bounds = [private_int(bound) for bound in BUCKETS]
        self._open()
        self.heartbeat = time.monotonic()

    def _serve(self) -> None:
        """Run rounds until stopped: wait, handle events, run what was deferred, keep the books."""
        # Locals, since attributes cost more: docs/decisions/009.
        context, deferred, closing = self.context, self._deferred_clients, self._closing
        wait, handle_events, clock = self._wait, self._handle_events, time.monotonic_ns
        counts, bounds = context.counters.service_time.counts, self._bounds
        next_second = context.next_second
        next_tick = received = sent = spent = longest = 0
        while not self._is_stopped:
            events = wait()
            begun = clock()
            now = begun / 1e9
            if now >= next_second:
                next_second = context.begin_second(now)
            bytes_in, bytes_out, responses = handle_events(events, context.begin_round(now))
            if deferred or closing or self._has_more_to_do:
                self._run_deferred()
            ended = clock()
            took = ended - begun
            if took > longest:
                longest = took
            if context.slow_path_responses:
                responses += context.slow_path_responses
                context.slow_path_responses = 0
            received += bytes_in
            sent += bytes_out
            if responses:
                # Every response is sent or queued by now: see docs/decisions/020.
                counts[bisect_left(bounds, took)] += responses
                spent += took * responses
            if ended >= next_tick:
                next_tick = self._tick(ended, received, sent, spent, longest)
                received = sent = spent = longest = 0

    @abstractmethod
    def _open(self) -> None:
        """Create what waiting needs."""

    @abstractmethod
    def _wait(self) -> Iterable[tuple[int, ...]]:
        """Wait for events, a tick at most; not at all while clients are deferred."""

    @abstractmethod
    def _handle_events(self, events: Any, idle_deadline: float) -> tuple[int, int, int]:
        """Act on a round's events.

        Returns:
            bytes received and sent for responses computed on the fast path (cached ones are counted by the context),
            and how many reads led to a response there, of either kind.
        """

    @abstractmethod
    def _process_client(self, client: C) -> None:
        """Let a client go as far as it can in one turn: send, read, then `_apply_state`."""

    @abstractmethod
    def _discard(self, client: C) -> None:
        """Give up a client whose connection is closed. Idempotent."""

    @abstractmethod
    def _close_discarded(self) -> None:
        """Close the sockets of clients that were given up. Called after a round's events."""

    @abstractmethod
    def _look_once(self) -> bool:
        """Handle the events that are there, without waiting. Return whether there may be more."""

    @abstractmethod
    def _close(self) -> None:
        """Give back what `_open` has created."""

    def _open_client(self, fd: int) -> None:
        """Make a client of an accepted connection and give it its first turn."""
        self.context.counters.accepted += 1
        sock: socket.SocketType | None = None
        try:
            # `getpeername` and `getsockname` size their buffers by this family, the one with the longest addresses.
            sock = socket.SocketType(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, 0, fd)
            client = self._make_client(sock)
        except Exception as error:
            # An OSError means that the client is gone or over its limit.
            if not isinstance(error, OSError):
                log.exception("a connection could not be opened")
            self.context.counters.closed += 1
            if isinstance(error, ConnectionRefusedError) and sock is not None:
                # Not shut: the client may linger.
                self._forget_socket(sock)
                sock.close()
            elif sock is not None:
                self._close_socket(sock)
            return
        self._fd_highest = max(self._fd_highest, fd)
        self._clients[fd] = client
        try:
            if self._closes_idle:
                client.connection.drain()
            self._process_client(client)
        except Exception as error:
            self._fail(client, error)

    def _close_socket(self, sock: socket.SocketType, *, resets: bool = False) -> None:
        """Close a socket. The peer sees the end even if a forked process holds a copy of the descriptor."""
        self._forget_socket(sock)
        try:
            end(sock, resets=resets)
        except OSError:
            pass  # the peer was faster
        sock.close()

    def _forget_socket(self, sock: socket.SocketType) -> None:
        """Stop waiting for a socket that is about to be closed. Rings need not."""

    def _make_client(self, sock: socket.SocketType) -> C:
        peer = sock.getpeername()
        if type(peer) is not tuple:
            # A unix socket's path, which is empty for nearly every client.
            peer = NO_ADDRESS
        elif peer[0].startswith(MAPPED):
            peer = peer[0].removeprefix(MAPPED), peer[1]
        self._admit(sock, peer)
        try:
            connect, is_plain = self._connect, self._options.is_plain
            if is_plain is not None and is_plain(sock):
                connect = self._connect_plain if peer is NO_ADDRESS else self._connect_redirected
            return self.client_type(sock, connect(peer))
        except BaseException:
            self._release(peer)
            raise

    def _admit(self, sock: socket.SocketType, peer: Peer) -> None:
        """Count a client's address; refuse the client and raise ConnectionRefusedError past the limit."""
        limit = self._options.connection_limit
        if limit is not None and not limit.acquire(peer):
            self.context.counters.error("address")
            self._options.refusals.refuse(sock)
            raise ConnectionRefusedError("this address has too many connections")

    def _release(self, peer: Peer) -> None:
        if self._options.connection_limit is not None:
            self._options.connection_limit.release(peer)

    def _apply_state(self, client: C) -> None:
        """Do what the connection asks for besides reading and sending."""
        connection = client.connection
        job = connection.next_job()
        if job is not None:
            self._new_jobs.append(ClientJob(client, job, self._post_own))
            self._has_more_to_do = True
        state = connection.state
        if state == CLOSED:
            if client.delivery is not None:
                self._count_unsent(client.delivery, 0)
            self._discard(client)
            return
        if state == READY:
            self._defer(client)
        elif state == LINGERING and not client.write_closed:
            self._close_write_side(client)
        elif state == REPLACED:
            self._replace_connection(client, connection)
            return
        deadline = connection.deadline
        if state in (IDLE, QUIET):
            # The fast path moves the deadline without scheduling it. Look at the client in time for the soonest one,
            # and at what the kernel holds of a response that it took whole.
            deadline = min(deadline, self.context.idle_deadline, self.context.now + self._stall_seconds)
        self.timers.schedule(client.fd, deadline)
        if client.delivery is not None:
            self._keep_watch(client, client.delivery)

    def _replace_connection(self, client: C, connection: Any) -> None:
        """Put another connection in the place of one that has done its part. Its address counts from now on."""
        successor: Connection = connection.successor
        limit = self._options.connection_limit
        if limit is not None and not limit.acquire(successor.peer):
            self.context.counters.error("address")
            connection.abort()
            client.refuse(self._options.refusals)
            self._discard(client)
            return
        client.replace_connection(successor)
        if self._closes_idle:
            successor.drain()
        if rest := connection.take_rest():
            self._queue_response(client, successor.receive_data(rest))
        self._process_client(client)

    def _queue_response(self, client: C, response: bytes | None) -> None:
        """Queue what `receive_data` has returned: a whole response, if any."""
        if response is not None:
            self.context.slow_path_responses += 1
            client.connection.queue_remainder(response, 0)

    def _send_response(self, client: C, response: bytes) -> bool:
        """Queue a whole response that came back with its job. A backend may send it at once.

        Return whether nothing is left to do for the client.
        """
        client.connection.queue_remainder(response, 0)
        return False

    def _submit_jobs(self) -> None:
        """Give the round's jobs to the pool, all at once."""
        jobs, self._new_jobs = self._new_jobs, []
        for refused in self._pool.submit_all(jobs):
            client, job = refused.client, refused.job
            if client.connection.state == CLOSED:
                # It closes what a client has left behind. Here it may take time; dropped, it would never be closed.
                job.run()
            else:
                client.connection.reject_job(job)
                self.post(refused)

    def _close_write_side(self, client: C) -> None:
        """Tell the peer that everything is sent (FIN)."""
        client.write_closed = True
        try:
            client.shut(socket.SHUT_WR)
        except OSError:
            client.connection.abort()
            self._discard(client)

    def _count_sent(self, client: C, count: int) -> None:
        """Count bytes that the kernel has taken, except those that the fast path counted before."""
        if client.delivery is not None:
            client.delivery.sent += count
        counted = min(count, self._bytes_counted_early)
        self._bytes_counted_early -= counted
        self.context.counters.bytes_out += count - counted

    def _remove_client(self, client: C) -> None:
        """Take a client off the tables, just before its descriptor is closed and the number can come again."""
        self._clients[client.fd] = None
        self.timers.forget(client.fd)
        if client.delivery is not None:
            self._unwatch(client, client.delivery)
        self.context.counters.closed += 1
        self._release(client.connection.peer)

    def _fail(self, client: C | None, error: Exception) -> None:
        """Close a client whose socket or connection failed. Other clients are not affected."""
        if client is None:
            log.error("an event failed", exc_info=error)
            return
        counters = self.context.counters
        if not isinstance(error, OSError):
            counters.error("connection")
            log.error("a connection failed and was closed", exc_info=error)
        elif error.errno == errno.ETIMEDOUT:
            # `_look_at_delivery` has seen it, or the kernel has found the peer dead.
            self.context.count_write_timeout()
            client.is_given_up = True
        elif error.errno in PEER_ERRORS:
            counters.error("peer")
        else:
            counters.error("socket")
            log.warning("a socket failed and was closed: %s", error)
        client.connection.abort()
        self._apply_state(client)

    def _run_deferred(self) -> None:
        """After a round's events: handle messages, give deferred clients their turn, close discarded sockets.

        Messages come after the events, since a message may close a client that still had an event in the round.
        """
        if self._has_messages:
            self._has_messages = False
            self._handle_messages()
        deferred = self._deferred_clients[:]
        self._deferred_clients.clear()
        # As much again as for those that had an event: otherwise these could always be too late.
        self._round_bytes_left = SENT_A_ROUND_MAX
        for client in deferred:
            if client.held_back and self._round_bytes_left <= 0:
                self._deferred_clients.append(client)
                continue
            client.deferred = client.held_back = False
            if client.closing:
                continue
            try:
                if client.connection.state == READY:
                    client.connection.resume()
                self._process_client(client)
            except Exception as error:
                self._fail(client, error)
        self._round_bytes_left = SENT_A_ROUND_MAX
        self._has_more_to_do = False
        if self._new_jobs:
            self._submit_jobs()
        self._close_discarded()

    def _defer(self, client: C) -> None:
        """Give a client a turn in the next round. Once a round, however many events it has."""
        if not client.deferred:
            client.deferred = True
            self._deferred_clients.append(client)

    def _hold_back(self, client: C, output: bytes | memoryview | FileBody) -> bool:
        """Let a client send in a later round, since this one has sent its share. Return False if it has to send now.

        That is so for what is in memory and not watched yet, since nothing else bounds how much there is of it.
        """
        if client.delivery is None and not isinstance(output, FileBody):
            return False
        client.held_back = True
        self._defer(client)
        return True

    def _tick(self, now: int, received: int, sent: int, spent: int, longest: int) -> int:
        """Four times a second: keep the books, act on deadlines, return memory, and end a drain that is complete.

        Args:
            now: monotonic nanoseconds.
            received, sent: bytes of the fast path since the last tick.
            spent: nanoseconds of service, summed over all requests since the last tick.
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
        self.context.tick(self.heartbeat)
        self._handle_timeouts(self.heartbeat)
        every_tick()
        if self._is_draining and counters.accepted == counters.closed and self.heartbeat > self._drain_check_after:
            self._is_stopped = True
        return now + TICK_NANOSECONDS

    def _handle_timeouts(self, now: float) -> None:
        """Act on the deadlines that have passed.

        If this thread or the whole process has stood still (a long handler, a frozen container), requests that were in
        time lie in the kernel: take them in before judging.
        """
        if now - self._timeouts_handled_at > PAUSE_SECONDS:
            self._catch_up(now)
        self._timeouts_handled_at = now
        for fd in self.timers.due(now):
            client = self._clients[fd]
            if client is None:
                continue
            try:
                self._handle_timeout(client, now)
            except Exception as error:
                self._fail(client, error)
        if self._new_jobs:
            self._submit_jobs()
        self._close_discarded()

    def _handle_timeout(self, client: C, now: float) -> None:
        if client.closing:
            if client.delivery is not None:
                self._look_at_closed(client, client.delivery, now)
            return
        if self._has_unread_in_time(client, now):
            # Do not wait for an event: a read stops at urgent data, and not every backend reports what follows.
            self._defer(client)
            return
        self._check_socket_error(client)
        self._look_at_delivery(client, now)
        client.connection.handle_timeout(now)
        self._process_client(client)

    def _catch_up(self, now: float) -> None:
        """Handle the events that are there; a second at most, since busy clients make new ones."""
        self.context.begin_round(now)
        while self._look_once() and time.monotonic() < now + PAUSE_SECONDS:
            pass
        # io_uring passes on at a round's end what has come for clients that are not idle.
        self._run_deferred()

    def _count(self, received: int, sent: int, responses: int) -> None:
        """Keep the books of events that were handled outside of a round."""
        self.context.counters.bytes_in += received
        self.context.counters.bytes_out += sent
        self.context.slow_path_responses += responses

    def _check_socket_error(self, client: C) -> None:
        """Raise the socket's error (OSError) on backends whose events do not report every one."""

    def _has_unread_in_time(self, client: C, now: float) -> bool:
        """Return whether an idle client's next bytes are in the kernel, where this thread was too busy to read them."""
        connection = client.connection
        return connection.state in (IDLE, QUIET) and connection.deadline <= now and client.has_unread()

    def _handle_messages(self) -> None:
        for message in self._mailbox.take():
            match message:
                case ClientJob():
                    self._return_job(message.client, message.job)
                case Command.HAND_OVER:
                    self._begin_draining()
                case Command.DRAIN:
                    self._drain()
                case Command.STOP:
                    self._is_stopped = True
                case NewConnection(fd):
                    self._open_client(fd)

    def _return_job(self, client: C, job: Job) -> None:
        try:
            response = client.connection.job_done(job)
            if client.closing:
                self._apply_state(client)
                return
            if job.since <= self.context.now:
                self.context.counters.service_time.observe(int((self.context.now - job.since) * 1e9))
            if response is None or not self._send_response(client, response):
                self._process_client(client)
        except Exception as error:
            self._fail(client, error)

    def _begin_draining(self) -> None:
        """Make each response the last of its connection, and end when no client is left."""
        self._is_draining = True
        self._drain_check_after = time.monotonic() + TICK_SECONDS
        self.context.drain()
        self._close_watched()

    def _drain(self) -> None:
        """Let clients finish: what they have sent is read and answered, and each response is the connection's last."""
        self._begin_draining()
        self._closes_idle = True
        for client in self._all_clients():
            try:
                self._process_client(client)
                if not client.has_unread():
                    client.connection.drain()
                    self._process_client(client)
            except Exception as error:
                self._fail(client, error)

    # Slow peers: docs/decisions/060.

    def _watch(self, client: C) -> None:
        """Begin to look once a second at what a peer acknowledges. Idempotent."""
        if client.delivery is None:
            client.begin_delivery(self.context.now)
            self._watched[client.fd] = client

    def _unwatch(self, client: C, delivery: Delivery) -> None:
        self._count_unsent(delivery, 0)
        client.delivery = None
        del self._watched[client.fd]

    def _keep_watch(self, client: C, delivery: Delivery) -> None:
        """Count the memory that a watched client keeps, and schedule the next look."""
        self._count_unsent(delivery, client.unsent_memory())
        self.timers.schedule(client.fd, self.context.now + LOOK_SECONDS)
        while self.context.counters.unsent > self._unsent_max and self._give_up_slowest():
            pass

    def _count_unsent(self, delivery: Delivery, held: int) -> None:
        self.context.counters.unsent += held - delivery.held
        delivery.held = held

    def _give_up_slowest(self) -> bool:
        """Of the clients that hold memory, reset the one without progress for the longest time.

        Return False if there is only one.
        """
        holders = [
            (one.delivery.progressed_at, -one.delivery.held, fd)
            for fd, one in self._watched.items()
            if one.delivery is not None and one.delivery.held
        ]
        if len(holders) < 2:
            return False
        slowest = self._find_slowest([self._watched[fd] for _, _, fd in heapq.nsmallest(SUSPECTS_MAX, holders)])
        self.context.counters.error("unsent")
        log.warning("the responses of slow clients exceed --unsent-bytes-max; the slowest client is reset")
        slowest.is_given_up = True
        slowest.connection.abort()
        self._apply_state(slowest)
        return True

    def _find_slowest(self, suspects: list[C]) -> C:
        """Return the first client that has acknowledged nothing since the last look: that was up to a second ago."""
        now = self.context.now
        for client in suspects:
            delivery = client.delivery
            assert delivery is not None, "it is watched"
            before = delivery.progressed_at
            try:
                client.note_delivery(delivery, now, client.unacknowledged())
            except OSError:
                return client
            if delivery.progressed_at == before:
                return client
        return suspects[0]

    def _look_at_delivery(self, client: C, now: float) -> None:
        """Compare what a peer has acknowledged with the limits.

        Raises:
            TimeoutError: it is too slow.
        """
        queued, delivery = client.unacknowledged(), client.delivery
        if delivery is None:
            if queued > UNWATCHED_BYTES_MAX or client.is_sending:
                self._watch(client)
        elif queued:
            client.note_delivery(delivery, now, queued)
            if now >= delivery.deadline(self._options.limits):
                raise TimeoutError(errno.ETIMEDOUT, "the peer acknowledges too little")
        else:
            # If the output still waits, it begins to stand still now.
            self._unwatch(client, delivery)

    def _is_owed(self, client: C) -> bool:
        """Return whether a closed client's socket must stay open for now, and schedule the next look at it then.

        The kernel would keep sending to a slow peer as long as that takes a byte now and then, and nothing would count
        it. At the end of the process it has to.
        """
        if client.delivery is None or client.resets or self._is_draining or self._is_stopped:
            return False
        try:
            if not client.unacknowledged():
                return False
            if not client.write_closed:
                client.write_closed = True
                client.shut(socket.SHUT_WR)
        except OSError:
            return False
        self.timers.schedule(client.fd, self.context.now + LOOK_SECONDS)
        return True

    def _look_at_closed(self, client: C, delivery: Delivery, now: float) -> None:
        """Look at a client whose socket is open only for what the kernel still holds."""
        client.note_delivery(delivery, now, client.unacknowledged())
        if now >= delivery.deadline(self._options.limits):
            self.context.count_write_timeout()
            client.is_given_up = True
        elif client.take_error():
            client.is_given_up = True
        self._closing.append(client)

    def _close_watched(self) -> None:
        """Close the clients whose sockets are open only for what the kernel still holds."""
        self._closing += [client for client in self._watched.values() if client.closing]

    def _all_clients(self) -> list[C]:
        clients = self._clients[: self._fd_highest + 1]
        return [client for client in clients if client is not None and not client.closing]

    def _end(self) -> None:
        """Cut off the clients that are left and give everything back."""
        for client in self._all_clients():
            client.connection.abort()
            # Streams are closed, too.
            self._apply_state(client)
        self._submit_jobs()
        self._close_watched()
        self._close()
        self.context.close()
        self._mailbox.close()


def _no_preface(context: Context) -> Connector:
    return context
