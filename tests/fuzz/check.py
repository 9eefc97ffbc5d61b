"""What must hold for a message: it is played in several ways, and they are compared."""

import re
import time
from pathlib import Path
from random import Random

from tests.support.memory import Hang
from tests.support.responses import Malformed, read_responses

from .play import WHOLE, Manner, Outcome, all_output, essence, play
from .target import make_app, make_context

CPU_SECONDS_MAX = 2.0  # for one message; the longest legitimate one takes some 20 ms, byte by byte
BYTEWISE_MAX = 600  # longer messages are not played byte by byte: the time is better spent on others
REQUEST = re.compile(rb"(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) ")  # what may be the start of one
AFTERWARDS = b"GET /report HTTP/1.1\r\nHost: afterwards\r\n\r\n"

# A context is used for so many messages, so that its memos meet many; and its second turns so often.
MESSAGES_A_SERVICE = 1000
MESSAGES_A_SECOND = 100
KNOWN_MAX = 2000

SHOWN_BEFORE, SHOWN = 60, 160  # bytes of outputs that differ


class Wrong(Exception):
    """A message for which something does not hold; the text says what, for people."""


class Checker:
    """Checks messages against services of its own, one after the other.

    Args:
        files: the directory that the application serves.
    """

    def __init__(self, files: Path) -> None:
        self._app = make_app(files)
        self._service = make_context(self._app)
        self._count = 0
        self._known: set[bytes] = set()  # outputs that have been read and found good

    def check(self, message: bytes, random: Random) -> None:
        """Check one message, in ways that are chosen at random.

        Raises:
            Wrong: something does not hold.
        """
        self._turn()
        begun = time.thread_time()
        try:
            self._compare(message, random)
        except Wrong:
            raise
        except Hang as hang:
            raise Wrong(str(hang)) from hang
        except Exception as error:
            raise Wrong(f"{type(error).__name__} escaped: {error}") from error
        if (seconds := time.thread_time() - begun) > CPU_SECONDS_MAX:
            raise Wrong(f"it took {seconds:.1f} s of CPU time")

    def close(self) -> None:
        """Nothing: there is no server to end."""

    def _turn(self) -> None:
        self._count += 1
        if self._count % MESSAGES_A_SERVICE == 0:
            self._service = make_context(self._app)
        elif self._count % MESSAGES_A_SECOND == 0:
            self._service.begin_second(self._service.now)
            self._known.clear()

    def _compare(self, message: bytes, random: Random) -> None:
        whole = play(self._service, message)
        self._read(message, whole)
        for manner in manners(message, random):
            other = play(self._service, message, manner)
            if manner.ends_early:
                same = all_output(whole) == all_output(other)
            else:
                same = whole == other or essence(whole) == essence(other)
            if not same:
                raise Wrong(f"{manner} changes the outcome\n{difference(whole, other)}")
        if whole.is_over and random.random() < 0.2:
            later = play(self._service, message + AFTERWARDS)
            if all_output(later) != all_output(whole):
                raise Wrong(f"what follows the end of the connection is answered\n{difference(whole, later)}")

    def _read(self, message: bytes, outcome: Outcome) -> None:
        """The output is whole responses; unless to HEAD, unknown to the reader, or where the application broke off."""
        output = outcome.output + outcome.at_end
        if output in self._known or b"HEAD" in message or b"/broken/stream" in message:
            return
        try:
            read_responses(output)
        except Malformed as error:
            raise Wrong(f"the output is malformed: {error}") from error
        if len(self._known) < KNOWN_MAX:
            self._known.add(output)


def manners(message: bytes, random: Random) -> list[Manner]:
    """Ways to play a message besides giving it whole: three to six."""
    length = len(message)
    cuts = tuple(random.randint(0, length) for _ in range(random.choice((1, 1, 2, 4))))
    chosen = [Manner(cuts, random.choice((0, 0, 1000, 100, 1 + length // 3)), random.random() < 0.3)]
    if random.random() < 0.08 and length <= BYTEWISE_MAX:
        chosen.append(Manner(tuple(range(1, length)), hasty=random.random() < 0.5))
    if random.random() < 0.2:
        chosen.append(Manner(cuts, hasty=random.random() < 0.5, ends_early=True))
    starts = [match.start() for match in REQUEST.finditer(message)]
    if len(starts) > 1:
        chosen.append(Manner(tuple(random.sample(starts, random.randint(1, len(starts))))))
    # A second and a third time: now it may be cached.
    chosen += [WHOLE, Manner(uses_fast_path=True)]
    return chosen


def difference(one: Outcome, other: Outcome) -> str:
    """Where two outcomes begin to differ, for people."""
    first, second = all_output(one), all_output(other)
    start = max(0, _common(first, second) - SHOWN_BEFORE)
    shown = [
        f"  {output[start : start + SHOWN]!r} {outcome.state}" for output, outcome in ((first, one), (second, other))
    ]
    return f"  from byte {start} on:\n" + "\n".join(shown)


def _common(first: bytes, second: bytes) -> int:
    """The length of what two outputs have in common."""
    pairs = zip(first, second, strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(first), len(second)))
