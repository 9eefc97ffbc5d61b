"""The threads of the admin listener, and the addresses that it accepts."""

import http.client
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mreactor import Config, ConfigError, Server, StartError
from mreactor.admin.listener import resolve
from tests.admin.serving import LOOPBACK, SECONDS_MAX, ask, make_app, serving, stats

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def admin_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("admin")}


# --- Threads. ---


def test_without_the_option_there_is_no_listener() -> None:
    with serving(admin="") as server:
        assert server.admin_address is None
        assert not admin_threads()


def test_its_threads_end_with_the_server() -> None:
    with serving():
        assert admin_threads() == {"admin", "admin-acceptor"}
    assert not admin_threads()


# --- The address. ---


@pytest.mark.parametrize("admin", ["127.0.0.1:0", "127.9.9.9:9100", "localhost:0", "[::1]:0", "::1:0"])
def test_loopback_addresses_are_accepted(admin: str) -> None:
    _, address = resolve(Config(admin=admin))
    assert address[0] in ("127.0.0.1", "127.9.9.9", "::1")


@pytest.mark.parametrize("admin", ["0.0.0.0:0", "[::]:0", "192.0.2.1:9100", "[2001:db8::1]:0"])
def test_other_addresses_need_admin_public(admin: str) -> None:
    with pytest.raises(ConfigError, match="would expose metrics to the network; pass --admin-public to allow it"):
        resolve(Config(admin=admin))
    assert resolve(Config(admin=admin, admin_public=True))


@pytest.mark.parametrize(
    "admin",
    ["9100", ":9100", "localhost", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:+1", "127.0.0.1:٣"],
)
def test_a_malformed_address_is_refused(admin: str) -> None:
    with pytest.raises(ConfigError, match="is not HOST:PORT"):
        resolve(Config(admin=admin))


@pytest.mark.parametrize("host", ["a..b", "a" * 64])
def test_an_unknown_name_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="cannot resolve 'no such host': "):
        resolve(Config(admin="no such host:1"))
    with pytest.raises(ConfigError, match="is not a valid host name"):
        resolve(Config(admin=f"{host}:1"))


def test_ipv6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("IPv6: this machine has no ::1")
    with serving(admin="[::1]:0", host="::1") as server:
        assert ask(server, "/healthz")[0].status == 200
        assert stats(server)["info"]["address"] == f"[::1]:{server.address[1]}"


def test_the_zone_of_an_address_is_kept() -> None:
    family, address = resolve(Config(admin="[fe80::1%lo]:9100", admin_public=True))
    assert (family, address[1], address[3]) == (socket.AF_INET6, 9100, socket.if_nametoindex("lo"))


def test_a_taken_port_is_reported_and_no_thread_remains() -> None:
    before = set(threading.enumerate())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = Server(Config(port=0, admin=f"127.0.0.1:{taken.getsockname()[1]}"), make_app())
        with pytest.raises(StartError, match=r"--admin: cannot listen on 127.0.0.1:\d+: Address already in use$"):
            server.start()
    assert set(threading.enumerate()) <= before


# --- As a process. ---


@pytest.mark.parametrize("admin", ["0.0.0.0:0", "nonsense"])
def test_a_wrong_address_ends_the_process_with_one_line(admin: str) -> None:
    command = [sys.executable, "-m", "mreactor", "--port", "0", "--admin", admin]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert re.fullmatch(r"mreactor: --admin: .+\n", ended.stderr)


def test_the_report_names_the_address_and_the_process_is_ready() -> None:
    command = [sys.executable, "-m", "mreactor", "--port", "0", "--threads", "1", "--admin", LOOPBACK]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "live page on" in line)
        host, port = line.strip().rpartition("//")[2].split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=SECONDS_MAX)
        connection.request("GET", "/readyz")
        # With a GIL it says so, too.
        assert connection.getresponse().read().startswith(b"ready\n")
        connection.close()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
