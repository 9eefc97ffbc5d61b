"""The addresses that a server listens on, as users write them in `--bind`.

HOST:PORT  [::1]:PORT  unix:PATH[,mode=660][,group=NAME]  fd:N

Each may have `plain:` before it: no TLS there. Unix sockets have none anyway.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

FORMS = "HOST:PORT, [::1]:PORT, unix:PATH or fd:NUMBER; plain: may stand before it"
PLAIN = "plain:"

_TCP = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<name>[^:\[\]]+)):(?P<port>[0-9]{1,5})", re.ASCII)
# A path may hold commas: only a known setting ends it.
_UNIX = re.compile(r"(?P<path>.+?)(?:,mode=(?P<mode>[^,]*))?(?:,group=(?P<group>[^,]*))?", re.ASCII | re.DOTALL)
# `sun_path` with its final zero byte (unix(7)).
PATH_BYTES_MAX = 107


# Addresses of one reactor whose answer is remembered.
MEMO_MAX = 1024
# In place of a network: all processes that may connect to the server's unix sockets.
UNIX = "unix"

type Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class BindAddress:
    """One address to listen on: of TCP, of a unix socket, or the number of an open descriptor.

    Attributes:
        text: what the user wrote.
        host, port: of TCP; the host is empty for the other kinds.
        path: of a unix socket; `@` begins an abstract name. Empty for the other kinds.
        mode, group: permission bits and group of the socket file; None and empty leave them to the system.
        fd: the descriptor of a listening socket; -1 for the other kinds.
        plain: written so: no TLS here, even if the other addresses have it.
    """

    text: str
    host: str = ""
    port: int = 0
    path: str = ""
    mode: int | None = None
    group: str = ""
    fd: int = -1
    plain: bool = False


def parse_address(text: str) -> BindAddress:
    """Parse an address of `--bind`. Raises ValueError with a text for the user."""
    is_plain = text.startswith(PLAIN)
    form = text.removeprefix(PLAIN)
    kind, colon, rest = form.partition(":")
    if colon and kind == "unix":
        return _parse_unix(text, rest, is_plain=is_plain)
    if colon and kind == "fd":
        if not re.fullmatch("[0-9]{1,9}", rest, re.ASCII):
            raise ValueError(f"{text!r} has no descriptor's number, such as fd:3")
        return BindAddress(text, fd=int(rest), plain=is_plain)
    found = _TCP.fullmatch(form)
    if found is None or int(found["port"]) > 65535:
        every = f"; write 0.0.0.0{form} for all addresses of this machine" if form.startswith(":") else ""
        raise ValueError(f"{text!r} is not {FORMS}{every}")
    return BindAddress(text, host=found["v6"] or found["name"], port=int(found["port"]), plain=is_plain)


def show_address(host: str, port: int) -> str:
    """Write the address of a listening socket as `--bind` has it.

    Args:
        host: of TCP, or the path of a unix socket; `@` begins an abstract name.
    """
    if host.startswith(("/", "@")):
        return f"unix:{host}"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _parse_unix(text: str, rest: str, *, is_plain: bool) -> BindAddress:
    found = _UNIX.fullmatch(rest)
    if found is None or "\0" in rest:
        raise ValueError(f"{text!r} has no path, such as unix:/run/app.sock")
    path, mode, group = found["path"], found["mode"], found["group"]
    if len(path.encode(errors="surrogateescape")) > PATH_BYTES_MAX:
        raise ValueError(f"{text!r} has a path of more than {PATH_BYTES_MAX} bytes")
    if mode is not None and not re.fullmatch("0?[0-7]{3}", mode, re.ASCII):
        raise ValueError(f"{text!r}: the mode is not of the form 660")
    if group == "":
        raise ValueError(f"{text!r}: the group has no name")
    if path.startswith("@") and (mode is not None or group is not None):
        raise ValueError(f"{text!r}: an abstract socket has neither mode nor group")
    bits = None if mode is None else int(mode, 8)
    return BindAddress(text, path=path, mode=bits, group=group or "", plain=is_plain)


class TrustedProxies:
    """A set of networks. One thread only, since it remembers its answers.

    Args:
        texts: networks such as `10.0.0.0/8`, addresses, or `unix`; several in one text are separated by commas.

    Raises:
        ValueError: a text is none of these. Its message is for the user.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._networks: list[Network] = []
        self._memo: dict[str, bool] = {}
        for text in (part.strip() for each in texts for part in each.split(",")):
            if text == UNIX:
                # The address of a client that has none.
                self._memo[""] = True
                continue
            try:
                self._networks.append(ipaddress.ip_network(text))
            except ValueError as error:
                raise ValueError(f"{text!r} is no network such as 10.0.0.0/8, and not 'unix': {error}") from None
        self._memo.setdefault("", False)
        self._kept = dict(self._memo)

    def __contains__(self, host: object) -> bool:
        """Tell whether an address, as `getpeername` gives it, is that of a trusted proxy."""
        if not isinstance(host, str):
            return False
        known = self._memo.get(host)
        if known is None:
            if len(self._memo) >= MEMO_MAX:
                self._memo = self._kept.copy()
            known = self._memo[host] = self._find(host)
        return known

    def _find(self, host: str) -> bool:
        try:
            # A link-local address has its interface behind it.
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        # An IPv4 client of a socket that accepts both families.
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)
