"""The server as a process: its command line, its environment, its output, its signals, its end."""

import dataclasses
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from math import inf
from pathlib import Path

import pytest

from mreactor import __version__
from mreactor.config import Config, Limits, option
from mreactor.http1.context import DRAIN_GRACE_SECONDS
from mreactor.net.acceptor.base import BURST_SECONDS
from tests.support.drivers import PATIENCE_SECONDS, SOCKET_KINDS, SocketClient, missing
from tests.support.processes import LIMITED, LISTENING, ROOT, ServerProcess, environment, run, start
from tests.support.responses import Malformed
from tests.support.vectors import get, post

SHOP = """
import threading
import time
from mreactor import App

class shelf:
    app = App()

app = App()
number = 5

@app.get("/")
def root(request):
    return "the shop"

@app.get("/slow", blocking=True)
def slow(request):
    yield "begun;"
    time.sleep(float(request.query.get("seconds", "1")))
    yield "done"
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with an application in it."""
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


@pytest.fixture(params=SOCKET_KINDS)
def backend(request: pytest.FixtureRequest) -> str:
    if reason := missing(request.param):
        pytest.skip(reason)
    return str(request.param)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The demo, as the first line of the README starts it."""
    with start(tmp_path_factory.mktemp("demo"), "--threads", "16") as server:
        yield server


def ask(server: ServerProcess, data: bytes) -> tuple[int, str, str]:
    """Status, content type and content of an answer."""
    with server.connect() as client:
        answer = client.ask(data)
    return answer.status, answer.headers.get("content-type", ""), answer.text


# The demo.


@pytest.mark.parametrize(
    ("request_", "content_type", "text"),
    [
        (get("/"), "text/plain; charset=utf-8", "Welcome to mreactor"),
        (get("/hello.html"), "text/html; charset=utf-8", (ROOT / "static" / "hello.html").read_text()),
        (get("/hello/world"), "text/plain; charset=utf-8", "Hello, world!"),
        (
            get("/json?a=1"),
            "application/json",
            '{"message":"Hello from mreactor","path":"/json","query":{"a":"1"}}',
        ),
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


def test_it_settles_the_names_of_the_request_path(tmp_path: Path) -> None:
    with start(tmp_path, "--log-level", "debug") as server:
        server.wait_until_said("type cache: names that share a place: (None|[0-9]+)\n")


def test_what_is_not_there(demo: ServerProcess) -> None:
    assert ask(demo, get("/nothing"))[0] == 404
    assert ask(demo, get("/echo"))[0] == 405


def test_it_says_what_it_is(demo: ServerProcess) -> None:
    demo.wait_until_said(LISTENING)  # which is the last line, and comes after the one on standard output
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


def test_descriptors_are_given_back(demo: ServerProcess) -> None:
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


# Signals and the end.


@pytest.mark.parametrize(
    ("backend", "number"),
    [("epoll", signal.SIGTERM), ("epoll", signal.SIGINT), ("io_uring", signal.SIGTERM)],
    indirect=["backend"],
)
def test_a_signal_ends_it_well(backend: str, number: int, tmp_path: Path) -> None:
    with start(tmp_path, "--backend", backend, "--threads", "2") as server:
        clients = [server.connect() for _ in range(10)]
        for client in clients[:5]:
            assert client.ask(get("/")).status == 200
        server.send_signal(number)
        for client in clients:
            assert client.receive_rest() == b"", "idle clients are let go"
            client.close()
        assert server.wait() == 0
        assert f"{signal.Signals(number).name}: draining" in server.stderr
        assert server.stderr.rstrip().endswith("stopped")
        assert "Traceback" not in server.stderr
        with pytest.raises(ConnectionRefusedError):
            server.connect()


def test_what_is_in_flight_is_finished(backend: str, shop: Path) -> None:
    with start(shop, "--backend", backend, "shop:app", cwd=shop) as server:
        slow, half, idle = server.connect(), server.connect(), server.connect()
        assert idle.ask(get("/")).text == "the shop"
        half.send(get("/")[:-5])
        slow.send(get("/slow?seconds=1.6"))
        slow.receive_bytes(1)
        server.send_signal(signal.SIGTERM)
        assert idle.receive_rest() == b"", "it is let go"
        half.send(get("/")[-5:])
        (answer,) = half.receive_all()
        assert (answer.text, answer.says_close) == ("the shop", True)
        assert slow.receive_rest().endswith(b"4\r\ndone\r\n0\r\n\r\n")
        for client in (slow, half, idle):
            client.close()
        assert server.wait() == 0


def test_draining_takes_so_long_and_no_longer(backend: str, shop: Path) -> None:
    with (
        start(shop, "--backend", backend, "--drain-seconds", "0.5", "shop:app", cwd=shop) as server,
        server.connect() as client,
    ):
        client.send(get("/slow?seconds=600"))
        client.receive_bytes(1)
        begun = time.monotonic()
        assert server.stop() == 0  # for which patience ends long before the handler would
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
        assert server.stop(second) == 128 + second  # for which patience ends long before draining would


class Talker(threading.Thread):
    """A client that asks as fast as it can on one connection, until the server says that it is enough.

    On a busy machine it may come to ask so late that the server has rightly taken its connection for idle.

    Attributes:
        answered: requests that were answered in full.
        lost: what became of requests that were sent in full, and were not.
    """

    QUESTIONS = (get("/"), get("/hello/a"), post("/echo", b"x" * 3000), get("/hello.html"), get("/json"))

    def __init__(self, client: SocketClient, burst: int) -> None:
        super().__init__()
        self.answered = 0
        self.lost: list[str] = []
        self._client = client
        self._burst = burst  # requests sent at once

    def run(self) -> None:
        with self._client as client:
            asked = time.monotonic()
            while True:
                question = self.QUESTIONS[self.answered % len(self.QUESTIONS)] * self._burst
                received, before, asked = 0, asked, time.monotonic()
                handed = inf  # when all of it had been
                try:
                    client.send(question)
                    handed = time.monotonic()
                    while received < self._burst:
                        answer = client.receive()
                        received += 1
                        self.answered += 1
                        if answer.says_close and received == self._burst:
                            return
                except Exception as error:
                    # It has been idle since the server answered, which was after the question before was asked.
                    if received or min(handed, time.monotonic()) - before < DRAIN_GRACE_SECONDS:
                        self.lost.append(f"{received} of {self._burst} answers, then {error!r}")
                    return


@pytest.mark.parametrize("burst", [1, 5])
def test_no_request_is_lost_when_it_ends_under_load(backend: str, burst: int, tmp_path: Path) -> None:
    with start(tmp_path, "--backend", backend, "--threads", "2") as server:
        talkers = [Talker(server.connect(), burst) for _ in range(12)]
        for talker in talkers:
            talker.start()
        end = time.monotonic() + PATIENCE_SECONDS
        while min(talker.answered for talker in talkers) < 20 * burst:
            assert time.monotonic() < end, "the load does not get going"
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
        wait_for(path, "")  # it is there again
        ask(server, get("/hello/after"))
        wait_for(path, "GET /hello/after")
        assert server.stop() == 0


def test_sighup_without_an_access_log_ends_nothing(tmp_path: Path) -> None:
    with start(tmp_path) as server:
        server.send_signal(signal.SIGHUP)
        server.wait_until_said("SIGHUP: there is no access log to reopen")
        assert ask(server, get("/"))[0] == 200
        assert server.stop() == 0


def wait_for(path: Path, text: str) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not path.exists() or text not in path.read_text():
        assert time.monotonic() < end, f"{text} does not come to be in {path}"
        time.sleep(0.01)


# Trouble.


def test_it_outlives_a_flood_that_takes_all_descriptors(backend: str, tmp_path: Path) -> None:
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
        bursts = 1 + int(
            (time.monotonic() - begun) / BURST_SECONDS
        )  # it is one, unless the machine stands still
        assert server.stderr.count("accept failed") in range(1, bursts + 1), "one line a burst"
        assert "Traceback" not in server.stderr
        assert server.stop() == 0


def is_answered(client: SocketClient) -> bool:
    """Whether a connection is served; one that is not is refused with 503, or just ends."""
    try:
        return client.ask(get("/hello/a")).status == 200
    except (OSError, Malformed):
        return False


def is_served(server: ServerProcess) -> bool:
    try:
        return ask(server, get("/"))[0] == 200
    except (OSError, Malformed):
        return False


# The command line.


def complains(result: object, code: int, *words: str) -> None:
    """Whether a run ended with a code and one plain line that names what is wrong."""
    stdout, stderr = result.stdout, result.stderr  # type: ignore[attr-defined]
    assert result.returncode == code, stderr  # type: ignore[attr-defined]
    assert stdout == ""
    assert stderr.count("\n") == 1, stderr
    assert stderr.startswith("mreactor: ")
    for word in words:
        assert word in stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "http"], ["--port", "http"]),
        (["--port", "70000"], ["--port", "70000"]),
        (["--backend", "kqueue"], ["--backend", "kqueue", "epoll"]),
        (["--frobnicate"], ["--frobnicate"]),
        (["--static", "/no/such/folder"], ["/no/such/folder"]),
        (["--access-log", "loud"], ["loud"]),
        (["nosuchmodule:app"], ["nosuchmodule"]),
        (["json:loads"], ["json:loads"]),
    ],
    ids=" ".join,
)
def test_wrong_usage(arguments: list[str], words: list[str]) -> None:
    complains(run(*arguments), 2, *words)


def test_a_missing_static_folder_is_wrong_usage(tmp_path: Path) -> None:
    complains(run(cwd=tmp_path), 2, "static")


def test_a_port_that_is_taken(demo: ServerProcess) -> None:
    complains(run("--port", str(demo.address[1])), 1, str(demo.address[1]), "in use")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_start_that_hangs_is_ended_by_a_signal(number: int, tmp_path: Path) -> None:
    """Nobody is served yet, and waiting for what never comes would leave only SIGKILL."""
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


def test_an_application_that_ends_the_program(tmp_path: Path) -> None:
    (tmp_path / "quits.py").write_text("raise SystemExit(7)")
    complains(run("quits:app", cwd=tmp_path), 2, "quits:app", "it exited with 7")


def test_a_host_that_is_not_here() -> None:
    complains(run("--port", "0", "--host", "192.0.2.1"), 1, "192.0.2.1")


def test_more_reactors_than_descriptors() -> None:
    command = [sys.executable, *LIMITED, "-m", "mreactor", "--port", "0", "--threads", "64"]
    env = environment(TEST_DESCRIPTORS="40")
    ended = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert re.search(
        r"^mreactor: 64 reactors cannot be started: Too many open files; .*\n\Z", ended.stderr, re.MULTILINE
    )
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("host", "said"), [("a..b", "a..b: Not the name of a host"), ("", "an empty host: ")]
)
def test_a_host_that_is_none(host: str, said: str) -> None:
    """An empty one must not mean every interface: it is a shell's unset variable."""
    complains(run("--port", "0", "--host", host), 1, f"cannot listen on {said}")


