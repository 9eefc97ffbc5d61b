"""Each kind of `--bind`, with the programs that people use: curl, socat and systemd-socket-activate."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.certificates import authority, server_pair
from tests.support.drivers import PATIENCE_SECONDS, SOCKET_KINDS, missing
from tests.support.processes import ROOT, environment, start
from tests.support.responses import read_response
from tests.support.vectors import get

pytestmark = pytest.mark.slow

GREETING = "Welcome to mreactor"


@pytest.fixture(params=SOCKET_KINDS)
def backend(request: pytest.FixtureRequest) -> str:
    if reason := missing(request.param):
        pytest.skip(reason)
    return str(request.param)


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def curl(url: str, *options: str) -> str:
    command = [tool("curl"), "--silent", "--show-error", "--fail", "--max-time", "60", *options, url]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@contextmanager
def running(command: Sequence[str], log: Path, said: str = "INFO .* listening on", **more: object) -> Iterator[int]:
    """Run a server by some command until its log has said that it serves; end it in the end. Gives its process."""
    with log.open("wb") as err:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=err, stdout=err, **more)  # type: ignore[call-overload]
    try:
        end = time.monotonic() + PATIENCE_SECONDS
        while not re.search(said, log.read_text()):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.02)
        yield process.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def mreactor(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mreactor", "--threads", "2", *arguments]


def test_several_addresses_of_all_kinds(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    log = tmp_path / "access"
    bind = ("--bind", "127.0.0.1:0", "--bind", "127.0.0.2:0", "--bind", f"unix:{path},mode=600")
    options = ("--threads", "2", "--backend", backend, "--access-log", f"common:{log}")
    with start(tmp_path, *bind, *options) as server:
        server.wait_until_said(f"INFO .* listening on unix:{path}")
        ports = re.findall(r"listening on http://(127\.0\.0\.[12]:[0-9]+)", server.stdout)
        assert len(ports) == 2
        for _ in range(3):
            assert [curl(f"http://{port}/") for port in ports] == [GREETING, GREETING]
            assert curl("http://localhost/", "--unix-socket", str(path)) == GREETING
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE_SECONDS)
            client.connect(str(path))
            for _ in range(3):
                client.sendall(get("/hello/unix"))
                received = b""
                while (read := read_response(received)) is None:
                    received += client.recv(1 << 16)
                assert read[0].text == "Hello, unix!"
        assert server.stop() == 0
        assert "ERROR" not in server.stderr
    assert not path.exists()
    hosts = [line.split()[0] for line in log.read_text().splitlines()]
    assert sorted(set(hosts)) == ["-", "127.0.0.1"]
    assert hosts.count("-") == 6, "clients of a unix socket have no address"


def test_socat_and_curl_over_an_abstract_socket(tmp_path: Path) -> None:
    name = f"mreactor-{os.getpid()}"
    with running(mreactor("--bind", f"unix:@{name}"), tmp_path / "log", f"INFO .* listening on unix:@{name}"):
        assert curl("http://localhost/", "--abstract-unix-socket", name) == GREETING
        command = [tool("socat"), "-t", "60", "-", f"ABSTRACT-CONNECT:{name}"]
        request = get("/", "Connection: close")
        found = subprocess.run(command, input=request, capture_output=True, check=True, timeout=PATIENCE_SECONDS).stdout
        assert found.endswith(GREETING.encode())


def test_socat_over_a_unix_socket(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    options = ("--bind", f"unix:{path}", "--backend", backend, "--connections-per-address-max", "1")
    one, two = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    with running(mreactor(*options), tmp_path / "log"), one, two:
        # The limit on an address's connections does not count clients that have none.
        one.connect(str(path))
        two.connect(str(path))
        command = [tool("socat"), "-t", "60", "-", f"UNIX-CONNECT:{path}"]
        request = get("/", "Connection: close")
        done = subprocess.run(command, input=request, capture_output=True, check=True, timeout=PATIENCE_SECONDS)
        assert done.stdout.endswith(GREETING.encode())


def test_a_descriptor_that_the_caller_has_opened(backend: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        # Another process shares the socket and has set it non-blocking.
        sock.setblocking(False)
        port, fd = sock.getsockname()[1], sock.fileno()
        options = ("--bind", f"fd:{fd}", "--backend", backend)
        with running(mreactor(*options), tmp_path / "log", pass_fds=(fd,)) as pid:
            sock.setblocking(False)
            before = cpu_ticks(pid)
            for _ in range(3):
                assert curl(f"http://127.0.0.1:{port}/") == GREETING
                time.sleep(0.3)
            assert cpu_ticks(pid) - before < 0.5 * os.sysconf("SC_CLK_TCK"), "it does not spin"
        # The caller may pass it to the next server.
        with running(mreactor(*options), tmp_path / "log2", pass_fds=(fd,)):
            assert curl(f"http://127.0.0.1:{port}/") == GREETING


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_socket_activation_and_a_restart(tmp_path: Path) -> None:
    """The first connection starts the server. The process that takes over gets the socket."""
    path = tmp_path / "a.sock"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    activate = [
        tool("systemd-socket-activate"),
        "--listen",
        f"127.0.0.1:{port}",
        "--listen",
        str(path),
        "--fdname=web:side",
    ]
    variables = [f"--setenv={name}={value}" for name, value in environment().items() if name.startswith("PYTHON")]
    log = tmp_path / "log"
    with running([*activate, *variables, *mreactor("--bind", "127.0.0.2:0")], log, "Listening on .*a.sock") as pid:
        assert curl(f"http://127.0.0.1:{port}/") == GREETING
        assert curl("http://localhost/", "--unix-socket", str(path)) == GREETING
        said = log.read_text()
        assert f"listening on http://127.0.0.1:{port}" in said
        assert f"listening on unix:{path}" in said
        assert "listening on http://127.0.0.2:" in said
        assert "8080" not in said
        os.kill(pid, signal.SIGUSR2)
        end = time.monotonic() + PATIENCE_SECONDS
        while not (found := re.search(r"process ([0-9]+) serves now", log.read_text())):
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.02)
        assert curl(f"http://127.0.0.1:{port}/") == GREETING
        assert curl("http://localhost/", "--unix-socket", str(path)) == GREETING
        os.kill(int(found[1]), signal.SIGTERM)
        while log.read_text().count(" stopped\n") < 2:
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.02)
        # This one has been waited for by now, or is about to end.
        assert path.exists(), "the file belongs to the one that has opened the socket"


def test_tls_on_tcp_and_plain_elsewhere_also_after_a_restart(backend: str, tmp_path: Path) -> None:
    """Unix sockets, and TCP addresses that are written so, have no TLS. So it stays when another process serves."""
    path = tmp_path / "a.sock"
    bind = ("--bind", "127.0.0.1:0", "--bind", "plain:127.0.0.1:0", "--bind", f"unix:{path}")
    options = (*server_pair().options, "--threads", "1", "--backend", backend, "--admin", "127.0.0.1:0")
    log = tmp_path / "log"
    with running(mreactor(*bind, *options), log, f"INFO .* listening on unix:{path}") as pid:
        (secure,) = re.findall(r"INFO .* listening on (https://127\.0\.0\.1:[0-9]+)", log.read_text())
        (plain,) = re.findall(r"INFO .* listening on (http://127\.0\.0\.1:[0-9]+)", log.read_text())
        assert f"listening on {secure}\n" in log.read_text(), "the port is told on standard output"

        def check() -> None:
            for _ in range(3):
                assert curl(f"{secure}/", "--cacert", str(authority().certificate)) == GREETING
                assert curl(f"{plain}/") == GREETING
                assert curl("http://localhost/", "--unix-socket", str(path)) == GREETING

        check()
        os.kill(pid, signal.SIGUSR2)
        end = time.monotonic() + PATIENCE_SECONDS
        while not (found := re.search(r"process ([0-9]+) serves now", log.read_text())):
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.02)
        check()
        os.kill(int(found[1]), signal.SIGTERM)
        while log.read_text().count(" stopped\n") < 2:
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.02)
    assert not path.exists()


def test_a_descriptor_without_tls_beside_others_with_it(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.create_server(("127.0.0.1", 0)) as plain, socket.create_server(("127.0.0.1", 0)) as secure:
        fds = plain.fileno(), secure.fileno()
        bind = ("--bind", f"plain:fd:{fds[0]}", "--bind", f"fd:{fds[1]}", "--bind", f"plain:unix:{path}")
        options = (*bind, *server_pair().options, "--backend", backend)
        with running(mreactor(*options), tmp_path / "log", f"INFO .* listening on unix:{path}", pass_fds=fds):
            ports = plain.getsockname()[1], secure.getsockname()[1]
            assert curl(f"http://127.0.0.1:{ports[0]}/") == GREETING
            assert curl(f"https://127.0.0.1:{ports[1]}/", "--cacert", str(authority().certificate)) == GREETING
            assert curl("http://localhost/", "--unix-socket", str(path)) == GREETING
            assert f"listening on http://127.0.0.1:{ports[0]}" in (tmp_path / "log").read_text()


def test_tls_behind_the_proxy_protocol(backend: str, tmp_path: Path) -> None:
    """The header comes before the handshake."""
    options = (*server_pair().options, "--backend", backend, "--trusted-proxies", "127.0.0.1", "--proxy-protocol")
    log = tmp_path / "access"
    with running(mreactor("--bind", "127.0.0.1:0", "--access-log", f"common:{log}", *options), tmp_path / "log"):
        (port,) = re.findall(r"INFO .* listening on https://127\.0\.0\.1:([0-9]+)", (tmp_path / "log").read_text())
        arguments = ("--haproxy-protocol", "--cacert", str(authority().certificate))
        assert curl(f"https://127.0.0.1:{port}/", *arguments) == GREETING
    assert log.read_text().split()[0] == "127.0.0.1"
