"""The server as a process: its output, its signals, its end, and a lack of descriptors."""

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path

import pytest

from mreactor import __version__
from mreactor.http1.context import DRAIN_GRACE_SECONDS
from mreactor.net.acceptor.base import BURST_SECONDS
from tests.support.drivers import PATIENCE_SECONDS, SOCKET_KINDS, SocketClient, missing
from tests.support.processes import LISTENING, ROOT, ServerProcess, ask, environment, run, start
from tests.support.responses import Malformed
from tests.support.vectors import get, post

pytestmark = pytest.mark.slow


@pytest.fixture(params=SOCKET_KINDS)
def backend(request: pytest.FixtureRequest) -> str:
    if reason := missing(request.param):
        pytest.skip(reason)
    return str(request.param)


# The demo.


@pytest.mark.parametrize(
    ("request_", "content_type", "text"),
    [
        (get("/"), "text/plain; charset=utf-8", "Welcome to mreactor"),
        (get("/hello.html"), "text/html; charset=utf-8", (ROOT / "static" / "hello.html").read_text()),
        (get("/hello/world"), "text/plain; charset=utf-8", "Hello, world!"),
        (get("/json?a=1"), "application/json", '{"message":"Hello from mreactor","path":"/json","query":{"a":"1"}}'),
        (post("/echo", b"hello", "Content-Type: text/x"), "text/x", "hello"),
        (
            get("/echo", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhello\r\n0\r\n\r\n",
            "application/octet-stream",
            "hello",
        ),
    ],
)
def test_the_demo(demo: ServerProcess, request_: bytes, content_type: str, text: str) -> None:
    assert ask(demo, request_) == (200, content_type, text)


def test_it_separates_the_names_of_the_request_path(tmp_path: Path) -> None:
    with start(tmp_path, "--log-level", "debug") as server:
        server.wait_until_said("type cache collisions: (None|[0-9]+)\n")


def test_the_demo_refuses_other_requests(demo: ServerProcess) -> None:
    assert ask(demo, get("/nothing"))[0] == 404
    assert ask(demo, get("/echo"))[0] == 405


def test_the_report_says_what_runs(demo: ServerProcess) -> None:
    demo.wait_until_said(LISTENING)  # the last line of the report
    log = demo.stderr
    for said in (
        f"mreactor {__version__} on CPython {sys.version.split()[0]}",
        "backend epoll",
        "16 reactor threads",
        "limits: 16384 connections, body 16 MiB, head 10 s, keep-alive 75 s, drain 10 s\n",
        f"listening on http://127.0.0.1:{demo.address[1]}",
    ):
        assert said in log
    assert "Traceback" not in log
    assert demo.stdout == f"listening on http://127.0.0.1:{demo.address[1]}\n"


def test_descriptors_of_closed_connections_are_free_again(demo: ServerProcess) -> None:
    ask(demo, get("/"))
    before = demo.count_descriptors()
    for turn in range(10):
        clients = [demo.connect() for _ in range(40)]
        for client in clients:
            client.send(get("/hello.html") + get("/hello/a") + get("/nothing"))
        for client in clients:
            assert [client.receive().status for _ in range(3)] == [200, 200, 404]
        for client in clients:
            client.reset() if turn % 2 else client.close()
    end = time.monotonic() + PATIENCE_SECONDS
    while demo.count_descriptors() > before:
        assert time.monotonic() < end, "descriptors are left open"
        time.sleep(0.01)


def test_the_report_uses_the_singular(shop: Path) -> None:
    with start(shop, "--threads", "1", "--body-bytes-max", "1000", "shop:app", cwd=shop) as server:
        server.wait_until_said("listening")
        assert "1 reactor thread on " in server.stderr
        assert "body 1000 bytes, " in server.stderr


def test_ipv6(tmp_path: Path) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        pytest.skip(f"no IPv6: {error.strerror}")
    with start(tmp_path, "--host", "::1") as server:
        assert server.address[0] == "::1"
        assert ask(server, get("/"))[2] == "Welcome to mreactor"
        assert f"listening on http://[::1]:{server.address[1]}" in server.stderr


def test_an_ipv4_client_of_both_families_is_logged_by_its_address(backend: str, tmp_path: Path) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        pytest.skip(f"no IPv6: {error.strerror}")
    log = tmp_path / "a.log"
    arguments = ("--backend", backend, "--host", "::", "--access-log", f"common:{log}")
    with start(tmp_path, *arguments) as server, SocketClient(("127.0.0.1", server.address[1])) as client:
        assert client.ask(get("/hello/a")).status == 200
        server.wait_until_said("GET /hello/a", log)
    assert log.read_text().startswith("127.0.0.1 - - ")


def test_with_the_gil_it_works_and_warns(tmp_path: Path) -> None:
    with start(tmp_path, PYTHON_GIL="1") as server:
        assert ask(server, get("/"))[0] == 200
        assert server.stop() == 0
        assert "GIL on" in server.stderr
        assert server.stderr.count("the GIL is on: reactors do not run in parallel") == 1


def test_without_the_gil_it_does_not_warn(demo: ServerProcess) -> None:
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        pytest.skip("this interpreter has a GIL")
    demo.wait_until_said(LISTENING)
    assert "GIL off" in demo.stderr
    assert "WARN" not in demo.stderr


def test_an_idle_server_uses_hardly_any_cpu(demo: ServerProcess) -> None:
    with demo.connect() as client:
        assert client.ask(get("/")).status == 200
        assert used_cpu(demo, client) < 0.3


@pytest.mark.parametrize(
    ("backend", "accept"), [("epoll", "auto"), ("io_uring", "auto"), ("io_uring", "accept4")], indirect=["backend"]
)
def test_a_default_timeout_of_the_application_does_not_make_acceptors_spin(
    backend: str, accept: str, tmp_path: Path
) -> None:
    """It makes the listening sockets non-blocking that are created after the import of the application."""
    (tmp_path / "hasty.py").write_text(
        "import socket\nsocket.setdefaulttimeout(10)\nfrom mreactor import App\napp = App()\n"
        "app.get('/')(lambda request: 'ok')\n"
    )
    arguments = ("--backend", backend, "--accept", accept, "--threads", "1", "--admin", "127.0.0.1:0", "hasty:app")
    with start(tmp_path, *arguments, cwd=tmp_path) as server, server.connect() as client:
        assert client.ask(get("/")).text == "ok"
        assert used_cpu(server, client) < 0.3


def used_cpu(server: ServerProcess, client: SocketClient) -> float:
    """Return how much of a core a server uses while its client is idle for a second."""

    def ticks() -> int:
        fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    before, begun = ticks(), time.monotonic()
    client.pass_time(1.0)
    spent = (ticks() - before) / os.sysconf("SC_CLK_TCK")
    return spent / (time.monotonic() - begun)


# Signals and the end.


@pytest.mark.parametrize(
    ("backend", "number"),
    [("epoll", signal.SIGTERM), ("epoll", signal.SIGINT), ("io_uring", signal.SIGTERM)],
    indirect=["backend"],
)
def test_a_signal_drains_and_stops_it(backend: str, number: int, tmp_path: Path) -> None:
    with start(tmp_path, "--backend", backend, "--threads", "2") as server:
        clients = [server.connect() for _ in range(10)]
        for client in clients[:5]:
            assert client.ask(get("/")).status == 200
        server.send_signal(number)
        for client in clients:
            assert client.receive_rest() == b"", "idle connections are closed"
            client.close()
        assert server.wait() == 0
        assert f"{signal.Signals(number).name}: draining" in server.stderr
        assert server.stderr.rstrip().endswith("stopped")
        assert "Traceback" not in server.stderr
        with pytest.raises(ConnectionRefusedError):
            server.connect()


def test_requests_in_flight_are_finished(backend: str, shop: Path) -> None:
    with start(shop, "--backend", backend, "shop:app", cwd=shop) as server:
        slow, half, idle = server.connect(), server.connect(), server.connect()
        assert idle.ask(get("/")).text == "the shop"
        half.send(get("/")[:-5])
        slow.send(get("/slow?seconds=1.6"))
        slow.receive_bytes(1)
        server.send_signal(signal.SIGTERM)
        assert idle.receive_rest() == b"", "an idle connection is closed"
        half.send(get("/")[-5:])
        (response,) = half.receive_all()
        assert (response.text, response.says_close) == ("the shop", True)
        assert slow.receive_rest().endswith(b"4\r\ndone\r\n0\r\n\r\n")
        for client in (slow, half, idle):
            client.close()
        assert server.wait() == 0


def test_the_drain_ends_after_its_time(backend: str, shop: Path) -> None:
    with (
        start(shop, "--backend", backend, "--drain-seconds", "0.5", "shop:app", cwd=shop) as server,
        server.connect() as client,
    ):
        client.send(get("/slow?seconds=600"))
        client.receive_bytes(1)
        begun = time.monotonic()
        assert server.stop() == 0  # the handler would take far longer than the test waits
        assert time.monotonic() - begun > 0.4


@pytest.mark.parametrize(
    ("backend", "second"),
    [("epoll", signal.SIGTERM), ("epoll", signal.SIGINT), ("io_uring", signal.SIGTERM)],
    indirect=["backend"],
)
def test_a_second_signal_ends_it_at_once(backend: str, second: int, shop: Path) -> None:
    with (
        start(shop, "--backend", backend, "--drain-seconds", "600", "shop:app", cwd=shop) as server,
        server.connect() as client,
    ):
        client.send(get("/slow?seconds=600"))
        client.receive_bytes(1)
        server.send_signal(signal.SIGTERM)
        server.wait_until_said("draining")
        assert server.stop(second) == 128 + second  # the drain would take far longer than the test waits


class Talker(threading.Thread):
    """A client that sends requests as fast as it can on one connection, until a response says `Connection: close`.

    On a busy machine it may send so late that the server has rightly closed its connection as idle.

    Attributes:
        answered: requests with a complete response.
        lost: the failures of requests that were sent in full and have no complete response.
    """

    REQUESTS = (get("/"), get("/hello/a"), post("/echo", b"x" * 3000), get("/hello.html"), get("/json"))

    def __init__(self, client: SocketClient, burst: int) -> None:
        super().__init__()
        self.answered = 0
        self.lost: list[str] = []
        self._client = client
        self._burst = burst

    def run(self) -> None:
        with self._client as client:
            begun = time.monotonic()
            while True:
                requests = self.REQUESTS[self.answered % len(self.REQUESTS)] * self._burst
                received, before, begun = 0, begun, time.monotonic()
                handed_over = inf
                try:
                    client.send(requests)
                    handed_over = time.monotonic()
                    while received < self._burst:
                        response = client.receive()
                        received += 1
                        self.answered += 1
                        if response.says_close and received == self._burst:
                            return
                except Exception as error:
                    # The connection was idle at most since `before`, when the requests before these were sent.
                    if received or min(handed_over, time.monotonic()) - before < DRAIN_GRACE_SECONDS:
                        self.lost.append(f"{received} of {self._burst} responses, then {error!r}")
                    return


@pytest.mark.parametrize("burst", [1, 5])
def test_no_request_is_lost_when_it_stops_under_load(backend: str, burst: int, tmp_path: Path) -> None:
    with start(tmp_path, "--backend", backend, "--threads", "2") as server:
        talkers = [Talker(server.connect(), burst) for _ in range(12)]
        for talker in talkers:
            talker.start()
        end = time.monotonic() + PATIENCE_SECONDS
        while min(talker.answered for talker in talkers) < 20 * burst:
            assert time.monotonic() < end, "the load does not start"
            time.sleep(0.01)
        assert server.stop() == 0
        for talker in talkers:
            talker.join(PATIENCE_SECONDS)
        assert not any(talker.is_alive() for talker in talkers)
        assert [loss for talker in talkers for loss in talker.lost] == []
        assert "Traceback" not in server.stderr


def test_sighup_reopens_the_access_log(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with start(tmp_path, "--access-log", f"common:{path}") as server:
        ask(server, get("/hello/before"))
        wait_for(path, "GET /hello/before")
        path.rename(tmp_path / "access.log.1")
        server.send_signal(signal.SIGHUP)
        server.wait_until_said("SIGHUP")
        wait_for(path, "")  # the file exists again
        ask(server, get("/hello/after"))
        wait_for(path, "GET /hello/after")
        assert server.stop() == 0


def test_sighup_without_an_access_log_is_ignored(tmp_path: Path) -> None:
    with start(tmp_path) as server:
        server.send_signal(signal.SIGHUP)
        server.wait_until_said("SIGHUP: no access log to reopen")
        assert ask(server, get("/"))[0] == 200
        assert server.stop() == 0


def wait_for(path: Path, text: str) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not path.exists() or text not in path.read_text():
        assert time.monotonic() < end, f"{text} does not appear in {path}"
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_start_that_hangs(number: int, tmp_path: Path) -> None:
    """No client is served yet, and without this only SIGKILL would end the process."""
    (tmp_path / "stuck.py").write_text(
        """
import time

from mreactor import App

def factory():
    print("begun", flush=True)
    time.sleep(600)

app = App()
app.mount("/", factory)
"""
    )
    command = [sys.executable, "-m", "mreactor", "--port", "0", "--threads", "1", "stuck:app"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            process.send_signal(number)
            assert process.wait(PATIENCE_SECONDS) == -number
        finally:
            process.kill()


BUSY = """
import atexit, os, threading, time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context

from mreactor import App

app, executor = App(), ThreadPoolExecutor()

def forever():
    time.sleep(600)

def job(path):
    time.sleep(1.5)
    open(path, "w").close()

@app.get("/{kind}")
def begin(request, kind):
    if kind == "executor":
        executor.submit(forever)
    elif kind == "process":
        get_context("fork").Process(target=time.sleep, args=(20,)).start()
    elif kind == "atexit":
        atexit.register(forever)
    elif kind == "job":
        executor.submit(job, request.query["path"])
    return "begun"

@app.get("/noise", blocking=True)
def noise(request):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.write(2, b"noise begins\\n")
    while True:
        print("x" * 2000, flush=True)

if "TEST_THREAD" in os.environ:
    threading.Thread(target=forever).start()
"""


@pytest.fixture
def busy(tmp_path: Path) -> Path:
    """The directory of an application that leaves something running."""
    (tmp_path / "busy.py").write_text(BUSY)
    return tmp_path


@pytest.mark.parametrize("kind", ["executor", "process", "atexit"])
def test_what_the_application_leaves_running_does_not_keep_the_process(backend: str, kind: str, busy: Path) -> None:
    with start(busy, "--backend", backend, "--drain-seconds", "0.5", "busy:app", cwd=busy) as server:
        assert ask(server, get(f"/{kind}"))[2] == "begun"
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < 15
        assert server.stderr.rstrip().endswith("stopped")


def test_a_job_that_ends_within_the_drain_is_waited_for(backend: str, busy: Path) -> None:
    written = busy / "written"
    with start(busy, "--backend", backend, "--drain-seconds", "60", "busy:app", cwd=busy) as server:
        assert ask(server, get(f"/job?path={written}"))[2] == "begun"
        assert server.stop() == 0
        assert written.exists()


def test_a_second_signal_ends_it_whatever_the_application_leaves_running(backend: str, busy: Path) -> None:
    with start(busy, "--backend", backend, "--drain-seconds", "600", "busy:app", cwd=busy) as server:
        assert ask(server, get("/executor"))[2] == "begun"
        server.send_signal(signal.SIGTERM)
        server.wait_until_said("stopped")
        begun = time.monotonic()
        assert server.stop() in (128 + signal.SIGTERM, -signal.SIGTERM)
        assert time.monotonic() - begun < 15


def test_handlers_that_print_at_the_end_do_not_abort_the_process(backend: str, busy: Path) -> None:
    """The interpreter aborts at its end if a thread holds the buffer of standard output."""
    with start(busy, "--backend", backend, "--drain-seconds", "0.5", "busy:app", cwd=busy) as server:
        clients = [server.connect() for _ in range(4)]
        for client in clients:
            client.send(get("/noise"))
        server.wait_until_said("(noise begins(.|\n)*){4}")
        assert server.stop() == 0
        assert "Fatal" not in server.stderr
        for client in clients:
            client.close()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("--host", "192.0.2.1", "busy:app"), 1), (("busy:nothing",), 2)],
    ids=["it cannot listen", "there is no such application"],
)
def test_a_start_that_fails_ends_whatever_the_application_has_started(
    arguments: tuple[str, ...], code: int, busy: Path
) -> None:
    ended = run("--port", "0", *arguments, cwd=busy, TEST_THREAD="1")
    assert ended.returncode == code
    assert ended.stderr.startswith("mreactor: ")
    assert ended.stderr.count("\n") == 1


