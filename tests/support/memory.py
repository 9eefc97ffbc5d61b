"""Drives connections of any protocol in memory: a reactor without sockets, with a clock of its own.

`MemoryReactor` and `Session` know `mreactor.protocol` and nothing of HTTP. A suite that runs on them therefore tests
every protocol that implements it.

    reactor = MemoryReactor(EchoContext)
    session = reactor.connect()
    session.arrive(b"hello")
    session.drive()
    assert session.sent == b"hello"

`Session` does one step at a time, so that a fuzzer can choose the order; `drive` takes steps until nothing is left.
The invariants of the connection are checked after every step.
"""

import os
from collections import deque
from collections.abc import Callable
from itertools import pairwise

from mreactor.concurrency import Job
from mreactor.config import Limits
from mreactor.net.reactor.delivery import Delivery
from mreactor.protocol import CLOSED, IDLE, LINGERING, READY, Connection, Context, FileBody, Peer
from tests.support.invariants import check

UNLIMITED = 1 << 40
READ_BYTES = 64 * 1024
STEPS_MAX = 100_000  # of one `settle`: more means that the connection never comes to rest
TICK_SECONDS = 0.05
PEER: Peer = ("192.0.2.1", 50000)


class Hang(AssertionError):
    """A connection does not come to rest."""


def split(data: bytes, cuts: tuple[int, ...]) -> list[bytes]:
    """Cut data at the given offsets; empty pieces are left out."""
    edges = [0, *sorted(set(cuts)), len(data)]
    return [data[start:end] for start, end in pairwise(edges) if start < end]


def return_job(connection: Connection, job: Job) -> None:
    """Hand a finished job back, and queue a whole response that comes of it, as reactors may."""
    response = connection.job_done(job)
    if response is not None:
        assert connection.state == IDLE, "nothing else needs looking at"
        connection.queue_remainder(response, 0)


class Session:
    """One connection, and what a reactor and the kernel hold for it.

    Args:
        context: makes the connection, of any protocol.
        peer: the client's address.
        uses_fast_path: known bytes are looked up as the reactors do; otherwise all goes through `receive_data`.
        send_max: bytes that one send takes at most.
        window: bytes that the kernel keeps for a peer that does not read.
        runs_jobs: `settle` runs jobs at once; otherwise they wait in `jobs` for `run_job`.

    Attributes:
        sent: what the connection has sent and the peer has not taken.
        jobs: taken from the connection and not run.
    """

    def __init__(
        self,
        context: Context,
        peer: Peer = PEER,
        *,
        uses_fast_path: bool = False,
        send_max: int = UNLIMITED,
        window: int = UNLIMITED,
        runs_jobs: bool = True,
    ) -> None:
        self.connection = context.connect(peer)
        self.sent = bytearray()
        self.jobs: deque[Job] = deque()
        self.send_max, self.window = send_max, window
        self._context = context
        self._uses_fast_path = uses_fast_path
        self._runs_jobs = runs_jobs
        self._unread = bytearray()  # has arrived, and the connection has not read it
        self._eof_arrived = self._eof_read = False
        self._state = self.connection.state
        self._delivery: Delivery | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the connection sends nothing more."""
        return self.connection.state in (LINGERING, CLOSED)

    # What the peer does.

    def arrive(self, data: bytes) -> None:
        """Let bytes arrive; `drive` has them read."""
        assert not self._eof_arrived, "the peer has shut its write side"
        self._unread += data

    def arrive_eof(self) -> None:
        """Let the peer shut its write side. Idempotent."""
        self._eof_arrived = True

    def take_sent(self) -> bytes:
        """Take what the connection has sent, as the peer does when it reads."""
        taken = bytes(self.sent)
        self.sent.clear()
        return taken

    def reset(self) -> None:
        """Let the peer leave abruptly, or the server give up: the connection is aborted, its last jobs are run."""
        self.connection.abort()
        self._unread.clear()
        self.check()
        self.settle()

    # What a reactor does.

    def drive(self) -> None:
        """Send, run and read until nothing more can be done."""
        self.settle()
        while self.read():
            self.settle()

    def settle(self) -> None:
        """Take steps until nothing is left to do without the peer."""
        for _ in range(STEPS_MAX):
            if not (self.step() or (self._runs_jobs and self.run_job())):
                return
        raise Hang(f"no rest after {STEPS_MAX} steps, in state {self.connection.state}")

    def step(self) -> bool:
        """Send once, or take a job, or give the connection its next turn; False if there is nothing to do."""
        connection = self.connection
        if (output := connection.data_to_send()) and (room := self._room()) > 0:
            connection.data_sent(self._send(output, room))
        elif (job := connection.next_job()) is not None:
            self.jobs.append(job)
        elif connection.state == READY:
            connection.resume()
        else:
            return False
        self.check()
        return True

    def run_job(self) -> bool:
        """Run the first job that waits and hand it back; False if none waits."""
        if not self.jobs:
            return False
        job = self.jobs.popleft()
        job.run()
        return_job(self.connection, job)
        self.check()
        return True

    def reject_job(self) -> None:
        """Hand the first job that waits back as the reactor does when the thread pool is full."""
        job = self.jobs.popleft()
        self.connection.reject_job(job)
        return_job(self.connection, job)
        self.check()

    def read(self) -> bool:
        """Read once what has arrived, if the connection wants it; False if nothing was read."""
        if not self.connection.wants_read:
            return False
        if self._unread:
            data = bytes(self._unread[:READ_BYTES])
            del self._unread[:READ_BYTES]
            self.receive(data)
            return True
        if self._eof_arrived and not self._eof_read:
            self._eof_read = True
            self.receive(b"")
            return True
        return False

    def receive(self, data: bytes) -> None:
        """Hand bytes to the connection, wanted or not, and send what it returns as far as there is room."""
        connection = self.connection
        if self._uses_fast_path and connection.state == IDLE:
            response = self._look_up(data)
        else:
            response = connection.receive_data(data)
        if response is not None:
            assert response, "a response that is returned is not empty"
            assert connection.state == IDLE, "a response that is returned leaves the connection idle"
            count = self._send(response, self._room())
            if count < len(response):
                connection.queue_remainder(response, count)
        self.check()

    def handle_timeout(self, now: float) -> None:
        """Tell the connection the time."""
        self.connection.handle_timeout(now)
        self.check()

    def look_at_delivery(self, now: float, limits: Limits) -> None:
        """Give a peer up that takes too little for too long, as the reactors do."""
        queued, delivery = len(self.sent), self._delivery
        if delivery is None:
            self._delivery = Delivery(now, queued) if self.connection.data_to_send() else None
        elif not queued:
            self._delivery = None
        else:
            delivery.note(now, queued)
            if now >= delivery.deadline(limits):
                self._context.count_write_timeout()
                self.reset()

    def drain(self) -> None:
        """Ask the connection to prepare for its end."""
        self.connection.drain()
        self.check()

    def check(self) -> None:
        """Check the connection's invariants."""
        before, self._state = self._state, self.connection.state
        check(self.connection, before)

    def _look_up(self, data: bytes) -> bytes | None:
        """Do what the reactors' fast path does for bytes on an idle connection."""
        connection, fast_path = self.connection, self._context.fast_path
        body_route = None
        if data > fast_path.body_methods_after:
            end = data.find(fast_path.head_end) + len(fast_path.head_end)
            body_route = fast_path.find_body_route(data[:end])
        if body_route is not None and body_route[1] == len(data):
            return connection.call_cached_route(body_route[0], data[end:])
        if body_route is None and (cached := fast_path.find_response(data)) is not None:
            response, _, hits, entry = cached
            hits[0] += 1
            connection.deadline = self._context.idle_deadline
            if entry is not None:
                fast_path.log_request(connection.peer, *entry)
            return response
        route = fast_path.find_route(data)
        if route is not None:
            return connection.call_cached_route(route, b"")
        return connection.receive_uncached(data)

    def _room(self) -> int:
        return max(0, min(self.send_max, self.window - len(self.sent)))

    def _send(self, output: bytes | memoryview | FileBody, count: int) -> int:
        if isinstance(output, FileBody):
            part = os.pread(output.fd, min(count, output.remaining), output.offset)
            assert part, "a file became shorter"
        else:
            part = bytes(output[:count])
        self.sent += part
        if self._delivery is not None:
            self._delivery.sent += len(part)
        return len(part)


