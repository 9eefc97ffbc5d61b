"""Applications as reports tell of them: what handlers return, raise and do to the process."""

import socket
import threading
import time

import pytest

from tests.support.drivers import PATIENCE_SECONDS
from tests.support.processes import ServerProcess
from tests.support.vectors import get

APP = """
import asyncio
import collections
import gc
import itertools
import signal
import sys
import threading
import time
import types
from mreactor import App, HTTPError, Request, Response

app = App()
shared_response = Response("shared", headers={"X-A": "b"})
shared_parts = iter(["once ", "only"])
closed = []

@app.get("/ok")
def ok(request):
    return "ok"

@app.get("/closed")
def show_closed(request):
    return ",".join(closed)

# Content.

@app.get("/reused")
def reused(request):
    buffer = bytearray(3)
    for number in range(5):
        buffer[:] = b"%03d" % number
        yield buffer

@app.get("/reused/blocking", blocking=True)
def reused_blocking(request):
    yield from reused(request)

@app.get("/view")
def view(request):
    return memoryview(b"a-b-c-d")[::2]

@app.get("/view/parts")
def view_parts(request):
    yield memoryview(b"a-b-c-d")[::2]
    yield memoryview(b"12345678").cast("I")

class Liar(bytes):
    def __len__(self):
        return 3

class Text(str):
    def encode(self, *arguments):
        return b"something else"

@app.get("/liar")
def liar(request):
    return Liar(b"12345")

@app.get("/text")
def text(request):
    return Text("text")

@app.get("/response/shared")
def share(request):
    return shared_response

@app.get("/parts/shared")
def share_parts(request):
    return shared_parts

@app.get("/mapping/{kind}")
def mapping(request, kind):
    return {
        "ordered": collections.OrderedDict(a=1), "default": collections.defaultdict(int, a=1),
        "counter": collections.Counter("a"), "chain": collections.ChainMap({"a": 1}, {"a": 2}),
        "proxy": types.MappingProxyType({"a": 1}), "user": collections.UserDict(a=1),
    }[kind]

# Failures.

class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no text")
    __repr__ = __str__

class Endless(Exception):
    def __str__(self):
        return str(self)

def fail(kind):
    if kind == "unspeakable":
        raise Unspeakable
    if kind == "endless":
        raise Endless
    if kind == "circle":
        one, other = ValueError("one"), ValueError("other")
        one.__cause__, other.__cause__ = other, one
        raise one
    if kind == "group":
        raise ExceptionGroup("some", [ValueError(1), ExceptionGroup("more", [TypeError(2)])])
    if kind == "notes":
        error = ValueError("noted")
        error.__notes__ = ["a note", 3, None]
        raise error
    if kind == "odd notes":
        error = ValueError("noted")
        error.__notes__ = 5
        raise error
    if kind == "deep":
        return fail(kind)
    if kind == "syntax":
        exec("def broken(:")
    if kind == "surrogate":
        raise ValueError("\\ud800")
    if kind == "args":
        raise UnicodeDecodeError("utf-8", b"x" * 100, 0, 1, "odd")
    if kind == "status":
        raise HTTPError(799, "no such status")
    raise {
        "interrupt": KeyboardInterrupt, "exit": SystemExit, "generator": GeneratorExit, "memory": MemoryError,
        "stop": StopIteration, "cancelled": asyncio.CancelledError, "broken": BrokenPipeError, "timeout": TimeoutError,
        "blocking": BlockingIOError, "eof": EOFError, "reset": ConnectionResetError,
    }[kind]("as told")

@app.get("/fail/{kind}")
def failing(request, kind):
    return fail(kind)

@app.get("/fail/blocking/{kind}", blocking=True)
def failing_blocking(request, kind):
    return fail(kind)

@app.get("/fail/part/{kind}")
def failing_part(request, kind):
    yield "first"
    fail(kind)

@app.get("/stubborn")
def stubborn(request):
    try:
        while True:
            yield "x" * 100_000
    except GeneratorExit:
        yield "not yet"

@app.get("/closing")
def closing(request):
    try:
        while True:
            yield "x" * 100_000
    finally:
        closed.append("closed")

# What handlers do to the process.

@app.get("/asyncio")
def run_asyncio(request):
    async def main():
        await asyncio.sleep(0.001)
        return threading.current_thread().name
    return asyncio.run(main())

@app.get("/asyncio/blocking", blocking=True)
def run_asyncio_blocking(request):
    return run_asyncio(request)

@app.get("/collect")
def collect(request):
    gc.unfreeze()
    cycles = [[] for _ in range(1000)]
    for cycle in cycles:
        cycle.append(cycle)
    gc.collect()
    gc.freeze()
    return str(gc.get_freeze_count() > 0)

@app.get("/imports/{name}")
def imports(request, name):
    # A module's first import, and uses that fill tables of the standard library, in all threads at once.
    import importlib
    import locale, re, datetime, uuid, decimal, fractions, html, base64, hashlib, random, string, textwrap, zoneinfo
    importlib.import_module(name)
    for number in range(20):
        re.compile(f"{name}{number}(a|b)+").match("x")
    datetime.datetime.strptime("2026-11-26", "%Y-%m-%d")
    "b\\u00fccher".encode("idna"), "x".encode("cp1252"), "x".encode("utf-16")
    f"{decimal.Decimal(1) / 3}{fractions.Fraction(1, 3)}{uuid.uuid4()}{random.random()}"
    return "imported"
"""

