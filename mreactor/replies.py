"""What one reactor remembers from one second to the next: whole answers, and where whole requests lead.

Both are found by the bytes received, exactly as they came, so one dict lookup takes the place of parsing and routing.
Nothing here outlives the second, because then the Date changes; and hostile requests, however many and however large,
find no room once the bounds are reached, and can do no more.
"""

from typing import Any

from .accesslog import AccessBuffer
from .heads import PlainHeads
from .http1.parser import END_OF_HEAD
from .http1.request import RequestHead
from .metrics import Counters, Tally
from .router import Handler

# POST, PUT and PATCH stand behind this, the methods that have no body before it (DELETE may have one).
UPLOADS = b"P"

ENTRIES_MAX = 1024
KEY_BYTES_MAX = 4096
ANSWER_BYTES_MAX = 64 * 1024
BYTES_MAX = 8 * 1024 * 1024
# Of the keys of calls and uploads together. What they lead to takes up to thirty times as much.
CALL_BYTES_MAX = 256 * 1024

# What the access log says of a request: its head, the status, the bytes of content.
type Note = tuple[RequestHead, int, int]

# What is needed to keep an answer: what counts its requests, and what the access log says of each.
type Kept = tuple[Tally, Note | None]

# A note, and of how many equal requests it is.
type Noted = tuple[RequestHead, int, int, int]

# An answer, its size, how often it was given (see `IN_LOOP`), and what the access log says of the requests answered.
type Reply = tuple[bytes, int, list[int], Noted | None]

# Where the two numbers of `Reply` stand: hits in a reactor's own loop, whose bytes are counted by them, and elsewhere.
IN_LOOP = 0
ELSEWHERE = 1

# Where a request leads: handler, the path parameter that it takes by position, those that it takes by name, head, what
# counts it, and what is the service's but costs less here: the heads of its answers and its access log.
type Call = tuple[Handler, Any, dict[str, Any], RequestHead, Tally, PlainHeads, AccessBuffer | None]


class Replies:
    """The memory of one reactor, used by its thread alone.

    Attributes:
        answers: answers of constant handlers, by the bytes that asked for them.
        farewells: the same, where the request ends its connection.
        calls: handlers that compute, by the bytes that call them.
        uploads: handlers that take a body, by the head of the bytes that call them, with the size of both.
        is_closed: nothing is remembered any more.
    """

    __slots__ = (
        "_access", "_bytes", "_call_bytes", "_counters", "_counts", "_heads", "answers", "calls", "farewells",
        "is_closed", "uploads",
    )  # fmt: skip

    def __init__(self, counters: Counters, heads: PlainHeads, access: AccessBuffer | None = None) -> None:
        self._counters, self._heads, self._access = counters, heads, access
        # Hits, requests for each hit, what counts them, bytes received and sent for each hit.
        self._counts: list[tuple[list[int], int, Tally, int, int]] = []
        self._bytes = self._call_bytes = 0
        self.answers: dict[bytes, Reply] = {}
        self.farewells: dict[bytes, Reply] = {}
        self.calls: dict[bytes, Call] = {}
        self.uploads: dict[bytes, tuple[Call, int]] = {}
        self.is_closed = False

    def keep(self, key: bytes, answer: bytes, head: RequestHead, count: int, kept: Kept | None) -> None:
        """Remember for the rest of the second what some bytes have led to, if there is room for it.

        Args:
            key: the bytes, which were the same request `count` times and nothing else.
            answer: what was answered to all of it.
            head: the request's head.
            kept: set if the answer may be given again; otherwise at most the way to it is remembered.
        """
        match = head.match
        if self.is_closed:
            return
        if kept is not None:
            answers = self.answers if head.keep_alive else self.farewells
            if head.keep_alive or not head.has_body:
                self._keep_answer(answers, key, answer, count, *kept)
        elif match.plain and count == 1 and not head.chunked and not head.expects_continue:
            named = match.params if match.argument is None else {}
            call = (match.handler, match.argument, named, head, match.tally, self._heads, self._access)
            size = len(key)
            key = key[: size - head.content_length]
            if len(key) > KEY_BYTES_MAX or self._call_bytes + len(key) > CALL_BYTES_MAX:
                return
            self._call_bytes += len(key)
            if not head.has_body and len(self.calls) < ENTRIES_MAX:
                self.calls[key] = call
            elif head.has_body and key > UPLOADS and len(self.uploads) < ENTRIES_MAX:
                self.uploads[key] = (call, size)

    def find_upload(self, data: bytes) -> tuple[Call, bytes] | None:
        """Where a request with its whole body leads, known by its head; and the body. For bytes behind `UPLOADS`.

        Reactors have this written out in their loops: 0.2 µs of an echo's 2.5 saved.
        """
        end = data.find(END_OF_HEAD) + len(END_OF_HEAD)
        found = self.uploads.get(data[:end])
        return None if found is None or found[1] != len(data) else (found[0], data[end:])

    def _keep_answer(
        self,
        answers: dict[bytes, Reply],
        key: bytes,
        answer: bytes,
        count: int,
        tally: Tally,
        note: Note | None,
    ) -> None:
        size = len(key) + len(answer)
        is_huge = len(key) > KEY_BYTES_MAX or len(answer) > ANSWER_BYTES_MAX
        is_full = len(self._counts) >= ENTRIES_MAX or self._bytes + size > BYTES_MAX
        if is_full or is_huge or key in answers:
            return
        hits = [0, 0]
        answers[key] = (answer, len(answer), hits, None if note is None else (*note, count))
        self._counts.append((hits, count, tally, len(key), len(answer)))
        self._bytes += size

    def turn_second(self) -> None:
        """Forget everything, and count what was answered from memory: a hit itself only adds one to its own number."""
        counters = self._counters
        for hits, count, tally, received, sent in self._counts:
            tally[0] += sum(hits) * count
            counters.cache_hits[0] += sum(hits) * count
            counters.bytes_in += hits[IN_LOOP] * received
            counters.bytes_out += hits[IN_LOOP] * sent
        self._counts.clear()
        self.answers.clear()
        self.farewells.clear()
        self.calls.clear()
        self.uploads.clear()
        self._bytes = self._call_bytes = 0

    def close(self) -> None:
        """Forget everything for good."""
        self.is_closed = True
        self.turn_second()
