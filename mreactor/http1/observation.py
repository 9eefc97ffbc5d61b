"""What is told of single requests where that is asked for: their ids, and when they began. See docs/decisions/095."""

import re
import secrets
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..addresses import TrustedProxies
from ..http import RequestHead
from ..protocol import Peer
from ..proxy import Forwarding
from ..runtime import hot
from .observed_connection import ObservedConnection, ObservedRedirectConnection

if TYPE_CHECKING:
    from .context import ReactorContext
    from .redirect_connection import Redirector

# What a proxy may send as an id. Anything else could be mistaken for something else in a log or a field.
SANE_ID = re.compile(r"[!-~]{1,128}")


@hot("choose_id", "add_id")
class Observation:
    """How one reactor observes its requests. Reactor thread only.

    Args:
        id_field: the name of the field that ids come in and go out with; empty for none.
        trusted: networks of the peers whose ids are taken, as `TrustedProxies` has them.
        has_ids: requests have ids, which are made where none is taken.
        clock: monotonic seconds.

    Attributes:
        trusted: the set of these peers.
        clock: see above.
    """

    def __init__(
        self, id_field: str, trusted: Iterable[str], *, has_ids: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.trusted = TrustedProxies(trusted)
        self.clock = clock
        self._has_ids = has_ids
        self._id_name = id_field.lower()
        self._field_start = f"{id_field}: ".encode("latin-1")
        self._line_start = f"\r\n{self._id_name}:".encode("latin-1")
        # No other reactor and no other process has the same 96 bits.
        self._prefix = secrets.token_hex(12)
        self._made = 0

    def connect(self, context: "ReactorContext", peer: Peer, forwarding: Forwarding | None) -> ObservedConnection:
        """Make the connection of a new client."""
        return ObservedConnection(context, peer, forwarding, self)

    def connect_redirected(
        self, context: "ReactorContext", peer: Peer, redirector: "Redirector"
    ) -> ObservedRedirectConnection:
        """Make the connection of a new client of a plain port whose requests are redirected."""
        return ObservedRedirectConnection(context, peer, redirector, self)

    def choose_id(self, head: RequestHead | None, *, is_trusted: bool) -> str:
        """Return the id of a request: that in its field if its peer is trusted, otherwise a new one.

        Args:
            head: None if the request could not be read.
        """
        if not self._has_ids:
            return ""
        if is_trusted and self._id_name and head is not None:
            sent = head.headers.get(self._id_name, "")
            if SANE_ID.fullmatch(sent):
                return sent
        self._made += 1
        return f"{self._prefix}{self._made:08x}"

    def add_id(self, output: bytes, request_id: str) -> bytes:
        """Put the field with the id into the head of a response, unless the application has put one there."""
        if not self._id_name:
            return output
        if self._line_start in output[: output.find(b"\r\n\r\n") + 2].lower():
            return output
        # Behind the status line.
        place = output.find(b"\r\n") + 2
        return b"".join((output[:place], self._field_start, request_id.encode("ascii"), b"\r\n", output[place:]))
