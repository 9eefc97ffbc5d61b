"""What the tests of the access log share: request heads, the lines that belong to them, and a writer in memory."""

from mreactor.config import Limits
from mreactor.http.request_head import RequestHead
from mreactor.http1.head_parser import Parser
from mreactor.logs.access import AccessBuffer, Batch, Message
from mreactor.logs.access_formats import FORMATS

# 2026-11-22 21:39:15 UTC.
WALL = 1795383555.9
PEER = ("192.0.2.1", 40001)
PARSER = Parser(Limits())

CLF = "192.0.2.1 - - [22/Nov/2026:21:39:15 +0000] "


def a_head(target: str = "/x", *fields: bytes, method: str = "GET", version: str = "1.1") -> RequestHead:
    lines = [f"{method} {target} HTTP/{version}".encode("latin-1"), b"Host: example.org", *fields]
    return PARSER.parse(b"\r\n".join([*lines, b"", b""]))


HEAD = a_head("/x?y=1", b"Referer: http://example.org/", b"User-Agent: curl/8.14.1")
BARE = a_head("/bare")


class MemoryWriter:
    """Takes batches as the writer thread would. `finish` is done with them.

    Attributes:
        batches: the lines that buffers have handed over.
    """

    def __init__(self) -> None:
        self.batches: list[bytes] = []
        self._unfinished: list[Batch] = []

    def put(self, message: Message) -> None:
        assert message is not None
        self.batches.append(message.lines)
        self._unfinished.append(message)

    def finish(self) -> None:
        for batch in self._unfinished:
            batch.buffer.written += len(batch.lines)
        self._unfinished.clear()

    def take(self, buffer: AccessBuffer) -> str:
        """Return all lines logged since the last call."""
        buffer.flush()
        self.finish()
        batches, self.batches = self.batches, []
        return b"".join(batches).decode("ascii")


def a_buffer(writer: MemoryWriter, form: str) -> AccessBuffer:
    buffer = AccessBuffer(FORMATS[form](), writer.put)
    buffer.begin_second(WALL)
    return buffer
