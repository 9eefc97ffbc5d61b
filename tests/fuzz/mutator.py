"""Messages made from other messages, by doing to them what goes wrong on the way, and what attackers do on purpose.

Everything follows from the random generator that is given: the same seed gives the same messages.
"""

from collections.abc import Callable, Sequence
from random import Random

MESSAGE_BYTES_MAX = 12_000

# What has a meaning somewhere in a message, or looks as if it had.
TOKENS = (
    b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\n\n", b"\r\r\n", b"\x00", b"\x0b", b"\x0c", b"\x1f", b"\x7f", b"\x80",
    b"\xff", b"\t", b" ", b":", b",", b";", b"=", b'"', b"\\", b"%", b"%0d%0a", b"%00", b"#", b"?", b"/", b"..", b"@",
    b"[", b"]", b"0", b"1", b"f", b"-", b"+", b"_", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /report HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", b"Host: b\r\n", b"Content-Length: 3\r\n",
    b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n",
    b"Expect: 100-continue\r\n", b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0", b"0\r\n\r\n", b"1\r\nx\r\n",
    b"ffffffffffffffff\r\n", b"\r\n ", b"chunked", b", chunked", b"identity", b"close", b"keep-alive",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00",
)  # fmt: skip


class Mutator:
    """Mutates messages.

    Args:
        random: where all choices come from.
        others: messages to splice with.
    """

    def __init__(self, random: Random, others: Sequence[bytes]) -> None:
        self._random = random
        self._others = others
        self._ways: tuple[Callable[[bytes], bytes], ...] = (
            self._flip, self._replace, self._insert, self._insert, self._delete, self._double, self._swap,
            self._truncate,
            self._splice, self._recase, self._lengthen, self._lines,
        )  # fmt: skip

    def mutate(self, message: bytes) -> bytes:
        """The message with one to six things done to it."""
        for _ in range(self._random.choice((1, 1, 1, 2, 3, 6))):
            message = self._random.choice(self._ways)(message)
        return message[:MESSAGE_BYTES_MAX]

    def _place(self, message: bytes) -> int:
        """An offset, more often than not where something begins or ends."""
        random = self._random
        if message and random.random() < 0.5:
            mark = random.choice((b"\r\n", b"\n", b":", b" ", b",", b";"))
            found = message.find(mark, random.randrange(len(message)))
            if found >= 0:
                return found + random.choice((0, len(mark)))
        return random.randint(0, len(message))

    def _span(self, message: bytes) -> tuple[int, int]:
        start = self._place(message)
        return start, min(len(message), start + self._random.choice((1, 1, 2, 4, 16, 64, 256)))

    def _flip(self, message: bytes) -> bytes:
        """Change one bit."""
        place = self._place(message)
        if place >= len(message):
            return message
        return message[:place] + bytes((message[place] ^ 1 << self._random.randrange(8),)) + message[place + 1 :]

    def _replace(self, message: bytes) -> bytes:
        place = self._place(message)
        return message[:place] + bytes((self._random.randrange(256),)) + message[place + 1 :]

    def _insert(self, message: bytes) -> bytes:
        place = self._place(message)
        return message[:place] + self._random.choice(TOKENS) + message[place:]

    def _delete(self, message: bytes) -> bytes:
        start, end = self._span(message)
        return message[:start] + message[end:]

    def _double(self, message: bytes) -> bytes:
        """Write a part of it twice, or many times."""
        start, end = self._span(message)
        return message[:start] + message[start:end] * self._random.choice((2, 2, 3, 30)) + message[end:]

    def _swap(self, message: bytes) -> bytes:
        """Move a part of it to another place."""
        start, end = self._span(message)
        rest = message[:start] + message[end:]
        place = self._place(rest)
        return rest[:place] + message[start:end] + rest[place:]

    def _truncate(self, message: bytes) -> bytes:
        return message[: self._place(message)]

    def _splice(self, message: bytes) -> bytes:
        """The beginning of it and the end of another."""
        other = self._random.choice(self._others)
        return message[: self._place(message)] + other[self._place(other) :]

    def _recase(self, message: bytes) -> bytes:
        start, end = self._span(message)
        return message[:start] + message[start:end].swapcase() + message[end:]

    def _lengthen(self, message: bytes) -> bytes:
        """Repeat one byte until some limit is near, or passed."""
        place = self._place(message)
        size = self._random.choice((15, 18, 19, 500, 511, 512, 513, 1023, 1024, 1025, 2047, 2048, 4300, 5000))
        return (
            message[:place]
            + self._random.choice((b"0", b"9", b"a", b" ", b"\t", b"/", b"\r\n")) * size
            + message[place:]
        )

    def _lines(self, message: bytes) -> bytes:
        """Put the lines into another order, or end them otherwise."""
        lines = message.split(b"\r\n")
        if self._random.random() < 0.3:
            return self._random.choice((b"\n", b"\r", b"\r\r\n")).join(lines)
        first, second = self._random.randrange(len(lines)), self._random.randrange(len(lines))
        lines[first], lines[second] = lines[second], lines[first]
        return b"\r\n".join(lines)
