"""What a reactor does when it comes late: requests that were in time, and clients that are to be closed twice."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from mreactor.net import EpollReactor
from mreactor.protocol import CLOSED, IDLE, LINGERING, QUIET, READY

NOW = 100.0
OWN = 1  # a state of the protocol's own


@pytest.mark.parametrize("has_unread", [True, False])
@pytest.mark.parametrize("deadline", [NOW - 1, NOW, NOW + 1])
@pytest.mark.parametrize("state", [IDLE, QUIET, OWN, READY, LINGERING, CLOSED])
def test_bytes_in_the_kernel_count_if_the_connection_is_idle_and_due(
    state: int, deadline: float, has_unread: bool
) -> None:
    client: Any = SimpleNamespace(
        connection=SimpleNamespace(state=state, deadline=deadline), has_unread=lambda: has_unread
    )
    expected = state in (IDLE, QUIET) and deadline <= NOW and has_unread
    # It looks at nothing of the reactor itself.
    assert EpollReactor._has_unread_in_time(cast(Any, None), client, NOW) is expected


def test_a_client_that_is_listed_twice_is_closed_once() -> None:
    """A reactor that has stood still handles its events and then its timers, and may meet a client in both."""
    first, second = (SimpleNamespace(fd=fd, sock=f"socket {fd}", resets=False) for fd in (1, 2))
    closed: list[str] = []

    class LateReactor(EpollReactor):
        def __init__(self) -> None:
            self._clients = cast(Any, [None, first, second])
            self._closing = cast(Any, [first, second, first])

        def _is_owed(self, client: Any) -> bool:
            return False

        def _remove_client(self, client: Any) -> None:
            self._clients[client.fd] = None

        def _close_socket(self, sock: Any, *, resets: bool = False) -> None:
            closed.append(sock)

    reactor = LateReactor()
    reactor._close_discarded()
    assert closed == ["socket 1", "socket 2"]
    assert reactor._closing == []
