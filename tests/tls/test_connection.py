"""TLS connections without sockets: handshakes in pieces, refusals, ends, and what the inner connection hears."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest

from mreactor.app import StaticFiles
from mreactor.app.application import App
from mreactor.config import Config, Limits
from mreactor.http import Request
from mreactor.http1 import ReactorContext, render_plain_refusal
from mreactor.protocol import CLOSED, IDLE, LINGERING, QUIET, READY, FileBody, memory_of
from mreactor.tls import Certificates, TlsContext
from mreactor.tls.connection import CLOSE_SECONDS, HANDSHAKE, OPEN, PIECE_BYTES_MAX, TlsConnection
from tests.support.certificates import authority, client_context, client_pair, server_pair
from tests.support.memory import MemoryReactor, Session
from tests.support.responses import read_responses
from tests.support.tls import TlsSession
from tests.support.vectors import get, post

LIMITS = Limits(tls_handshake_seconds=5.0, head_seconds=3.0, write_stall_seconds=4.0)
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
ALERT = 0x15


def make_app() -> App:
    app = App()
    app.get("/")(lambda request: "here")
    app.get("/bytes/{count:int}")(lambda request, count: bytes(count))
    app.get("/wait", blocking=True)(lambda request: "waited")
    app.post("/echo")(lambda request: request.body)

    @app.get("/who")
    def who(request: Request) -> dict[str, object]:
        certificate = request.client_certificate
        return {"scheme": request.scheme, "subject": certificate and dict(*certificate["subject"])}

    return app


def make_config(**settings: Any) -> Config:
    certificate, key = server_pair()
    return Config(tls_cert=(str(certificate),), tls_key=(str(key),), limits=LIMITS, **settings)


def make_reactor(certificates: Certificates | None = None, *, serves_plain: bool = False) -> MemoryReactor:
    chosen = certificates or Certificates(make_config())
    routes = make_app().freeze()
    return MemoryReactor(
        lambda: TlsContext(
            ReactorContext(LIMITS, routes), chosen, LIMITS, render_plain_refusal, serves_plain=serves_plain
        )
    )


class Peer:
    """A TLS client of a session in memory."""

    def __init__(self, session: Session, context: ssl.SSLContext | None = None, /, **settings: Any) -> None:
        self.session = session
        self.tls = TlsSession(context, **settings)
        self.received = b""

    def exchange(self) -> bytes:
        """Pass bytes both ways until nothing moves; return the plaintext received."""
        before = len(self.received)
        while True:
            if self.tls.outgoing.pending:
                self.session.arrive(self.tls.outgoing.read())
            self.session.drive()
            if not (sent := self.session.take_sent()):
                return self.received[before:]
            self.received += self.tls.receive(sent)

    def ask(self, request: bytes) -> bytes:
        self.tls.send(request)
        return self.exchange()


@pytest.fixture
def reactor() -> Iterator[MemoryReactor]:
    reactor = make_reactor()
    yield reactor
    reactor.close()


def counters(reactor: MemoryReactor) -> dict[str, int]:
    return reactor.context.counters.timeouts | reactor.context.counters.errors


# The handshake.


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("piece_bytes", [1, 2, 5, 7, 64, 1 << 20])
def test_whatever_the_pieces(reactor: MemoryReactor, version: ssl.TLSVersion, piece_bytes: int) -> None:
    session = reactor.connect(send_max=piece_bytes)
    peer = Peer(session, client_context(maximum_version=version))
    peer.tls.send(get("/") + post("/echo", b"x" * 300))
    while True:
        data = peer.tls.outgoing.read()
        for start in range(0, len(data), piece_bytes):
            session.arrive(data[start : start + piece_bytes])
            session.drive()
        sent = session.take_sent()
        if not sent and not data:
            break
        peer.received += peer.tls.receive(sent)
    assert [response.body for response in read_responses(peer.received)] == [b"here", b"x" * 300]
    assert peer.tls.session.version() == {VERSIONS[0]: "TLSv1.2", VERSIONS[1]: "TLSv1.3"}[version]
    assert session.connection.state == IDLE


@pytest.mark.parametrize("version", VERSIONS)
def test_the_first_flight_split_at_each_offset(version: ssl.TLSVersion) -> None:
    certificates = Certificates(make_config())
    context = client_context(maximum_version=version)
    length = len(TlsSession(context).outgoing.read())
    for offset in range(1, length):
        reactor = make_reactor(certificates)
        session = reactor.connect()
        peer = Peer(session, context)
        hello = peer.tls.outgoing.read()
        session.arrive(hello[:offset])
        session.drive()
        assert (session.connection.state, bytes(session.sent)) == (HANDSHAKE, b"")
        session.arrive(hello[offset:])
        assert peer.ask(get("/")).endswith(b"here")
        reactor.close()


def test_a_handshake_has_a_deadline_however_bytes_trickle(reactor: MemoryReactor) -> None:
    silent, slow = reactor.connect(), reactor.connect()
    hello = TlsSession().outgoing.read()
    for at in range(4):
        slow.arrive(hello[at : at + 1])
        reactor.pass_time(1.2)
        assert slow.connection.state == silent.connection.state == HANDSHAKE
    reactor.pass_time(0.3)
    assert silent.connection.state == slow.connection.state == CLOSED
    assert counters(reactor) == {"handshake": 2}


def test_the_time_for_the_first_head_begins_behind_the_handshake(reactor: MemoryReactor) -> None:
    session = reactor.connect()
    reactor.pass_time(4.0)
    peer = Peer(session)
    peer.exchange()
    assert peer.tls.is_open
    reactor.pass_time(2.9)
    assert session.connection.state == IDLE
    reactor.pass_time(0.2)
    assert session.connection.state == CLOSED
    assert counters(reactor) == {"head": 1}


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"P", b"BREW /pot HTTP/1.1\r\n"])
def test_http_without_tls_gets_a_readable_refusal(reactor: MemoryReactor, data: bytes) -> None:
    session = reactor.connect()
    session.arrive(data)
    session.drive()
    (response,) = read_responses(session.take_sent())
    assert (response.status, response.says_close) == (400, True)
    assert "HTTPS" in response.text
    assert session.connection.state == LINGERING
    session.arrive(b"more of it")
    session.drive()
    assert session.take_sent() == b""
    assert counters(reactor) == {"tls": 1}
    reactor.pass_time(CLOSE_SECONDS + 0.1)
    assert session.connection.state == CLOSED


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x00\x05hello", b"\x00" * 50, b"\x80\x2e\x01\x03\x01" + bytes(50), b"\xff" * 3000, b"get /"]
)
def test_garbage_gets_an_alert_at_most(reactor: MemoryReactor, data: bytes) -> None:
    session = reactor.connect()
    session.arrive(data)
    session.drive()
    sent = session.take_sent()
    assert not sent or sent[0] == ALERT
    assert session.connection.state in (LINGERING, HANDSHAKE)
    reactor.pass_time(LIMITS.tls_handshake_seconds + 0.1)
    assert session.connection.state == CLOSED


def test_a_client_without_a_common_version_is_refused_with_an_alert() -> None:
    reactor = make_reactor(Certificates(make_config(tls_min="1.3")))
    peer = Peer(reactor.connect(), client_context(maximum_version=ssl.TLSVersion.TLSv1_2))
    with pytest.raises(ssl.SSLError, match=r"ALERT_PROTOCOL_VERSION|alert protocol version"):
        peer.exchange()
    assert counters(reactor) == {"tls": 1}
    peer.session.arrive_eof()
    peer.session.drive()
    assert peer.session.connection.state == CLOSED
    reactor.close()


@pytest.mark.parametrize("sent", [0, 1, 5, 100])
def test_a_client_that_leaves_during_the_handshake(reactor: MemoryReactor, sent: int) -> None:
    session = reactor.connect()
    if sent:
        session.arrive(TlsSession().outgoing.read()[:sent])
    session.arrive_eof()
    session.drive()
    assert session.connection.state == CLOSED
    assert reactor.remove_closed() == 0


def test_http_1_1_is_negotiated(reactor: MemoryReactor) -> None:
    context = client_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    peer = Peer(reactor.connect(), context)
    peer.exchange()
    assert peer.tls.session.selected_alpn_protocol() == "http/1.1"


def test_a_handler_knows_the_scheme(reactor: MemoryReactor) -> None:
    assert Peer(reactor.connect()).ask(get("/who")).endswith(b'{"scheme":"https","subject":null}')


# Client certificates.


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("wanted", "pair", "subject"),
    [
        ("optional", None, b"null"),
        ("optional", client_pair, b'{"commonName":"client.test"}'),
        ("required", client_pair, b'{"commonName":"client.test"}'),
    ],
)
def test_a_client_certificate_reaches_the_handler(
    version: ssl.TLSVersion, wanted: str, pair: Callable[[], Any] | None, subject: bytes
) -> None:
    config = make_config(tls_client_ca=str(authority().certificate), tls_client_cert=wanted)
    reactor = make_reactor(Certificates(config))
    context = client_context(pair and pair(), maximum_version=version)
    peer = Peer(reactor.connect(), context)
    assert peer.ask(get("/who")).endswith(b'"subject":' + subject + b"}")
    resumed = Peer(reactor.connect(), context, session=peer.tls.session.session)
    assert resumed.ask(get("/who")).endswith(b'"subject":' + subject + b"}")
    assert resumed.tls.session.session_reused
    reactor.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_required_client_certificate_that_is_missing(version: ssl.TLSVersion) -> None:
    config = make_config(tls_client_ca=str(authority().certificate))
    reactor = make_reactor(Certificates(config))
    peer = Peer(reactor.connect(), client_context(maximum_version=version))
    with pytest.raises(ssl.SSLError, match=r"(?i)alert (certificate required|handshake failure)|ALERT_"):
        peer.ask(get("/"))
    assert counters(reactor) == {"tls": 1}
    assert peer.session.connection.state == LINGERING
    reactor.close()


# Resumption.


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_resumed_on_any_reactor(version: ssl.TLSVersion) -> None:
    certificates = Certificates(make_config())
    first, second = make_reactor(certificates), make_reactor(certificates)
    context = client_context(maximum_version=version)
    peer = Peer(first.connect(), context)
    peer.ask(get("/"))
    other = Peer(second.connect(), context, session=peer.tls.session.session)
    assert other.ask(get("/")).endswith(b"here")
    assert (peer.tls.session.session_reused, other.tls.session.session_reused) == (False, True)
    first.close()
    second.close()


def test_after_a_reload_old_connections_go_on_and_old_tickets_are_no_fault() -> None:
    certificates = Certificates(make_config())
    reactor = make_reactor(certificates)
    context = client_context()
    old = Peer(reactor.connect(), context)
    old.ask(get("/"))
    certificates.reload()
    assert old.ask(get("/")).endswith(b"here")
    new = Peer(reactor.connect(), context, session=old.tls.session.session)
    assert new.ask(get("/")).endswith(b"here")
    assert not new.tls.session.session_reused
    reactor.close()


# Records.


def test_requests_in_many_records_and_many_in_one(reactor: MemoryReactor) -> None:
    peer = Peer(reactor.connect())
    peer.exchange()
    for _ in range(100):
        peer.tls.send(get("/"))
    peer.tls.send(get("/") * 150)
    assert len(read_responses(peer.exchange())) == 250
    assert peer.session.connection.state == IDLE


def test_a_record_that_comes_in_two_parts_to_an_idle_connection(reactor: MemoryReactor) -> None:
    peer = Peer(reactor.connect())
    peer.exchange()
    peer.tls.send(get("/"))
    data = peer.tls.outgoing.read()
    for offset in range(1, len(data)):
        peer.session.arrive(data[:offset])
        peer.session.drive()
        assert peer.session.connection.state == IDLE
        peer.session.arrive(data[offset:])
        assert peer.exchange().endswith(b"here")
        peer.tls.send(get("/"))
        data = peer.tls.outgoing.read()


def test_a_connection_that_waits_leaves_further_bytes_unread(reactor: MemoryReactor) -> None:
    session = reactor.connect(runs_jobs=False)
    peer = Peer(session)
    peer.ask(get("/wait"))
    connection = session.connection
    assert (connection.state, connection.wants_read, len(session.jobs)) == (OPEN, False, 1)
    # These were on their way: they are kept, and stay encrypted.
    peer.tls.send(get("/"))
    connection.receive_data(peer.tls.outgoing.read())
    assert connection.wants_read is False
    session.run_job()
    peer.exchange()
    assert [response.text for response in read_responses(peer.received)] == ["waited", "here"]


@pytest.mark.parametrize("count", [PIECE_BYTES_MAX - 200, PIECE_BYTES_MAX, PIECE_BYTES_MAX + 1, 1_000_000])
@pytest.mark.parametrize("send_max", [1 << 20, 1000])
def test_large_responses(reactor: MemoryReactor, count: int, send_max: int) -> None:
    peer = Peer(reactor.connect(send_max=send_max))
    peer.exchange()
    (response,) = read_responses(peer.ask(get(f"/bytes/{count}")))
    assert response.body == bytes(count)
    assert peer.session.connection.state == IDLE


@pytest.mark.parametrize("target", ["/", "/bytes/60000"])
def test_a_response_that_the_kernel_takes_in_part_is_not_over_before_it_has_all(
    reactor: MemoryReactor, target: str
) -> None:
    session = reactor.connect()
    peer = Peer(session)
    peer.exchange()
    session.window = 100
    peer.tls.send(get(target) + get("/"))
    session.arrive(peer.tls.outgoing.read())
    session.drive()
    connection = cast(TlsConnection, session.connection)
    inner = connection._inner
    assert inner is not None
    while session.sent:
        # The inner connection still has to send, so it takes no request and would not close.
        assert (connection.state, inner.wants_read) == (OPEN, False) or not connection.data_to_send()
        peer.received += peer.tls.receive(session.take_sent())
        session.drive()
    assert connection.state == IDLE
    assert len(read_responses(peer.received)) == 2


def test_the_memory_of_a_long_response_counts_while_pieces_of_it_are_encrypted(reactor: MemoryReactor) -> None:
    session = reactor.connect(window=1000)
    peer = Peer(session)
    session.window = 1 << 20
    peer.exchange()
    session.window = 1000
    peer.tls.send(get("/bytes/1000000"))
    session.arrive(peer.tls.outgoing.read())
    session.drive()
    connection = cast(TlsConnection, session.connection)
    assert len(cast(bytes, connection.data_to_send())) < 2 * PIECE_BYTES_MAX
    assert 1_000_000 < connection.unsent_bytes < memory_of(bytes(1_000_000)) + 100_000
    session.reset()
    assert connection.unsent_bytes == 0


# Ends.


def test_the_end_is_announced(reactor: MemoryReactor) -> None:
    peer = Peer(reactor.connect())
    assert peer.ask(get("/", "Connection: close")).endswith(b"here")
    assert peer.tls.has_ended, "there is a close_notify"
    assert peer.session.connection.state == CLOSED


def test_the_end_of_an_idle_connection_is_announced(reactor: MemoryReactor) -> None:
    peer = Peer(reactor.connect())
    peer.ask(get("/"))
    reactor.pass_time(LIMITS.keepalive_seconds + 1)
    peer.tls.receive(peer.session.take_sent())
    assert peer.tls.has_ended
    assert peer.session.connection.state == CLOSED


def test_a_close_notify_that_nobody_takes_has_a_deadline(reactor: MemoryReactor) -> None:
    peer = Peer(reactor.connect())
    peer.ask(get("/"))
    peer.session.window = 0
    reactor.pass_time(LIMITS.keepalive_seconds + 1)
    assert peer.session.connection.state == OPEN
    reactor.pass_time(CLOSE_SECONDS + 0.1)
    assert peer.session.connection.state == CLOSED


@pytest.mark.parametrize("half_closes", [True, False])
def test_the_peers_close_notify_ends_an_idle_connection(reactor: MemoryReactor, half_closes: bool) -> None:
    peer = Peer(reactor.connect())
    peer.ask(get("/"))
    peer.tls.end()
    if half_closes:
        peer.session.arrive(peer.tls.outgoing.read())
        peer.session.arrive_eof()
    peer.exchange()
    assert peer.tls.has_ended
    assert peer.session.connection.state == CLOSED


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("half_closes", [True, False])
def test_a_peer_that_ends_with_its_handshake_gets_a_close_notify(
    reactor: MemoryReactor, version: ssl.TLSVersion, half_closes: bool
) -> None:
    """The tickets of the session go out before it."""
    peer = Peer(reactor.connect(), client_context(maximum_version=version))
    peer.tls.end()
    if half_closes:
        peer.tls.receive(b"")
    while peer.tls.outgoing.pending:
        peer.session.arrive(peer.tls.outgoing.read())
        if half_closes and peer.tls.is_open:
            peer.session.arrive_eof()
        peer.session.drive()
        peer.tls.receive(peer.session.take_sent())
    assert peer.tls.has_ended
    assert peer.session.connection.state == CLOSED


def test_requests_before_the_peers_close_notify_are_answered(reactor: MemoryReactor) -> None:
    peer = Peer(reactor.connect())
    peer.exchange()
    peer.tls.send(get("/wait") + get("/") * 3)
    peer.tls.end()
    assert len(read_responses(peer.exchange())) == 4
    assert peer.tls.has_ended
    assert peer.session.connection.state == CLOSED


@pytest.mark.parametrize("data", [b"", get("/")[:10], post("/echo", b"hello")[:-2]])
def test_an_end_without_a_close_notify_is_an_end(reactor: MemoryReactor, data: bytes) -> None:
    """Framing shows what was cut off, so nothing is taken for whole that is not."""
    peer = Peer(reactor.connect())
    peer.exchange()
    peer.tls.send(data) if data else None
    peer.session.arrive(peer.tls.outgoing.read())
    peer.session.arrive_eof()
    responses = read_responses(peer.exchange())
    assert [response.status for response in responses] == ([400] if data else [])
    assert peer.session.connection.state == CLOSED


def test_what_follows_the_peers_close_notify_is_ignored(reactor: MemoryReactor) -> None:
    session = reactor.connect(runs_jobs=False)
    peer = Peer(session)
    peer.exchange()
    peer.tls.send(get("/wait"))
    peer.tls.end()
    peer.exchange()
    session.connection.receive_data(b"\x17\x03\x03\x00\x05hello")
    session.run_job()
    peer.exchange()
    assert [response.text for response in read_responses(peer.received)] == ["waited"]
    assert session.connection.state == CLOSED
    assert counters(reactor) == {}


@pytest.mark.parametrize("target", ["/", "/wait"])
def test_a_forged_record_ends_the_connection_with_an_alert(reactor: MemoryReactor, target: str) -> None:
    session = reactor.connect(runs_jobs=False)
    peer = Peer(session)
    peer.ask(get(target))
    session.connection.receive_data(b"\x17\x03\x03\x00\x20" + bytes(32))
    if target == "/wait":
        session.run_job()
    with pytest.raises(ssl.SSLError, match=r"(?i)alert|bad record"):
        peer.exchange()
    assert session.connection.state == LINGERING
    assert counters(reactor) == {"tls": 1}
    session.arrive_eof()
    session.drive()
    assert session.connection.state == CLOSED


def test_plain_http_on_an_established_connection_is_no_request() -> None:
    """Not even where the same bytes lie in the cache of the reactor's other clients."""
    reactor = make_reactor(serves_plain=True)
    context = reactor.context
    assert isinstance(context, TlsContext)
    plain = context.connect_plain(("192.0.2.9", 1))
    for _ in range(3):
        plain.receive_data(get("/"))
    assert context.fast_path.find_route(get("/")) is not None
    peer = Peer(reactor.connect())
    peer.ask(get("/"))
    assert peer.session.connection.state == QUIET
    peer.session.arrive(get("/"))
    peer.session.drive()
    assert peer.session.sent[0] in (ALERT, 0x17)
    assert b"here" not in peer.session.sent
    plain.abort()
    reactor.close()


