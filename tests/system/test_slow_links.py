"""Clients behind slow links, in network namespaces that the tests make.

`python -m tests.soak links` does the first test at full size: 8 MB for each client, 17 minutes at 64 kbit/s.
"""

import time

import pytest

from mreactor import App, Config, Limits, Server
from tests.soak.links import read_slowly
from tests.support.drivers import SOCKET_KINDS, missing
from tests.support.links import SERVER, Links, missing_links

pytestmark = pytest.mark.slow

STALL_SECONDS = 5.0
LIMITS = Limits(write_stall_seconds=STALL_SECONDS, write_rate_min=4000)
# A busy machine delays packets, and TCP then waits for longer than they took. That may cost two thirds of a rate.
STEADY_LIMITS = Limits(write_stall_seconds=2 * STALL_SECONDS, write_rate_min=2500)
# Many times what the kernel holds: by EPOLLOUT alone, a client of each rate would stand still for longer than a stall.
CONTENTS = {"64kbit": 240_000, "128kbit": 400_000, "256kbit": 700_000}


@pytest.fixture(params=SOCKET_KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    if reason := missing(request.param) or missing_links():
        pytest.skip(reason)
    kind: str = request.param
    return kind


def test_steady_readers_get_everything(kind: str) -> None:
    outcome = read_slowly(kind, CONTENTS, 4, STEADY_LIMITS)
    assert not outcome.faults(), f"{outcome}\n{outcome.faults()}"
    assert len(outcome.readers) == 12


def test_a_client_that_vanishes_is_given_up_and_the_kernel_keeps_nothing(kind: str) -> None:
    app = App()
    app.get("/")(lambda request: bytes(8_000_000))
    server = Server(Config(host="0.0.0.0", port=0, threads=1, backend=kind, limits=LIMITS), app)
    with Links(["1mbit", "1mbit"]) as links:
        links.inside(SERVER, server.start)
        try:
            with links.connect(0, server.address[1]) as vanishing, links.connect(1, server.address[1]) as steady:
                for client in (vanishing, steady):
                    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                port = vanishing.getsockname()[1]
                time.sleep(1.0)
                links.cut(0)
                cut = time.monotonic()
                while port in links.server_sockets():
                    assert time.monotonic() < cut + 20, "it is given up"
                    assert steady.recv(1 << 20), "the other one is served"
                    time.sleep(0.05)
                assert STALL_SECONDS - 1.0 < time.monotonic() - cut < STALL_SECONDS + 2.0
                assert server.reactors[0].context.counters.timeouts == {"write": 1}
        finally:
            server.abort()
