"""TLS from outside: the command line, certificates that are replaced, resumption, and clients that do it wrong.

The behaviour, the drain and the slow clients are tested by the suites of those names, which run over TLS as well. With
`MREACTOR_TEST_TLS=5000` so many conversations go wrong on each backend.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

import mreactor.tls
from mreactor.app.application import App
from mreactor.config import Limits
from mreactor.protocol import Peer
from mreactor.tls import TlsContext
from tests.support.certificates import HOST, authority, client_context, openssl, server_pair
from tests.support.drivers import (
    PATIENCE_SECONDS,
    SOCKET_KINDS,
    TLS_SOCKET_KINDS,
    Driver,
    SocketClient,
    SocketDriver,
    TlsClient,
    missing,
    open_driver,
)
from tests.support.processes import ServerProcess, run, start
from tests.support.tls import TlsSession
from tests.support.vectors import get, post

pytestmark = pytest.mark.slow

CONVERSATIONS = int(os.environ.get("MREACTOR_TEST_TLS", "200"))
RELOADED = "new connections get the certificates as they are now"
LIMITS = Limits(tls_handshake_seconds=2.0, head_seconds=2.0, keepalive_seconds=2.0, write_stall_seconds=2.0)


def make_app() -> App:
    app = App()
    app.get("/")(lambda request: "here")
    app.get("/bytes/{count:int}")(lambda request, count: bytes(count))
    app.post("/echo")(lambda request: request.body)
    return app


@pytest.fixture(params=TLS_SOCKET_KINDS)
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    with open_driver(request.param, make_app(), LIMITS) as driver:
        yield driver


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with `cert.pem` and `key.pem`."""
    install(tmp_path, HOST)
    return tmp_path


@pytest.fixture(scope="module")
def context() -> ssl.SSLContext:
    """The context of clients that take any name of the authority."""
    return client_context(check_hostname=False)


def install(folder: Path, name: str) -> None:
    """Put the pair of a name into a folder."""
    pair = server_pair() if name == HOST else authority().sign(name)
    shutil.copy(pair.certificate, folder / "cert.pem")
    shutil.copy(pair.key, folder / "key.pem")


def options(folder: Path) -> list[str]:
    return ["--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem"), "--threads", "2"]


def connect(server: ServerProcess, context: ssl.SSLContext) -> TlsClient:
    return TlsClient(server.connect(), TlsSession(context))


def subject(client: TlsClient) -> str:
    certificate = client.tls.session.getpeercert()
    assert certificate is not None
    return str(dict(*certificate["subject"])["commonName"])  # type: ignore[arg-type]


# The command line.


