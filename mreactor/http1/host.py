"""The host of a request, in its target or its Host field (RFC 9110 section 7.2)."""

from ipaddress import AddressValueError, IPv6Address

from ..http import HTTPError
from .grammar import HOST


def check_host(value: bytes) -> None:
    """Refuse a host that is none.

    Raises:
        HTTPError: 400.
    """
    match = HOST.fullmatch(value)
    if match is None or int(match[2][1:] or b"0") > 65535 or not _is_address(match[1]):
        raise HTTPError(400, "The host is malformed.")


def _is_address(host: bytes) -> bool:
    """Whether a host in brackets is an IPv6 address. Other hosts and future address formats pass."""
    if not host.startswith(b"[") or host[1:2] == b"v":
        return True
    try:
        IPv6Address(host[1:-1].decode("ascii"))
    except AddressValueError:
        return False
    return True
