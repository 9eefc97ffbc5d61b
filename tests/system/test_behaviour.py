"""What clients see, on every backend alike: one suite, run in memory, over epoll and over io_uring."""

import os
import random
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from mreactor.config import Limits
from mreactor.http1.context import ReactorContext
from tests.support.applications import BIG_BYTES, MIB, make_behaviour_app, pattern
from tests.support.drivers import (
    KINDS,
    PATIENCE_SECONDS,
    SOCKET_KINDS,
    TLS_KINDS,
    TLS_SOCKET_KINDS,
    Client,
    Driver,
    open_driver,
)
from tests.support.responses import ReceivedResponse, without_dates
from tests.support.vectors import BAD, CHUNKS, CONTINUE, GOOD, LAST, Talk, Vector, get, post, post_chunked

# It lingers for long: what clients send after a refusal must not meet a closed socket, however busy the machine.
LIMITS = Limits(body_bytes_max=24 * MIB, pipelined_per_turn_max=16, blocking_threads=4, linger_seconds=PATIENCE_SECONDS)
FAULTS = (400, 405, 417, 501, 505)  # of messages that are at fault whatever the limits


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("static")
    (folder / "small.txt").write_bytes(b"small file")
    (folder / "large.bin").write_bytes(pattern(200_000))
    (folder / "big.bin").write_bytes(pattern(BIG_BYTES))
    (folder / "sub").mkdir()
    (folder / "sub" / "index.html").write_text("<p>index")
    for path in folder.rglob("*"):
        # Not of this second: Last-Modified is never later than Date.
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return folder


@pytest.fixture(scope="module", params=KINDS + TLS_KINDS)
def driver(request: pytest.FixtureRequest, root: Path) -> Iterator[Driver]:
    with open_driver(request.param, make_behaviour_app(root), LIMITS) as driver:
        yield driver


@pytest.fixture
def client(driver: Driver) -> Iterator[Client]:
    with driver.connect() as client:
        yield client


def ask(driver: Driver, data: bytes, method: str = "GET") -> ReceivedResponse:
    """Ask on a connection of its own."""
    with driver.connect() as client:
        return client.ask(data, method)


def goes_on(client: Client) -> bool:
    """Return whether the connection still gets a response."""
    return client.ask(get("/hello/again")).text == "Hello, again!"


# Routing and methods.


@pytest.mark.parametrize(
    ("request_", "status", "text"),
    [
        (get("/"), 200, "Welcome"),
        (get("/hello/world"), 200, "Hello, world!"),
        (get("/hello/%C3%A4%20b"), 200, "Hello, ä b!"),
        (get("/square/12"), 200, '{"square":144}'),
        (get("/square/twelve"), 404, None),
        (get("/hello"), 404, None),
        (get("/hello/a/b"), 404, None),
        (post("/echo", b"body"), 200, "body"),
        (post("/echo", b"body", method="PUT"), 200, "body"),
        (post("/echo", b"body", method="PATCH"), 200, "body"),
        (get("/echo", method="DELETE"), 200, ""),
        (get("/echo"), 405, None),
        (post("/hello/a", b"x"), 405, None),
        (get("/", method="BREW"), 501, None),
        (get("/", method="TRACE"), 405, None),
        (get("/status/404"), 404, None),
        (get("/status/503"), 503, None),
        (get("/boom"), 500, None),
        (post("/form", b"a=1&b=%C3%A4", "Content-Type: application/x-www-form-urlencoded"), 200, '{"a":"1","b":"ä"}'),
        (post("/form", b"a=1", "Content-Type: text/plain"), 415, None),
    ],
)
def test_routing(client: Client, request_: bytes, status: int, text: str | None) -> None:
    response = client.ask(request_)
    assert response.status == status
    assert text is None or response.text == text


def test_options_and_405_tell_the_methods(client: Client) -> None:
    allowed = "DELETE, OPTIONS, PATCH, POST, PUT"
    assert client.ask(get("/echo")).headers["allow"] == allowed
    options = client.ask(get("/echo", method="OPTIONS"))
    assert (options.status, options.headers["allow"]) == (204, allowed)
    assert goes_on(client)