def test_both_kinds_of_clients_on_one_reactor() -> None:
    reactor = make_reactor(serves_plain=True)
    peer = Peer(reactor.connect())
    for _ in range(5):
        assert peer.ask(get("/")).endswith(b"here")
        assert peer.session.connection.state == QUIET
    context = cast(TlsContext, reactor.context)
    plain = context.connect_plain(("192.0.2.9", 1))
    response = plain.receive_data(get("/"))
    assert response is not None
    assert response.endswith(b"here")
    plain.abort()
    reactor.close()


# Drain.


def test_a_drain_ends_idle_connections_and_lets_the_others_finish() -> None:
    reactor = make_reactor()
    idle, busy = Peer(reactor.connect()), Peer(reactor.connect(runs_jobs=False))
    shaking = Peer(reactor.connect())
    idle.ask(get("/"))
    reactor.pass_time(2.0)
    busy.ask(get("/wait"))
    shaking.session.arrive(shaking.tls.outgoing.read())
    shaking.session.drive()
    reactor.drain()
    idle.tls.receive(idle.session.take_sent())
    assert idle.tls.has_ended
    shaking.tls.receive(shaking.session.take_sent())
    (response,) = read_responses(shaking.ask(get("/")))
    assert response.says_close
    reactor.run_jobs()
    (response,) = read_responses(busy.exchange())
    assert (response.text, response.says_close) == ("waited", True)
    for peer in (idle, busy, shaking):
        assert peer.tls.has_ended
        peer.session.arrive_eof()
        peer.session.drive()
    assert reactor.remove_closed() == 0
    reactor.close()


