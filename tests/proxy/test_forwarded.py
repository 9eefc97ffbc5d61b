"""Forwarded fields: tables of good, bad and forged ones; and the networks of trusted proxies."""

import time

import pytest

from mreactor.addresses import MEMO_MAX, TrustedProxies
from mreactor.config import Config, ConfigError
from mreactor.http import Headers
from mreactor.protocol import NO_ADDRESS, Peer, SecurePeer
from mreactor.proxy import Forwarding
from mreactor.proxy.forwarded import HOPS_MAX, parse_node

PROXY: Peer = ("10.0.0.1", 4000)
TRUSTED = ("10.0.0.0/8, 2001:db8:aaaa::/48", "unix")


def find(kind: str, peer: Peer = PROXY, **fields: str) -> Peer:
    headers = Headers(tuple((name.replace("_", "-"), value) for name, value in fields.items()))
    return Forwarding(TrustedProxies(TRUSTED), kind).find_client(peer, headers)


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("", PROXY),
        ("192.0.2.1", ("192.0.2.1", 0)),
        ("192.0.2.1:5678", ("192.0.2.1", 5678)),
        ("2001:db8::1", ("2001:db8::1", 0, 0, 0)),
        ("[2001:DB8::1]", ("2001:db8::1", 0, 0, 0)),
        ("[2001:db8::1]:5678", ("2001:db8::1", 5678, 0, 0)),
        ("  192.0.2.1\t", ("192.0.2.1", 0)),
        # Two proxies, of which the first has added the client and the second the first.
        ("192.0.2.1, 10.0.0.2", ("192.0.2.1", 0)),
        ("192.0.2.1,10.0.0.2,2001:db8:aaaa::7", ("192.0.2.1", 0)),
        # All of them are proxies: the client is the first one.
        ("10.0.0.3, 10.0.0.2", ("10.0.0.3", 0)),
        # Forged: what stands left of an untrusted address is that address's word.
        ("198.51.100.1, 192.0.2.1", ("192.0.2.1", 0)),
        ("10.0.0.9, 192.0.2.1", ("192.0.2.1", 0)),
        ("127.0.0.1, 10.0.0.9, 192.0.2.1, 10.0.0.2", ("192.0.2.1", 0)),
        # The proxy does not know the client: what is known ends with that proxy.
        ("unknown", PROXY),
        ("192.0.2.1, unknown", PROXY),
        ("192.0.2.1, unknown, 10.0.0.2", ("10.0.0.2", 0)),
        ("192.0.2.1,", PROXY),
        (",192.0.2.1", ("192.0.2.1", 0)),
        ("192.0.2.256", PROXY),
        ("192.0.02.1", PROXY),
        ("192.0.2.1:65536", PROXY),
        ("192.0.2.1:", PROXY),
        ("[192.0.2.1]", PROXY),
        ("[::1", PROXY),
        ("::1]:80", PROXY),
        ("192.0.2.1 198.51.100.1", PROXY),
        ("<script>", PROXY),
        ('"192.0.2.1"', PROXY),
        ("\xb2.0.2.1", PROXY),
        (", ".join(["192.0.2.1"] + ["10.0.0.2"] * HOPS_MAX), ("10.0.0.2", 0)),
        (", ".join(["192.0.2.1"] + ["10.0.0.2"] * (HOPS_MAX - 1)), ("192.0.2.1", 0)),
    ],
)
def test_x_forwarded_for(value: str, client: Peer) -> None:
    assert find("x-forwarded", x_forwarded_for=value) == client


@pytest.mark.parametrize(
    ("value", "is_secure"),
    [("https", True), ("HTTPS", True), ("http", False), ("http, https", True), ("https,http", False), ("wss", False)],
)
def test_x_forwarded_proto(value: str, is_secure: bool) -> None:
    client = find("x-forwarded", x_forwarded_for="192.0.2.1", x_forwarded_proto=value)
    assert (client, isinstance(client, SecurePeer)) == (("192.0.2.1", 0), is_secure)


@pytest.mark.parametrize(
    ("value", "client", "is_secure"),
    [
        ("for=192.0.2.1", ("192.0.2.1", 0), False),
        ("For=192.0.2.1;Proto=https;by=10.0.0.1", ("192.0.2.1", 0), True),
        ('for="[2001:db8:cafe::17]:4711";proto=http', ("2001:db8:cafe::17", 4711, 0, 0), False),
        ('for="192.0.2.1:80" ; host="a,b;c=\\"d"', ("192.0.2.1", 80), False),
        ("for=192.0.2.1;proto=https, for=10.0.0.2;proto=http", ("192.0.2.1", 0), True),
        ("for=192.0.2.1;proto=http, for=10.0.0.2;proto=https", ("192.0.2.1", 0), False),
        # Forged.
        ("for=198.51.100.1;proto=https, for=192.0.2.1", ("192.0.2.1", 0), False),
        ("for=10.0.0.9, for=192.0.2.1, for=10.0.0.2", ("192.0.2.1", 0), False),
        ('for="x, for=198.51.100.1", for=192.0.2.1', ("192.0.2.1", 0), False),
        # What a client leaves open does not reach into the element of the proxy.
        ('for="x, for=192.0.2.1', ("192.0.2.1", 0), False),
        ('for="x, for="192.0.2.1:80";proto=https', ("192.0.2.1", 80), True),
        ('for=198.51.100.1, x=", for="[2001:db8::1]"', ("2001:db8::1", 0, 0, 0), False),
        # Commas and quotes in quoted strings.
        ('for=198.51.100.1, host="a\\",b,\\\\";for=192.0.2.1', ("192.0.2.1", 0), False),
        ('for=192.0.2.1;host=",,a,", for=10.0.0.2;host="\\,"', ("192.0.2.1", 0), False),
        # Empty elements.
        (", for=192.0.2.1, ,for=10.0.0.2,", ("192.0.2.1", 0), False),
        # Hidden or malformed.
        ("for=unknown", PROXY, False),
        ("for=_hidden, for=10.0.0.2", ("10.0.0.2", 0), False),
        ("for=192.0.2.1, proto=https", PROXY, False),
        ("for=192.0.2.1;for=198.51.100.1", PROXY, False),
        ("for=192.0.2.1;;proto=https", PROXY, False),
        ("for = 192.0.2.1", PROXY, False),
        ("192.0.2.1", PROXY, False),
        ('for="192.0.2.1', PROXY, False),
        ("for=192.0.2.1 x", PROXY, False),
        ("", PROXY, False),
    ],
)
def test_forwarded(value: str, client: Peer, is_secure: bool) -> None:
    found = find("forwarded", forwarded=value)
    assert (found, isinstance(found, SecurePeer)) == (client, is_secure)


