"""A restart at SIGUSR2: no request is lost, nothing is left over, and a new process that fails changes nothing."""

import ctypes
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from tests.support.drivers import PATIENCE_SECONDS, SOCKET_KINDS, missing
from tests.support.persistent import PersistentClient
from tests.support.processes import ServerProcess, ask, start
from tests.support.vectors import get

pytestmark = pytest.mark.slow

TIMES = int(os.environ.get("MREACTOR_TEST_RESTARTS", "3"))
KEPT = 64
DRAIN_SECONDS = 4.0
PATHS = ("/", "/", "/pid", "/pid", "/wait")
SERVES = re.compile(r"process ([0-9]+) serves now")
PR_SET_CHILD_SUBREAPER = 36

APP = """
import os
import time
from mreactor import App

app = App()

@app.get("/", constant=True)
def root(request):
    return "here"

@app.get("/pid")
def pid(request):
    return str(os.getpid())

@app.get("/wait", blocking=True)
def wait(request):
    time.sleep(0.05)
    return "waited"

@app.post("/echo")
def echo(request):
    return request.body
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "site_app.py").write_text(APP)
    return tmp_path


@pytest.fixture(params=SOCKET_KINDS)
def backend(request: pytest.FixtureRequest) -> str:
    if reason := missing(request.param):
        pytest.skip(reason)
    return str(request.param)


@pytest.fixture(autouse=True)
def _orphans() -> Iterator[None]:
    """Become the parent of the new processes when the old ones end, and see in the end that none is left."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) == 0
    left = children()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert not left, "a process is left"


def children() -> list[int]:
    """This process's children, those that have ended left out."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                break
        except ChildProcessError:
            break
    found = map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
    return [pid for pid in found if runs(pid)]


def runs(pid: int) -> bool:
    """Whether a process has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


