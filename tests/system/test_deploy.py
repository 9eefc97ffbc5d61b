"""The files of docs/deploy: HAProxy and nginx run them before real servers, and systemd checks its units."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random

import pytest

from tests.support.drivers import PATIENCE_SECONDS
from tests.support.persistent import PersistentClient
from tests.support.processes import ROOT, environment
from tests.support.responses import read_response
from tests.support.vectors import get

pytestmark = pytest.mark.slow

DEPLOY = ROOT / "docs" / "deploy"
# How many requests the restarts behind HAProxy must get through.
REQUESTS = int(os.environ.get("MREACTOR_TEST_REQUESTS", "1000"))
CLIENTS = 24
READY = b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
SOURCES = ("127.0.0.5", "127.0.0.6")

APP = """
import os
import time
from mreactor import App

app = App()

@app.get("/pid")
def pid(request):
    return str(os.getpid())

@app.get("/peer")
def peer(request):
    return f"{request.scheme} {request.peer[0]}"

@app.get("/constant", constant=True)
def constant(request):
    return "constant"

@app.get("/wait", blocking=True)
def wait(request):
    time.sleep(0.02)
    return "waited"
"""


def tool(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [sock.getsockname()[1] for sock in sockets]


def wait_for(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, f"{what} does not come"
        time.sleep(0.02)


def answers(port: int, request: bytes = READY) -> bool:
    """Whether a request on a port gets a 200."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0) as sock:
            sock.sendall(request)
            return b" 200 OK\r\n" in sock.recv(1 << 16)
    except OSError:
        return False