def test_the_url_is_that_of_https(files: Path, shop: Path, context: ssl.SSLContext) -> None:
    with start(files, *options(files), "shop:app", cwd=shop) as server:
        assert f"listening on https://127.0.0.1:{server.address[1]}\n" in server.stdout
        server.wait_until_said("listening on https://")
        with connect(server, context) as client:
            assert client.ask(get("/")).text == "the shop"
        with server.connect() as plain:
            response = plain.ask(get("/"))
        assert (response.status, response.says_close) == (400, True)
        assert "https://" in response.text
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tls-cert", "none.pem"], "--tls-cert: cannot read none.pem: No such file or directory"),
        (["--tls-cert", "README.md"], "--tls-cert: README.md holds no certificate in PEM form"),
        (["--tls-key", "x.pem"], "--tls-key: there must be one for each --tls-cert, in the same order, or none"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(arguments: list[str], said: str) -> None:
    ended = run("--port", "0", *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"mreactor: {said}")
    assert ended.stderr.count("\n") == 1


# New certificates.


def test_sighup_takes_new_certificates_and_keeps_connections(files: Path, shop: Path, context: ssl.SSLContext) -> None:
    with start(files, *options(files), "shop:app", cwd=shop) as server, connect(server, context) as old:
        assert old.ask(get("/")).text == "the shop"
        install(files, "second.test")
        server.send_signal(signal.SIGHUP)
        server.wait_until_said(RELOADED)
        assert old.ask(get("/")).text == "the shop"
        with connect(server, context) as new:
            new.ask(get("/"))
            assert (subject(old), subject(new)) == (HOST, "second.test")
        (files / "key.pem").write_text("")
        server.send_signal(signal.SIGHUP)
        server.wait_until_said("ERROR .*the certificates stay as they were: --tls-key: .*holds no private key")
        with connect(server, context) as new:
            new.ask(get("/"))
            assert subject(new) == "second.test"
        assert server.stop() == 0


def test_certificates_replaced_again_and_again_under_load_lose_nothing(
    files: Path, shop: Path, context: ssl.SSLContext
) -> None:
    stop, served, failures = threading.Event(), [0] * 4, []

    def load(number: int) -> None:
        try:
            with connect(server, context) as kept:
                while not stop.is_set():
                    with connect(server, context) as fresh:
                        assert kept.ask(get("/")).text == fresh.ask(get("/")).text == "the shop"
                    served[number] += 1
        except Exception as failure:
            failures.append(failure)

    names = [HOST, "second.test"]
    with start(files, *options(files), "shop:app", cwd=shop) as server:
        threads = [threading.Thread(target=load, args=(number,)) for number in range(len(served))]
        for thread in threads:
            thread.start()
        for turn in range(10):
            install(files, names[turn % 2])
            server.send_signal(signal.SIGHUP)
            # The files must not change while the server reads them.
            server.wait_until_said(f"(?s)({RELOADED}.*){{{turn + 1}}}")
        stop.set()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
        assert failures == []
        assert min(served) > 0
        assert server.stop() == 0
        assert "ERROR" not in server.stderr


# Sessions.


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_resumed_whichever_reactor_serves_the_next_connection(
    driver: Driver, version: ssl.TLSVersion
) -> None:
    context = client_context(maximum_version=version)
    with TlsClient(driver.connect_plain(), TlsSession(context)) as client:
        client.ask(get("/"))
        session = client.tls.session.session
    for _ in range(6):
        with TlsClient(driver.connect_plain(), TlsSession(context, session=session)) as client:
            assert client.ask(get("/")).text == "here"
            assert client.tls.session.session_reused
    assert all(context.counters.accepted >= 3 for context in driver.contexts())


@pytest.mark.parametrize(
    ("version", "command", "refused"), [("-tls1_2", "R", True), ("-tls1_3", "K", False)], ids=["renegotiation", "keys"]
)
def test_renegotiation_is_refused_and_new_keys_are_not(
    driver: Driver, version: str, command: str, refused: bool
) -> None:
    openssl("version")
    assert isinstance(driver, SocketDriver)
    host, port = driver.server.address
    with subprocess.Popen(
        ["openssl", "s_client", "-connect", f"{host}:{port}", version, "-quiet", "-no_ign_eof"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
    ) as client:  # fmt: skip
        # The command must be alone in a read of standard input, which stays open until the response has come.
        assert client.stdin is not None
        assert client.stdout is not None
        assert client.stderr is not None
        time.sleep(1.0)
        client.stdin.write(command.encode() + b"\n")
        time.sleep(0.5)
        with contextlib.suppress(BrokenPipeError):
            client.stdin.write(get("/", "Connection: close"))
        out, error = client.stdout.read(), client.stderr.read()
    assert (b"renegotiation" in error.lower()) is refused, error
    assert out.endswith(b"here") is not refused, (out, error)


# Refusals.


@pytest.mark.parametrize("kind", TLS_SOCKET_KINDS)
def test_a_client_that_finds_no_room_gets_an_alert(kind: str) -> None:
    with (
        open_driver(kind, make_app(), Limits(connections_max=1)) as driver,
        driver.connect() as one,
        driver.connect_plain() as other,
    ):
        assert one.ask(get("/")).text == "here"
        other.send(TlsSession().outgoing.read())
        alert = other.receive_rest()
    with pytest.raises(ssl.SSLError, match=r"(?i)internal.error"):
        TlsSession().receive(alert)


# Clients that do it wrong.


def test_conversations_that_go_wrong_leave_nothing_behind(driver: Driver) -> None:
    """Truncated, split, damaged, half-closed and reset: no descriptor is left, and no client waits for ever."""
    assert isinstance(driver, SocketDriver)
    contexts = [client_context(maximum_version=version) for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)]
    dice = Random(driver.kind)
    with driver.connect() as client:
        client.ask(get("/"))
    driver.wait_until(lambda: driver.open_connections() == 0)
    before = len(os.listdir("/proc/self/fd"))
    left: list[socket.socket] = []
    for _ in range(CONVERSATIONS):
        sock = converse(driver, dice, dice.choice(contexts))
        if sock is not None:
            left.append(sock)
    with driver.connect() as client:
        assert client.ask(get("/")).text == "here"
    # The server gives up on those that stay and say nothing.
    driver.wait_until(lambda: driver.open_connections() == 0)
    for sock in left:
        sock.close()
    assert len(os.listdir("/proc/self/fd")) <= before
    assert all(context.counters.errors.get("connection", 0) == 0 for context in driver.contexts())
    assert all(context.counters.buffered == 0 for context in driver.contexts())


def converse(driver: SocketDriver, dice: Random, context: ssl.SSLContext) -> socket.socket | None:
    """Have one conversation that goes wrong somewhere, or nowhere. Return the socket if the client stays."""
    sock = socket.create_connection(driver.server.address, PATIENCE_SECONDS)
    tls = TlsSession(context)
    sock.settimeout(0.02)
    try:
        for _ in range(dice.randrange(1, 7)):
            if tls.is_open:
                tls.send(dice.choice([get("/"), post("/echo", bytes(3000)), get("/bytes/300000"), b"bad\r\n\r\n"]))
            send_badly(sock, tls.outgoing.read(), dice)
            try:
                tls.receive(sock.recv(dice.choice([100, 5000, 1 << 20])))
            except TimeoutError:
                pass
    except (ssl.SSLError, OSError):
        pass
    end = dice.randrange(5)
    if end == 0:
        return sock
    if end == 1:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    elif end == 2:
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        return sock
    elif end == 3:
        tls.end()
        try:
            sock.send(tls.outgoing.read())
        except OSError:
            pass
    sock.close()
    return None


def send_badly(sock: socket.socket, data: bytes, dice: Random) -> None:
    """Send bytes in two parts, now and then with one changed or the last ones missing."""
    if data and dice.random() < 0.1:
        at = dice.randrange(len(data))
        data = data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :]
    if data and dice.random() < 0.1:
        data = data[: dice.randrange(len(data))]
    at = dice.randrange(len(data) + 1)
    for piece in (data[:at], data[at:]):
        if piece:
            sock.sendall(piece)


