"""The reactor that owns an io_uring instance.

Each client has one multishot receive armed, which takes its memory from the reactor's pool, and one send in flight at
most. A round is one `io_uring_enter`: it submits all that the last round has queued, and waits for what comes. Answers
go out by attempts, which are over with the submission: only where something is left one completes, and that is owed.

A completion names its client by file descriptor. A descriptor is not closed before everything in flight on it has
completed, so no completion can reach a later client with the same number.
"""

import errno
import os
import select
import socket
import time
from bisect import bisect_left
from collections import deque

from ...http1 import BODY, BODY_METHODS_AFTER, END_OF_HEAD, HEAD, IDLE
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
from ...protocol import FileBody
from ...runtime import hot, private_bytes, private_int
from .base import NEW_CONNECTION, TICK_NANOSECONDS, Reactor
from .client import Client, UringClient

ENTRIES = 1024
CQ_ENTRIES = 16 * 1024  # an overflow would cost no data, but end every multishot receive it meets
BUFFERS = 2048
BUFFER_BYTES = 2 * 1024
# Receives that found the pool empty are armed again so many a round. All at once they would mostly find it empty,
# and thousands of clients would be told so, round after round, at the expense of those that are served.
STARVED_A_ROUND_MAX = BUFFERS // 2
GROUP = 0

# What is kept for a client that is not ready for it; then its receive is cancelled.
RECEIVED_BYTES_MAX = 64 * 1024
# A longer answer goes out in pieces, so that each piece shows that the peer takes it.
SEND_BYTES_MAX = 256 * 1024
SENDFILE_BYTES_MAX = 1024 * 1024
STEPS_A_TURN_MAX = 16  # pieces sent or taken in for one client; then the others have their turn
END_SECONDS_MAX = 1.0
LOOK_SECONDS = 1.0  # between two looks at a client of which something is missing

# Longer answers of handlers that compute are owed at once: a client keeps the last one that was attempted.
ATTEMPT_BYTES_MAX = 4 * 1024

# What a completion is about: beside the descriptor, in user_data. A receive, the commonest, is the bare descriptor.
SENT = 1 << 32
WRITABLE = 1 << 33
MAILBOX = 1 << 35
NO_CLIENT = 1 << 36
SEND_INCOMPLETE = 1 << 37  # an attempt that did not all go out
FD_MASK = 0xFFFFFFFF

# The flags of a receive that brought bytes and goes on; no other completion has both.
RECEIVED = CQE_BUFFER | CQE_MORE