FAILURES = [
    "unspeakable", "circle", "group", "notes", "odd notes", "deep", "syntax", "surrogate", "args", "status",
    "interrupt", "exit", "generator", "memory", "stop", "cancelled", "broken", "timeout", "blocking", "eof", "reset",
    "endless",
]  # fmt: skip
MODULES = "csv sched plistlib cmd quopri colorsys calendar fileinput stringprep nturl2path mailbox wave".split()


@pytest.mark.parametrize("target", ["/reused", "/reused/blocking"])
def test_a_buffer_that_a_stream_uses_again(server: ServerProcess, target: str) -> None:
    with server.connect() as client:
        assert client.ask(get(target)).text == "000001002003004"


def test_views_are_sent_as_their_bytes(server: ServerProcess) -> None:
    with server.connect() as client:
        assert client.ask(get("/view")).text == "abcd"
        assert client.ask(get("/view/parts")).text == "abcd12345678"


def test_subclasses_that_lie_do_not_break_the_framing(server: ServerProcess) -> None:
    with server.connect() as client:
        client.send(get("/liar") + get("/text") + get("/ok"))
        assert client.receive().text in ("12345", "123")
        assert client.receive().text in ("text", "something else")
        assert client.receive().text == "ok"


def test_one_response_object_for_all_reactors(server: ServerProcess) -> None:
    texts: list[str] = []

    def ask() -> None:
        with server.connect() as client:
            for _ in range(300):
                response = client.ask(get("/response/shared"))
                texts.append(f"{response.text} {response.headers['x-a']}")

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == ["shared b"] * 1800


def test_one_iterator_for_two_responses_is_used_up_by_the_first(server: ServerProcess) -> None:
    with server.connect() as client:
        assert client.ask(get("/parts/shared")).text == "once only"
        assert client.ask(get("/parts/shared")).text == ""


@pytest.mark.parametrize("kind", ["ordered", "default", "counter", "chain", "proxy", "user"])
def test_mappings_of_each_kind(server: ServerProcess, kind: str) -> None:
    with server.connect() as client:
        assert client.ask(get(f"/mapping/{kind}")).text == '{"a":1}'


@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize("where", ["", "blocking/", "part/"])
def test_whatever_a_handler_raises_is_one_failure(server: ServerProcess, kind: str, where: str) -> None:
    target = f"/fail/{where}{kind}".replace(" ", "%20")
    with server.connect() as client:
        client.send(get(target))
        if where == "part/":
            assert b"first" in client.receive_rest()
        else:
            assert client.receive().status == 500
            assert client.ask(get("/ok")).text == "ok"
    with server.connect() as client:
        assert client.ask(get("/ok")).text == "ok"
    assert "a round of" not in server.stderr
    assert "a connection failed" not in server.stderr


@pytest.mark.parametrize("target", ["/stubborn", "/closing"])
def test_a_stream_whose_client_leaves_is_closed(server: ServerProcess, target: str) -> None:
    with server.connect() as client:
        client.send(get(target))
        client.receive_bytes(1000)
        client.reset()
    with server.connect() as client:
        assert client.ask(get("/ok")).text == "ok"
        if target == "/closing":
            end = time.monotonic() + PATIENCE_SECONDS
            while client.ask(get("/closed")).text != "closed":
                assert time.monotonic() < end
                time.sleep(0.01)


def test_an_event_loop_in_a_handler(server: ServerProcess) -> None:
    with server.connect() as client:
        for _ in range(3):
            assert client.ask(get("/asyncio")).text.startswith("reactor-")
            assert client.ask(get("/asyncio/blocking")).text.startswith("blocking-")


def test_collecting_and_freezing_under_load(server: ServerProcess) -> None:
    ends = time.monotonic() + 2.0

    def load() -> None:
        with server.connect() as client:
            while time.monotonic() < ends:
                assert client.ask(get("/ok")).text == "ok"

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    with server.connect() as client:
        while time.monotonic() < ends:
            assert client.ask(get("/collect")).text == "True"
    for thread in threads:
        thread.join()


def test_first_imports_in_all_threads_at_once(server: ServerProcess) -> None:
    failures: list[str] = []

    def ask() -> None:
        with server.connect() as client:
            for name in MODULES:
                response = client.ask(get(f"/imports/{name}"))
                if response.text != "imported":
                    failures.append(response.text)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with socket.create_connection(server.address):
        pass
