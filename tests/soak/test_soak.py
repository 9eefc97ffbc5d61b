"""The soak in small: its load against both backends, and the load itself: does it notice what is wrong?"""

import dataclasses
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.soak import load as load_module
from tests.soak.kinds import KINDS
from tests.soak.load import Unexpected, learn
from tests.soak.server import Server, Sight, serving
from tests.soak.soak import Soaked, soak
from tests.support.drivers import SOCKET_KINDS, missing

REQUESTS = 6000
SECONDS_MAX = 600.0


@pytest.mark.parametrize("kind", SOCKET_KINDS)
def test_mixed_load(kind: str) -> None:
    """Memory is the long soak's business: a server that has just begun is still growing into its work."""
    if reason := missing(kind):
        pytest.skip(reason)
    with serving(kind, threads=2) as server:
        result = soak(server, REQUESTS, SECONDS_MAX, 32, lambda requests, sight: None)
    assert result.requests >= REQUESTS
    assert result.done.keys() == {kind.name for kind in KINDS}
    assert not [fault for fault in result.faults() if "memory" not in fault]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving("epoll", threads=1) as server:
        yield server


def test_a_response_that_is_not_the_same_is_noticed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    references = learn(server.address)
    of_echo = next(kind for kind in KINDS if kind.name == "post")
    monkeypatch.setattr(load_module, "learn", lambda address: {**references, of_echo: references[of_echo][:-1] + b"?"})
    with pytest.raises(Unexpected, match="post: "):
        soak(server, REQUESTS, SECONDS_MAX, 8, lambda requests, sight: None)


def test_a_wrong_status_is_noticed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_module, "KINDS", (dataclasses.replace(KINDS[0], statuses=(201,)),))
    with pytest.raises(Unexpected, match="the responses are"):
        learn(server.address)


def test_what_is_left_behind_is_noticed() -> None:
    start, warm = Sight(40_000_000, 9, 4), Sight(50_000_000, 80, 20)
    good = Soaked(1000, 1.0, start, warm, Sight(54_000_000, 9, 20), 0, Counter(), [])
    assert not good.faults()
    for end, word in (
        (Sight(56_000_000, 9, 20), "memory"),
        (Sight(50_000_000, 10, 20), "descriptors"),
        (Sight(50_000_000, 9, 21), "threads"),
    ):
        bad = Soaked(1000, 1.0, start, warm, end, 0, Counter(), [])
        assert [fault for fault in bad.faults() if word in fault]
    assert Soaked(1000, 1.0, start, warm, start, 0, Counter(), ["a line"]).faults()
