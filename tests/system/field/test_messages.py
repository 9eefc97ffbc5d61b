"""Messages and sockets as reports tell of them."""

import socket
import struct

import pytest

from tests.support.drivers import SocketClient
from tests.support.processes import ServerProcess
from tests.support.vectors import get

APP = """
from mreactor import App, Request, Response

app = App()

@app.get("/ok")
def ok(request):
    return "ok"

@app.get("/boom")
def boom(request):
    raise RuntimeError("boom")

@app.post("/echo")
def echo(request):
    return request.body

@app.get("/echo")
def echo_get(request):
    return request.body

@app.post("/form")
def form(request):
    return dict(request.form)

@app.post("/json")
def json(request):
    return {"got": request.json()}

@app.route("/empty/{status:int}", ("GET", "POST"))
def empty(request, status):
    return Response("content", status)

@app.get("/query")
def query(request):
    return dict(request.query)

@app.get("/name/{name}")
def name(request, name):
    return name
"""


def post(target: str, body: bytes, *fields: str) -> bytes:
    lines = "".join(f"{field}\r\n" for field in fields)
    return f"POST {target} HTTP/1.1\r\nHost: a\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


def test_urgent_data_in_the_middle_of_a_request(server: ServerProcess) -> None:
    """A read stops at the urgent mark, so a short read does not say that the socket is empty."""
    request = post("/echo", b"x" * 1000)
    with server.connect() as client:
        for cut in (1, 10, 60, len(request) - 1):
            client.sock.setblocking(True)
            client.sock.sendall(request[:cut])
            client.sock.send(b"!", socket.MSG_OOB)
            client.sock.sendall(request[cut:])
            client.sock.setblocking(False)
            assert client.receive().body == b"x" * 1000


def test_urgent_data_alone_is_no_request(server: ServerProcess) -> None:
    with server.connect() as client:
        client.sock.send(b"!", socket.MSG_OOB)
        assert client.ask(get("/ok")).text == "ok"


def test_head_to_a_handler_that_fails_has_no_content(server: ServerProcess) -> None:
    """Content would be taken for the next response."""
    with server.connect() as client:
        client.send(get("/boom").replace(b"GET", b"HEAD") + get("/ok"))
        assert client.receive("HEAD").status == 500
        assert client.receive().text == "ok"


@pytest.mark.parametrize("target", ["/nothing", "/ok"])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_the_body_of_a_request_that_no_route_takes_is_no_request(
    server: ServerProcess, target: str, framing: str
) -> None:
    inner = get("/boom")
    if framing == "length":
        request = post(target, inner)
    else:
        head = f"POST {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        request = head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner)
    with server.connect() as client:
        client.send(request + get("/ok"))
        assert client.receive("POST").status == (404 if target == "/nothing" else 405)
        assert client.receive().text == "ok"


def test_the_body_of_a_get_is_no_request(server: ServerProcess) -> None:
    inner = get("/boom")
    request = b"GET /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(inner) + inner
    with server.connect() as client:
        client.send(request + get("/ok"))
        assert client.receive().body == inner
        assert client.receive().text == "ok"


@pytest.mark.parametrize("status", [204, 205, 304])
def test_content_of_a_status_without_content_is_not_sent(server: ServerProcess, status: int) -> None:
    with server.connect() as client:
        client.send(get(f"/empty/{status}") + get("/ok"))
        assert client.receive().body == b""
        assert client.receive().text == "ok"


@pytest.mark.parametrize("field", ["h2c", "websocket"])
def test_an_upgrade_is_declined_and_its_body_is_no_request(server: ServerProcess, field: str) -> None:
    request = post(
        "/echo", get("/boom"), f"Upgrade: {field}", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AA"
    )
    with server.connect() as client:
        client.send(request + get("/ok"))
        assert client.receive("POST").body == get("/boom")
        assert client.receive().text == "ok"


def test_continue_is_sent_once_and_only_if_the_body_is_awaited(server: ServerProcess) -> None:
    expect = "Expect: 100-continue"
    with server.connect() as client:
        client.send(post("/echo", b"1234", expect)[:-4])
        assert client.receive_bytes(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"12")
        client.send(b"34")
        assert client.receive("POST").status == 200
        client.send(post("/echo", b"1234", expect))
        assert client.receive("POST").status == 200, "the body was there"
    with server.connect() as client:
        client.send(post("/echo", b"1234", expect).replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert client.receive_rest().startswith(b"HTTP/1.1 200 ")
    with server.connect() as client:
        client.send(post("/echo", b"", expect).replace(b"Content-Length: 0", b"Content-Length: 99999999999"))
        assert client.receive("POST").status == 413


@pytest.mark.parametrize(
    "kind",
    [
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded; charset=UTF-8",
        "Application/X-WWW-Form-Urlencoded;charset=utf-8",
    ],
)
def test_a_form_has_a_type_with_parameters(server: ServerProcess, kind: str) -> None:
    body = b"name=J%C3%BCrgen+M&empty=&flag"
    with server.connect() as client:
        response = client.ask(post("/form", body, f"Content-Type: {kind}"), "POST")
        assert response.text == '{"name":"Jürgen M","empty":"","flag":""}'


@pytest.mark.parametrize("body", [b"", b"\xef\xbb\xbf{}", b"nul", b"{} x", b'{"a":1,}', b"\xff", b"NaN", b"'a'", b"01"])
def test_what_is_no_json_is_a_fault_of_the_client(server: ServerProcess, body: bytes) -> None:
    with server.connect() as client:
        assert client.ask(post("/json", body), "POST").status == 400
        assert client.ask(get("/ok")).text == "ok"


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/name/a+b", "a+b"),
        ("/name/%E2%82%AC", "€"),
        ("/name/a;b=c", "a;b=c"),
        ("/name/a%3Fb%23c", "a?b#c"),
        ("/query?a=1&a=2&b", '{"a":"1","b":""}'),
        ("/query?a=b+c%2Bd&=x", '{"a":"b c+d","":"x"}'),
        ("/query?", "{}"),
        ("/query?a=b=c?d", '{"a":"b=c?d"}'),
        ("http://other.example/name/x", "x"),
    ],
)
def test_targets_mean_what_they_say(server: ServerProcess, target: str, text: str) -> None:
    with server.connect() as client:
        assert client.ask(get(target)).text == text


def test_an_encoded_slash_does_not_separate_segments_and_is_not_in_one(server: ServerProcess) -> None:
    """A handler that joins paths must not get a slash in a segment; `{name:path}` takes it."""
    with server.connect() as client:
        assert client.ask(get("/name/a%2Fb")).status == 404


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),  # the hello of TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
        b"\x00" * 500,
    ],
)
def test_other_protocols_get_one_readable_refusal(server: ServerProcess, data: bytes) -> None:
    before = server.stderr.count("ERROR")
    with server.connect() as client:
        client.send(data)
        client.shutdown_write()
        responses = client.receive_all("GET")
    assert [response.status // 100 for response in responses] == [4]
    assert server.stderr.count("ERROR") == before


def test_many_clients_that_reset_in_the_middle_of_bodies_leave_nothing(server: ServerProcess) -> None:
    for size in range(1, 300):
        client = SocketClient(server.address)
        client.send(post("/echo", bytes(1 << 20))[: 100 + size * 1000])
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    with server.connect() as client:
        assert client.ask(post("/echo", b"x" * 100_000), "POST").body == b"x" * 100_000
