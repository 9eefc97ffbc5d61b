"""Slow heads, slow bodies and slow readers, hundreds at once, beside a normal client that is not to notice.

With `MREACTOR_TEST_SLOW=2000,2000,500` there are so many of each, and the server's limits are its defaults.
"""

import os

import pytest

from mreactor.config import Limits
from tests.soak.readers import gather
from tests.soak.server import serving
from tests.soak.slow import Beset, Slowness, beset
from tests.support.drivers import SOCKET_KINDS, TLS_SOCKET_KINDS, missing

pytestmark = pytest.mark.slow

# In one run of seven, responses that were dropped while all asked leave holes between pages that are in use, and these
# stay resident: docs/decisions/093. A server that holds too much does so in each run.
TRIES = 4
IMPATIENT = Limits(head_seconds=2.0, body_grace_seconds=2.0, write_stall_seconds=2.0)


def slowness() -> Slowness:
    """How many, and what the server bears with."""
    given = os.environ.get("MREACTOR_TEST_SLOW")
    if given is None:
        return Slowness(200, 200, 50, IMPATIENT)
    heads, bodies, readers = (int(count) for count in given.split(","))
    return Slowness(heads, bodies, readers)


@pytest.mark.parametrize("kind", SOCKET_KINDS + TLS_SOCKET_KINDS)
def test_slow_clients_are_closed_and_others_do_not_notice(kind: str) -> None:
    if reason := missing(kind):
        pytest.skip(reason)
    many = slowness()
    with serving(kind, threads=2, options=many.options()) as server:
        result = beset(server, many)
        assert not result.faults(), str(result)
        assert not server.complaints()
    assert [len(late) for late in result.lateness.values()] == [many.heads, many.bodies, many.readers]


@pytest.mark.parametrize("kind", SOCKET_KINDS)
def test_steady_readers_are_served_and_the_memory_of_their_responses_is_bounded(kind: str) -> None:
    """`python -m tests.soak readers` has 2,000 of them."""
    if reason := missing(kind):
        pytest.skip(reason)
    bound = 32 << 20
    for _ in range(TRIES):
        with serving(kind, threads=2, options=[f"--unsent-bytes-max={bound}"]) as server:
            result = gather(server, 400, 5.0, bound)
        assert result.faults() == result.memory_faults(), str(result)
        if not result.faults():
            break
    assert not result.faults(), str(result)
    # A response of 1 MiB takes a page of 1.5 MiB.
    assert 16 <= result.left["memory"] < 40, "as many of 1 MiB as the bound allows"


@pytest.mark.parametrize(
    ("p99", "of_the_control", "is_noticed"),
    [(0.05, 0.001, False), (0.3, 0.001, True), (0.3, 0.1, False), (3.0, 0.1, True)],
)
def test_a_normal_client_that_waits_is_noticed_unless_the_machine_is_slow_to_all(
    p99: float, of_the_control: float, is_noticed: bool
) -> None:
    result = Beset(latencies=(0.001, p99, 5.0, 1000), control=(0.001, of_the_control))
    assert bool(result.faults()) is is_noticed