SLOW_START = """
import os, time
from mreactor import App

def dawdle(where):
    if os.environ["TEST_SLOW"] == where:
        os.write(1, b"begun\\n")
        time.sleep(600)

def factory():
    dawdle("factory")

dawdle("import")
app = App()
app.mount("/", factory)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("where", ["import", "factory"])
def test_a_signal_ends_a_slow_start_of_process_1(where: str, number: int, tmp_path: Path) -> None:
    """The kernel drops signals of process 1 that have no handler."""
    unshare = ["unshare", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("namespaces: this user may not create them")
    (tmp_path / "slow.py").write_text(SLOW_START)
    # The process tells its number outside the namespace, so that it can be signalled from there.
    command = [*unshare, sys.executable, "-m", "mreactor", "--port", "0", "--threads", "1", "slow:app"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(TEST_SLOW=where), stdout=subprocess.PIPE) as process:
        inner = 0
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            inner = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
            os.kill(inner, number)
            assert process.wait(PATIENCE_SECONDS) == 128 + number
        finally:
            if inner and process.poll() is None:
                os.kill(inner, signal.SIGKILL)
            process.kill()


def test_sighup_does_not_end_an_import(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW_START)
    command = [sys.executable, "-m", "mreactor", "--port", "0", "slow:app"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(TEST_SLOW="import"), stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            process.send_signal(signal.SIGHUP)
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_SECONDS) == -signal.SIGTERM
        finally:
            process.kill()


# Standard descriptors.


def test_closed_standard_descriptors_are_opened_to_dev_null(tmp_path: Path) -> None:
    """Otherwise the listener is standard output, and a library that writes to it breaks a connection."""
    shown = tmp_path / "shown"
    (tmp_path / "show.py").write_text(
        "import os, sys\nfrom mreactor import App\nlinks = map('/proc/self/fd/{}'.format, range(3))\n"
        f"open({str(shown)!r}, 'w').write(' '.join(map(os.readlink, links)))\nsys.exit(5)\n"
    )
    command = f"exec {sys.executable} -m mreactor --port 0 show:app <&- >&- 2>&-"
    ended = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, env=environment(), timeout=PATIENCE_SECONDS, check=False
    )
    assert ended.returncode == 2
    assert shown.read_text() == "/dev/null /dev/null /dev/null"


def test_an_access_log_to_a_closed_standard_output_is_wrong_usage(tmp_path: Path) -> None:
    command = f"exec {sys.executable} -m mreactor --port 0 --access-log combined >&-"
    ended = subprocess.run(
        ["sh", "-c", command],
        cwd=ROOT,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr == "mreactor: --access-log: standard output is closed (see mreactor --help)\n"


# Trouble.


@contextmanager
def stack_limit(size: int) -> Iterator[None]:
    """Set the limit that processes started meanwhile inherit; threads get stacks of this size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_STACK, (soft, hard))