def test_one_of_a_kind_is_told_as_one(shop: Path) -> None:
    with start(shop, "--threads", "1", "--body-bytes-max", "1000", "shop:app", cwd=shop) as server:
        server.wait_until_said("listening")
        assert "1 reactor thread on " in server.stderr
        assert "body 1000 bytes, " in server.stderr


def test_help_tells_all() -> None:
    result = run("--help")
    assert (result.returncode, result.stderr) == (0, "")
    for settings in (Config, Limits):
        for spec in dataclasses.fields(settings):
            if spec.metadata:
                assert f"{option(spec.name)} " in result.stdout or f"{option(spec.name)}\n" in result.stdout
    for word in ("examples:", "WORKER_BACKEND", "HTTP_SERVER_LOG", "HTTP_SERVER_LOGS", "module:attribute"):
        assert word in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_version() -> None:
    result = run("--version")
    assert (result.returncode, result.stdout) == (0, f"mreactor {__version__}\n")


# Applications.


def test_an_application_is_found_in_the_current_folder(shop: Path) -> None:
    with start(shop, "shop:app", cwd=shop) as server:
        assert ask(server, get("/")) == (200, "text/plain; charset=utf-8", "the shop")
        assert ask(server, get("/hello/a"))[0] == 404
        assert server.stop() == 0