HOSTILE_BYTES = 60_000
# Quadratic time takes many seconds.
HOSTILE_SECONDS_MAX = 10.0
HOSTILE_UNITS = [
    '"', '\\"', '"\\', "\\", '","', '\\",', ",", ";", "=", "a=;", 'a="";', " ", "\t,", "for=", "[", "1", ":", "[:",
    "a", "\xa0",
]  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE_UNITS)
@pytest.mark.parametrize("kind", ["forwarded", "x-forwarded"])
def test_a_hostile_field_costs_little(kind: str, unit: str) -> None:
    """A proxy appends its own element to whatever a client has sent, and that to each request."""
    hostile = unit * (HOSTILE_BYTES // len(unit))
    name, own = ("forwarded", "for=192.0.2.1") if kind == "forwarded" else ("x_forwarded_for", "192.0.2.1")
    begun = time.thread_time()
    for value in (hostile, f"x{hostile}", f'"{hostile}', f"for={hostile}"):
        find(kind, **{name: value})
        # The proxy's own element counts all the same.
        assert find(kind, **{name: f"{value}, {own}"}) == ("192.0.2.1", 0)
        find(kind, **{name: f"for=10.0.0.2;by={value}, for=10.0.0.2"})
    assert time.thread_time() - begun < HOSTILE_SECONDS_MAX


def test_only_the_chosen_fields_count() -> None:
    """A client may send the others, and the proxy passes them on."""
    fields = {"forwarded": "for=198.51.100.1;proto=https", "x_forwarded_for": "192.0.2.1"}
    assert find("x-forwarded", **fields) == ("192.0.2.1", 0)
    assert find("forwarded", **fields) == ("198.51.100.1", 0)


def test_a_field_of_several_lines_is_one() -> None:
    headers = Headers((("x-forwarded-for", "192.0.2.1"), ("x-forwarded-for", "10.0.0.2")))
    assert Forwarding(TrustedProxies(TRUSTED), "x-forwarded").find_client(PROXY, headers) == ("192.0.2.1", 0)


def test_the_scheme_of_the_proxys_own_connection_counts_if_it_tells_none() -> None:
    secure = SecurePeer(PROXY, {"subject": ()})
    assert find("x-forwarded", secure) is secure
    client = find("x-forwarded", secure, x_forwarded_for="192.0.2.1")
    assert isinstance(client, SecurePeer)
    assert client.certificate is None, "it is the proxy's"
    plain = find("x-forwarded", secure, x_forwarded_for="192.0.2.1", x_forwarded_proto="http")
    assert type(plain) is tuple


def test_a_proxy_on_a_unix_socket() -> None:
    assert find("x-forwarded", NO_ADDRESS, x_forwarded_for="192.0.2.1") == ("192.0.2.1", 0)


@pytest.mark.parametrize("text", ["", "x", "1", "1.2.3", "1.2.3.4.5", ":", "::::", "[]", "[]:1", "1.2.3.4:x", "::1%e"])
def test_what_is_no_address(text: str) -> None:
    assert parse_node(text) is None


# Networks.


@pytest.mark.parametrize(
    ("host", "is_trusted"),
    [
        ("10.255.0.1", True),
        ("11.0.0.1", False),
        ("::ffff:10.0.0.1", True),
        ("::ffff:11.0.0.1", False),
        ("2001:db8:aaaa::1", True),
        ("2001:db8:aaab::1", False),
        ("2001:db8:aaaa::1%eth0", True),
        ("", True),
        ("unix", False),
        ("localhost", False),
        (None, False),
    ],
)
def test_networks(host: object, is_trusted: bool) -> None:
    trusted = TrustedProxies(TRUSTED)
    assert [host in trusted for _ in range(2)] == [is_trusted] * 2


def test_unix_sockets_are_trusted_only_if_named() -> None:
    assert "" not in TrustedProxies(["10.0.0.0/8"])
    assert "" not in TrustedProxies([])


def test_what_is_remembered_is_bounded() -> None:
    trusted = TrustedProxies(TRUSTED)
    for number in range(2 * MEMO_MAX):
        assert f"11.0.{number // 256}.{number % 256}" not in trusted
        assert len(trusted._memo) <= MEMO_MAX
    assert "" in trusted


@pytest.mark.parametrize("text", ["", "10.0.0.1/8", "10.0.0.0/33", "a.test", "10.0.0.0/8,", "*"])
def test_a_network_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--trusted-proxies: .* is no network such as"):
        Config(trusted_proxies=(text,))


def test_the_proxy_protocol_needs_trusted_networks() -> None:
    with pytest.raises(ConfigError, match=r"^--proxy-protocol: it needs --trusted-proxies"):
        Config(proxy_protocol=True)