@pytest.mark.parametrize(
    ("size", "body", "statuses"),
    [
        # json.loads with 1 MiB; json.dumps with the 2 MiB that "unlimited" gives.
        (1 << 20, b"[" * 100_000, {400}),
        (resource.RLIM_INFINITY, b'{"a":' * 9500 + b"1" + b"}" * 9500, {200, 400, 500}),
    ],
)
def test_deeply_nested_json_does_not_end_the_process(
    backend: str, size: int, body: bytes, statuses: set[int], tmp_path: Path
) -> None:
    (tmp_path / "nest.py").write_text(
        "from mreactor import App\napp = App()\necho = lambda request: request.json()\n"
        "app.post('/here')(echo)\napp.post('/pool', blocking=True)(echo)\n"
    )
    with stack_limit(size), start(tmp_path, "--backend", backend, "--threads", "1", "nest:app", cwd=tmp_path) as server:
        for path in ("/here", "/pool"):
            assert ask(server, post(path, body))[0] in statuses
        assert server.stop() == 0


SIGPIPE_APP = """
import os, signal
from mreactor import App
from mreactor.app import StaticFiles

signal.signal(signal.SIGPIPE, signal.SIG_DFL)
app = App()

root = os.path.dirname(os.path.realpath(__file__))
app.mount("/files/", lambda: StaticFiles(root, prefix="/files/"))

@app.get("/stream")
def stream(request):
    return (b"x" * 100_000 for _ in range(100))

@app.get("/")
def show(request):
    return "alive"
"""


