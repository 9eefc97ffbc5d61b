"""Compares two checkouts: the same scripts to both, and a second look at whatever differs."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import batched, count
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.shrink import shrink

from .messages import wild_steps
from .player import Player
from .script import LATE, Open, Outcome, Script, Send
from .server import APP, SENT, Metrics, Server, make_files, read_etags, serve

BATCH = 400  # scripts played before outcomes are compared
REPLAYS = 5
REPEATS = 2  # of a suite whose responses are equal and whose books are not
SUSPECTS_MAX = 10  # of a suite: after so many it is enough
NEIGHBOURS = 24  # scripts played together with a suspect, where it does not differ alone


class Suite(NamedTuple):
    """Scripts, and the server that they are for.

    Attributes:
        options: of the command line; the last is the application.
        scripts: makes the scripts.
        parallel: how many are played at a time.
        apart: each script has a server of its own, which it ends.
    """

    name: str
    options: tuple[str, ...]
    scripts: Callable[[], Iterable[Script]]
    parallel: int = 24
    apart: bool = False


# By the name of a counter, "access log" or "exit code": how the two servers' books differ, in words for people.
type Books = dict[str, str]


class Suspect(NamedTuple):
    """A script that has differed once, and the scripts that were played before it."""

    script: Script
    before: Sequence[Script]


class Side(NamedTuple):
    """One of the two that are compared: a checkout, and the application that it serves."""

    checkout: Path
    app: Path = APP


@dataclass(slots=True)
class Result:
    """What came of a suite.

    Attributes:
        differences: each in words for people.
        unsteady: names of scripts and counters that differed once and not when played again, or took too long.
        resets: closed connections that were reset, on each side.
    """

    scripts: int = 0
    messages: int = 0
    differences: list[str] = field(default_factory=list)
    unsteady: list[str] = field(default_factory=list)
    resets: list[int] = field(default_factory=lambda: [0, 0])

    def add(self, script: Script, old: Outcome, new: Outcome) -> None:
        """Count what was played."""
        self.scripts += 1
        self.messages += script.messages
        self.resets[0] += old.resets
        self.resets[1] += new.resets


class Pair:
    """Two servers and a player for each. The players run in threads of their own.

    Args:
        parallel: how many scripts are played at a time.
        reworded: the sentences of error pages may differ.

    Attributes:
        servers: the old one and the new one.
    """

    def __init__(self, servers: tuple[Server, Server], parallel: int, reworded: bool) -> None:
        self.servers = servers
        self._reworded = reworded
        self._players = [Player(server.address, server.terminate) for server in servers]
        self._threads = ThreadPoolExecutor(2)
        self._parallel = parallel

    def play(self, scripts: Sequence[Script]) -> list[tuple[Outcome, Outcome]]:
        """Play scripts against both servers at once."""
        old, new = [self._threads.submit(player.play, scripts, self._parallel) for player in self._players]
        return list(zip(old.result(), new.result(), strict=True))

    def is_equal(self, old: Outcome, new: Outcome) -> bool:
        """Whether two outcomes are equal in all that has to be."""
        return old.essence(self._reworded) == new.essence(self._reworded)

    def differs(self, script: Script, among: Sequence[Script] = ()) -> bool:
        """Whether a script differs steadily: no outcome of the old server is one of the new server's."""
        essences: tuple[set[object], set[object]] = set(), set()
        for _ in range(REPLAYS):
            outcomes = self.play([*among, script])[-1]
            for seen, outcome in zip(essences, outcomes, strict=True):
                seen.add(outcome.essence(self._reworded))
            if not essences[0].isdisjoint(essences[1]):
                return False
        return True

    def of_both[T](self, ask: Callable[[Server], T]) -> list[T]:
        """Call a method of both servers at once: each may have to wait."""
        return list(self._threads.map(ask, self.servers))

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()
        for player in self._players:
            player.close()