class Generations:
    """A server and the processes that follow it."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.pids = [server.pid]

    @property
    def pid(self) -> int:
        """The process that serves."""
        return self.pids[-1]

    def begin_restart(self) -> None:
        os.kill(self.pid, signal.SIGUSR2)

    def is_restarted(self, count: int) -> bool:
        """Whether a further process serves, besides the `count` that have."""
        self.pids[1:] = [int(pid) for pid in SERVES.findall(self.server.stderr)]
        return len(self.pids) > count

    def restart(self) -> None:
        count = len(self.pids)
        self.begin_restart()
        wait_for(lambda: self.is_restarted(count), "the restart")

    def stop(self) -> None:
        """End the last process, and wait until every one has ended."""
        os.kill(self.pid, signal.SIGTERM)
        self.server.wait()
        wait_for(lambda: not any(map(is_alive, self.pids)), "the end of all processes")


def is_alive(pid: int) -> bool:
    children()
    return runs(pid)


def wait_for(condition: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} does not come"
        time.sleep(0.02)


def count_descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_no_request_is_lost(backend: str, site: Path) -> None:
    options = ("--threads", "2", "--backend", backend, "--drain-seconds", str(DRAIN_SECONDS), "site_app:app")
    with start(site, *options, cwd=site) as server:
        generations = Generations(server)
        wait_for(lambda: "listening" in server.stderr, "the start")
        ask(server, get("/"))
        time.sleep(0.3)
        descriptors = count_descriptors(server.pid)
        random = Random(7)
        clients = [PersistentClient(server.address, PATHS, random) for _ in range(KEPT)]
        clients += [PersistentClient(server.address, PATHS, random, requests=3) for _ in range(8)]
        for _ in range(TIMES):
            count = len(generations.pids)
            answered = sum(client.answered for client in clients)
            generations.begin_restart()
            while not generations.is_restarted(count):
                for client in clients:
                    client.step()
            after = time.monotonic() + 0.5
            while time.monotonic() < after:
                for client in clients:
                    client.step()
            assert sum(client.answered for client in clients) > answered
        end = time.monotonic() + PATIENCE_SECONDS
        while any(client.outstanding for client in clients) and time.monotonic() < end:
            for client in clients:
                client.pause()
                client.step()
        assert [loss for client in clients for loss in client.lost] == []
        served_by = {text for client in clients for text in client.texts["/pid"]}
        assert {str(pid) for pid in generations.pids} == served_by, "each process has served"
        for client in clients:
            client.close()
        wait_for(lambda: [pid for pid in generations.pids if is_alive(pid)] == [generations.pid], "the end of the old")
        wait_for(lambda: count_descriptors(generations.pid) <= descriptors, "the close of descriptors")
        generations.stop()
        assert "ERROR" not in server.stderr
        warnings = [line for line in server.stderr.splitlines() if " WARN " in line and "the GIL is on" not in line]
        assert not warnings
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(server.address, PATIENCE_SECONDS)


def test_idle_connections_are_served_by_the_old_process_and_told_to_close(site: Path) -> None:
    with start(site, "--threads", "1", "--drain-seconds", "20", "site_app:app", cwd=site) as server:
        generations = Generations(server)
        with server.connect() as idle, server.connect() as new, server.connect() as silent:
            assert idle.ask(get("/pid")).text == str(server.pid)
            # Idle for longer than a drain at SIGTERM would let it be.
            time.sleep(1.2)
            generations.restart()
            assert ask(server, get("/pid"))[2] == str(generations.pid) != str(server.pid)
            time.sleep(1.2)
            for client in (idle, new):
                response = client.ask(get("/pid"))
                assert (response.text, response.says_close) == (str(server.pid), True)
            silent.close()
        assert server.wait() == 0
        generations.stop()


def test_a_connection_that_stays_idle_ends_in_order_before_the_drain_does(site: Path) -> None:
    with start(site, "--threads", "1", "--drain-seconds", "3", "site_app:app", cwd=site) as server:
        generations = Generations(server)
        with server.connect() as idle:
            idle.ask(get("/"))
            generations.restart()
            begun = time.monotonic()
            assert idle.receive_rest() == b"", "without a reset"
            assert time.monotonic() - begun < 3.0
        assert server.wait() == 0
        generations.stop()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("raise ValueError('not today')", "ValueError: not today"),
        ("raise SystemExit(3)", "it exited with 3"),
        ("import os; os._exit(9)", r"it ended without a word \(exit code 9\)"),
        ("import time; time.sleep(60)", r"it did not start within 4 s"),
    ],
)
def test_a_new_process_that_fails_changes_nothing(change: str, said: str, site: Path) -> None:
    options = ("--threads", "1", "--restart-seconds", "4" if "sleep" in change else "30", "site_app:app")
    with start(site, *options, cwd=site) as server:
        assert ask(server, get("/pid"))[2] == str(server.pid)
        before = count_descriptors(server.pid)
        (site / "site_app.py").write_text(change)
        server.send_signal(signal.SIGUSR2)
        server.wait_until_said(rf"process [0-9]+ does not serve, so this one keeps serving: .*{said}")
        assert ask(server, get("/pid"))[2] == str(server.pid)
        wait_for(lambda: count_descriptors(server.pid) <= before, "the close of descriptors")
        # The next one gets its chance.
        (site / "site_app.py").write_text(APP.replace("str(os.getpid())", "'new'"))
        generations = Generations(server)
        generations.restart()
        assert ask(server, get("/pid"))[2] == "new"
        assert server.wait() == 0
        generations.stop()


def test_the_new_process_has_the_present_settings(site: Path) -> None:
    (site / "server.toml").write_text('app = "site_app:app"\nthreads = 1\nbind = ["127.0.0.1:0", "127.0.0.2:0"]\n')
    with start(site, "--config", "server.toml", cwd=site) as server:
        generations = Generations(server)
        (second,) = re.findall(r"http://127.0.0.2:([0-9]+)", server.stdout)
        (site / "server.toml").write_text(
            f'app = "site_app:app"\nthreads = 2\nbind = ["127.0.0.1:0", "unix:{site}/a.sock"]\n'
        )
        generations.restart()
        assert "2 reactor threads" in server.stderr
        assert ask(server, get("/pid"))[2] == str(generations.pid)
        assert server.wait() == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", int(second)), PATIENCE_SECONDS)
        generations.restart()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{site}/a.sock")
            client.sendall(get("/pid"))
            assert client.recv(1 << 16).endswith(str(generations.pid).encode())
        wait_for(lambda: not is_alive(generations.pids[1]), "the end of the second")
        assert (site / "a.sock").exists()
        generations.stop()
        assert not (site / "a.sock").exists()


def test_a_new_process_that_cannot_listen_leaves_the_sockets_alone(site: Path) -> None:
    settings = 'app = "site_app:app"\nthreads = 1\nbind = ["127.0.0.1:0"{more}]\n'
    (site / "server.toml").write_text(settings.format(more=""))
    with socket.create_server(("127.0.0.1", 0)) as taken, start(site, "--config", "server.toml", cwd=site) as server:
        (site / "server.toml").write_text(settings.format(more=f', "127.0.0.1:{taken.getsockname()[1]}"'))
        server.send_signal(signal.SIGUSR2)
        server.wait_until_said("this one keeps serving: .*Address already in use")
        for _ in range(3):
            assert ask(server, get("/pid"))[2] == str(server.pid)
        assert server.stop() == 0


def test_an_end_meanwhile_ends_both(site: Path) -> None:
    with start(site, "--threads", "1", "site_app:app", cwd=site) as server:
        (site / "site_app.py").write_text("import time; time.sleep(60)")
        server.send_signal(signal.SIGUSR2)
        server.wait_until_said("SIGUSR2: starting process")
        server.send_signal(signal.SIGUSR2)
        server.wait_until_said("SIGUSR2: a new process is already starting")
        assert server.stop() == 0
        wait_for(lambda: not children(), "the end of the new process")


def test_the_admin_listener_is_handed_over(site: Path) -> None:
    with start(site, "--threads", "1", "--admin", "127.0.0.1:0", "site_app:app", cwd=site) as server:
        generations = Generations(server)
        found = server.wait_until_said(r"live page on http://127.0.0.1:([0-9]+)")
        with server.connect() as kept:
            kept.ask(get("/"))
            generations.restart()
            for _ in range(20):
                with socket.create_connection(("127.0.0.1", int(found[1])), PATIENCE_SECONDS) as admin:
                    admin.sendall(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                    assert b" 200 OK\r\n" in admin.recv(1 << 16)
        assert server.wait() == 0
        generations.stop()
