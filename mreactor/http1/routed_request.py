"""A request head together with the route that it leads to."""

from ..app import Match
from ..http import Request, RequestHead, SpooledBody, make_request
from ..metrics import RequestCounter
from ..protocol import Peer
from ..runtime import hot


@hot("__init__", "make_argument")
class RoutedRequest:
    """What the connection knows of a request before its body. Nothing changes it.

    Attributes:
        head: the request's head.
        match: the endpoint and the path parameters.
        counter: counts the responses with status 200.
        fast_encodable: a response that is in memory may be encoded the short way.
        id: the request's id; empty if requests have none.
    """

    __slots__ = ("counter", "fast_encodable", "head", "match")

    id = ""

    def __init__(self, head: RequestHead, match: Match, counter: RequestCounter) -> None:
        self.head = head
        self.match = match
        self.counter = counter
        self.fast_encodable = head.default_framing and not match.endpoint.constant

    def make_argument(self, body: bytes | SpooledBody, peer: Peer) -> Request:
        """Make what the handler is called with."""
        # The commonest body without a further call.
        return Request(self.head, body, peer) if type(body) is bytes else make_request(self.head, body, peer)

    def has_head_of(self, other: "RoutedRequest") -> bool:
        """Whether the two heads are known to be equal: their parts have come before."""
        mine, others = self.head, other.head
        return mine.line is others.line and mine.fields is others.fields
