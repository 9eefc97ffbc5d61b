"""No complete request is lost: neither at SIGTERM under load, nor when an idle connection is closed."""

import os
import threading
import time

import pytest

from mreactor.app.application import App
from mreactor.config import Limits
from mreactor.http.request import Request
from mreactor.http1 import state_machine
from mreactor.net import Command, EpollReactor
from mreactor.net.reactor.client import EpollClient
from tests.soak.drain import OPTIONS, drain
from tests.soak.server import serving
from tests.support.drivers import SOCKET_KINDS, TLS_SOCKET_KINDS, SocketDriver, missing, open_driver
from tests.support.vectors import get

TIMES = int(os.environ.get("MREACTOR_TEST_DRAINS", "2"))
CONNECTIONS = 500
SECONDS_MAX = 60.0
KEEPALIVE_SECONDS = 1.5


@pytest.mark.parametrize("number", range(TIMES))
@pytest.mark.parametrize("kind", SOCKET_KINDS + TLS_SOCKET_KINDS)
def test_no_request_is_lost(kind: str, number: int) -> None:
    if reason := missing(kind):
        pytest.skip(reason)
    with serving(kind, threads=2, options=OPTIONS) as server:
        result = drain(server, CONNECTIONS, seed=number)
        assert not result.faults()
        assert not server.complaints()


@pytest.mark.parametrize("kind", SOCKET_KINDS)
@pytest.mark.parametrize("ends", ["by draining", "by its deadline"])
def test_a_request_that_arrives_while_the_reactor_is_busy_is_not_lost(
    kind: str, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request is in the kernel, unseen by the reactor, when the idle deadline of its connection passes."""
    gates = {name: (threading.Event(), threading.Event()) for name in ("first", "second")}
    app = App()
    app.get("/")(lambda request: "here")

    @app.get("/busy/{name}")
    def busy(request: Request, name: str) -> str:
        entered, gate = gates[name]
        entered.set()
        assert gate.wait(SECONDS_MAX)
        return "done"

    monkeypatch.setattr(state_machine, "DRAIN_GRACE_SECONDS", 0.0)
    limits = Limits(keepalive_seconds=600.0 if ends == "by draining" else KEEPALIVE_SECONDS)
    with (
        open_driver(kind, app, limits, drains=False, threads=1) as driver,
        driver.connect() as idle,
        driver.connect() as one,
        driver.connect() as two,
    ):
        assert isinstance(driver, SocketDriver)
        # By now the reactor has the connection of `two`: what it sends does not wait for the acceptor.
        assert [client.ask(get("/")).text for client in (idle, two)] == ["here", "here"]
        one.send(get("/busy/first"))
        assert gates["first"][0].wait(SECONDS_MAX)
        # Both wait for the reactor now and come in one round: the handler first, then the message.
        two.send(get("/busy/second"))
        if ends == "by draining":
            driver.server.reactors[0].post(Command.DRAIN)
        gates["first"][1].set()
        assert gates["second"][0].wait(SECONDS_MAX)
        time.sleep(0.5 if ends == "by draining" else KEEPALIVE_SECONDS + 0.2)
        idle.send(get("/"))
        gates["second"][1].set()
        assert idle.receive().text == "here"


def test_a_client_that_is_given_up_twice_in_a_round_is_closed_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """So it is with a slow client that is given up in the round in which the drain begins."""
    real = EpollReactor._discard

    def discard(reactor: EpollReactor, client: EpollClient) -> None:
        real(reactor, client)
        reactor._closing.append(client)

    monkeypatch.setattr(EpollReactor, "_discard", discard)
    app = App()
    app.get("/")(lambda request: "here")
    with open_driver("epoll", app, Limits(), threads=1) as driver:
        for _ in range(3):
            with driver.connect() as client:
                assert client.ask(get("/", "Connection: close")).text == "here"
                assert client.receive_rest() == b""
    assert "failed" not in caplog.text
