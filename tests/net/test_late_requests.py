"""When a reactor looks for a request that came in time and was not read: before it closes an idle connection."""

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