# Both kinds of clients on one reactor.


class MixedContext(TlsContext):
    """Serves clients from 127.0.0.2 without TLS."""

    def __init__(self, *arguments: Any, **_: Any) -> None:
        super().__init__(*arguments, serves_plain=True)

    def connect(self, peer: Peer) -> Any:
        return self.connect_plain(peer) if peer[0] == "127.0.0.2" else super().connect(peer)


@pytest.mark.parametrize("kind", TLS_SOCKET_KINDS)
def test_plain_and_encrypted_clients_of_one_reactor(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mreactor.tls, "TlsContext", MixedContext)
    with open_driver(kind, make_app(), LIMITS, threads=1) as driver:
        assert isinstance(driver, SocketDriver)
        with SocketClient(driver.server.address, source="127.0.0.2") as plain, driver.connect() as encrypted:
            for _ in range(50):
                assert plain.ask(get("/")).text == encrypted.ask(get("/")).text == "here"
                assert encrypted.ask(post("/echo", b"x" * 5000)).body == plain.ask(post("/echo", b"x" * 5000)).body
            assert len(encrypted.ask(get("/bytes/300000")).body) == 300_000
            # The reactor knows these bytes by now, and still they are no request here.
            assert isinstance(encrypted, TlsClient)
            encrypted.client.send(get("/"))
            with pytest.raises(ssl.SSLError, match=r"(?i)alert|record"):
                encrypted.receive()
            assert plain.ask(get("/")).text == "here"


WHO = """
from mreactor import App

app = App()

@app.get("/")
def who(request):
    return f"{request.scheme} from {request.peer[0]}"
"""


@pytest.mark.parametrize("backend", SOCKET_KINDS)
def test_each_kind_of_address(backend: str, files: Path, context: ssl.SSLContext) -> None:
    """TCP serves TLS, `plain:` and unix sockets do not. A balancer's PROXY header comes before the handshake."""
    if reason := missing(backend):
        pytest.skip(reason)
    (files / "who.py").write_text(WHO)
    arguments = ["--backend", backend, *options(files), "--proxy-protocol", "--trusted-proxies", "127.0.0.2"]
    binds = ["--bind", "127.0.0.1:0", "--bind", "plain:127.0.0.1:0", "--bind", f"unix:{files}/socket"]
    with start(files, *arguments, *binds, "who:app", cwd=files) as server:
        server.wait_until_said("listening on unix:")
        ports = {found[1]: int(found[2]) for found in re.finditer(r"on (https?)://127.0.0.1:(\d+)", server.stderr)}
        secure, plain = (("127.0.0.1", ports[scheme]) for scheme in ("https", "http"))
        for _ in range(3):
            with TlsClient(SocketClient(secure), TlsSession(context)) as client:
                assert client.ask(get("/")).text == client.ask(get("/")).text == "https from 127.0.0.1"
            with SocketClient(plain) as client:
                assert client.ask(get("/")).text == client.ask(get("/")).text == "http from 127.0.0.1"
        with SocketClient(secure, source="127.0.0.2") as balancer:
            balancer.send(b"PROXY TCP4 192.0.2.7 192.0.2.1 1000 443\r\n")
            with TlsClient(balancer, TlsSession(context)) as client:
                assert client.ask(get("/")).text == "https from 192.0.2.7"
        assert ask_unix(files / "socket").endswith(b"http from ")
        assert server.stop() == 0


