"""WSGI applications of every kind, each with what a client must get, for the suites that call them in all ways."""

import dataclasses
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

type Environ = dict[str, Any]
type Application = Callable[[Environ, Any], Iterable[bytes]]

TEXT = [("Content-Type", "text/plain")]
# Longer than what is read instead of being sent by the kernel.
LONG = bytes(range(256)) * 400


@dataclass(frozen=True)
class Case:
    """An application, and the response that a client must get.

    Attributes:
        body: the whole content, or what comes of it before the connection ends.
        is_cut: the response ends before its end, so that the client sees that it is not whole.
        fields: header fields, and None for one that must not be there.
        is_valid: the application keeps to PEP 3333, so that the validator must find nothing.
        logs: a word of the log that the application leads to; empty for none.
        method: of the request.
        is_list: a list, which loses its length behind the validator.
    """

    application: Application
    body: bytes = b""
    status: int = 200
    reason: str = "OK"
    is_cut: bool = False
    fields: dict[str, str | None] = field(default_factory=dict)
    is_valid: bool = True
    logs: str = ""
    method: str = "GET"
    is_list: bool = False

    @property
    def is_page(self) -> bool:
        """The client gets the server's page, which contains `body`."""
        return self.body == ERROR_PAGE

    def behind_validator(self) -> "Case":
        """Return what a client gets if the validator stands between the server and the application."""
        if self.is_list and self.is_page:
            return dataclasses.replace(self, fields={}, body=b"", is_cut=True)
        return dataclasses.replace(self, fields={})


ERROR_PAGE = b"failed to answer"


class Closing:
    """An iterable of parts that counts how often it is closed."""

    def __init__(self, parts: Iterable[bytes], closed: list[int]) -> None:
        self._parts = iter(parts)
        self._closed = closed

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._parts)

    def close(self) -> None:
        self._closed.append(1)


def a_list(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return [b"hello"]


def several(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return [b"a", b"", b"bc"]


def a_tuple(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return (b"a", b"b")


def nothing(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return []


def generator(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    yield b"one "
    yield b""
    yield b"two "
    yield b"three"


def late_start(environ: Environ, start_response: Any) -> Iterable[bytes]:
    def parts() -> Iterator[bytes]:
        start_response("202 Later", TEXT)
        yield b"begun"

    return parts()


def generator_of_nothing(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    yield from ()


def announced(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("Content-Length", "6")])
    yield b"abc"
    yield b"def"


def announced_iterator(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("Content-Length", "6")])
    return iter([b"abc", b"def"])


def announced_whole(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("content-length", "5")])
    return iter([b"hello"])


def too_short(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("Content-Length", "9")])
    yield b"abc"


def too_short_list(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("Content-Length", "9")])
    return [b"abc"]


def too_long(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("Content-Length", "4")])
    yield b"abc"
    yield b"def"
    yield b"ghi"


def too_long_list(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("Content-Length", "4")])
    return [b"abc", b"def"]


def writes(environ: Environ, start_response: Any) -> Iterable[bytes]:
    write = start_response("200 OK", TEXT)
    write(b"one ")
    write(b"two ")
    return [b"three"]


def writes_only(environ: Environ, start_response: Any) -> Iterable[bytes]:
    write = start_response("200 OK", [*TEXT, ("Content-Length", "6")])
    write(b"abc")
    write(b"def")
    return []


def writes_then_streams(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)(b"one ")
    return iter([b"two ", b"three"])


def writes_and_fails(environ: Environ, start_response: Any) -> Iterable[bytes]:
    write = start_response("200 OK", TEXT)
    write(b"begun")
    raise ZeroDivisionError("after a write")


def fails(environ: Environ, start_response: Any) -> Iterable[bytes]:
    raise ZeroDivisionError("before start_response")