@pytest.mark.parametrize("target", ["/", "/hello/a", "/bytes/100000", "/small.txt", "/large.bin", "/nothing"])
def test_head(client: Client, target: str) -> None:
    full = client.ask(get(target))
    empty = client.ask(get(target, method="HEAD"), "HEAD")
    assert (empty.status, empty.body) == (full.status, b"")
    assert empty.headers["content-length"] == full.headers["content-length"] == str(len(full.body))
    assert goes_on(client)


@pytest.mark.parametrize("status", [204, 304])
def test_responses_without_content(client: Client, status: int) -> None:
    assert client.ask(get(f"/status/{status}")).status == status
    assert goes_on(client)


# The vectors of the connection, over the real thing.


def ends_alike(driver: Driver, vector: Vector) -> list[ReceivedResponse]:
    """Receive the responses to a vector with one request more behind it. None of them may be to that request."""
    with driver.connect() as client:
        client.send(vector.data + get("/hello/after", "Connection: close"))
        client.shutdown_write()
        responses = client.receive_all(*vector.methods)
    assert responses[-1].says_close
    assert not any("after" in response.text for response in responses)
    return responses


@pytest.mark.parametrize("vector", [v for v in BAD if v.statuses[-1] in FAULTS], ids=lambda v: v.name)
def test_what_is_refused_is_refused_and_nothing_follows(driver: Driver, vector: Vector) -> None:
    assert ends_alike(driver, vector)[-1].status == vector.statuses[-1]


@pytest.mark.parametrize("vector", LAST, ids=lambda v: v.name)
def test_nothing_follows_the_last_request(driver: Driver, vector: Vector) -> None:
    assert len(ends_alike(driver, vector)) == len(vector.statuses)