def test_an_application_may_be_an_attribute_of_an_attribute(shop: Path) -> None:
    with start(shop, "shop:shelf.app", cwd=shop) as server:
        assert ask(server, get("/"))[0] == 404


@pytest.mark.parametrize("target", ["shop:number", "shop:shelf.nothing"])
def test_what_is_no_application(shop: Path, target: str) -> None:
    complains(run(target, cwd=shop), 2, target)


def test_a_static_folder(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "page.html").write_text("<p>page")
    with start(tmp_path, "--static", str(tmp_path / "site")) as server:
        assert ask(server, get("/page.html"))[2] == "<p>page"
        assert ask(server, get("/hello.html"))[0] == 404


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


# The environment.


@pytest.mark.parametrize(
    ("variable", "arguments", "says"),
    [
        ("io_uring", (), "io_uring"),
        ("", (), "epoll"),
        ("io_uring", ("--backend", "epoll"), "epoll"),
        ("epoll", ("--backend", "io_uring"), "io_uring"),
    ],
)
def test_the_backend_of_choice(variable: str, arguments: tuple[str, ...], says: str, tmp_path: Path) -> None:
    if says == "io_uring" and (reason := missing(says)):
        pytest.skip(reason)
    with start(tmp_path, *arguments, WORKER_BACKEND=variable) as server:
        server.wait_until_said("listening")
        assert f"backend {says}" in server.stderr
        assert ask(server, get("/"))[0] == 200


