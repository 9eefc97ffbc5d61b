"""The reactor that waits with epoll.

The acceptor registers each socket once, edge-triggered; the next `epoll_ctl` takes it out when it is closed
(docs/decisions/022). An edge is reported once, so other code must make progress when no edge comes:

- A short read has emptied the socket, so the next bytes are a new edge. Where that may not hold (an end, an error or
  urgent data was reported), `drain_reads` is set and reading continues until the kernel has nothing.
- A full read, or a turn that is used up, puts the client on the list of deferred clients.
- A send that the socket refuses leaves bytes behind; EPOLLOUT is the edge that signals room.
- A connection that takes no bytes (`wants_read`) leaves them in the kernel. Whatever makes it want bytes again goes
  through `_process_client`, which reads without waiting for an edge.

A round's discarded sockets are closed after its events: the kernel may give the number of a closed descriptor to a new
connection at once, and an event that was fetched before would reach the wrong client.
"""

import errno
import os
import select
import socket

from ...protocol import IDLE, FileBody
from ...runtime import hot, private_int
from ..timer_wheel import TICK_SECONDS
from .base import Reactor
from .client import EpollClient, FastPathClient
from .files import read_piece, send_file

READ_BYTES = 16 * 1024
# Reads and sends for one client; then the others have their turn.
STEPS_A_TURN_MAX = 16
EVENTS_MAX = 256

# A fresh socket reports EPOLLOUT at once: so a reactor meets each client, even one that never sends a byte.
ARMED = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLPRI | select.EPOLLET
# Bytes have come, and nothing else has happened.
ONLY_BYTES = select.EPOLLIN | select.EPOLLOUT
# A short read may not have been the last: an end, a failure or urgent data follows.
MORE_TO_READ = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR | select.EPOLLPRI


