"""The reactor that owns an io_uring instance.

Each client has one multishot receive armed, which takes its memory from the reactor's pool, and one send in flight at
most. A round is one `io_uring_enter`: it submits all that the last round has queued, and waits for what comes.

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
from collections.abc import Callable

from ..connection import Connection
from ..http1.response import FileBody
from ..iouring import BufferRing, Ring, abi, address_of
from ..iouring.abi import CQE_BUFFER, CQE_BUFFER_SHIFT, CQE_MORE
from ..replies import Reply
from ..sharing import own
from ..state import IDLE
from .base import HANDED, TICK_NANOSECONDS, Reactor
from .client import Client

ENTRIES = 1024
CQ_ENTRIES = 16 * 1024  # an overflow would cost no data, but end every multishot receive it meets
BUFFERS = 2048
BUFFER_BYTES = 2 * 1024
# Receives that found the pool empty are armed again so many a round. All at once they would mostly find it empty,
# and thousands of clients would be told so, round after round, at the expense of those that are served.
STARVED_A_ROUND_MAX = BUFFERS // 2
GROUP = 0

HELD_BYTES_MAX = (
    64 * 1024
)  # what is kept for a client that is not ready for it; then its receive is cancelled
SEND_BYTES_MAX = (
    256 * 1024
)  # a longer answer goes out in pieces, so that each piece shows that the peer takes it
SENDFILE_BYTES_MAX = 1024 * 1024
STEPS_A_TURN_MAX = 16  # pieces sent or taken in for one client; then the others have their turn
END_SECONDS_MAX = 1.0

# What a completion is about: beside the descriptor, in user_data. A receive, the commonest, is the bare descriptor.
SENT = 1 << 32
WRITABLE = 1 << 33
WOKEN = 1 << 35
IGNORED = 1 << 36
FD_MASK = 0xFFFFFFFF

OWED = 1 << 40  # no result is as large


class UringClient(Client):
    """A client with what is in flight for it.

    Attributes:
        in_flight: what the kernel is sending, kept alive until it is done; None if there is nothing.
        expected: the size of a send after which there is nothing to do; `OWED` where the connection awaits `sent`.
        is_idle: the connection is, so that it takes bytes at once.
        is_armed: the multishot receive is armed.
        held: received while the connection was not ready.
        answer, send_sqe: the last answer and its send, to be used again if the reply cache gives the same one.
    """

    __slots__ = (
        "answer", "expected", "held", "held_bytes", "in_flight", "is_armed", "is_idle", "send_sqe",
    )  # fmt: skip

    def __init__(self, sock: socket.SocketType, connection: Connection, peer: object) -> None:
        Client.__init__(self, sock, connection, peer)  # super() takes a lock that all threads share
        self.in_flight: bytes | FileBody | None = None
        self.expected = OWED
        self.is_idle = False
        self.is_armed = False
        self.held: deque[bytes] = deque()
        self.held_bytes = 0
        self.answer = b""
        self.send_sqe = b""


class UringReactor(Reactor):
    """A reactor on io_uring."""

    client_type = UringClient
    _clients: list[UringClient | None]  # type: ignore[assignment]

    def _open(self) -> None:
        self._ring = Ring(ENTRIES, cq_entries=CQ_ENTRIES)
        self._buffers = BufferRing(self._ring, GROUP, BUFFERS, BUFFER_BYTES)
        self._ring.prepare_poll_multishot(self._mailbox.fileno(), select.POLLIN, WOKEN)
        self.ring_fd = self._ring.fd
        self._bits = own(SENT), own(WRITABLE), own(FD_MASK), own(BUFFER_BYTES), own(SEND_BYTES_MAX)
        self._used = 0  # buffers taken and not yet given back
        self._starved: deque[UringClient] = deque()  # their receives found the pool empty

    def _serve(self) -> None:
        # All that a round needs lies in local variables; see `EpollReactor._serve`.
        service, again, starved = self.service, self._again, self._starved
        submit_and_wait, clock, tick = self._ring.submit_and_wait, time.monotonic_ns, own(TICK_NANOSECONDS)
        attend, recycle, find_reply = (
            self._attend_completions,
            self._buffers.recycle,
            service.replies.answers.get,
        )
        counts, bounds = service.counters.service_time.counts, self._bounds
        next_second = service.next_second
        next_tick = received = sent = spent = longest = 0
        while not self._is_stopped:
            submit_and_wait(0 if again or starved else 1, tick)
            begun = clock()
            now = begun / 1e9
            if now >= next_second:
                next_second = service.turn_second(now)
            bytes_in, bytes_out, answered = attend(find_reply, service.turn(now))
            recycle(self._used)
            self._used = 0
            if starved:
                self._arm_starved()
            if again or self._has_mail:
                self._attend_rest()
            ended = clock()
            took = ended - begun
            if took > longest:
                longest = took
            if service.slow_answers:
                answered += service.slow_answers
                service.slow_answers = 0
            received += bytes_in
            sent += bytes_out
            if answered:
                counts[bisect_left(bounds, took)] += answered
                spent += took * answered
            if ended >= next_tick:
                next_tick = self._tick(ended, received, sent, spent, longest)
                received = sent = spent = longest = 0

    def _attend_completions(
        self, find_reply: Callable[[bytes], Reply | None], idle_deadline: float
    ) -> tuple[int, int, int]:
        """Act on a round's completions; returns bytes received and sent, and reads answered, in the fast lane."""
        clients, put, pool = self._clients, self._ring.put, self._buffers.pool
        encode_send = self._ring.encode_send
        sent_bit, writable_bit, fd_mask, buffer_bytes, size_max = self._bits
        received = sent = answered = used = 0
        for user_data, res, flags in self._ring.completions():
            client = clients[user_data & fd_mask]
            try:
                if client is None or user_data >= writable_bit:
                    used += flags & CQE_BUFFER  # which is 1
                    self._attend(client, user_data, res, flags)
                elif user_data >= sent_bit:
                    if res != client.expected:
                        self._attend_sent(client, res)
                        continue
                    sent += res
                    client.in_flight = None
                    if client.held:
                        self._drive(client)
                elif res <= 0 or not flags & CQE_MORE:
                    used += flags & CQE_BUFFER
                    self._attend_received(client, res, flags)
                else:
                    used += 1
                    start = (flags >> CQE_BUFFER_SHIFT) * buffer_bytes
                    data = pool[start : start + res]
                    if client.in_flight is not None or not client.is_idle:
                        self._hold(client, data)
                        continue
                    received += res
                    # The fast lane, `Connection.receive` written out: 0.3 µs of a request's 8 saved.
                    reply = find_reply(data)
                    if reply is not None:
                        answer, hits, note = reply
                        hits[0] += 1
                        client.connection.deadline = idle_deadline
                        if note is not None:
                            client.connection.note_reply(*note)
                        if answer is not client.answer:
                            self._prepare(client, answer)
                        put(client.send_sqe)
                        client.in_flight = answer
                    else:
                        computed = client.connection.take(data)
                        if computed is None:
                            self._drive(client)
                            continue
                        size = len(computed)
                        client.in_flight, client.expected, client.answer = computed, size, b""
                        fd = client.fd
                        # Of a long answer the beginning: a send that comes short, and the rest is owed.
                        put(encode_send(fd, address_of(computed), min(size, size_max), 0, sent_bit | fd))
                    answered += 1
            except Exception as error:
                self._fail(client, error)
        self._used += used
        return received, sent, answered

    def _attend(self, client: UringClient | None, user_data: int, res: int, flags: int) -> None:
        """The slower lane of completions."""
        if user_data == HANDED:
            self._adopt(res)
        elif user_data == WOKEN:
            self._has_mail = True
            if not flags & CQE_MORE:
                self._ring.prepare_poll_multishot(self._mailbox.fileno(), select.POLLIN, WOKEN)
        elif client is None or user_data == IGNORED:
            return
        elif user_data & WRITABLE:
            client.in_flight = None
            self._drive(client)

    def _attend_received(self, client: UringClient, res: int, flags: int) -> None:
        """Bytes with which the multishot receive ended, its end without any, or the end of the stream."""
        if not flags & CQE_MORE:
            client.is_armed = False
        if res > 0:
            self._hold(client, self._buffers.take(flags >> CQE_BUFFER_SHIFT, res))
        elif res == 0:
            client.held.append(b"")
        elif res == -errno.ENOBUFS and not client.is_gone:
            self._starved.append(client)  # nothing was lost
            return
        elif not client.is_gone and res != -errno.ECANCELED:
            raise OSError(-res, os.strerror(-res))
        self._drive(client)

    def _attend_sent(self, client: UringClient, res: int) -> None:
        """A send that came short, or failed, or of which the connection awaits to hear."""
        output, client.in_flight = client.in_flight, None
        if res < 0 and not client.is_gone:
            raise OSError(-res, os.strerror(-res))
        if not client.is_gone:
            self.service.counters.bytes_out += res
            if client.expected == OWED:
                client.connection.sent(res)
            elif isinstance(output, bytes) and res < len(output):
                client.connection.owe(output, res)
        self._drive(client)

    def _prepare(self, client: UringClient, answer: bytes) -> None:
        """Make the send of an answer from the reply cache: the same 64 bytes, as long as it gives that answer."""
        client.answer, client.expected = answer, len(answer)
        client.send_sqe = self._ring.encode_send(
            client.fd, address_of(answer), len(answer), 0, SENT | client.fd
        )

    def _hold(self, client: UringClient, data: bytes) -> None:
        """Keep bytes for a connection that is not ready for them; too many, and the kernel is to keep the rest."""
        if client.is_gone:
            return
        client.held.append(data)
        client.held_bytes += len(data)
        if client.in_flight is None:
            self._drive(client)
        if client.held_bytes > HELD_BYTES_MAX and client.is_armed:
            self._ring.prepare_cancel_user_data(client.fd, IGNORED, abi.SQE_CQE_SKIP_SUCCESS)

    def _drive(self, client: Client) -> None:
        """Send and take in what is held, until something is in flight or nothing is left, or the turn is over."""
        assert isinstance(client, UringClient), "every client here is one"
        if client.is_gone:
            self._inter(client)
            return
        connection = client.connection
        for _ in range(STEPS_A_TURN_MAX):
            if client.in_flight is not None:
                break
            if output := connection.pending():
                self._launch(client, output)
            elif client.held and connection.wants_read:
                self._feed(client)
            else:
                break
        else:
            self._again.append(client)
        client.is_idle = connection.state == IDLE and not client.held
        self._settle(client)
        self._arm(client)

    def _arm(self, client: UringClient) -> None:
        """Arm the receive of a client that wants one and has none."""
        if client.connection.wants_read and not client.held and not client.is_armed and not client.is_gone:
            client.is_armed = True
            self._ring.prepare_recv_multishot(client.fd, GROUP, client.fd)

    def _arm_starved(self) -> None:
        for _ in range(min(len(self._starved), STARVED_A_ROUND_MAX)):
            self._arm(self._starved.popleft())

    def _feed(self, client: UringClient) -> None:
        data = client.held.popleft()
        client.held_bytes -= len(data)
        self.service.counters.bytes_in += len(data)
        answer = client.connection.receive(data)
        if answer is not None:
            self.service.slow_answers += 1
            client.connection.owe(answer, 0)

    def _launch(self, client: UringClient, output: bytes | memoryview | FileBody) -> None:
        """Start sending what the connection owes. A file goes by the system call, and its waiting through the ring."""
        if isinstance(output, FileBody):
            self._send_file(client, output)
            return
        piece = (
            output
            if isinstance(output, bytes) and len(output) <= SEND_BYTES_MAX
            else bytes(output[:SEND_BYTES_MAX])
        )
        flags = socket.MSG_MORE if client.connection.file_follows else 0  # see `EpollReactor._flush`
        self._ring.prepare_send(client.fd, address_of(piece), len(piece), flags, SENT | client.fd)
        client.in_flight = piece
        client.expected, client.answer = OWED, b""

    def _send_file(self, client: UringClient, file: FileBody) -> None:
        try:
            count = os.sendfile(client.fd, file.fd, file.offset, min(file.remaining, SENDFILE_BYTES_MAX))
        except BlockingIOError:
            client.in_flight = file
            self._ring.prepare_poll(client.fd, select.POLLOUT, WRITABLE | client.fd)
            return
        if count == 0:
            raise EOFError("a file became shorter while it was sent")
        self.service.counters.bytes_out += count
        client.connection.sent(count)

    def _own_up(self) -> None:
        """Answers are sent as if they were gone. One that is in flight for a while is owed, and has a deadline."""
        for client in self._clients[: self._fd_highest + 1]:
            if client is None or client.expected == OWED or client.is_gone:
                continue
            if isinstance(client.in_flight, bytes):
                client.expected, client.answer = OWED, b""
                client.connection.owe(client.in_flight, 0)
                self._settle(client)

    def _discard(self, client: Client) -> None:
        """Shut the socket, by which the peer sees the end at once and all that is in flight completes."""
        assert isinstance(client, UringClient), "every client here is one"
        if client.is_gone:
            return
        client.is_gone = True
        client.is_idle = False
        client.expected = OWED  # the end of a send is worth a look now, even if it went well
        client.held.clear()
        try:
            client.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the peer was faster
        self._inter(client)

    def _inter(self, client: UringClient) -> None:
        """Close a client's descriptor once nothing is in flight on it: only then may the number be given out again."""
        if client.is_armed or client.in_flight is not None or self._clients[client.fd] is not client:
            return
        self._forget(client)
        self._ring.prepare_close(client.sock.detach(), IGNORED, abi.SQE_CQE_SKIP_SUCCESS)

    def _close(self) -> None:
        """Wait until the kernel has let go of all memory of ours, then give the ring back."""
        deadline = time.monotonic() + END_SECONDS_MAX
        counters = self.service.counters
        while counters.accepted != counters.closed and time.monotonic() < deadline:
            self._ring.submit_and_wait(1, TICK_NANOSECONDS)
            self._attend_completions(self.service.replies.answers.get, 0.0)
        self._ring.submit_and_wait(0)
        self._buffers.close()
        self._ring.close()
