"""The reactor that waits with epoll.

Each socket is registered once for its life, edge-triggered, by the acceptor; no `epoll_ctl` is made after that. A read
that came back short has emptied the socket, so the next bytes are a new edge. In CPU a request that reached 0.92x the
efficiency of a loop in C, where level-triggered registration reached 0.84x.

Sockets are closed at the end of a round, after its events: a number that is closed may be another connection's at once,
and an event that was fetched before would reach the wrong one.
"""

import errno
import os
import select
import socket
import time
from bisect import bisect_left
from collections.abc import Callable

from ...http1 import BODY_METHODS_AFTER, END_OF_HEAD, IDLE, Connection
from ...protocol import FileBody
from ...runtime import hot, private_bytes, private_int
from ..timer_wheel import TICK_SECONDS
from .base import Reactor
from .client import Client, EpollClient

READ_BYTES = 16 * 1024  # more did not pay: the buffer is allocated for each read
STEPS_A_TURN_MAX = 16  # reads and sends for one client; then the others have their turn
SENDFILE_BYTES_MAX = 1024 * 1024
EVENTS_MAX = 256

# EPOLLOUT, which a fresh socket reports at once: so a reactor meets each client, even one that never sends a byte.
ARMED = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLPRI | select.EPOLLET
# What is reported when bytes have come and nothing else is the matter.
READABLE = select.EPOLLIN | select.EPOLLOUT
# What is reported when a read that came back short may not have been the last: its end or a failure follows it, or it
# has stopped before urgent data.
MORE_TO_READ = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR | select.EPOLLPRI

type FastPathClient = tuple[Callable[[int], bytes], Callable[..., int], Connection]