class Comparer:
    """Compares two sides on one backend.

    Args:
        folder: for the servers to run in.
        reworded: the sentences of error pages may differ, and with them what depends on their length.

    Attributes:
        etags: of the files that are served.
    """

    def __init__(self, old: Side, new: Side, backend: str, folder: Path, reworded: bool = False) -> None:
        self._reworded = reworded
        self._sides = (old, new)
        self._backend = backend
        self._folder = folder
        self._files = make_files(folder / "files")
        self._numbers = count()
        self.etags = read_etags(self._files)

    def run(self, suite: Suite) -> Result:
        """Play a suite and compare all that is to be equal."""
        result, suspects, books = self._play(suite)
        if suspects:
            self._look_again(suite, suspects, result)
        else:
            for _ in range(REPEATS):
                if books:
                    again = self._play(suite)[2]
                    result.unsteady += books.keys() - again.keys()
                    books = {name: what for name, what in again.items() if name in books}
        result.differences += books.values()
        return result

    def _play(self, suite: Suite) -> tuple[Result, list[Suspect], Books]:
        """Play a suite once."""
        result = Result()
        suspects: list[Suspect] = []
        books: Books = {}
        for scripts in [[script] for script in suite.scripts()] if suite.apart else [suite.scripts()]:
            self._play_part(suite, scripts, result, suspects, books)
        return result, suspects, books

    @contextmanager
    def pair(self, suite: Suite) -> Iterator[Pair]:
        """Start the two servers of a suite."""
        folder = self._folder / f"{suite.name}-{next(self._numbers)}"
        old, new = self._sides
        with (
            serve(old.checkout, folder / "old", self._files, self._backend, suite.options, old.app) as first,
            serve(new.checkout, folder / "new", self._files, self._backend, suite.options, new.app) as second,
        ):
            pair = Pair((first, second), suite.parallel, self._reworded)
            try:
                yield pair
            finally:
                pair.close()

    def _play_part(
        self, suite: Suite, scripts: Iterable[Script], result: Result, suspects: list[Suspect], books: Books
    ) -> None:
        """Play scripts on one pair of servers, and add to what came of it."""
        with self.pair(suite) as pair:
            for batch in batched(scripts, BATCH, strict=False):
                for at, (old, new) in enumerate(pair.play(batch)):
                    result.add(batch[at], old, new)
                    if LATE in old.ends and LATE in new.ends:
                        result.unsteady.append(f"{batch[at].name}: a step waited in vain, on both sides")
                    if not pair.is_equal(old, new):
                        suspects.append(Suspect(batch[at], batch[max(0, at - NEIGHBOURS) : at]))
                if len(suspects) >= SUSPECTS_MAX:
                    break
            metrics = [{}, {}] if suite.apart else pair.of_both(Server.metrics)
            codes = pair.of_both(Server.stop)
            lines = pair.of_both(Server.access_lines)
        if codes[0] != codes[1]:
            books["exit code"] = f"exit code {codes[0]} became {codes[1]}"
        books |= compare_metrics(metrics[0], metrics[1], self._reworded)
        books |= compare_lines(lines[0], lines[1], self._reworded)

    def _look_again(self, suite: Suite, suspects: Sequence[Suspect], result: Result) -> None:
        """Play suspects again on fresh servers; what differs each time is a difference."""
        if suite.apart:
            result.differences += [f"{script.name}: differs; not played again" for script, _ in suspects]
            return
        with self.pair(suite) as pair:
            for script, before in suspects[:SUSPECTS_MAX]:
                if pair.differs(script):
                    result.differences.append(describe(pair, minimal(pair, script)))
                elif pair.differs(script, before):
                    result.differences.append("only behind other scripts:\n" + describe(pair, script, before))
                else:
                    result.unsteady.append(script.name)


def compare_metrics(old: Metrics, new: Metrics, reworded: bool) -> Books:
    """Compare two sets of counters."""
    return {
        name: f"metrics: {name} {old.get(name)} became {new.get(name)}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name) and not (reworded and name == SENT)
    }


def compare_lines(old: Counter[str], new: Counter[str], reworded: bool) -> Books:
    """Compare two access logs. The first lines of each side that the other lacks are shown."""
    if reworded:
        old, new = without_sizes(old), without_sizes(new)
    missing, added = old - new, new - old
    if not missing and not added:
        return {}
    shown = [f"  - {line}" for line in list(missing)[:3]] + [f"  + {line}" for line in list(added)[:3]]
    counted = f"access log: {missing.total()} lines are missing, {added.total()} are new"
    return {"access log": "\n".join((counted, *shown))}


def without_sizes(lines: Counter[str]) -> Counter[str]:
    """Return lines of the access log without the sizes of error pages."""
    sizeless: Counter[str] = Counter()
    for line, number in lines.items():
        start, status, _ = line.rsplit(" ", 2)
        sizeless[f"{start} {status}" if status >= "400" else line] += number
    return sizeless


def minimal(pair: Pair, script: Script) -> Script:
    """Make a script that differs as short as it can be: one message that differs by itself, if there is one."""
    at = first_difference(*pair.play([script])[0])
    steps = script.steps[: at + 1]
    opened = [number for number, step in enumerate(steps) if isinstance(step, Open) and step.client == 0]
    last = Script(f"{script.name}, its last connection", steps[opened[-1] :] if opened else steps)
    sent = [step.data for step in last.steps if isinstance(step, Send) and step.client == 0]
    for message in (*sent[-1:], b"".join(sent)):
        if pair.differs(Script("", wild_steps(message))):
            short = shrink(message, lambda part: pair.differs(Script("", wild_steps(part))))
            return Script(f"{script.name}, shortened", wild_steps(short))
    return last if pair.differs(last) else script


def first_difference(old: Outcome, new: Outcome) -> int:
    """Return the number of the first step where two outcomes part; where only the ends differ, of the last step."""
    for one, other in zip(old.received, new.received, strict=False):
        if one != other:
            return min(one[0], other[0])
    return max((number for number, _ in (*old.received, *new.received)), default=0)


def describe(pair: Pair, script: Script, before: Sequence[Script] = ()) -> str:
    """Show a difference: what to send, and what comes back from each side."""
    old, new = pair.play([*before, script])[-1]
    at = first_difference(old, new)
    steps = [f"    {step}" for step in script.steps[: at + 1]]
    return "\n".join((
        f"{script.name}:",
        *(steps if len(steps) <= 12 else [f"    ... {len(steps) - 12} steps", *steps[-12:]]),
        f"  old: {tail_of(old, at)}",
        f"  new: {tail_of(new, at)}",
    ))  # fmt: skip


def tail_of(outcome: Outcome, at: int) -> str:
    """Show what came at a step, and how the connections ended."""
    received = b"".join(data for number, data in outcome.received if number == at)
    shown = repr(received) if len(received) <= 1200 else f"{received[:600]!r} ... {received[-600:]!r}"
    return f"{shown}, {', '.join(outcome.ends)}"