@hot(
    "_serve", "_wait", "_open_client", "_make_client", "_process_client", "_count_sent", "_apply_state",
    "_handle_event", "_discard", "_close_discarded", "_remove_client", "_tick", "_handle_timeouts", "_handle_events",
    "_read", "_flush",
)  # fmt: skip
class EpollReactor(Reactor[EpollClient]):
    """A reactor on epoll."""

    client_type = EpollClient

    def add_connection(self, fd: int) -> None:
        """Register a connection with this reactor's epoll: no queue, no wake-up, one number crosses."""
        self._epoll.register(fd, ARMED)

    def _open(self) -> None:
        self._epoll = select.epoll()
        self._epoll.register(self._mailbox.fileno(), select.EPOLLIN)
        self._poll, self._events_max = self._epoll.poll, private_int(EVENTS_MAX)
        # Clients with an idle connection, by descriptor: their next event may take the fast path.
        self._fast_path_clients: list[FastPathClient | None] = [None] * self._options.fds_max
        # What each round's events take: docs/decisions/009.
        self._round_locals = (*self.context.fast_path, self._fast_path_clients, ONLY_BYTES, private_int(READ_BYTES))

    def _wait(self) -> list[tuple[int, int]]:
        return self._poll(0 if self._deferred_clients else TICK_SECONDS, self._events_max)

    def _handle_events(self, events: list[tuple[int, int]], idle_deadline: float) -> tuple[int, int, int]:
        (
            find_response, find_route, find_body, head_end, after, log_request,
            fast_path_clients, only_bytes, read_bytes,
        ) = self._round_locals  # fmt: skip
        length = len
        received = sent = responses = 0
        for fd, mask in events:
            client = fast_path_clients[fd]
            if mask != only_bytes or client is None:
                self._handle_event(fd, mask)
                continue
            recv, send, connection = client
            try:
                data = recv(read_bytes)
                # fast path: begin (docs/decisions/018; known bytes are shorter than a read, so nothing is left to read)
                body_route = find_body(data[: (end := data.find(head_end) + 4)]) if data > after else None
                known = find_response(data) if body_route is None else None
                if known is not None:
                    response, size, hits, log_entry = known
                    hits[0] += 1
                    connection.deadline = idle_deadline
                    if log_entry is not None:
                        log_request(connection.peer, *log_entry)
                    is_full = False
                else:
                    size = length(data)
                    received += size
                    is_full = size >= read_bytes
                    if body_route is not None and body_route[1] == size:
                        computed = connection.call_cached_route(body_route[0], data[end:])
                    elif (route := find_route(data)) is not None:
                        computed = connection.call_cached_route(route, b"")
                    else:
                        computed = connection.receive_uncached(data)
                    # fast path: end
                    if computed is None:
                        self._process_client_at(fd, is_empty=not is_full)
                        continue
                    response = computed
                    size = length(response)
                    sent += size
                responses += 1
                try:
                    count = send(response)
                except BlockingIOError:
                    count = 0
                if count != size:
                    self._bytes_counted_early += size - count
                    connection.queue_remainder(response, count)
                    self._process_client_at(fd)
                elif is_full:
                    self._process_client_at(fd)
            except BlockingIOError:
                continue  # an earlier event of this round has read the bytes
            except Exception as error:
                self._fail(self._clients[fd], error)
        return received, sent, responses

    def _handle_event(self, fd: int, mask: int) -> None:
        """Handle an event off the fast path: a new client, one with bytes to send, one that is leaving."""
        if fd == self._mailbox.fileno():
            self._has_messages = self._has_more_to_do = True
            return
        is_new = self._clients[fd] is None
        if is_new:
            self._open_client(fd)
        client = self._clients[fd]
        if client is None or client.closing or (is_new and not mask & MORE_TO_READ):
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

    def _process_client_at(self, fd: int, *, is_empty: bool = False) -> None:
        client = self._clients[fd]
        assert client is not None, "it was found among the fast path's clients"
        self._process_client(client, is_empty=is_empty and not client.drain_reads)

    def _process_client(self, client: EpollClient, *, is_empty: bool = False) -> None:
        """Send and read until the socket is full or empty, or the turn is over; then apply the connection's state."""
        connection = client.connection
        for _ in range(STEPS_A_TURN_MAX):
            if output := connection.data_to_send():
                if self._round_bytes_left <= 0 and self._hold_back(client, output):
                    break
                if not self._flush(client, output):
                    break
            elif is_empty or not connection.wants_read:
                break
            else:
                is_empty = self._read(client)
        else:
            self._defer(client)
        client.is_empty = is_empty
        if not client.closing:
            # What the fast path sends is not counted for the watch over a slow peer.
            is_fast = connection.state == IDLE and client.delivery is None
            self._fast_path_clients[client.fd] = client.fast_path if is_fast else None
            self._apply_state(client)

    def _read(self, client: EpollClient) -> bool:
        """Read once. Return True when that has emptied the socket, so that an edge will announce more."""
        try:
            data = client.fast_path[0](READ_BYTES)
        except BlockingIOError:
            return True
        self.context.counters.bytes_in += len(data)
        self._queue_response(client, client.connection.receive_data(data))
        return not data or (len(data) < READ_BYTES and not client.drain_reads)

    def _flush(self, client: EpollClient, output: bytes | memoryview | FileBody) -> bool:
        """Send once. Return False when the send buffer is full; EPOLLOUT will signal room."""
        connection = client.connection
        try:
            if isinstance(output, FileBody):
                sent = send_file(client.fd, output)
                count = client.fast_path[1](read_piece(output)) if sent is None else sent
            else:
                # The head waits for its file in the kernel: docs/decisions/029.
                count = client.fast_path[1](output, socket.MSG_MORE if connection.more_follows else 0)
        except BlockingIOError:
            self._watch(client)
            return False
        self._round_bytes_left -= count
        self._count_sent(client, count)
        connection.data_sent(count)
        return True

    def _send_response(self, client: EpollClient, response: bytes) -> bool:
        try:
            count = client.fast_path[1](response)
        except BlockingIOError:
            count = 0
        self._round_bytes_left -= count
        self._count_sent(client, count)
        if count < len(response):
            client.connection.queue_remainder(response, count)
            return False
        if not client.is_empty or client.connection.state != IDLE or client.delivery is not None:
            # Bytes may have come meanwhile, and are still in the kernel.
            return False
        self._fast_path_clients[client.fd] = client.fast_path
        self._apply_state(client)
        return True

    def _discard(self, client: EpollClient) -> None:
        if not client.closing:
            client.closing = True
            self._fast_path_clients[client.fd] = None
            self._closing.append(client)

    def _close_discarded(self) -> None:
        closing = self._closing[:]
        self._closing.clear()
        for client in closing:
            # A client may be listed twice: discarded by an event, and looked at when its time came in the same round.
            if self._clients[client.fd] is client and not self._is_owed(client):
                self._remove_client(client)
                self._close_socket(client.sock, resets=client.resets)

    def _forget_socket(self, sock: socket.SocketType) -> None:
        # Not left to `close`: it takes a socket out of the epoll only if no forked process holds a copy.
        self._epoll.unregister(sock.fileno())

    def _look_once(self) -> bool:
        events = self._poll(0, self._events_max)
        self._count(*self._handle_events(events, self.context.idle_deadline))
        return len(events) == self._events_max

    def _close(self) -> None:
        self._close_discarded()
        self._epoll.close()
