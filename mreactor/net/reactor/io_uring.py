"""The reactor that owns an io_uring instance.

Each client has one multishot receive armed, which takes its memory from the reactor's pool, and at most one send in
flight. A round is one `io_uring_enter`: it submits what the last round has queued and waits for completions. Responses
go out by nonblocking sends, which are over with the submission: they complete only when something is left, and that is
queued in the connection (docs/decisions/031).

A completion names its client by descriptor. A descriptor is closed only after everything in flight on it has completed,
so no completion can reach a later client with the same number (docs/decisions/032).
"""

import errno
import os
import select
import socket
import time
from collections import deque
from collections.abc import Iterator

from ...iouring import (
    BASE_OFFSET,
    CQE_BUFFER,
    CQE_BUFFER_SHIFT,
    CQE_MORE,
    OP_SEND,
    SQE_CQE_SKIP_SUCCESS,
    BufferRing,
    Ring,
    buffer_address,
    object_address,
)
from ...protocol import IDLE, FileBody
from ...runtime import hot, private_int
from .base import TICK_NANOSECONDS, Reactor
from .client import UringClient
from .files import read_piece, send_file

ENTRIES = 1024
# An overflow would lose no data, but it ends every multishot receive that it meets.
CQ_ENTRIES = 16 * 1024
# docs/decisions/033
BUFFERS = 2048
BUFFER_BYTES = 2 * 1024
# Receives that found the pool empty are armed again, so many a round. All at once they would mostly find it empty
# again, and thousands of clients would be told so in each round at the expense of those that are served.
STARVED_A_ROUND_MAX = BUFFERS // 2
GROUP = 0

# A body comes in buffers of 2 KiB each. So many bytes are passed on together, if they come in one round.
GATHERED_BYTES = 16 * 1024
# Bytes kept for a client whose connection takes none. Past it the receive is cancelled, and the kernel keeps the rest.
RECEIVED_BYTES_MAX = 64 * 1024
# A longer response, or the rest of one, goes out by the system call.
SEND_BYTES_MAX = 256 * 1024
# In flight while the kernel waits for the peer: it holds nothing of ours.
NOTHING = b""
# Pieces sent or taken in for one client; then the others have their turn.
STEPS_A_TURN_MAX = 16
END_SECONDS_MAX = 1.0
# Between two checks of a client with an incomplete message, or with a send in flight.
CHECK_SECONDS = 1.0
# Longer computed responses are queued in the connection: a client keeps the last one that went by a nonblocking send.
NONBLOCKING_SEND_BYTES_MAX = 4 * 1024

# What a completion is about, beside the descriptor in user_data. A receive, the commonest, is the bare descriptor.
SENT = 1 << 32
WRITABLE = 1 << 33
# Another ring posts this along with a connection.
NEW_CONNECTION = 1 << 34
MAILBOX = 1 << 35
NO_CLIENT = 1 << 36
SEND_INCOMPLETE = 1 << 37
FD_MASK = 0xFFFFFFFF

# The flags of a receive that brought bytes and stays armed. No other completion has both.
RECEIVED = CQE_BUFFER | CQE_MORE

# user_data, res, flags
type Completions = Iterator[tuple[int, int, int]]