@hot(
    "_serve",
    "_open_client",
    "_process_client",
    "_count_sent",
    "_apply_state",
    "_handle_completion",
    "_discard",
    "_close_discarded",
    "_remove_client",
    "_tick",
    "_handle_timeouts",
    "_enter",
    "_handle_completions",
    "_arm",
    "_close_when_complete",
)
class UringReactor(Reactor):
    """A reactor on io_uring."""

    client_type = UringClient
    _clients: list[UringClient | None]  # type: ignore[assignment]

    def _open(self) -> None:
        self._ring = Ring(ENTRIES, cq_entries=CQ_ENTRIES)
        self._buffers = BufferRing(self._ring, GROUP, BUFFERS, BUFFER_BYTES)
        self._ring.prepare_poll_multishot(self._mailbox.fileno(), select.POLLIN, MAILBOX)
        self.ring_fd = self._ring.fd
        cache, ring = self.context.cache, self._ring
        ints = (
            private_int(SEND_INCOMPLETE),
            private_int(BUFFER_BYTES),
            private_int(ATTEMPT_BYTES_MAX),
            private_int(FD_MASK),
            ring.attempt_flags,
        )
        # What each round's completions take: an attribute costs 0.04 µs.
        self._round_locals = (
            self._clients, self._buffers.pool, cache.responses.get, cache.routes.get, cache.body_routes.get,
            self.context.note, ring.put, ring.pack_send, ring.completions, ints, private_bytes(END_OF_HEAD),
        )  # fmt: skip
        self._round = 1  # counts submissions
        self._is_new = True  # the round is
        self._used = 0  # buffers taken and not yet given back
        self._starved: deque[UringClient] = deque()  # their receives found the pool empty
        self._closing: list[UringClient] = []  # given up with an attempt on its way

    def _serve(self) -> None:
        # All that a round needs lies in local variables; see `EpollReactor._serve`.
        context, again, starved, dead = self.context, self._deferred_clients, self._starved, self._closing
        enter, clock, tick = self._enter, time.monotonic_ns, private_int(TICK_NANOSECONDS)
        attend, recycle = self._handle_completions, self._buffers.recycle
        counts, bounds = context.counters.service_time.counts, self._bounds
        next_second = context.next_second
        next_tick = received = sent = spent = longest = 0
        while not self._is_stopped:
            enter(0 if again or starved or dead else 1, tick)
            begun = clock()
            now = begun / 1e9
            if now >= next_second:
                next_second = context.begin_second(now)
            bytes_in, bytes_out, answered = attend(context.begin_round(now))
            recycle(self._used)
            self._used = 0
            if starved:
                self._arm_starved()
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
                counts[bisect_left(bounds, took)] += answered
                spent += took * answered
            if ended >= next_tick:
                next_tick = self._tick(ended, received, sent, spent, longest)
                received = sent = spent = longest = 0

    def _enter(self, min_complete: int, timeout_ns: int) -> None:
        """Begin a round, unless the kernel could not take all of the last one's: then that one goes on."""
        self._is_new = self._ring.submit_and_wait(min_complete, timeout_ns)
        if self._is_new:
            self._round += 1

    def _handle_completions(self, idle_deadline: float) -> tuple[int, int, int]:
        """Act on a round's completions; returns as `EpollReactor._handle_events`."""
        (
            clients, pool, find_response, find_route, find_body_route, note, put, pack_send, completions, ints,
            end_of_head,
        ) = self._round_locals  # fmt: skip
        missed_bit, buffer_bytes, size_max, fd_mask, attempt_flags = ints
        send, skip, base, base_offset = OP_SEND, SQE_CQE_SKIP_SUCCESS, object_address, BASE_OFFSET
        this_round, wanted, shift, uploads, size_of = (
            self._round,
            RECEIVED,
            CQE_BUFFER_SHIFT,
            BODY_METHODS_AFTER,
            len,
        )
        received = sent = answered = used = 0
        for user_data, res, flags in completions():
            client = clients[user_data & fd_mask]
            try:
                if flags & wanted != wanted or client is None:
                    used += flags & CQE_BUFFER  # which is 1
                    self._handle_completion(client, user_data, res, flags)
                    continue
                used += 1  # before anything can fail: what is not counted is not given back
                start = (flags >> shift) * buffer_bytes
                data = pool[start : start + res]
                if client.attempted == this_round or not client.is_idle:
                    self._hold(client, data)
                    continue
                # The fast lane, `Connection.receive_data` written out: 0.3 µs of a request's 7 saved.
                upload = (
                    find_body_route(data[: (end := data.find(end_of_head) + 4)]) if data > uploads else None
                )
                reply = find_response(data) if upload is None else None
                if reply is not None:
                    answer, size, hits, noted = reply
                    hits[0] += 1
                    connection = client.connection
                    connection.deadline = idle_deadline
                    if noted is not None:
                        note(connection.peer, *noted)
                else:
                    received += res
                    connection = client.connection
                    if upload is not None and upload[1] == res:
                        computed = connection.call_cached_route(upload[0], data[end:])
                    else:
                        call = find_route(data)
                        computed = (
                            connection.receive_uncached(data)
                            if call is None
                            else connection.call_cached_route(call, b"")
                        )
                    if computed is None or size_of(computed) > size_max:
                        self._process_client_after(client, computed)
                        continue
                    answer = computed
                    size = size_of(answer)
                    sent += size
                answered += 1
                if answer is not client.answer:  # see `Operations` for attempts
                    client.answer, address = answer, base(answer) + base_offset
                    missed = missed_bit | user_data
                    client.attempt = pack_send(send, skip, user_data, address, size, attempt_flags, missed)
                client.attempted = this_round
                put(client.attempt)
            except Exception as error:
                self._fail(client, error)
        self._used += used
        return received, sent, answered

    def _handle_completion(self, client: UringClient | None, user_data: int, res: int, flags: int) -> None:
        """The slower lane of completions."""
        if user_data == NEW_CONNECTION:
            self._open_client(res)
        elif user_data == MAILBOX:
            self._has_messages = True
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
        """Bytes with which the multishot receive ended, its end without any, or the end of the stream."""
        if not flags & CQE_MORE:
            client.is_armed = False
        if res > 0:
            self._hold(client, self._buffers.take(flags >> CQE_BUFFER_SHIFT, res))
        elif res == 0:
            client.hold(b"")
        elif res == -errno.ENOBUFS and not client.closing:
            self._starved.append(client)  # nothing was lost
            return
        elif not client.closing and res != -errno.ECANCELED:
            raise OSError(-res, os.strerror(-res))
        self._process_client(client)

    def _handle_sent(self, client: UringClient, res: int) -> None:
        """A send of what the connection owes is over."""
        client.in_flight = None
        if not client.closing:
            if res < 0:
                raise OSError(-res, os.strerror(-res))
            self._count_sent(res)
            client.connection.data_sent(res)
        self._process_client(client)

    def _handle_send_incomplete(self, client: UringClient, res: int) -> None:
        """An attempt failed, or sent a part: the rest is owed, and its send waits for the peer."""
        count = max(0, res)
        self._bytes_counted_early += len(client.answer) - count
        if client.closing:
            self._process_client(client)
            return
        if res < 0 and res != -errno.EAGAIN:
            raise OSError(-res, os.strerror(-res))
        if client.attempted == self._round and self._is_new:
            # Only behind a full completion queue can the next request be seen, and attempted, before this.
            raise OSError(errno.ENOBUFS, "an answer was queued behind one that did not go out")
        if client.connection.state == IDLE:
            client.connection.queue_remainder(client.answer, count)
        self._process_client(client)

    def _hold(self, client: UringClient, data: bytes) -> None:
        """Keep bytes for a connection that is not ready for them; too many, and the kernel is to keep the rest."""
        if client.closing:
            return
        client.hold(data)
        if client.in_flight is None:
            self._process_client(client)
        if client.received_bytes > RECEIVED_BYTES_MAX and client.is_armed:
            self._ring.prepare_cancel_user_data(client.fd, NO_CLIENT, SQE_CQE_SKIP_SUCCESS)

    def _process_client(self, client: Client) -> None:
        """Send and take in what is received, until something is in flight or nothing is left, or the turn is over."""
        assert isinstance(client, UringClient), "every client here is one"
        if client.closing:
            self._close_when_complete(client)
            return
        if client.attempted == self._round:
            client.is_idle = False  # what comes now has to wait for what is received
            self._deferred_clients.append(client)
            return
        connection = client.connection
        for _ in range(STEPS_A_TURN_MAX):
            if client.in_flight is not None:
                break
            if output := connection.data_to_send():
                self._start_send(client, output)
            elif client.received and connection.wants_read:
                self._deliver_received(client)
            else:
                break
        else:
            self._deferred_clients.append(client)
        client.is_idle = connection.state == IDLE and not client.received
        self._apply_state(client)
        self._arm(client)

    def _apply_state(self, client: Client) -> None:
        Reactor._apply_state(self, client)  # super() takes a lock that all threads share
        if client.connection.state in (HEAD, BODY):
            deadline = min(client.connection.deadline, self.context.now + LOOK_SECONDS)
            self.timers.schedule(client.fd, deadline)

    def _check_socket_error(self, client: Client) -> None:
        # Where bytes and a reset come close together, a multishot receive may tell of the bytes and then wait for ever
        # (seen on Linux 6.18). In other states a send fails; here the rest of a message would be waited for.
        if client.connection.state in (HEAD, BODY) and (number := client.take_error()):
            raise OSError(number, os.strerror(number))

    def _arm(self, client: UringClient) -> None:
        """Arm the receive of a client that wants one and has none."""
        if (
            client.connection.wants_read
            and not client.received
            and not client.is_armed
            and not client.closing
        ):
            client.is_armed = True
            self._ring.prepare_recv_multishot(client.fd, GROUP, client.fd)

    def _arm_starved(self) -> None:
        for _ in range(min(len(self._starved), STARVED_A_ROUND_MAX)):
            client = self._starved.popleft()
            if client.attempted == self._round:
                self._starved.append(client)  # its next request must not be seen before the attempt's end
            else:
                self._arm(client)

    def _deliver_received(self, client: UringClient) -> None:
        assert client.received, "something is received"
        data = client.received.popleft()
        client.received_bytes -= len(data)
        self.context.counters.bytes_in += len(data)
        self._queue_response(client, client.connection.receive_data(data))

    def _process_client_after(self, client: UringClient, answer: bytes | None) -> None:
        """Drive a client whose connection has come to an answer too long to be attempted, or to none."""
        self._queue_response(client, answer)
        self._process_client(client)

    def _queue_response(self, client: UringClient, answer: bytes | None) -> None:
        if answer is not None:
            self.context.slow_path_responses += 1
            client.connection.queue_remainder(answer, 0)

    def _start_send(self, client: UringClient, output: bytes | memoryview | FileBody) -> None:
        """Start sending what the connection owes. A file goes by the system call, and its waiting through the ring."""
        if isinstance(output, FileBody):
            self._send_file(client, output)
            return
        if isinstance(output, bytes) and len(output) <= SEND_BYTES_MAX:
            piece = output
        else:
            piece = bytes(output[:SEND_BYTES_MAX])
        flags = socket.MSG_MORE if client.connection.more_follows else 0  # see `EpollReactor._flush`
        self._ring.prepare_send(client.fd, buffer_address(piece), len(piece), flags, SENT | client.fd)
        client.in_flight = piece

    def _send_file(self, client: UringClient, file: FileBody) -> None:
        try:
            count = os.sendfile(client.fd, file.fd, file.offset, min(file.remaining, SENDFILE_BYTES_MAX))
        except BlockingIOError:
            client.in_flight = file
            self._ring.prepare_poll(client.fd, select.POLLOUT, WRITABLE | client.fd)
            return
        if count == 0:
            raise EOFError("a file became shorter while it was sent")
        self._count_sent(count)
        client.connection.data_sent(count)

    def _discard(self, client: Client) -> None:
        """Give up a client. Where something is in flight its socket is shut, by which that completes."""
        assert isinstance(client, UringClient), "every client here is one"
        if client.closing:
            return
        client.closing = True
        client.is_idle = False
        client.received = None
        if client.has_pending_operations or client.attempted == self._round:
            try:
                client.shut(socket.SHUT_RDWR)
            except OSError:
                pass  # the peer was faster
        self._close_when_complete(client)

    def _close_when_complete(self, client: UringClient) -> None:
        """Close a client's descriptor once nothing is in flight on it: only then may the number be given out again."""
        if client.has_pending_operations or self._clients[client.fd] is not client:
            return
        if client.attempted == self._round:
            self._closing.append(client)
            return
        self._remove_client(client)
        self._ring.prepare_close(client.fd, NO_CLIENT, SQE_CQE_SKIP_SUCCESS)

    def _close_discarded(self) -> None:
        """Close those that had an attempt on its way when they were given up."""
        dead = self._closing[:]
        self._closing.clear()
        for client in dead:
            self._close_when_complete(client)

    def _close(self) -> None:
        """Wait until the kernel has let go of all memory of ours, then give the ring back."""
        deadline = time.monotonic() + END_SECONDS_MAX
        counters = self.context.counters
        while counters.accepted != counters.closed and time.monotonic() < deadline:
            self._enter(0 if self._closing else 1, TICK_NANOSECONDS)
            self._handle_completions(0.0)
            self._close_discarded()
        self._ring.submit_and_wait(0)
        self._buffers.close()
        self._ring.close()
