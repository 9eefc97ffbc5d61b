"""A request head together with the route that it leads to."""

from ..app import Match
from ..http import RequestHead
from ..metrics import RequestCounter
from ..runtime import hot


@hot("__init__")
class RoutedRequest:
    """What the connection knows of a request before its body. Nothing changes it.

    Attributes:
        head: the request's head.
        match: the endpoint and the path parameters.
        counter: counts the responses with status 200.
        fast_encodable: a body-only response may be encoded by the `HeadCache`.
    """

    __slots__ = ("counter", "fast_encodable", "head", "match")

    def __init__(self, head: RequestHead, match: Match, counter: RequestCounter) -> None:
        self.head = head
        self.match = match
        self.counter = counter
        self.fast_encodable = head.default_framing and match.endpoint.is_immediate

    def has_head_of(self, other: "RoutedRequest") -> bool:
        """Whether the two heads are known to be equal: their parts have come before."""
        mine, others = self.head, other.head
        return mine.line is others.line and mine.fields is others.fields