MALFORMED = (
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40), 400),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    (b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhellooo\r\n0\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
    (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 120 + b"\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 40_000 + b"\r\n\r\n", 431),
    (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 25165825\r\n\r\n", 413),
    (b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: magic\r\nContent-Length: 1\r\n\r\n", 417),
)


@pytest.mark.parametrize(("data", "status"), MALFORMED)
def test_malformed(driver: Driver, data: bytes, status: int) -> None:
    with driver.connect() as client:
        client.send(data)
        (response,) = client.receive_all()
    assert response.status == status
    assert response.says_close
    assert ask(driver, get("/")).text == "Welcome"


def test_nothing_after_a_refusal_is_answered(driver: Driver) -> None:
    with driver.connect() as client:
        client.send(get("/hello/a") + b"bad request\r\n\r\n" + get("/hello/b") * 10)
        assert [response.status for response in client.receive_all()] == [200, 400]


# Bodies.


@pytest.mark.parametrize("size", [0, 1, 100, 16 * 1024, 16 * 1024 + 1, 100_000])
def test_echo(client: Client, size: int) -> None:
    for _ in range(2):
        assert client.ask(post("/echo", pattern(size))).body == pattern(size)


def test_echo_in_chunks(client: Client) -> None:
    assert client.ask(post_chunked("/echo", CHUNKS)).text == "hello world"
    assert client.ask(post_chunked("/echo", CHUNKS)).text == "hello world"
    assert goes_on(client)


def test_echo_in_pieces(client: Client) -> None:
    for request in (post("/echo", b"hello world"), post_chunked("/echo", CHUNKS)):
        for at in range(len(request)):
            client.send(request[at : at + 1])
        assert client.receive().text == "hello world"


def test_a_large_body(client: Client) -> None:
    body = pattern(BIG_BYTES)
    assert client.ask(post("/sum", body)).text == f'{{"length":{BIG_BYTES},"sum":{sum(body)}}}'
    assert goes_on(client)


def test_a_large_body_in_chunks(client: Client) -> None:
    block = pattern(64 * 1024)
    count = BIG_BYTES // len(block)
    body = (b"%x\r\n%b\r\n" % (len(block), block)) * count + b"0\r\n\r\n"
    response = client.ask(post_chunked("/sum", body))
    assert response.text == f'{{"length":{len(block) * count},"sum":{sum(block) * count}}}'
    assert goes_on(client)


def test_a_large_body_of_no_interest(client: Client) -> None:
    assert client.ask(post("/hello/a", pattern(BIG_BYTES))).status == 405
    assert goes_on(client)


def test_expectation(client: Client) -> None:
    request = post("/echo", b"hello", "Expect: 100-continue")
    assert client.ask(request[:-5]).status == 100
    assert client.ask(b"hello").text == "hello"
    assert client.ask(request).text == "hello", "a client need not wait"
    assert goes_on(client)


def test_a_refused_expectation(driver: Driver) -> None:
    with driver.connect() as client:
        client.send(get("/hello/a", "Expect: 100-continue", "Content-Length: 5", method="POST"))
        assert client.receive().status == 405
        client.send(b"hello")
        assert client.receive_rest() == b""


# Pipelining.


def test_many_pipelined_requests(client: Client) -> None:
    client.send(b"".join(get(f"/hello/{number}") for number in range(500)))
    assert [client.receive().text for _ in range(500)] == [f"Hello, {number}!" for number in range(500)]
    assert goes_on(client)


MIXED = (
    (get("/"), "GET"),
    (post("/echo", b"a"), "POST"),
    (get("/nothing"), "GET"),
    (get("/slow"), "GET"),
    (get("/large.bin"), "GET"),
    (get("/", method="HEAD"), "HEAD"),
    (get("/stream/3"), "GET"),
    (get("/slow/stream/3"), "GET"),
    (post_chunked("/echo", CHUNKS), "POST"),
    (get("/boom"), "GET"),
    (get("/status/204"), "GET"),
    (get("/large.bin", method="HEAD"), "HEAD"),
    (get("/bytes/100000"), "GET"),
    (get("/hello/last"), "GET"),
)


def check_mixed(client: Client) -> None:
    responses = [client.receive(method) for _, method in MIXED]
    assert [response.status for response in responses] == [200, 200, 404, *[200] * 6, 500, 204, 200, 200, 200]
    assert [len(response.body) for response in responses[4:9]] == [200_000, 0, 14, 14, 11]
    assert responses[-1].text == "Hello, last!"


@pytest.mark.parametrize("piece_bytes", [1 << 20, 1000, 50])
def test_mixed_pipelined_requests(client: Client, piece_bytes: int) -> None:
    data = b"".join(request for request, _ in MIXED) * 3
    for at in range(0, len(data), piece_bytes):
        client.send(data[at : at + piece_bytes])
    for _ in range(3):
        check_mixed(client)


def test_pipelining_of_large_responses_by_a_client_that_does_not_read_yet(client: Client) -> None:
    client.send(get("/bytes/2000000") * 12)
    for _ in range(12):
        assert client.receive().body == pattern(2_000_000)
    assert goes_on(client)


CHAOS = (
    *(vector.data for vector in GOOD),
    get("/large.bin"),
    get("/large.bin", method="HEAD"),
    get("/bytes/70000"),
    get("/big.bin"),
    get("/slow/stream/3") * 2,
    post("/echo", pattern(40_000)),
)


def conversations(seed: int, count: int) -> Iterator[list[bytes]]:
    """Random requests, pipelined and cut at random, the last of them often refused; always the same for a seed."""
    dice = random.Random(seed)
    for _ in range(count):
        data = b"".join(dice.choice(CHAOS) for _ in range(dice.randrange(1, 12)))
        if dice.random() < 0.5:
            data += dice.choice(LAST + BAD).data + get("/hello/after")
        cuts = sorted(dice.randrange(len(data)) for _ in range(dice.randrange(8)))
        yield [data[a:b] for a, b in pairwise([0, *cuts, len(data)]) if a < b]


def normal(output: bytes) -> bytes:
    """What may not differ. Whether a client is told to go on depends on when its body comes."""
    return without_dates(output).replace(CONTINUE, b"")


@pytest.mark.parametrize("seed", range(2))
def test_random_conversations(driver: Driver, root: Path, seed: int) -> None:
    """Whatever the backend, and however the bytes come, the response is the one that a bare connection gives."""
    context = ReactorContext(LIMITS, make_behaviour_app(root).routes)
    for pieces in conversations(seed, 10):
        expected = Talk(context, [b"".join(pieces), b""])
        with driver.connect(window=8 * 1024 if seed else 0) as client:
            for piece in pieces:
                client.send(piece)
                client.pass_time(0.001)
            client.shutdown_write()
            assert normal(client.receive_rest()) == normal(expected.output), pieces


# Large responses.


BIG = (f"/bytes/{BIG_BYTES}", "/big.bin")


@pytest.mark.parametrize("target", BIG)
def test_a_large_response(client: Client, target: str) -> None:
    assert client.ask(get(target)).body == pattern(BIG_BYTES)
    assert goes_on(client)


@pytest.mark.parametrize("target", BIG)
def test_a_large_response_to_a_slow_reader(driver: Driver, target: str) -> None:
    with driver.connect(window=8 * 1024) as client:
        client.send(get(target, "Connection: close"))
        client.receive_bytes(1)
        assert ask(driver, get("/")).text == "Welcome", "others are served meanwhile"
        assert client.receive_rest().endswith(pattern(BIG_BYTES)[-100_000:])


@pytest.mark.parametrize(("target", "block"), [("/big/stream", 64 * 1024), ("/big/slow", 512 * 1024)])
def test_a_large_stream(driver: Driver, target: str, block: int) -> None:
    with driver.connect() as client:
        response = client.ask(get(target))
        assert response.body == pattern(block) * (BIG_BYTES // block)
        assert response.headers["transfer-encoding"] == "chunked"
        assert goes_on(client)


def test_a_stream_to_http_1_0(driver: Driver) -> None:
    with driver.connect() as client:
        client.send(get("/big/stream", version="1.0"))
        (response,) = client.receive_all()
    assert len(response.body) == BIG_BYTES // 65536 * 65536
    assert response.says_close


@pytest.mark.parametrize("target", ["/stream/fails", "/slow/stream/fails"])
def test_a_stream_that_fails_is_cut_off(driver: Driver, target: str) -> None:
    with driver.connect() as client:
        client.send(get(target) + get("/hello/b"))
        assert client.receive_rest().endswith(b"\r\n\r\n6\r\nfirst;\r\n7\r\nsecond;\r\n")
    assert ask(driver, get("/")).text == "Welcome"


# Values.


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        (get("/query?q=100%&u=%u00e9"), 200, b'{"q":"100%","u":"%u00e9"}'),
        (get("/cookie", "Cookie: a=1; s=xyz", "Cookie: b=2"), 200, b"a=1; s=xyz; b=2"),
        (post("/json", b'{"a":' * 200 + b"[]" + b"}" * 200), 200, b'{"a":' * 200 + b"[]" + b"}" * 200),
        (post("/json", b'{"a":' * 9500 + b"1" + b"}" * 9500), 400, b""),
        (post("/json", b"[" * 100_000), 400, b""),
        (post("/json", rb'["half an emoji: \ud83d"]'), 400, b""),
        (post("/json", b"[1e999]"), 400, b""),
        (get("/tuple"), 500, b""),
        (get("/set"), 500, b""),
    ],
    ids=["percent", "cookies", "deep", "deeper", "deepest", "surrogate", "infinity", "tuple", "set"],
)
def test_odd_values_are_taken_or_refused_alike(client: Client, request_: bytes, status: int, body: bytes) -> None:
    for _ in range(2):
        response = client.ask(request_)
        assert (response.status, response.body if body else b"") == (status, body)
    assert goes_on(client)


# Static files.


@pytest.mark.parametrize(
    ("target", "content_type", "body"),
    [
        ("/small.txt", "text/plain; charset=utf-8", b"small file"),
        ("/large.bin", "application/octet-stream", pattern(200_000)),
        ("/sub/", "text/html; charset=utf-8", b"<p>index"),
    ],
)
def test_static_files(client: Client, target: str, content_type: str, body: bytes) -> None:
    for _ in range(3):
        response = client.ask(get(target))
        assert (response.status, response.headers["content-type"], response.body) == (200, content_type, body)
        etag = response.headers["etag"]
        assert client.ask(get(target, f"If-None-Match: {etag}")).status == 304
    assert goes_on(client)


@pytest.mark.parametrize("target", ["/small.txt", "/large.bin"])
def test_a_static_file_of_another_version_is_412(client: Client, target: str) -> None:
    etag = client.ask(get(target)).headers["etag"]
    for condition in ('If-Match: "no"', f"If-Match: W/{etag}", "If-Unmodified-Since: Mon, 01 Jan 2001 00:00:00 GMT"):
        assert client.ask(get(target, condition, "If-None-Match: *")).status == 412
    assert client.ask(get(target, f"If-Match: {etag}")).status == 200
    assert goes_on(client)


@pytest.mark.parametrize(
    "target", ["/../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd", "/nothing.txt"]
)
def test_no_way_out_of_the_root(client: Client, target: str) -> None:
    assert client.ask(get(target)).status in (400, 404)


# Ends.


@pytest.mark.parametrize(
    ("version", "fields", "persists"),
    [
        ("1.1", (), True),
        ("1.1", ("Connection: close",), False),
        ("1.1", ("Connection: x", "Connection: y, Close"), False),
        ("1.0", (), False),
        ("1.0", ("Connection: keep-alive",), True),
    ],
)
@pytest.mark.parametrize("target", ["/", "/hello/a", "/large.bin", "/slow", "/nothing"])
def test_persistence(driver: Driver, target: str, version: str, fields: tuple[str, ...], persists: bool) -> None:
    with driver.connect() as client:
        response = client.ask(get(target, *fields, version=version))
        assert response.says_close != persists
        if persists:
            assert goes_on(client)
        else:
            assert client.receive_rest() == b""


@pytest.mark.parametrize("target", BIG)
def test_bytes_behind_the_last_request_do_not_destroy_its_response(driver: Driver, target: str) -> None:
    """They lie unread when the server is done. To close then sends RST, which overtakes what is still on its way."""
    with driver.connect(window=8 * 1024) as client:
        client.send(get(target, "Connection: close"))
        head = client.receive_bytes(1)
        client.send(get("/hello/late") * 20)
        assert (head + client.receive_rest()).endswith(pattern(BIG_BYTES)[-100_000:])


def test_a_client_may_ask_and_half_close(driver: Driver) -> None:
    for target in ("/", "/hello/a", "/slow", "/large.bin", "/stream/3", "/slow/stream/3", "/bytes/3000000"):
        with driver.connect() as client:
            client.send(get(target))
            client.shutdown_write()
            (response,) = client.receive_all()
            assert response.status == 200, target


def test_pipelining_and_half_close(driver: Driver) -> None:
    with driver.connect() as client:
        client.send(b"".join(request for request, _ in MIXED) + get("/")[:10])
        client.shutdown_write()
        check_mixed(client)
        assert [response.status for response in client.receive_all()] == [400]


@pytest.mark.parametrize("data", [b"", get("/")[:20], post("/echo", b"hello")[:-2], b"\r\n"])
def test_half_close_before_a_request_is_complete(driver: Driver, data: bytes) -> None:
    with driver.connect() as client:
        client.send(data)
        client.shutdown_write()
        # An empty line does not begin a request.
        assert [response.status for response in client.receive_all()] == ([400] if data.strip() else [])


def test_a_silent_client_may_leave(driver: Driver) -> None:
    for _ in range(20):
        with driver.connect() as client:
            client.shutdown_write()
            assert client.receive_rest() == b""


# Blocking handlers.


def test_a_blocking_handler_stalls_no_other_client(driver: Driver, client: Client) -> None:
    client.send(get("/wait"))
    for _ in range(4):
        with driver.connect() as other:
            assert goes_on(other)
    assert ask(driver, get("/open")).text == "open"
    assert client.receive().text == "opened"
    assert goes_on(client)


def test_blocking_handlers_run_at_once(driver: Driver) -> None:
    """More of them than there are threads: the rest wait, and no request is lost."""
    clients = [driver.connect() for _ in range(40)]
    for client in clients:
        client.send(get("/slow") * 3)
    for client in clients:
        assert [client.receive().text for _ in range(3)] == ["slow"] * 3


# Many clients.


def test_many_clients_at_once(driver: Driver) -> None:
    clients = [driver.connect() for _ in range(300)]
    for number, client in enumerate(clients):
        client.send(get(f"/hello/{number}")[:15])
    for number, client in enumerate(clients):
        client.send(get(f"/hello/{number}")[15:] + post("/echo", b"%d" % number) + get("/"))
    for number, client in enumerate(clients):
        assert [client.receive().text for _ in range(3)] == [f"Hello, {number}!", str(number), "Welcome"]
        client.close()


@pytest.mark.parametrize("driver", SOCKET_KINDS + TLS_SOCKET_KINDS, indirect=True)
def test_clients_in_threads(driver: Driver) -> None:
    def talk(number: int) -> None:
        with driver.connect() as client:
            for turn in range(30):
                name = f"{number}-{turn}"
                if client.ask(get(f"/hello/{name}")).text != f"Hello, {name}!":
                    return
        good.append(number)

    good: list[int] = []
    threads = [threading.Thread(target=talk, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert sorted(good) == list(range(12))