@hot(
    "_serve", "_wait", "_open_client", "_make_client", "_process_client", "_count_sent", "_apply_state",
    "_handle_completion", "_discard", "_close_discarded", "_remove_client", "_tick", "_handle_timeouts", "_enter",
    "_handle_events", "_arm", "_close_when_complete",
)  # fmt: skip
class UringReactor(Reactor[UringClient]):
    """A reactor on io_uring."""

    client_type = UringClient

    def _open(self) -> None:
        self._ring = ring = Ring(ENTRIES, cq_entries=CQ_ENTRIES)
        self._buffers = BufferRing(ring, GROUP, BUFFERS, BUFFER_BYTES)
        ring.prepare_poll_multishot(self._mailbox.fileno(), select.POLLIN, MAILBOX)
        self.ring_fd = ring.fd
        self._tick_nanoseconds = private_int(TICK_NANOSECONDS)
        # What each round's completions take: docs/decisions/009.
        self._round_locals = (
            *self.context.fast_path, self._clients, self._buffers.pool, ring.put, ring.pack_send,
            ring.nonblocking_flags, private_int(SEND_INCOMPLETE), private_int(BUFFER_BYTES),
            private_int(NONBLOCKING_SEND_BYTES_MAX), private_int(FD_MASK),
        )  # fmt: skip
        # Counts submissions.
        self._round = 1
        self._is_new_round = True
        # Buffers that completions have used and that are not yet given back.
        self._used = 0
        # Clients whose receives found the pool empty.
        self._starved: deque[UringClient] = deque()

    def _wait(self) -> Completions:
        """Give the last round's buffers back, submit what it has queued, and wait for completions."""
        self._recycle()
        is_busy = self._deferred_clients or self._starved or self._closing
        self._enter(0 if is_busy else 1, self._tick_nanoseconds)
        return self._ring.completions()

    def _recycle(self) -> None:
        self._buffers.recycle(self._used)
        self._used = 0
        if self._starved:
            self._arm_starved()

    def _enter(self, min_complete: int, timeout_ns: int) -> None:
        """Begin a round, unless the kernel could not take all of the last one's operations: then that one continues."""
        self._is_new_round = self._ring.submit_and_wait(min_complete, timeout_ns)
        if self._is_new_round:
            self._round += 1

    def _handle_events(self, events: Completions, idle_deadline: float) -> tuple[int, int, int]:
        (find_response, find_route, find_body, head_end, after, log_request, clients, pool, put, pack,
         send_flags, incomplete, buffer_bytes, size_max, fd_mask) = self._round_locals  # fmt: skip
        send, skip, base, base_offset = OP_SEND, SQE_CQE_SKIP_SUCCESS, object_address, BASE_OFFSET
        this_round, wanted, shift, length = self._round, RECEIVED, CQE_BUFFER_SHIFT, len
        received = sent = responses = used = 0
        for user_data, res, flags in events:
            client = clients[user_data & fd_mask]
            try:
                if flags & wanted != wanted or client is None:
                    used += 1 if flags & CQE_BUFFER else 0
                    self._handle_completion(client, user_data, res, flags)
                    continue
                # Before anything can fail: a buffer that is not counted is not given back.
                used += 1
                start = (flags >> shift) * buffer_bytes
                data = pool[start : start + res]
                if client.sent_in_round == this_round or not client.is_idle:
                    self._hold(client, data)
                    continue
                connection = client.connection
                # fast path: begin (docs/decisions/018)
                body_route = find_body(data[: (end := data.find(head_end) + 4)]) if data > after else None
                known = find_response(data) if body_route is None else None
                if known is not None:
                    response, size, hits, log_entry = known
                    hits[0] += 1
                    connection.deadline = idle_deadline
                    if log_entry is not None:
                        log_request(connection.peer, *log_entry)
                else:
                    size = res
                    received += size
                    if body_route is not None and body_route[1] == size:
                        computed = connection.call_cached_route(body_route[0], data[end:])
                    elif (route := find_route(data)) is not None:
                        computed = connection.call_cached_route(route, b"")
                    else:
                        computed = connection.receive_uncached(data)
                    # fast path: end
                    if computed is None or length(computed) > size_max:
                        self._process_client_after(client, computed)
                        continue
                    response = computed
                    size = length(response)
                    sent += size
                responses += 1
                if response is not client.response:
                    client.response, address = response, base(response) + base_offset
                    mark = incomplete | user_data
                    client.nonblocking_send = pack(send, skip, user_data, address, size, send_flags, mark)
                client.sent_in_round = this_round
                put(client.nonblocking_send)
            except Exception as error:
                self._fail(client, error)
        self._used += used
        return received, sent, responses

    def _handle_completion(self, client: UringClient | None, user_data: int, res: int, flags: int) -> None:
        """Handle a completion off the fast path."""
        if user_data == NEW_CONNECTION:
            self._open_client(res)
        elif user_data == MAILBOX:
            self._has_messages = self._has_more_to_do = True
            if not flags & CQE_MORE:
                self._ring.prepare_poll_multishot(self._mailbox.fileno(), select.POLLIN, MAILBOX)
        elif client is None or user_data == NO_CLIENT:
            return
        elif user_data & SEND_INCOMPLETE:
            self._handle_send_incomplete(client, res)
        elif user_data & SENT:
            self._handle_sent(client, res)
        elif user_data & WRITABLE:
            client.in_flight = None
            self._process_client(client)
        else:
            self._handle_received(client, res, flags)

    def _handle_received(self, client: UringClient, res: int, flags: int) -> None:
        """Handle the end of a multishot receive, with bytes or without, or the end of the stream."""
        if not flags & CQE_MORE:
            client.is_armed = False
        if res > 0:
            self._hold(client, self._buffers.take(flags >> CQE_BUFFER_SHIFT, res))
        elif res == 0:
            client.hold(b"")
        elif res == -errno.ENOBUFS and not client.closing:
            # The bytes are still in the kernel.
            self._starved.append(client)
            return
        elif not client.closing and res != -errno.ECANCELED:
            raise OSError(-res, os.strerror(-res))
        self._process_client(client)

    def _handle_sent(self, client: UringClient, res: int) -> None:
        """Handle the end of a send that `_start_send` has queued."""
        piece, client.in_flight = client.in_flight, None
        if not client.closing:
            if res < 0:
                raise OSError(-res, os.strerror(-res))
            self._count_sent(client, res)
            if piece is not None and res < len(piece):
                self._watch(client)
            client.connection.data_sent(res)
        self._process_client(client)

    def _handle_send_incomplete(self, client: UringClient, res: int) -> None:
        """Queue what a nonblocking send has left over. The next send waits for the peer."""
        count = max(0, res)
        self._bytes_counted_early += len(client.response) - count
        if client.closing:
            self._process_client(client)
            return
        if res < 0 and res != -errno.EAGAIN:
            raise OSError(-res, os.strerror(-res))
        if client.sent_in_round == self._round and self._is_new_round:
            # Only behind a full completion queue can the next request come, and be answered, before this completion.
            raise OSError(errno.ENOBUFS, "a response was queued behind one that did not go out")
        self._watch(client)
        if client.connection.state == IDLE:
            client.connection.queue_remainder(client.response, count)
        self._process_client(client)

    def _hold(self, client: UringClient, data: bytes) -> None:
        """Keep bytes until the round's end, or until there are many, or the connection can take them.

        Past the bound, leave further bytes in the kernel.
        """
        if client.closing:
            return
        client.hold(data)
        if client.in_flight is None:
            if client.received_bytes < GATHERED_BYTES:
                self._defer(client)
            else:
                self._process_client(client)
        if client.received_bytes > RECEIVED_BYTES_MAX and client.is_armed:
            self._ring.prepare_cancel_user_data(client.fd, NO_CLIENT, SQE_CQE_SKIP_SUCCESS)

    def _process_client(self, client: UringClient) -> None:
        """Send, and take in held bytes, until a send is in flight, nothing is left, or the turn is over."""
        if client.closing:
            self._close_when_complete(client)
            return
        if client.sent_in_round == self._round:
            # What comes now waits behind what is held.
            client.is_idle = False
            self._defer(client)
            return
        connection = client.connection
        for _ in range(STEPS_A_TURN_MAX):
            if client.in_flight is not None:
                break
            if output := connection.data_to_send():
                if self._round_bytes_left <= 0 and self._hold_back(client, output):
                    break
                self._start_send(client, output)
            elif client.received and connection.wants_read:
                self._deliver_received(client)
            else:
                break
        else:
            self._defer(client)
        # What a nonblocking send sends is not counted for the watch over a slow peer.
        client.is_idle = connection.state == IDLE and not client.received and client.delivery is None
        self._apply_state(client)
        self._arm(client)

    def _apply_state(self, client: UringClient) -> None:
        # Not super(), which takes a lock: docs/decisions/001.
        Reactor._apply_state(self, client)
        if client.connection.awaits_rest or client.in_flight is not None:
            deadline = min(client.connection.deadline, self.context.now + CHECK_SECONDS)
            self.timers.schedule(client.fd, deadline)

    def _check_socket_error(self, client: UringClient) -> None:
        # When bytes and a reset come close together, a multishot receive may report the bytes and never the reset
        # (docs/decisions/036). In other states a send fails; here the reactor would wait for the rest of a message.
        if client.connection.awaits_rest and (number := client.take_error()):
            raise OSError(number, os.strerror(number))

    def _arm(self, client: UringClient) -> None:
        """Arm the receive of a client that wants one and has none."""
        if client.connection.wants_read and not client.received and not client.is_armed and not client.closing:
            client.is_armed = True
            self._ring.prepare_recv_multishot(client.fd, GROUP, client.fd)

    def _arm_starved(self) -> None:
        for _ in range(min(len(self._starved), STARVED_A_ROUND_MAX)):
            client = self._starved.popleft()
            if client.sent_in_round == self._round:
                # Its next request must not be seen before the nonblocking send's end.
                self._starved.append(client)
            else:
                self._arm(client)

    def _deliver_received(self, client: UringClient) -> None:
        data = client.take_received()
        self.context.counters.bytes_in += len(data)
        self._queue_response(client, client.connection.receive_data(data))

    def _process_client_after(self, client: UringClient, response: bytes | None) -> None:
        """Process a client whose response is too long for a nonblocking send, or that has none yet."""
        self._queue_response(client, response)
        self._process_client(client)

    def _send_response(self, client: UringClient, response: bytes) -> bool:
        connection, size = client.connection, len(response)
        is_free = client.in_flight is None and client.sent_in_round != self._round
        if size > NONBLOCKING_SEND_BYTES_MAX or connection.state != IDLE or not is_free:
            connection.queue_remainder(response, 0)
            return False
        # As on the fast path.
        self.context.counters.bytes_out += size
        if response is not client.response:
            client.response = response
            client.nonblocking_send = self._ring.pack_send(
                OP_SEND, SQE_CQE_SKIP_SUCCESS, client.fd, buffer_address(response), size,
                self._ring.nonblocking_flags, SEND_INCOMPLETE | client.fd,
            )  # fmt: skip
        client.sent_in_round = self._round
        self._ring.put(client.nonblocking_send)
        if client.received or client.delivery is not None or not client.is_armed:
            return False
        client.is_idle = True
        self._apply_state(client)
        return True

    def _start_send(self, client: UringClient, output: bytes | memoryview | FileBody) -> None:
        """Queue a send. A file or a long response goes by system calls; only their waiting goes through the ring."""
        # The head waits for its file in the kernel: docs/decisions/029.
        flags = socket.MSG_MORE if client.connection.more_follows else 0
        if isinstance(output, FileBody):
            self._send_file(client, output)
        elif isinstance(output, bytes) and len(output) <= SEND_BYTES_MAX:
            self._start_send_of(client, output, flags=flags)
        else:
            self._send_at_once(client, output, flags)

    def _send_at_once(self, client: UringClient, output: bytes | memoryview, flags: int) -> None:
        """Send by the system call: the ring would need a copy, and keep it until its operation is cancelled."""
        count = client.send(output, flags)
        self._round_bytes_left -= count
        self._count_sent(client, count)
        if count < len(output):
            self._await_room(client)
        client.connection.data_sent(count)

    def _await_room(self, client: UringClient) -> None:
        """Have the kernel report when the peer has taken so much that more can be sent."""
        self._watch(client)
        client.in_flight = NOTHING
        self._ring.prepare_poll(client.fd, select.POLLOUT, WRITABLE | client.fd)

    def _start_send_of(self, client: UringClient, piece: bytes, *, flags: int) -> None:
        self._ring.prepare_send(client.fd, buffer_address(piece), len(piece), flags, SENT | client.fd)
        client.in_flight = piece
        self._round_bytes_left -= len(piece)

    def _send_file(self, client: UringClient, file: FileBody) -> None:
        try:
            count = send_file(client.fd, file)
        except BlockingIOError:
            self._await_room(client)
            return
        if count is None and (piece := read_piece(file)):
            self._start_send_of(client, piece, flags=0)
            return
        sent = count or 0
        self._round_bytes_left -= sent
        self._count_sent(client, sent)
        client.connection.data_sent(sent)

    def _discard(self, client: UringClient) -> None:
        """Give up a client and cancel its pending operations.

        Shutting the socket would complete them as well. But after SHUT_RD the kernel sends no window updates: a peer
        that is still sending would hang for minutes instead of being reset by the close.
        """
        if client.closing:
            return
        client.closing = True
        client.is_idle = False
        client.received = None
        if client.has_pending_operations:
            self._ring.prepare_cancel_fd(client.fd, NO_CLIENT, SQE_CQE_SKIP_SUCCESS)
        self._close_when_complete(client)

    def _close_when_complete(self, client: UringClient) -> None:
        """Close a client's descriptor once nothing is in flight on it: only then may its number come again."""
        if client.has_pending_operations or self._clients[client.fd] is not client:
            return
        if client.sent_in_round == self._round:
            self._closing.append(client)
            return
        if self._is_owed(client):
            return
        self._remove_client(client)
        client.end_quietly()
        self._ring.prepare_close(client.fd, NO_CLIENT, SQE_CQE_SKIP_SUCCESS)

    def _close_discarded(self) -> None:
        """Close those that had a nonblocking send under way when they were given up."""
        closing = self._closing[:]
        self._closing.clear()
        for client in closing:
            self._close_when_complete(client)

    def _look_once(self) -> bool:
        self._recycle()
        self._enter(0, 0)
        # The kernel posts some twenty completions for each enter that does not wait.
        events = list(self._ring.completions())
        self._count(*self._handle_events(iter(events), self.context.idle_deadline))
        return bool(events)

    def _close(self) -> None:
        """Wait until the kernel has let go of all memory, then give the ring back."""
        deadline = time.monotonic() + END_SECONDS_MAX
        counters = self.context.counters
        while counters.accepted != counters.closed and time.monotonic() < deadline:
            self._enter(0 if self._closing else 1, TICK_NANOSECONDS)
            self._handle_events(self._ring.completions(), 0.0)
            self._close_discarded()
        self._ring.submit_and_wait(0)
        self._buffers.close()
        self._ring.close()