@contextmanager
def running(command: list[str], folder: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a folder; kill it in the end. Its output goes into a file."""
    with (folder / name).open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment(), stdout=log, stderr=log)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


class Shop:
    """One server of several behind a balancer."""

    def __init__(self, folder: Path, port: int, admin: int, *options: str) -> None:
        self._folder, self._options = folder, options
        self.port, self.admin = port, admin
        self._stack = ExitStack()

    def start(self) -> None:
        arguments = ["--bind", f"127.0.0.1:{self.port}", "--admin", f"127.0.0.1:{self.admin}", "--threads", "1"]
        command = [sys.executable, "-m", "mreactor", *arguments, *self._options, "shop:app"]
        self.process = self._stack.enter_context(running(command, self._folder, f"log-{self.port}"))
        wait_for(lambda: answers(self.admin), "readiness")

    def close(self) -> None:
        self._stack.close()


def haproxy_configuration(ports: list[int], *, version: int) -> str:
    """The file of docs/deploy with other addresses."""
    text = (DEPLOY / "haproxy.cfg").read_text()
    text = text.replace("bind 127.0.0.1:8080", f"bind 127.0.0.1:{ports[0]}")
    for index in range(1, 4):
        old = f"127.0.0.1:808{index} port 910{index}"
        assert old in text
        text = text.replace(old, f"127.0.0.1:{ports[index]} port {ports[index + 3]}")
    if version == 1:
        text = text.replace("send-proxy-v2", "send-proxy")
    return text


@contextmanager
def balanced(folder: Path, *, version: int) -> Iterator[tuple[int, list[Shop]]]:
    """Three servers behind HAProxy. Gives its port and the servers."""
    (folder / "shop.py").write_text(APP)
    ports = free_ports(7)
    options = ("--trusted-proxies", "127.0.0.1", "--proxy-protocol", "--drain-delay-seconds", "2")
    options += ("--keepalive-seconds", "620")
    shops = [Shop(folder, ports[index], ports[index + 3], *options) for index in range(1, 4)]
    (folder / "haproxy.cfg").write_text(haproxy_configuration(ports, version=version))
    with ExitStack() as stack:
        for shop in shops:
            stack.callback(shop.close)
            shop.start()
        check = subprocess.run([tool("haproxy"), "-c", "-f", "haproxy.cfg"], cwd=folder, capture_output=True, text=True)
        assert check.returncode == 0, check.stdout + check.stderr
        stack.enter_context(running([tool("haproxy"), "-db", "-f", "haproxy.cfg"], folder, "haproxy.log"))
        wait_for(lambda: answers(ports[0], get("/pid")), "HAProxy")
        yield ports[0], shops


class Load:
    """Clients of a balancer."""

    def __init__(self, port: int) -> None:
        random, address = Random(11), ("127.0.0.1", port)
        paths = ("/pid", "/pid", "/constant", "/wait", "/peer")
        self.clients = [
            PersistentClient(
                address,
                paths,
                random,
                requests=1e9 if number % 4 else 5,
                source=SOURCES[number % 2],
                pauses=(0.0, 0.0, 0.0, 0.05),
            )
            for number in range(CLIENTS)
        ]

    @property
    def answered(self) -> int:
        return sum(client.answered for client in self.clients)

    @property
    def lost(self) -> list[str]:
        return [loss for client in self.clients for loss in client.lost]

    def run_until(self, condition: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"{what} does not come"
            for client in self.clients:
                client.step()

    def run_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.run_until(lambda: time.monotonic() >= end, "time")

    def finish(self) -> None:
        for client in self.clients:
            client.pause()
        self.run_until(lambda: not any(client.outstanding for client in self.clients), "the last response")
        for client in self.clients:
            client.close()

    def run_until_served_by(self, shops: list[Shop]) -> None:
        """Run until each of these, and no other, has served."""
        wanted = {str(shop.process.pid) for shop in shops}
        self.served_by()
        found: set[str] = set()

        def is_complete() -> bool:
            found.update(self.served_by())
            return found >= wanted

        self.run_until(is_complete, "a response of each server")
        assert found == wanted

    def served_by(self) -> set[str]:
        """The processes that have served since the last call."""
        found = {text for client in self.clients for text in client.texts["/pid"]}
        for client in self.clients:
            client.texts["/pid"].clear()
        return found


def test_servers_behind_haproxy_are_restarted_one_after_the_other_without_a_loss(tmp_path: Path) -> None:
    with balanced(tmp_path, version=2) as (port, shops):
        load = Load(port)
        load.run_for(1.0)
        load.run_until_served_by(shops)
        while True:
            for shop in shops:
                shop.process.send_signal(signal.SIGTERM)
                load.run_until(lambda shop=shop: shop.process.poll() is not None, "the end")  # type: ignore[misc]
                assert shop.process.returncode == 0
                shop.start()
                load.run_for(1.5)
            if load.answered >= REQUESTS:
                break
        load.run_until_served_by(shops)
        load.finish()
        assert load.lost == []
        for client in load.clients:
            assert client.texts["/peer"] == {f"http {client._source[0]}"}, "the address is the client's"  # type: ignore[index]


def test_a_server_behind_haproxy_is_restarted_in_place_without_a_loss(tmp_path: Path) -> None:
    """By SIGUSR2: the balancer does not notice."""
    with balanced(tmp_path, version=1) as (port, shops):
        load = Load(port)
        load.run_for(0.5)
        shop = shops[0]
        shop.process.send_signal(signal.SIGUSR2)
        log = tmp_path / f"log-{shop.port}"
        load.run_until(lambda: "serves now" in log.read_text(), "the new process")
        (pid,) = map(int, re.findall(r"process ([0-9]+) serves now", log.read_text()))
        try:
            load.run_until(lambda: shop.process.poll() is not None, "the end of the old process")
            load.run_for(0.5)
            load.served_by()
            load.run_for(1.0)
            assert str(pid) in load.served_by()
            load.finish()
            assert load.lost == []
            assert {text for client in load.clients for text in client.texts["/peer"]} == {f"http {s}" for s in SOURCES}
            assert "DOWN" not in (tmp_path / "haproxy.log").read_text()
        finally:
            os.kill(pid, signal.SIGKILL)


def test_a_server_behind_haproxy_that_is_killed_costs_no_request_that_may_be_repeated(tmp_path: Path) -> None:
    with balanced(tmp_path, version=2) as (port, shops):
        load = Load(port)
        load.run_for(1.0)
        before = load.answered
        shops[1].process.kill()
        load.run_for(2.0)
        assert load.answered > before
        load.run_until_served_by([shops[0], shops[2]])
        shops[1].start()
        load.run_until_served_by(shops)
        load.finish()
        assert load.lost == []


def test_nginx_over_a_unix_socket(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(APP)
    (port,) = free_ports(1)
    path = tmp_path / "http.sock"
    text = (DEPLOY / "nginx.conf").read_text()
    for old, new in (("127.0.0.1:8080", f"127.0.0.1:{port}"), ("/run/shop/http.sock", str(path))):
        assert old in text
        text = text.replace(old, new)
    text = re.sub(
        "^pid .*", f"pid {tmp_path}/nginx.pid;\nerror_log stderr;\nuser root;\ndaemon off;", text, flags=re.MULTILINE
    )
    text = text.replace("worker_processes auto", "worker_processes 1")
    (tmp_path / "nginx.conf").write_text(text)
    server = [sys.executable, "-m", "mreactor", "--bind", f"unix:{path},mode=660", "--trusted-proxies", "unix"]
    with ExitStack() as stack:
        stack.enter_context(running([*server, "--threads", "1", "shop:app"], tmp_path, "log"))
        wait_for(path.exists, "the socket")
        nginx = [tool("nginx"), "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path)]
        front = stack.enter_context(running(nginx, tmp_path, "nginx.log"))
        wait_for(lambda: answers(port, get("/pid")), "nginx")
        for source in SOURCES:
            with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS, (source, 0)) as sock:
                for _ in range(5):
                    # What a client forges stands left of its own address.
                    sock.sendall(get("/peer", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https"))
                    received = b""
                    while (read := read_response(received)) is None:
                        received += sock.recv(1 << 16)
                    assert read[0].text == f"http {source}"
        front.send_signal(signal.SIGQUIT)
        assert front.wait(PATIENCE_SECONDS) == 0


def test_the_units_are_valid_and_hardened(tmp_path: Path) -> None:
    analyze = tool("systemd-analyze")
    service = (DEPLOY / "mreactor.service").read_text()
    # The program that it names exists on the machine of the test.
    (tmp_path / "shop.service").write_text(service.replace("/opt/shop/bin/mreactor", "/bin/true"))
    (tmp_path / "shop.socket").write_text((DEPLOY / "mreactor.socket").read_text())
    units = [str(tmp_path / "shop.service"), str(tmp_path / "shop.socket")]
    verified = subprocess.run([analyze, "verify", "--man=no", *units], capture_output=True, text=True)
    complaints = [line for line in verified.stderr.splitlines() if "shop" in line]
    assert complaints == []
    variables = {**os.environ, "LC_ALL": "C"}
    command = [analyze, "security", "--offline=yes", units[0]]
    rated = subprocess.run(command, capture_output=True, text=True, env=variables)
    found = re.search(r"Overall exposure level for shop.service: ([0-9.]+)", rated.stdout + rated.stderr)
    assert found is not None, rated.stdout + rated.stderr
    assert float(found[1]) < 2.0, rated.stdout
