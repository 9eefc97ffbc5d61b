"""What the environment passes to a process: sockets of systemd or of the process before, and where to notify."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mreactor.server import startup as startup_module
from mreactor.server.startup import HANDOVER, LISTEN, read_startup, take_startup

OWN_PID = str(os.getpid())
VARIABLES = (HANDOVER, *LISTEN, "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")


@pytest.fixture
def first_fd(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Two descriptors in a row that take the place of 3 and 4."""
    free = max(map(int, os.listdir("/proc/self/fd"))) + 10
    monkeypatch.setattr(startup_module, "FIRST_FD", free)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        os.dup2(sock.fileno(), free)
        os.dup2(sock.fileno(), free + 1)
    yield free
    os.close(free)
    os.close(free + 1)


def test_an_empty_environment_passes_nothing() -> None:
    startup = read_startup({"PATH": "/bin"})
    assert (startup.sockets.descriptors, startup.reply_fd, startup.predecessor) == ([], -1, 0)
    assert (startup.notify_address, startup.watchdog_seconds) == ("", 0.0)
    assert (startup.environment, startup.folder) == ({"PATH": "/bin"}, str(Path.cwd()))


def test_sockets_of_systemd_have_their_names(first_fd: int) -> None:
    startup = read_startup({"LISTEN_PID": OWN_PID, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "web:api"})
    keys = [key for key, sock in startup.sockets.take_activated() if sock.detach() >= 0]
    assert keys == ["systemd:web", "systemd:api"]
    assert not os.get_inheritable(first_fd)
    assert startup.environment == {}


def test_sockets_of_systemd_without_names(first_fd: int) -> None:
    startup = read_startup({"LISTEN_PID": OWN_PID, "LISTEN_FDS": "2"})
    assert startup.sockets.descriptors == [first_fd, first_fd + 1]
    assert [sock.detach() for _, sock in startup.sockets.take_activated()] == [first_fd, first_fd + 1]


@pytest.mark.parametrize(
    "environment",
    [
        {"LISTEN_PID": "1", "LISTEN_FDS": "2"},
        {"LISTEN_FDS": "2"},
        {"LISTEN_PID": OWN_PID},
        {"LISTEN_PID": OWN_PID, "LISTEN_FDS": "two"},
        {"LISTEN_PID": OWN_PID, "LISTEN_FDS": "0"},
    ],
)
def test_sockets_of_another_process_are_not_taken(environment: dict[str, str]) -> None:
    assert read_startup(environment).sockets.descriptors == []


def test_the_next_process_gets_the_variables_of_the_service_and_none_of_this_process() -> None:
    environment = {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": OWN_PID, "LISTEN_PID": "1"}
    startup = read_startup(environment)
    assert (startup.notify_address, startup.watchdog_seconds) == ("/run/n", 3.0)
    assert startup.environment == {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "3000000"}


def test_a_watchdog_of_another_process_is_not_this_ones() -> None:
    assert read_startup({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}).watchdog_seconds == 0.0


def test_the_process_before_hands_over_its_sockets_and_hears_once() -> None:
    reader, writer = os.pipe()
    sock = socket.create_server(("127.0.0.1", 0))
    address = sock.getsockname()
    handover = {"pid": 77, "reply": writer, "sockets": [["tcp:x:1", sock.detach()]]}
    startup = read_startup({HANDOVER: json.dumps(handover), "LISTEN_PID": OWN_PID, "LISTEN_FDS": "9"})
    assert (startup.predecessor, startup.environment) == (77, {})
    taken = startup.sockets.take("tcp:x:1")
    assert taken is not None
    with taken:
        assert taken.getsockname() == address
    startup.reply(taken=["tcp:x:1"])
    startup.reply(failure="too late")
    assert json.loads(os.read(reader, 1000)) == {"taken": ["tcp:x:1"]}
    assert os.read(reader, 1000) == b"", "the pipe is closed"
    os.close(reader)


def test_a_process_before_that_has_ended_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    startup = read_startup({HANDOVER: json.dumps({"pid": 77, "reply": writer, "sockets": []})})
    startup.reply(taken=[])
    assert startup.reply_fd == -1


def test_the_variables_are_taken_out_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/n")
    take_startup.cache_clear()
    try:
        assert take_startup().notify_address == "/run/n"
        assert not set(VARIABLES) & os.environ.keys()
        assert take_startup().notify_address == "/run/n", "the first call counts"
    finally:
        take_startup.cache_clear()
