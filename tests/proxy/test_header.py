"""PROXY headers: tables of good, bad, split and forged ones."""

import ipaddress
import socket
import struct

import pytest

from mreactor.proxy.header import LINE_BYTES_MAX, REST_BYTES_MAX, SIGNATURE_2, ProxyHeader, parse_header

V4, V6 = ("192.0.2.1", 5678), ("2001:db8::1", 5678, 0, 0)


def version_2(command: int, family: int, rest: bytes, length: int | None = None) -> bytes:
    return SIGNATURE_2 + struct.pack("!BBH", command, family, len(rest) if length is None else length) + rest


def addresses(source: str, destination: str, ports: tuple[int, int] = (5678, 80)) -> bytes:
    packed = b"".join(ipaddress.ip_address(text).packed for text in (source, destination))
    return packed + struct.pack("!HH", *ports)


def addition(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


TCP4 = addresses("192.0.2.1", "198.51.100.7")
TCP6 = addresses("2001:db8::1", "2001:db8::2")
SSL = addition(0x20, b"\x01" + bytes(4) + addition(0x21, b"TLSv1.3"))
NO_SSL = addition(0x20, b"\x00" + bytes(4))

GOOD: list[tuple[str, bytes, ProxyHeader]] = [
    ("1, IPv4", b"PROXY TCP4 192.0.2.1 198.51.100.7 5678 80\r\n", ProxyHeader(V4)),
    ("1, IPv6", b"PROXY TCP6 2001:DB8:0:0:0:0:0:1 2001:db8::2 5678 80\r\n", ProxyHeader(V6)),
    ("1, port 0", b"PROXY TCP4 192.0.2.1 198.51.100.7 0 65535\r\n", ProxyHeader(("192.0.2.1", 0))),
    ("1, mapped", b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", ProxyHeader(("::ffff:192.0.2.1", 1, 0, 0))),
    ("1, unknown", b"PROXY UNKNOWN\r\n", ProxyHeader(None)),
    ("1, unknown with addresses", b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", ProxyHeader(None)),
    (
        "1, the longest",
        b"PROXY UNKNOWN " + b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff " * 2 + b"65535 65535\r\n",
        ProxyHeader(None),
    ),
    ("2, IPv4", version_2(0x21, 0x11, TCP4), ProxyHeader(V4)),
    ("2, IPv6", version_2(0x21, 0x21, TCP6), ProxyHeader(V6)),
    ("2, unix", version_2(0x21, 0x31, bytes(216)), ProxyHeader(("unix", 0))),
    ("2, unspecified", version_2(0x21, 0x00, b""), ProxyHeader(None)),
    ("2, unspecified with bytes", version_2(0x21, 0x00, b"any"), ProxyHeader(None)),
    ("2, datagrams", version_2(0x21, 0x12, TCP4), ProxyHeader(None)),
    ("2, a health check", version_2(0x20, 0x00, b""), ProxyHeader(None)),
    ("2, a health check with addresses", version_2(0x20, 0x11, TCP4), ProxyHeader(None)),
    ("2, additions", version_2(0x21, 0x11, TCP4 + addition(4, b"") + addition(5, b"id")), ProxyHeader(V4)),
    ("2, TLS", version_2(0x21, 0x11, TCP4 + addition(1, b"h2") + SSL), ProxyHeader(V4, is_secure=True)),
    ("2, TLS over IPv6", version_2(0x21, 0x21, TCP6 + SSL), ProxyHeader(V6, is_secure=True)),
    ("2, no TLS", version_2(0x21, 0x11, TCP4 + NO_SSL), ProxyHeader(V4)),
    ("2, the longest", version_2(0x21, 0x11, TCP4 + addition(4, bytes(REST_BYTES_MAX - 15))), ProxyHeader(V4)),
]

BAD: list[tuple[str, bytes]] = [
    ("a request", b"GET / HTTP/1.1\r\n"),
    ("a request that begins alike", b"PROPFIND / HTTP/1.1\r\n"),
    ("TLS", b"\x16\x03\x01"),
    ("an empty line", b"\r\nPROXY"),
    ("lower case", b"proxy TCP4"),
    ("the second signature, broken late", SIGNATURE_2[:-1] + b"\r"),
    ("1, no family", b"PROXY \r\n"),
    ("1, another family", b"PROXY UDP4 192.0.2.1 198.51.100.7 5678 80\r\n"),
    ("1, unknown and more", b"PROXY UNKNOWNS\r\n"),
    ("1, two spaces", b"PROXY TCP4  192.0.2.1 198.51.100.7 5678 80\r\n"),
    ("1, a tab", b"PROXY TCP4\t192.0.2.1 198.51.100.7 5678 80\r\n"),
    ("1, a space at the end", b"PROXY TCP4 192.0.2.1 198.51.100.7 5678 80 \r\n"),
    ("1, LF alone", b"PROXY TCP4 192.0.2.1 198.51.100.7 5678 80\n"),
    ("1, CR within", b"PROXY TCP4 192.0.2.1\r198.51.100.7 5678 80\r\n"),
    ("1, no ports", b"PROXY TCP4 192.0.2.1 198.51.100.7\r\n"),
    ("1, a port too large", b"PROXY TCP4 192.0.2.1 198.51.100.7 65536 80\r\n"),
    ("1, a port with a sign", b"PROXY TCP4 192.0.2.1 198.51.100.7 +5678 80\r\n"),
    ("1, a port with a zero", b"PROXY TCP4 192.0.2.1 198.51.100.7 05678 80\r\n"),
    ("1, no address", b"PROXY TCP4 192.0.2 198.51.100.7 5678 80\r\n"),
    ("1, an octal address", b"PROXY TCP4 192.0.02.1 198.51.100.7 5678 80\r\n"),
    ("1, IPv6 as IPv4", b"PROXY TCP4 ::1 ::1 5678 80\r\n"),
    ("1, IPv4 as IPv6", b"PROXY TCP6 192.0.2.1 198.51.100.7 5678 80\r\n"),
    ("1, a bad destination", b"PROXY TCP4 192.0.2.1 256.51.100.7 5678 80\r\n"),
    ("1, an interface", b"PROXY TCP6 fe80::1%eth0 ::1 5678 80\r\n"),
    ("1, too long", b"PROXY UNKNOWN " + b"x" * LINE_BYTES_MAX),
    ("1, too long with its end", b"PROXY UNKNOWN " + b"x" * (LINE_BYTES_MAX - 15) + b"\r\n"),
    ("2, version 1", version_2(0x11, 0x11, TCP4)),
    ("2, version 3", version_2(0x31, 0x11, TCP4)),
    ("2, another command", version_2(0x22, 0x11, TCP4)),
    ("2, too long", version_2(0x21, 0x11, b"", REST_BYTES_MAX + 1)),
    ("2, no addresses", version_2(0x21, 0x11, b"")),
    ("2, half an address", version_2(0x21, 0x11, TCP4[:-1])),
    ("2, IPv4 as IPv6", version_2(0x21, 0x21, TCP4)),
    ("2, half a unix address", version_2(0x21, 0x31, bytes(215))),
    ("2, half an addition", version_2(0x21, 0x11, TCP4 + b"\x04\x00")),
    ("2, an addition beyond the end", version_2(0x21, 0x11, TCP4 + b"\x04\x00\x05abcd")),
]


@pytest.mark.parametrize(("data", "header"), [pytest.param(*rest, id=name) for name, *rest in GOOD])
def test_good(data: bytes, header: ProxyHeader) -> None:
    for behind in (b"", b"GET / HTTP/1.1\r\n", b"\r\n", data):
        assert parse_header(data + behind) == (header, len(data))


@pytest.mark.parametrize(("data", "header"), [pytest.param(*rest, id=name) for name, *rest in GOOD])
def test_split(data: bytes, header: ProxyHeader) -> None:
    assert all(parse_header(data[:end]) is None for end in range(len(data)))


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in BAD])
def test_bad(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_header(data)
    # With further bytes it does not become good, and with fewer it is bad or incomplete.
    with pytest.raises(ValueError, match=r"."):
        parse_header(data + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    for end in range(len(data)):
        try:
            assert parse_header(data[:end]) is None
        except ValueError:
            pass


def test_addresses_are_those_of_getpeername() -> None:
    """Limits, logs and handlers compare them."""
    for text, family in (("192.0.2.1", socket.AF_INET), ("2001:db8::1", socket.AF_INET6)):
        assert socket.inet_ntop(family, ipaddress.ip_address(text).packed) == text