def test_a_handshake_that_does_not_go_on_ends_soon_in_a_drain(reactor: MemoryReactor) -> None:
    session = reactor.connect()
    reactor.drain()
    assert session.connection.state == HANDSHAKE
    reactor.pass_time(1.1)
    assert session.connection.state == CLOSED


def test_an_abort_takes_everything_along(reactor: MemoryReactor) -> None:
    session = reactor.connect(runs_jobs=False)
    peer = Peer(session)
    peer.ask(get("/wait"))
    session.reset()
    assert session.connection.state == CLOSED
    session.run_job()
    assert session.connection.state == CLOSED
    assert session.take_sent() == b""


def test_a_fault_while_a_file_is_being_sent(tmp_path: Path) -> None:
    """What was encrypted goes out, then the alert. The file is closed."""
    (tmp_path / "file").write_bytes(bytes(300_000))
    app = App()
    app.mount("/", lambda: StaticFiles(tmp_path))
    routes = app.freeze()
    certificates = Certificates(make_config())
    reactor = MemoryReactor(lambda: TlsContext(ReactorContext(LIMITS, routes), certificates, LIMITS))
    session = reactor.connect(window=400)
    peer = Peer(session)
    while not peer.tls.is_open:
        session.arrive(peer.tls.outgoing.read())
        session.drive()
        peer.tls.receive(session.take_sent())
    peer.tls.send(get("/file") + get("/file"))
    session.arrive(peer.tls.outgoing.read())
    session.drive()
    connection = cast(TlsConnection, session.connection)
    while not connection.more_follows:
        peer.received += peer.tls.receive(session.take_sent())
        session.drive()
    connection._fail(ssl.SSLError("a fault"))
    session.check()
    session.window = 1 << 40
    session.drive()
    assert (connection.state, connection.more_follows) == (LINGERING, False)
    reactor.close()


