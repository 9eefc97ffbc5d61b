"""A connection whose requests are told apart: each has an id, and a line of the access log that says more."""

from typing import TYPE_CHECKING

from ..http import HTTPError, Request, Response, SpooledBody
from ..logs import AccessBuffer, RequestDetails
from ..protocol import Peer
from ..proxy import Forwarding
from ..runtime import hot
from .cache_entries import LogEntry
from .dispatch import RequestBody
from .forwarded_connection import ForwardedConnection
from .redirect_connection import Redirecting, Redirector
from .response_stream import Stream
from .routed_request import RoutedRequest
from .states import BODY

if TYPE_CHECKING:
    from .context import ReactorContext
    from .observation import Observation


@hot("__init__", "make_argument")
class ObservedRequest(RoutedRequest):
    """A request with an id. It is always encoded in the general way, which lets the access log wait."""

    __slots__ = ("id",)

    id: str

    def __init__(self, request: RoutedRequest, request_id: str) -> None:
        RoutedRequest.__init__(self, request.head, request.match, request.counter)
        self.fast_encodable = False
        self.id = request_id

    def make_argument(self, body: bytes | SpooledBody, peer: Peer) -> Request:
        argument = RoutedRequest.make_argument(self, body, peer)
        if self.id:
            argument.id = self.id
        return argument


@hot("__init__", "_observe", "_respond", "_encode", "_enter", "_write_line")
class ObservedConnection(ForwardedConnection):
    """A connection that knows of its present request when it began, its route and its id.

    It takes no part of the fast path: its context remembers neither responses nor routes. See docs/decisions/095.
    """

    __slots__ = ("_began", "_body_began", "_is_trusted", "_observation", "_request_id", "_route")

    def __init__(
        self, context: "ReactorContext", peer: Peer, forwarding: Forwarding | None, observation: "Observation"
    ) -> None:
        ForwardedConnection.__init__(self, context, peer, forwarding)
        self._observation = observation
        self._is_trusted = peer[0] in observation.trusted
        self._began = 0.0
        # When the head of a request was complete whose body has not come yet; negative if there is none.
        self._body_began = -1.0
        self._request_id = self._route = ""

    def _observe(self, request: RoutedRequest | None) -> None:
        """Note what is known of a request whose response comes next; None if it could not be read."""
        self._began = self._context.now if self._body_began < 0 else self._body_began
        self._body_began = -1.0
        self._route = "" if request is None else request.match.endpoint.pattern
        head = None if request is None else request.head
        self._request_id = self._observation.choose_id(head, is_trusted=self._is_trusted)

    def _respond(self, request: RoutedRequest, body: RequestBody) -> bytes | None:
        self._observe(request)
        return ForwardedConnection._respond(self, ObservedRequest(request, self._request_id), body)

    def _encode(self, request: RoutedRequest, response: Response, blocking_stream: Stream | None = None) -> bytes:
        output = ForwardedConnection._encode(self, request, response, blocking_stream)
        return self._observation.add_id(output, self._request_id)

    def _encode_refusal(self, error: HTTPError) -> bytes:
        self._observe(self._ensure_reader().request)
        return self._observation.add_id(ForwardedConnection._encode_refusal(self, error), self._request_id)

    def _enter(self, state: int) -> None:
        ForwardedConnection._enter(self, state)
        if state == BODY and self._body_began < 0:
            self._body_began = self._context.now

    def _write_line(self, access: AccessBuffer, entry: LogEntry, sent: int, *, is_whole: bool) -> None:
        took = max(self._observation.clock() - self._began, 0.0)
        details = RequestDetails(took, self._route, self._request_id)
        access.log_details(self.peer, entry.head, entry.status, sent, details, is_whole=is_whole)


class ObservedRedirectConnection(Redirecting, ObservedConnection):
    """Such a connection of a plain port."""

    __slots__ = ("_redirector",)

    def __init__(
        self, context: "ReactorContext", peer: Peer, redirector: Redirector, observation: "Observation"
    ) -> None:
        ObservedConnection.__init__(self, context, peer, None, observation)
        self._redirector = redirector
