"""The PROXY protocol, versions 1 and 2: a header that a balancer sends before a client's first byte. Without I/O.

The specification is `proxy-protocol.txt` of HAProxy.
"""

import ipaddress
import re
import struct
from typing import NamedTuple

from ..protocol import Peer

SIGNATURE_1 = b"PROXY "
SIGNATURE_2 = b"\r\n\r\n\0\r\nQUIT\n"
# With its CRLF; section 2.1.
LINE_BYTES_MAX = 107
# Signature, version and command, family, length; section 2.2.
FIXED_BYTES = 16
# What follows those: addresses, and additions of the balancer (TLVs), which may hold a certificate's name.
REST_BYTES_MAX = 4096

LOCAL, PROXY = 0x20, 0x21
TCP4, TCP6, UNIX = 0x11, 0x21, 0x31
ADDRESS_BYTES = {TCP4: 12, TCP6: 36, UNIX: 216}
TLV_SSL = 0x20
# Of its first byte: the client has connected with TLS.
CLIENT_SSL = 0x01

_LINE = re.compile(
    rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f.:]{2,39}) ([0-9A-Fa-f.:]{2,39}) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n"
)
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?\r\n")


class ProxyHeader(NamedTuple):
    """What a header says.

    Attributes:
        peer: the client's address; None if it is the connection's own, such as for a health check.
        is_secure: the client has connected to the balancer with TLS.
    """

    peer: Peer | None
    is_secure: bool = False


def parse_header(received: bytes) -> tuple[ProxyHeader, int] | None:
    """Parse the header at the beginning of the bytes received.

    Returns:
        the header and its length; None if it is incomplete.

    Raises:
        ValueError: the bytes do not begin with a valid header.
    """
    if received.startswith(SIGNATURE_2):
        return _parse_2(received)
    if received.startswith(SIGNATURE_1):
        return _parse_1(received)
    if SIGNATURE_2.startswith(received) or SIGNATURE_1.startswith(received):
        return None
    raise ValueError("no PROXY header")


def _parse_1(received: bytes) -> tuple[ProxyHeader, int] | None:
    end = received.find(b"\n", 0, LINE_BYTES_MAX) + 1
    if not end:
        if len(received) >= LINE_BYTES_MAX:
            raise ValueError("a PROXY line that is too long")
        return None
    line = received[:end]
    if _UNKNOWN.fullmatch(line):
        return ProxyHeader(None), end
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError("a malformed PROXY line")
    family, source, destination, *ports = (group.decode("ascii") for group in found.groups())
    kind = ipaddress.IPv4Address if family == "TCP4" else ipaddress.IPv6Address
    kind(destination)
    if max(map(int, ports)) > 0xFFFF:
        raise ValueError("a port above 65535")
    return ProxyHeader(make_peer(kind(source), int(ports[0]))), end


def _parse_2(received: bytes) -> tuple[ProxyHeader, int] | None:
    if len(received) < FIXED_BYTES:
        return None
    command, family, length = struct.unpack_from("!BBH", received, len(SIGNATURE_2))
    if command not in (LOCAL, PROXY):
        raise ValueError("an unknown version or command of the PROXY protocol")
    if length > REST_BYTES_MAX:
        raise ValueError("a PROXY header that is too long")
    end = FIXED_BYTES + length
    if len(received) < end:
        return None
    if command == LOCAL:
        return ProxyHeader(None), end
    return _parse_addresses(family, received[FIXED_BYTES:end]), end


def _parse_addresses(family: int, rest: bytes) -> ProxyHeader:
    size = ADDRESS_BYTES.get(family)
    if size is None:
        # UNSPEC, or datagrams: the receiver keeps the connection's own address (section 2.2).
        return ProxyHeader(None)
    if len(rest) < size:
        raise ValueError("a PROXY header without addresses")
    is_secure = _is_secure(rest[size:])
    if family == UNIX:
        # Not the empty address of this server's own unix sockets, which may be trusted.
        return ProxyHeader(("unix", 0), is_secure)
    half = (size - 4) // 2
    (port,) = struct.unpack_from("!H", rest, 2 * half)
    return ProxyHeader(make_peer(ipaddress.ip_address(rest[:half]), port), is_secure)


def _is_secure(additions: bytes) -> bool:
    """Walk the additions (TLVs); tell whether one says that the client uses TLS. Raises ValueError."""
    start, is_secure = 0, False
    while start < len(additions):
        if len(additions) < start + 3:
            raise ValueError("a PROXY header with a broken addition")
        kind, length = struct.unpack_from("!BH", additions, start)
        start += 3
        value = additions[start : start + length]
        if len(value) < length:
            raise ValueError("a PROXY header with a broken addition")
        if kind == TLV_SSL and value:
            is_secure = bool(value[0] & CLIENT_SSL)
        start += length
    return is_secure


def make_peer(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> Peer:
    """Return an address as `getpeername` gives it."""
    return (str(address), port) if address.version == 4 else (str(address), port, 0, 0)