def test_a_connection_that_is_ready_takes_its_turn(reactor: MemoryReactor) -> None:
    peer = Peer(reactor.connect())
    peer.exchange()
    peer.tls.send(get("/") * (LIMITS.pipelined_per_turn_max + 1))
    peer.session.connection.receive_data(peer.tls.outgoing.read())
    connection = peer.session.connection
    while output := connection.data_to_send():
        assert not isinstance(output, FileBody)
        peer.received += peer.tls.receive(bytes(output))
        connection.data_sent(len(output))
    assert connection.state == READY
    peer.exchange()
    assert connection.state == IDLE
    assert len(read_responses(peer.received)) == LIMITS.pipelined_per_turn_max + 1


# Anything at all.


def test_conversations_of_any_kind_come_to_an_end() -> None:
    """Truncated, split, damaged, half-closed: each connection ends in time, and nothing of it is left."""
    dice = Random(7)
    certificates = Certificates(make_config())
    contexts = [client_context(maximum_version=version) for version in VERSIONS]
    reactor = make_reactor(certificates)
    for _ in range(500):
        converse(reactor, dice, dice.choice(contexts))
        if dice.random() < 0.05:
            reactor.pass_time(1.0)
    for _ in range(60):
        reactor.pass_time(2.0)
    assert reactor.remove_closed() == 0, "every connection has ended by itself"
    assert not any(isinstance(session.connection, TlsConnection) for session in reactor.sessions)
    reactor.close()


