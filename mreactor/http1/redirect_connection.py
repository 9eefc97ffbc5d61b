"""Connections of plain ports whose requests are sent on to HTTPS. See docs/decisions/097.

What an authority for certificates asks for by HTTP (RFC 8555 section 8.3) goes to the application as everywhere.
"""

from typing import TYPE_CHECKING, Final

from ..app import Endpoint, Match
from ..http import HTTPError, Request, Response, redirect
from ..protocol import IDLE, Peer, SecurePeer
from .connection import Connection
from .request_reader import RequestReader
from .routed_request import RoutedRequest

if TYPE_CHECKING:
    from ..addresses import TrustedProxies
    from .context import ReactorContext

CHALLENGES: Final = "/.well-known/acme-challenge/"
HTTPS_PORT: Final = 443


class Redirector:
    """Makes one reactor's connections of plain ports. Reactor thread only.

    Args:
        context: makes connections that are not redirected.
        port: of the HTTPS URLs.
        trusted: the proxies whose requests go to the application, because they decide themselves what to redirect.
    """

    def __init__(self, context: "ReactorContext", port: int, trusted: "TrustedProxies") -> None:
        self._context = context
        self._port = "" if port == HTTPS_PORT else f":{port}"
        self._trusted = trusted
        self._match = Match(Endpoint(self._redirect), {})

    def connect(self, peer: Peer) -> Connection:
        """Make the connection of a new client. One whose PROXY header says that it uses TLS is not redirected."""
        if isinstance(peer, SecurePeer) or peer[0] in self._trusted:
            return self._context.connect(peer)
        if (observation := self._context.observation) is not None:
            return observation.connect_redirected(self._context, peer, self)
        return RedirectConnection(self._context, peer, self)

    def route(self, request: RoutedRequest) -> RoutedRequest:
        """Return the request with its redirection; as it is if the application responds to it."""
        path = request.head.line.raw_path
        # `OPTIONS *` is about the server, and leads nowhere else.
        if path == "*" or path.startswith(CHALLENGES):
            return request
        return RoutedRequest(request.head, self._match, request.counter)

    def _redirect(self, request: Request) -> Response:
        """Respond with the same URL under HTTPS. Every client knows 301; 308 keeps the method and the content."""
        line, host = request.head.line, _without_port(request.host)
        if not host:
            raise HTTPError(400, "The request names no host, so it cannot be redirected to HTTPS.")
        target = line.raw_path + ("?" + line.query_string if line.query_string else "")
        return redirect(f"https://{host}{self._port}{target}", 301 if request.method in ("GET", "HEAD") else 308)


class Redirecting(Connection):
    """What connections of plain ports do. They take nothing from the caches, which hold the application's responses."""

    __slots__ = ()

    _redirector: Redirector

    def receive_data(self, data: bytes) -> bytes | None:
        """Take bytes from the peer. Returns as `protocol.Connection`."""
        return self.receive_uncached(data)

    def receive_uncached(self, data: bytes) -> bytes | None:
        """Do the same."""
        return self._take_turn(data) if data and self.state == IDLE else Connection.receive_uncached(self, data)

    def _ensure_reader(self) -> RequestReader:
        self._reader = reader = self._reader or _RedirectReader(self._context, self._redirector)
        return reader


class RedirectConnection(Redirecting):
    """A connection of a plain port."""

    __slots__ = ("_redirector",)

    def __init__(self, context: "ReactorContext", peer: Peer, redirector: Redirector) -> None:
        Connection.__init__(self, context, peer)
        self._redirector = redirector


class _RedirectReader(RequestReader):
    """A reader whose requests are redirected. It belongs to its connection."""

    __slots__ = ("_redirector",)

    def __init__(self, context: "ReactorContext", redirector: Redirector) -> None:
        RequestReader.__init__(self, context)
        self._redirector = redirector

    def accept(self, request: RoutedRequest, data: bytes, end: int) -> int:
        return RequestReader.accept(self, self._redirector.route(request), data, end)

    def give_back(self) -> None:
        self.drop()
        self.request = None


def _without_port(authority: str) -> str:
    """Return the host of an authority that has been checked; an IPv6 address in its brackets."""
    if authority.startswith("["):
        return authority[: authority.index("]") + 1]
    return authority.partition(":")[0]