@pytest.mark.parametrize("backend", SOCKET_KINDS)
def test_plain_addresses_are_redirected(backend: str, files: Path, context: ssl.SSLContext) -> None:
    """TCP without TLS is redirected, but for challenges and the checks of a balancer. Unix sockets are not."""
    if reason := missing(backend):
        pytest.skip(reason)
    (files / "who.py").write_text(WHO)
    (files / "challenges").mkdir()
    (files / "challenges" / "token").write_text("proof")
    arguments = ["--backend", backend, *options(files), "--tls-redirect", "--proxy-protocol"]
    arguments += ["--trusted-proxies", "127.0.0.2", "--mount", f"/.well-known/acme-challenge={files}/challenges"]
    binds = ["--bind", "plain:127.0.0.1:0", "--bind", f"unix:{files}/socket", "--bind", "127.0.0.1:0"]
    with start(files, *arguments, *binds, "who:app", cwd=files) as server:
        server.wait_until_said("serving|listening on unix:")
        ports = {found[1]: int(found[2]) for found in re.finditer(r"on (https?)://127.0.0.1:(\d+)", server.stderr)}
        secure, plain = (("127.0.0.1", ports[scheme]) for scheme in ("https", "http"))
        url = f"https://a:{ports['https']}"
        for _ in range(3):
            with SocketClient(plain) as client:
                for _ in range(3):
                    response = client.ask(get("/?a=b"))
                    assert (response.status, response.headers["location"]) == (301, f"{url}/?a=b")
                    assert client.ask(post("/nowhere", b"x" * 100_000)).headers["location"] == f"{url}/nowhere"
                    assert client.ask(get("/.well-known/acme-challenge/token")).text == "proof"
            with TlsClient(SocketClient(secure), TlsSession(context)) as client:
                assert client.ask(get("/")).text == client.ask(get("/")).text == "https from 127.0.0.1"
            assert ask_unix(files / "socket").endswith(b"http from ")
        for header, status in ((b"PROXY TCP4 192.0.2.7 192.0.2.1 1000 80\r\n", 301), (b"PROXY UNKNOWN\r\n", 200)):
            with SocketClient(plain, source="127.0.0.2") as balancer:
                balancer.send(header)
                assert balancer.ask(get("/")).status == status
        assert server.stop() == 0


def test_redirections_need_a_place_to_begin_and_to_end(files: Path) -> None:
    plain = ("--bind", "plain:127.0.0.1:0")
    for arguments, said in (
        (("--tls-redirect", *plain), "--tls-redirect: it needs --tls-cert"),
        (
            ("--tls-redirect", "--port", "0", *options(files)),
            "--tls-redirect: it needs an address to redirect, such as",
        ),
        (("--tls-redirect", *plain, *options(files)), "--tls-redirect: it needs an address with TLS, such as"),
    ):
        ended = run(*arguments)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.startswith(f"mreactor: {said}")
        assert ended.stderr.count("\n") == 1


def test_a_unix_socket_beside_tls_alone(files: Path) -> None:
    (files / "who.py").write_text(WHO)
    binds = ["--bind", "127.0.0.1:0", "--bind", f"unix:{files}/socket"]
    with start(files, *options(files), *binds, "who:app", cwd=files) as server:
        server.wait_until_said("listening on unix:")
        assert ask_unix(files / "socket").endswith(b"http from ")
        assert server.stop() == 0


def ask_unix(path: Path) -> bytes:
    """Ask on a unix socket; return the whole response."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE_SECONDS)
        sock.connect(str(path))
        sock.sendall(get("/", "Connection: close"))
        return b"".join(iter(lambda: sock.recv(4096), b""))
