"""SIGTERM while 500 clients ask without pause: every request that was handed over in full gets its whole answer."""

import os

import pytest
from drivers import SOCKET_KINDS, missing

from tests.soak.drain import drain
from tests.soak.server import serving

TIMES = int(os.environ.get("MREACTOR_TEST_DRAINS", "2"))
CONNECTIONS = 500


@pytest.mark.parametrize("number", range(TIMES))
@pytest.mark.parametrize("kind", SOCKET_KINDS)
def test_no_request_is_lost(kind: str, number: int) -> None:
    if reason := missing(kind):
        pytest.skip(reason)
    with serving(kind, threads=2) as server:
        result = drain(server, CONNECTIONS, seed=number)
        assert not result.faults()
        assert not server.complaints()