def test_clients_that_hang_up_do_not_end_an_application_that_resets_sigpipe(backend: str, tmp_path: Path) -> None:
    (tmp_path / "pipe.py").write_text(SIGPIPE_APP)
    (tmp_path / "big").write_bytes(bytes(20_000_000))
    with start(tmp_path, "--backend", backend, "--threads", "1", "pipe:app", cwd=tmp_path) as server:
        for path in ("/stream", "/files/big"):
            for _ in range(5):
                with server.connect() as client:
                    client.send(get(path) * 20)
            assert ask(server, get("/"))[2] == "alive"
        assert server.stop() == 0


def test_it_survives_a_flood_that_takes_all_descriptors(backend: str, tmp_path: Path) -> None:
    with start(tmp_path, "--backend", backend, "--threads", "2", TEST_DESCRIPTORS="60") as server:
        begun = time.monotonic()
        assert ask(server, get("/"))[0] == 200
        room = 60 - server.count_descriptors()
        assert room > 10
        clients = [server.connect() for _ in range(65)]
        server.wait_until_said("accept failed")
        assert sum(is_answered(client) for client in clients) in range(room // 2, room + 5)
        for client in clients:
            client.close()
        end = time.monotonic() + PATIENCE_SECONDS
        while not is_served(server):
            assert time.monotonic() < end, "it does not recover"
        # One burst, unless the machine is very slow.
        bursts = 1 + int((time.monotonic() - begun) / BURST_SECONDS)
        assert server.stderr.count("accept failed") in range(1, bursts + 1), "one line a burst"
        assert "Traceback" not in server.stderr
        assert server.stop() == 0


def is_answered(client: SocketClient) -> bool:
    """Tell whether a connection is served. Otherwise it is refused with 503, or just closed."""
    try:
        return client.ask(get("/hello/a")).status == 200
    except (OSError, Malformed):
        return False


def is_served(server: ServerProcess) -> bool:
    try:
        return ask(server, get("/"))[0] == 200
    except (OSError, Malformed):
        return False
