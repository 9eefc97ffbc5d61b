"""The client's address and scheme from the fields of proxies: Forwarded (RFC 7239), X-Forwarded-For and -Proto.

A client may send these fields as well. So they are read from right to left, from the last proxy on, and an address
counts only if the proxy that has added it is trusted.
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..addresses import TrustedProxies
from ..protocol import Peer, SecurePeer
from .header import make_peer

FIELDS = {"x-forwarded": ("x-forwarded-for", "x-forwarded-proto"), "forwarded": ("forwarded",)}
# Proxies in a row.
HOPS_MAX = 32

# An address, with or without a port: 192.0.2.1, 192.0.2.1:80, 2001:db8::1, [2001:db8::1], [2001:db8::1]:80.
_NODE = re.compile(
    r"\[(?P<v6>[0-9A-Fa-f:.]+)\](?P<p6>:[0-9]{1,5})?|(?P<v4>[0-9.]+)(?P<p4>:[0-9]{1,5})?|(?P<bare>[0-9A-Fa-f:.]+)"
)
# A pair of an element of Forwarded (RFC 7239 section 4).
_PAIR = re.compile(
    r"[ \t]*+([!#$%&'*+.^_`|~0-9A-Za-z-]++)="
    r"(?:\"((?:[^\"\\]|\\.)*+)\"|([!#$%&'*+.^_`|~0-9A-Za-z:\[\]-]*+))[ \t]*+"
)
# In a quoted string it stands for its last character.
_ESCAPED = re.compile(r"\\(.)")


class Hop(NamedTuple):
    """What one proxy says about the peer that connected to it: an address, and a scheme; empty for unknown."""

    node: str
    scheme: str


class Forwarding(NamedTuple):
    """Whose fields are believed, and which.

    Attributes:
        trusted: the proxies.
        kind: a key of `FIELDS`.
    """

    trusted: TrustedProxies
    kind: str

    def has_fields(self, headers: Mapping[str, str]) -> bool:
        """Tell whether a request may come from another client than the connection."""
        return any(headers.get(name) is not None for name in FIELDS[self.kind])

    def find_client(self, peer: Peer, headers: Mapping[str, str]) -> Peer:
        """Return the address of a request's client; a `SecurePeer` if it uses https.

        Args:
            peer: the other end of the connection, a trusted proxy.
        """
        client, scheme = peer, ""
        hops = _forwarded_hops if self.kind == "forwarded" else _x_forwarded_hops
        for count, hop in enumerate(hops(headers)):
            found = parse_node(hop.node)
            if found is None or count >= HOPS_MAX:
                # The proxy does not know, or hides it: what is known ends with that proxy.
                break
            client, scheme = found, hop.scheme
            if client[0] not in self.trusted:
                break
        if scheme:
            return SecurePeer(client) if scheme == "https" else tuple(client)
        return SecurePeer(client) if isinstance(peer, SecurePeer) and client is not peer else client


def parse_node(text: str) -> Peer | None:
    """Return an address as `getpeername` gives it, with port 0 if there is none; None if the text is no address."""
    found = _NODE.fullmatch(text)
    if found is None:
        return None
    try:
        address = ipaddress.ip_address(found["v6"] or found["v4"] or found["bare"])
    except ValueError:
        return None
    port = int((found["p6"] or found["p4"] or ":0")[1:])
    if port > 0xFFFF or (found["v6"] and address.version == 4):
        return None
    return make_peer(address, port)


def _x_forwarded_hops(headers: Mapping[str, str]) -> Iterator[Hop]:
    """Yield what proxies say, the last one first. Of the schemes only the last one is known to be from a proxy."""
    scheme = _scheme((headers.get("x-forwarded-proto") or "").rpartition(",")[2].strip())
    for node in _from_right(headers.get("x-forwarded-for") or ""):
        yield Hop(node, scheme)


def _from_right(text: str) -> Iterator[str]:
    while text:
        text, _, last = text.rpartition(",")
        yield last.strip()


def _forwarded_hops(headers: Mapping[str, str]) -> Iterator[Hop]:
    """Yield the elements of Forwarded, the last one first. A malformed one ends them."""
    for element in _elements_from_right(headers.get("forwarded") or ""):
        if not element.strip(" \t"):
            # A list may have empty elements (RFC 9110 section 5.6.1).
            continue
        pairs = _parse_pairs(element)
        if pairs is None:
            return
        yield Hop(pairs.get("for", ""), _scheme(pairs.get("proto", "")))


def _elements_from_right(text: str) -> Iterator[str]:
    """Yield what stands between the commas that are in no quoted string, the last one first.

    A quote that a client leaves open changes no element of a proxy, since those stand on its right.
    """
    parts: list[str] = []
    is_quoted = False
    for part in reversed(text.split(",")):
        parts.append(part)
        is_quoted ^= _ESCAPED.sub("", part).count('"') % 2 == 1
        if not is_quoted:
            yield ",".join(reversed(parts))
            parts.clear()
    if parts:
        yield ",".join(reversed(parts))


def _parse_pairs(element: str) -> dict[str, str] | None:
    """Return the pairs of an element by lower-case name; None if it is malformed, or has a name twice."""
    pairs: dict[str, str] = {}
    start = 0
    while found := _PAIR.match(element, start):
        name = found[1].lower()
        if name in pairs:
            return None
        pairs[name] = _ESCAPED.sub(r"\1", found[2]) if found[2] is not None else found[3]
        start = found.end() + 1
        if found.end() == len(element):
            return pairs
        if element[found.end()] != ";":
            return None
    return None


def _scheme(text: str) -> str:
    lower = text.lower()
    return lower if lower in ("http", "https") else ""