@hot(
    "_serve",
    "_open_client",
    "_process_client",
    "_count_sent",
    "_apply_state",
    "_handle_event",
    "_discard",
    "_close_discarded",
    "_remove_client",
    "_tick",
    "_handle_timeouts",
    "_handle_events",
    "_read",
    "_flush",
)
class EpollReactor(Reactor):
    """A reactor on epoll."""

    client_type = EpollClient
    _clients: list[EpollClient | None]  # type: ignore[assignment]

    def add_connection(self, fd: int) -> None:
        """Register a connection with this reactor's epoll: no queue, no wake-up, one number crosses."""
        self._epoll.register(fd, ARMED)

    def _open(self) -> None:
        self._epoll = select.epoll()
        self._epoll.register(self._mailbox.fileno(), select.EPOLLIN)
        # The clients whose connections are idle: their next event may take the fast lane.
        self._fast_path_clients: list[FastPathClient | None] = [None] * self._fds_max
        self._closing: list[EpollClient] = []
        context, cache = self.context, self.context.cache
        # What each round's events take: an attribute costs 0.04 µs.
        self._round_locals = (
            self._fast_path_clients, cache.responses.get, cache.routes.get, cache.body_routes.get, context.note, READABLE,
            private_int(READ_BYTES), private_bytes(END_OF_HEAD),
        )  # fmt: skip

    def _serve(self) -> None:
        # All that a round needs lies in local variables. An attribute costs 40 ns, and where two of them share a place
        # in the interpreter's type cache each mention takes a lock that all threads share.
        context, again, dead = self.context, self._deferred_clients, self._closing
        poll, clock, events_max = self._epoll.poll, time.monotonic_ns, private_int(EVENTS_MAX)
        attend = self._handle_events
        counts, bounds = context.counters.service_time.counts, self._bounds
        next_second = context.next_second
        next_tick = received = sent = spent = longest = 0
        while not self._is_stopped:
            events = poll(0 if again else TICK_SECONDS, events_max)
            begun = clock()
            now = begun / 1e9
            if now >= next_second:
                next_second = context.begin_second(now)
            bytes_in, bytes_out, answered = attend(events, context.begin_round(now))
            if again or dead or self._has_messages:
                self._run_deferred()
            ended = clock()
            took = ended - begun
            if took > longest:
                longest = took
            if context.slow_path_responses:
                answered += context.slow_path_responses
                context.slow_path_responses = 0
            received += bytes_in
            sent += bytes_out
            if answered:
                # Each answer left at the latest now: an upper bound of its context time, by one reading of the clock.
                counts[bisect_left(bounds, took)] += answered
                spent += took * answered
            if ended >= next_tick:
                next_tick = self._tick(ended, received, sent, spent, longest)
                received = sent = spent = longest = 0

    def _handle_events(self, events: list[tuple[int, int]], idle_deadline: float) -> tuple[int, int, int]:
        """Act on a round's events.

        Returns:
            bytes received and sent for answers computed in the fast lane (the reply cache counts its own), and how
            many reads have led to an answer there, of either kind.
        """
        quick, find_response, find_route, find_body_route, note, readable, read_bytes, end_of_head = (
            self._round_locals
        )
        uploads, size_of = BODY_METHODS_AFTER, len
        received = sent = answered = 0
        for fd, mask in events:
            fast_path = quick[fd]
            if mask != readable or fast_path is None:
                self._handle_event(fd, mask)
                continue
            recv, send, connection = fast_path
            try:
                data = recv(read_bytes)
                # `Connection.receive_data` written out: 0.3 µs saved. What is known is shorter than a read: nothing is left.
                upload = (
                    find_body_route(data[: (end := data.find(end_of_head) + 4)]) if data > uploads else None
                )
                reply = find_response(data) if upload is None else None
                if reply is not None:
                    answer, size, hits, noted = reply
                    hits[0] += 1
                    connection.deadline = idle_deadline
                    if noted is not None:
                        note(connection.peer, *noted)
                    is_full = False
                else:
                    size = size_of(data)
                    received += size
                    is_full = size >= read_bytes
                    if upload is not None and upload[1] == size:
                        computed = connection.call_cached_route(upload[0], data[end:])
                    else:
                        call = find_route(data)
                        computed = (
                            connection.receive_uncached(data)
                            if call is None
                            else connection.call_cached_route(call, b"")
                        )
                    if computed is None:
                        self._process_client_at(fd)
                        continue
                    answer = computed
                    size = size_of(answer)
                    sent += size
                answered += 1
                try:
                    count = send(answer)
                except BlockingIOError:
                    count = 0
                if count != size:
                    self._bytes_counted_early += size - count
                    connection.queue_remainder(answer, count)
                    self._process_client_at(fd)
                elif is_full:
                    self._process_client_at(fd)
            except BlockingIOError:
                continue  # the bytes announced were read already, on another occasion in this round
            except Exception as error:
                self._fail(self._clients[fd], error)
        return received, sent, answered

    def _handle_event(self, fd: int, mask: int) -> None:
        """The slower lane of events: a new client, one that owes or has owed an answer, one that is leaving."""
        is_new = self._clients[fd] is None
        if is_new and fd == self._mailbox.fileno():
            self._has_messages = True
            return
        if is_new:
            self._open_client(fd)
        client = self._clients[fd]
        if client is None or (is_new and not mask & MORE_TO_READ):
            return
        try:
            if mask & MORE_TO_READ:
                client.drain_reads = True
            if mask & select.EPOLLERR:
                number = client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or errno.ECONNRESET
                raise OSError(number, os.strerror(number))
            if mask & select.EPOLLHUP and not client.connection.wants_read:
                client.connection.abort()
            self._process_client(client)
        except Exception as error:
            self._fail(client, error)

    def _process_client_at(self, fd: int) -> None:
        client = self._clients[fd]
        assert client is not None, "it was found among the quick"
        self._process_client(client)

    def _process_client(self, client: Client) -> None:
        """Send and read until the socket is full, empty, or the turn is over; then do what else is wanted."""
        assert isinstance(client, EpollClient), "every client here is one"
        connection, is_empty = client.connection, False
        for _ in range(STEPS_A_TURN_MAX):
            if output := connection.data_to_send():
                if not self._flush(client, output):
                    break
            elif is_empty or not connection.wants_read:
                break
            else:
                is_empty = self._read(client)
        else:
            self._deferred_clients.append(client)
        if not client.closing:
            self._fast_path_clients[client.fd] = client.fast_path if connection.state == IDLE else None
            self._apply_state(client)

    def _read(self, client: EpollClient) -> bool:
        """Read once; True where that has emptied the socket, so that an event will tell of more."""
        try:
            data = client.fast_path[0](READ_BYTES)
        except BlockingIOError:
            return True
        self.context.counters.bytes_in += len(data)
        answer = client.connection.receive_data(data)
        if answer is not None:
            self.context.slow_path_responses += 1
            client.connection.queue_remainder(answer, 0)
        return not data or (len(data) < READ_BYTES and not client.drain_reads)

    def _flush(self, client: EpollClient, output: bytes | memoryview | FileBody) -> bool:
        """Send once what is owed; False where the socket takes nothing more, of which an edge will tell the end."""
        connection = client.connection
        try:
            if isinstance(output, FileBody):
                count = os.sendfile(
                    client.fd, output.fd, output.offset, min(output.remaining, SENDFILE_BYTES_MAX)
                )
                if count == 0:
                    raise EOFError("a file became shorter while it was sent")
            else:
                # A head that goes ahead of its file has the client read twice as often, in small pieces: files of 1 MiB
                # came at 0.77x nginx's rate without MSG_MORE, and come at 1.3x with it.
                count = client.fast_path[1](output, socket.MSG_MORE if connection.more_follows else 0)
        except BlockingIOError:
            return False
        self._count_sent(count)
        connection.data_sent(count)
        return True

    def _discard(self, client: Client) -> None:
        assert isinstance(client, EpollClient), "every client here is one"
        if not client.closing:
            client.closing = True
            self._fast_path_clients[client.fd] = None
            self._closing.append(client)

    def _close_discarded(self) -> None:
        """Close the sockets of this round's dead, which takes them out of the epoll, too."""
        for client in self._closing:
            self._remove_client(client)
            client.sock.close()
        self._closing.clear()

    def _close(self) -> None:
        self._close_discarded()
        self._epoll.close()