@pytest.mark.parametrize(
    ("variable", "arguments", "shows"),
    [
        ("off", (), False),
        ("", (), True),
        ("off", ("--log-level", "info"), True),
        ("info", ("--log-level", "off"), False),
    ],
)
def test_the_log_level_of_choice(
    variable: str, arguments: tuple[str, ...], shows: bool, tmp_path: Path
) -> None:
    with start(tmp_path, *arguments, HTTP_SERVER_LOG=variable) as server:
        assert ask(server, get("/"))[0] == 200
        assert server.stop() == 0
        assert ("listening" in server.stderr) == shows


@pytest.mark.parametrize(
    ("variable", "arguments", "line"),
    [
        ("1", (), r'^127\.0\.0\.1 - - \[[^]]+\] "GET /hello/a HTTP/1\.1" 200 9 "-" "tester"$'),
        ("1", ("--access-log", "common"), r'^127\.0\.0\.1 - - \[[^]]+\] "GET /hello/a HTTP/1\.1" 200 9$'),
        ("0", (), ""),
    ],
)
def test_the_access_log_of_choice(
    variable: str, arguments: tuple[str, ...], line: str, tmp_path: Path
) -> None:
    with start(tmp_path, *arguments, HTTP_SERVER_LOGS=variable) as server:
        with server.connect() as client:
            client.ask(get("/hello/a", "User-Agent: tester"))
        assert server.stop() == 0
        if line:
            assert len(re.findall(line, server.stdout, re.MULTILINE)) == 1, server.stdout
        else:
            assert "/hello/a" not in server.stdout


@pytest.mark.parametrize("variable", ["WORKER_BACKEND", "HTTP_SERVER_LOG"])
def test_a_variable_that_makes_no_sense(variable: str) -> None:
    complains(run(**{variable: "nonsense"}), 2, variable, "nonsense")


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


def test_no_cpu_is_burnt_by_doing_nothing(demo: ServerProcess) -> None:
    def ticks() -> int:
        fields = Path(f"/proc/{demo.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    with demo.connect() as client:
        assert client.ask(get("/")).status == 200
        before, begun = ticks(), time.monotonic()
        client.pass_time(1.0)
        spent = (ticks() - before) / os.sysconf("SC_CLK_TCK")
        assert spent < 0.3 * (time.monotonic() - begun)