class MemoryReactor:
    """A context, its connections and a clock that passes when it is told to.

    Args:
        make_context: as the reactors' argument.
        uses_fast_path: known bytes are looked up as the reactors look them up.
        limits: how slowly a peer may take its responses.
    """

    def __init__(
        self, make_context: Callable[[], Context], *, uses_fast_path: bool = True, limits: Limits | None = None
    ) -> None:
        self.context = make_context()
        self.sessions: list[Session] = []
        self._limits = limits or Limits()
        self._uses_fast_path = uses_fast_path
        self._is_draining = False

    @property
    def now(self) -> float:
        """Seconds, by the clock of the deadlines."""
        return self.context.now

    def connect(
        self, peer: Peer = PEER, *, send_max: int = UNLIMITED, window: int = UNLIMITED, runs_jobs: bool = True
    ) -> Session:
        """Accept a connection; see `Session`."""
        session = Session(
            self.context,
            peer,
            uses_fast_path=self._uses_fast_path,
            send_max=send_max,
            window=window,
            runs_jobs=runs_jobs,
        )
        self.context.counters.accepted += 1
        self.sessions.append(session)
        if self._is_draining:
            session.drain()
        return session

    def pass_time(self, seconds: float) -> None:
        """Begin a round that much later: jobs are run and deadlines are minded."""
        context = self.context
        context.begin_round(context.now + seconds)
        if context.now >= context.next_second:
            context.begin_second(context.now)
        context.tick(context.now)
        self.run_jobs()
        for session in list(self.sessions):
            session.look_at_delivery(context.now, self._limits)
            session.handle_timeout(context.now)
            session.drive()
        self.remove_closed()

    def run_jobs(self) -> None:
        """Run all jobs that wait, those that follow from them included, as the thread pool would."""
        has_run = True
        while has_run:
            has_run = False
            for session in list(self.sessions):
                if session.run_job():
                    has_run = True
                    session.drive()

    def remove_closed(self) -> int:
        """Forget connections that are closed; returns how many are open."""
        closed = [session for session in self.sessions if session.connection.state == CLOSED]
        still_open = [session for session in self.sessions if session.connection.state != CLOSED]
        self.context.counters.closed += len(closed)
        # A connection that was closed while its job ran disposes of the job's result.
        self.sessions = still_open + [session for session in closed if session.jobs]
        return len(still_open)

    def drain(self) -> None:
        """Drain as a server does: what has arrived is read first."""
        self._is_draining = True
        self.context.drain()
        for session in list(self.sessions):
            session.drive()
            session.drain()
            session.drive()
        self.remove_closed()

    def close(self) -> None:
        """Abort what is left and run the last jobs; nothing may be held afterwards."""
        for session in list(self.sessions):
            session.reset()
        self.run_jobs()
        self.context.close()
        assert self.remove_closed() == 0, "every connection is closed"
        assert self.context.counters.buffered == 0, "no bytes of bodies are held"