def fails_after_start(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    raise ZeroDivisionError("after start_response")


def fails_at_once(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    if environ:
        raise ZeroDivisionError("before the first part")
    yield b"never"


def fails_later(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    yield b"begun"
    raise ZeroDivisionError("after the first part")


def error_page(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    try:
        raise ZeroDivisionError("replaced by a page")
    except ZeroDivisionError:
        start_response("500 Oh no", TEXT, sys.exc_info())
    return [b"an error page"]


def late_error_page(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    yield b"begun"
    try:
        raise ZeroDivisionError("too late for a page")
    except ZeroDivisionError:
        start_response("500 Oh no", TEXT, sys.exc_info())
    yield b"never"


def starts_twice(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    start_response("200 OK", TEXT)
    return [b"never"]


def never_starts(environ: Environ, start_response: Any) -> Iterable[bytes]:
    return [b"no head"]


def returns_text(environ: Environ, start_response: Any) -> Iterable[Any]:
    start_response("200 OK", TEXT)
    return ["text"]


def yields_text(environ: Environ, start_response: Any) -> Iterable[Any]:
    start_response("200 OK", TEXT)
    yield "text"


def splits_the_response(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("X-Evil", "a\r\nSet-Cookie: b=c")])
    return [b"never"]


def odd_name(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("X Evil", "a")])
    return [b"never"]


def odd_status(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK\r\nX: y", TEXT)
    return [b"never"]


def interim_status(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("100 Continue", TEXT)
    return [b"never"]


def own_reason(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("299 Rather Fine", [*TEXT, ("Server", "mine/1"), ("Date", "Thu, 01 Jan 1970 00:00:00 GMT")])
    return [b"x"]


def hop_by_hop(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("Transfer-Encoding", "chunked"), ("Connection", "close"), ("Keep-Alive", "1")])
    return [b"x"]


def no_content(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("204 No Content", [])
    return []


def not_modified(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("304 Not Modified", [("ETag", '"a"'), ("Content-Length", "9")])
    return iter([b"not to be sent"])


def cookies(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Latin", "caf\xe9")])
    return [b"x"]


def reads_everything(environ: Environ, start_response: Any) -> Iterable[bytes]:
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", TEXT)
    return [b"read ", body]


def a_file(offset: int) -> Application:
    def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
        file = tempfile.TemporaryFile()  # noqa: SIM115
        file.write(LONG)
        file.seek(offset)
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file)
        return wrapped

    return application


def a_small_file(environ: Environ, start_response: Any) -> Iterable[bytes]:
    file = tempfile.NamedTemporaryFile()  # noqa: SIM115
    file.write(b"a small file")
    file.seek(2)
    start_response("200 OK", TEXT)
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file, 4096)
    return wrapped


def part_of_a_file(environ: Environ, start_response: Any) -> Iterable[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115
    file.write(LONG)
    file.seek(7)
    start_response("200 OK", [*TEXT, ("Content-Length", "70000")])
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file)
    return wrapped


def a_file_in_memory(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](io.BytesIO(b"in memory"), 4)
    return wrapped


def a_pipe(environ: Environ, start_response: Any) -> Iterable[bytes]:
    reader, writer = os.pipe()
    os.write(writer, b"from a pipe")
    os.close(writer)
    start_response("200 OK", TEXT)
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](os.fdopen(reader, "rb"))
    return wrapped


class Uppercase:
    """A file with a descriptor whose bytes are not those that `read` returns, as those of GzipFile are not."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._file.write(b"lower" * 20_000)
        self._file.seek(0)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size).upper()

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()


def a_file_that_decodes(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](Uppercase(), 1000)
    return wrapped


def logs(environ: Environ, start_response: Any) -> Iterable[bytes]:
    environ["wsgi.errors"].write("a line\n")
    environ["wsgi.errors"].writelines(["two ", "more\n"])
    environ["wsgi.errors"].flush()
    start_response("200 OK", TEXT)
    return [b"logged"]


CASES: dict[str, Case] = {
    "a list": Case(a_list, b"hello", fields={"content-length": "5", "transfer-encoding": None}),
    "a list of several": Case(several, b"abc", fields={"content-length": "3"}),
    "a tuple": Case(a_tuple, b"ab", fields={"content-length": "2"}),
    "nothing": Case(nothing, b"", fields={"content-length": "0"}),
    "a generator": Case(generator, b"one two three", fields={"transfer-encoding": "chunked"}),
    "start_response in the generator": Case(late_start, b"begun", 202, "Later"),
    "a generator of nothing": Case(generator_of_nothing, b""),
    "a generator with a length": Case(announced, b"abcdef", fields={"content-length": "6", "transfer-encoding": None}),
    "an iterator with a length": Case(announced_iterator, b"abcdef", fields={"content-length": "6"}),
    "all in one part": Case(announced_whole, b"hello", fields={"content-length": "5"}),
    "too short": Case(too_short, b"abc", is_cut=True, logs="announced 9 bytes"),
    "a list that is too short": Case(
        too_short_list, ERROR_PAGE, 500, "Internal Server Error", logs="announced 9", is_list=True
    ),
    "too long": Case(too_long, b"abcd", fields={"content-length": "4"}, logs="more than its Content-Length"),
    "a list that is too long": Case(too_long_list, b"abcd", logs="more than its Content-Length"),
    "write": Case(writes, b"one two three"),
    "write alone": Case(writes_only, b"abcdef", fields={"content-length": "6"}),
    "write, then a stream": Case(writes_then_streams, b"one two three"),
    "write, then a failure": Case(writes_and_fails, b"begun", is_cut=True, logs="after a write"),
    "a failure": Case(fails, ERROR_PAGE, 500, "Internal Server Error", logs="before start_response"),
    "a failure after start_response": Case(fails_after_start, ERROR_PAGE, 500, "Internal Server Error", logs="after"),
    "a failure before the first part": Case(fails_at_once, ERROR_PAGE, 500, "Internal Server Error", logs="before the"),
    "a failure after the first part": Case(fails_later, b"begun", is_cut=True, logs="after the first part"),
    "an error page in time": Case(error_page, b"an error page", 500, "Oh no"),
    "an error page too late": Case(late_error_page, b"begun", is_cut=True, logs="too late for a page"),
    "start_response twice": Case(
        starts_twice, ERROR_PAGE, 500, "Internal Server Error", is_valid=False, logs="called twice"
    ),
    "no start_response": Case(
        never_starts, ERROR_PAGE, 500, "Internal Server Error", is_valid=False, logs="did not call start_response"
    ),
    "text in a list": Case(returns_text, ERROR_PAGE, 500, "Internal Server Error", is_valid=False, logs="not str"),
    "text in a generator": Case(yields_text, ERROR_PAGE, 500, "Internal Server Error", is_valid=False, logs="not str"),
    "a split response": Case(
        splits_the_response, ERROR_PAGE, 500, "Internal Server Error", is_valid=False, logs="cannot be sent"
    ),
    "an odd name": Case(odd_name, ERROR_PAGE, 500, "Internal Server Error", is_valid=False, logs="cannot be sent"),
    "an odd status": Case(odd_status, ERROR_PAGE, 500, "Internal Server Error", is_valid=False, logs="is not a status"),
    "an interim status": Case(
        interim_status, ERROR_PAGE, 500, "Internal Server Error", is_valid=False, logs="is not a status"
    ),
    "its own reason, Server and Date": Case(
        own_reason, b"x", 299, "Rather Fine", fields={"server": "mine/1", "date": "Thu, 01 Jan 1970 00:00:00 GMT"}
    ),
    "hop-by-hop fields": Case(
        hop_by_hop, b"x", fields={"transfer-encoding": None, "keep-alive": None, "connection": None}, is_valid=False
    ),
    "no content": Case(no_content, b"", 204, "No Content", fields={"content-length": None}),
    "not modified": Case(not_modified, b"", 304, "Not Modified", fields={"etag": '"a"'}),
    "two cookies": Case(cookies, b"x", fields={"x-latin": "caf\xe9"}),
    "reads everything": Case(reads_everything, b"read ", fields={"content-length": "5"}),
    "a file": Case(a_file(0), LONG, fields={"content-length": str(len(LONG))}),
    "a file from an offset": Case(a_file(1001), LONG[1001:], fields={"content-length": str(len(LONG) - 1001)}),
    "a file at its end": Case(a_file(len(LONG)), b"", fields={"content-length": "0"}),
    "a file past its end": Case(a_file(len(LONG) + 9), b"", fields={"content-length": "0"}),
    "a small file": Case(a_small_file, b"small file", fields={"content-length": "10"}),
    "part of a file": Case(
        part_of_a_file, LONG[7:70007], fields={"content-length": "70000"}, logs="more than its Content-Length"
    ),
    "a file in memory": Case(a_file_in_memory, b"in memory"),
    "a pipe": Case(a_pipe, b"from a pipe"),
    "a file that decodes": Case(a_file_that_decodes, b"LOWER" * 20_000),
    "HEAD of a list": Case(a_list, b"", fields={"content-length": "5"}, method="HEAD"),
    "HEAD of a generator": Case(generator, b"", method="HEAD"),
    "HEAD of a late start": Case(late_start, b"", 202, "Later", method="HEAD"),
    "HEAD with a length": Case(announced, b"", fields={"content-length": "6"}, method="HEAD"),
    "HEAD of nothing": Case(nothing, b"", fields={"content-length": None}, method="HEAD"),
    "HEAD of a file": Case(a_file(0), b"", fields={"content-length": str(len(LONG))}, method="HEAD"),
    "HEAD of writes": Case(writes, b"", method="HEAD"),
    "wsgi.errors": Case(logs, b"logged"),
}
