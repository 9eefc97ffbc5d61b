"""Generated messages: the fuzzer's grammar and mutator, put on connections that are kept alive where they can be.

A script has `MESSAGES` messages. The first ones are without fault: each is sent alone, or a few of them pipelined, and
its responses are awaited before the next. So a response belongs to one message, and the server meets messages in its
idle state, where its fast paths are. The others may have anything wrong with them: each is followed by the end of the
stream, and all that comes back belongs to it.

Everything follows from the seed and the script's number.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random

from tests.fuzz.grammar import Grammar
from tests.fuzz.mutator import Mutator

from .script import END, SETTLE, Await, Open, Script, Send, Step

CORPUS = Path(__file__).parent.parent / "fuzz" / "corpus"
FAULTLESS, WILD = 6, 4
MESSAGES = FAULTLESS + WILD
FOLLOWING = b"GET /report HTTP/1.1\r\nHost: following\r\n\r\n"
BODY = b"Content-Length: 5\r\n\r\nhello"
MODIFIED = b"Sun, 13 Sep 2020 12:26:40 GMT"  # as the served files say

# Requests that the grammar lacks or makes too seldom: methods, targets and fields that have to do with one another.
GETS = tuple(
    b"GET %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (target, fields)
    for target, fields in (
        (b"/", b""),
        (b"/", b"Connection: close\r\n"),
        (b"/hello/you", b""),
        (b"/hello/%C3%A4", b"Accept: text/plain\r\n"),
        (b"/item/7", b""),
        (b"/item/seven", b""),
        (b"/report?a=1&b=2", b"X-A: 1\r\nX-A: 2\r\n"),
        (b"/blocking", b""),
        (b"/stream", b""),
        (b"/blocking/stream", b""),
        (b"/broken", b""),
        (b"/broken/stream", b""),
        (b"/blocking/broken", b""),
        (b"/blocking/broken/stream", b""),
        (b"/refused", b""),
        (b"/status/204", b""),
        (b"/status/304", b""),
        (b"/status/503", b""),
        (b"/nowhere", b""),
        (b"/form", b""),
        (b"/bytes/20000", b""),
        (b"/files/small.txt", b""),
        (b"/files/large.bin", b""),
        (b"/files/", b""),
        (b"/files/small.txt", b"If-Modified-Since: " + MODIFIED + b"\r\n"),
        (b"/files/large.bin", b"If-Modified-Since: " + MODIFIED + b"\r\n"),
        (b"/files/small.txt", b"If-Modified-Since: Sun, 13 Sep 2020 12:26:39 GMT\r\n"),
        (b"/files/small.txt", b"If-None-Match: *\r\n"),
        (b"/files/small.txt", b'If-None-Match: "x"\r\nIf-Modified-Since: ' + MODIFIED + b"\r\n"),
        (b"/files/large.bin", b"Range: bytes=0-99\r\n"),
        (b"/files/nothing.txt", b""),
    )
)
POSTS = tuple(
    b"%b %b HTTP/1.1\r\nHost: a\r\n%b" % (method, target, rest)
    for method, target, rest in (
        (b"POST", b"/report", BODY),
        (b"PUT", b"/report", BODY),
        (b"PATCH", b"/blocking", BODY),
        (b"DELETE", b"/echo", BODY),
        (b"POST", b"/echo", b"Content-Length: 0\r\n\r\n"),
        (b"POST", b"/echo", b"Content-Length: 4900\r\n\r\n" + b"e" * 4900),
        (b"POST", b"/echo", b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n"),
        (b"POST", b"/report", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
        (b"POST", b"/form", b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\na=1&b=2"),
        (b"POST", b"/form", BODY),
        (b"POST", b"/json", b'Content-Type: application/json\r\nContent-Length: 7\r\n\r\n{"a":1}'),
        (b"POST", b"/json", BODY),
        (b"POST", b"/echo", b"Expect: 100-continue\r\n" + BODY),
        (b"POST", b"/hello/you", BODY),
        (b"OPTIONS", b"/echo", b"\r\n"),
        (b"OPTIONS", b"*", b"\r\n"),
    )
)


def read_corpus() -> dict[str, bytes]:
    """Read the messages that the fuzzer keeps, by name."""
    return {path.stem: path.read_bytes() for path in sorted(CORPUS.glob("*.http"))}


def corpus_scripts() -> Iterator[Script]:
    """Yield each message of the corpus: whole, with a request behind it, and byte by byte."""
    for name, message in read_corpus().items():
        yield Script(f"corpus {name}", wild_steps(message))
        yield Script(f"corpus {name}, followed", wild_steps(message + FOLLOWING))
        if len(message) <= 600:
            yield Script(f"corpus {name}, byte by byte", split_steps(message, range(1, len(message))))


def wild_steps(message: bytes) -> tuple[Step, ...]:
    """Send a message and the end of the stream."""
    return (Open(), Send(message), *END)


def split_steps(message: bytes, cuts: Sequence[int]) -> tuple[Step, ...]:
    """Send a message in pieces, each after the server has read the one before, and the end of the stream."""
    edges = [0, *sorted(set(cuts)), len(message)]
    steps: list[Step] = [Open()]
    for start, end in pairwise(edges):
        steps += [Send(message[start:end]), *SETTLE]
    return (*steps, *END)


class Source:
    """Makes the scripts of a seed.

    Args:
        etags: of the served files; a conditional request needs them.
    """

    def __init__(self, seed: int, etags: Sequence[bytes] = ()) -> None:
        self._seed = seed
        self._corpus = tuple(read_corpus().values())
        conditional = tuple(
            b"GET /files/%b HTTP/1.1\r\nHost: a\r\nIf-None-Match: %b\r\n\r\n" % (name, etag)
            for name, etag in zip((b"small.txt", b"large.bin"), etags, strict=False)
        )
        gets = GETS + conditional
        heads = tuple(b"HEAD" + request[3:] for request in gets)
        old = tuple(request.replace(b"HTTP/1.1", b"HTTP/1.0", 1) for request in gets[:12])
        kept = tuple(one.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n", 1) for one in old)
        self._requests = gets * 3 + POSTS * 3 + heads + old + kept

    def script(self, number: int) -> Script:
        """Return the script of a number."""
        random = Random(self._seed << 40 | number)
        grammar = Grammar(random)
        steps: list[Step] = []
        for _ in range(FAULTLESS):
            requests = self._faultless(random, grammar)
            methods = tuple(request.partition(b" ")[0] for request in requests)
            steps += [Open(), Send(b"".join(requests)), Await(methods)]
        for _ in range(WILD):
            steps += self._wild(random)
        return Script(f"message script {number}", tuple(steps), MESSAGES)

    def _faultless(self, random: Random, grammar: Grammar) -> list[bytes]:
        """Make a request without fault, or several to be pipelined."""
        kind = random.random()
        if kind < 0.5:
            return [random.choice(self._requests)]
        if kind < 0.75:
            return [grammar.request()]
        few = [grammar.request(), random.choice(self._requests), random.choice(self._requests)]
        return random.choices(few, k=random.randint(2, 6))

    def _wild(self, random: Random) -> tuple[Step, ...]:
        """Play a message that may have anything wrong with it; now and then in pieces."""
        grammar = Grammar(random)
        kind = random.random()
        if kind < 0.3:
            message = grammar.stream()
        else:
            origins = self._corpus if kind < 0.7 else self._requests if kind < 0.85 else (grammar.stream(),)
            message = Mutator(random, self._corpus).mutate(random.choice(origins))
        if random.random() < 0.4:
            message += FOLLOWING
        if random.random() < 0.1:
            return split_steps(message, [random.randint(0, len(message)) for _ in range(2)])
        return wild_steps(message)