def converse(reactor: MemoryReactor, dice: Random, context: ssl.SSLContext) -> None:
    """Have one conversation that goes wrong somewhere, or nowhere."""
    session = reactor.connect(send_max=dice.choice([1 << 20, 500, 50]))
    peer = Peer(session, context)
    steps = dice.randrange(1, 8)
    try:
        for _ in range(steps):
            if peer.tls.is_open and dice.random() < 0.8:
                peer.tls.send(dice.choice([get("/"), post("/echo", bytes(3000)), get("/bytes/100000"), b"bad\r\n\r\n"]))
            data = peer.tls.outgoing.read()
            if dice.random() < 0.15 and data:
                at = dice.randrange(len(data))
                data = data[:at] + bytes([dice.randrange(256)]) + data[at + dice.randrange(2) :]
            if dice.random() < 0.1:
                data = data[: dice.randrange(len(data) + 1)]
            at = dice.randrange(len(data) + 1)
            for piece in (data[:at], data[at:]):
                if piece and session.connection.state != CLOSED:
                    session.arrive(piece)
                    session.drive()
            peer.tls.receive(session.take_sent())
    except ssl.SSLError:
        pass
    match dice.randrange(4):
        case 0:
            session.arrive_eof()
            session.drive()
        case 1:
            session.reset()
        case 2:
            peer.tls.end()
            session.arrive(peer.tls.outgoing.read())
            session.drive()
