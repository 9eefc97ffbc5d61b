"""The command line as users type it: wrong usage, failed starts, help, applications, environment."""

import dataclasses
import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest

from mreactor import __version__
from mreactor.config import Config, Limits, option
from tests.support.drivers import PATIENCE_SECONDS, SocketClient, missing
from tests.support.processes import LIMITED, ROOT, ServerProcess, ask, environment, run, start
from tests.support.vectors import get

pytestmark = pytest.mark.slow


def assert_fails(result: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """Assert that a run ended with a code and one plain line that names what is wrong."""
    stderr = result.stderr
    assert result.returncode == code, stderr
    assert result.stdout == ""
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
    assert_fails(run(*arguments), 2, *words)


def test_without_a_static_folder_the_demo_serves_that_of_the_package(tmp_path: Path) -> None:
    with start(tmp_path, cwd=tmp_path) as server:
        assert "Hello from" in ask(server, get("/hello.html"))[2]


def test_an_application_that_fails_is_shown_by_its_own_frames(tmp_path: Path) -> None:
    (tmp_path / "fails.py").write_text("def prepare():\n    1 / 0\n\n\nprepare()\n")
    ended = run("fails.py", cwd=tmp_path)
    assert ended.returncode == 1
    files = [line for line in ended.stderr.splitlines() if line.startswith("  File")]
    assert [line.rpartition("line ")[2] for line in files] == ["5, in <module>", "2, in prepare"]
    said = "ZeroDivisionError: division by zero"
    assert ended.stderr.splitlines()[-2:] == [said, f"mreactor: the server did not start: {said}"]


def test_an_application_may_be_a_file(shop: Path) -> None:
    with start(shop, "shop.py", cwd=shop) as server:
        assert ask(server, get("/"))[2] == "the shop"


@pytest.mark.parametrize(("arguments", "error"), [(["-m"], "SystemExit"), (["x"], "ImportError")])
def test_an_older_python_is_told_which_one_is_needed(arguments: list[str], error: str) -> None:
    code = (
        f"import sys; sys.version_info = (3, 11, 2); sys.argv = {arguments!r}\n"
        "try:\n    import mreactor\nexcept BaseException as error:\n    print(type(error).__name__, error)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told.startswith(f"{error} mreactor needs Python 3.13 or later")
    assert told.endswith("this is Python 3.11.2\n")


def test_a_port_that_is_taken(demo: ServerProcess) -> None:
    assert_fails(run("--port", str(demo.address[1])), 1, str(demo.address[1]), "in use")


def test_an_application_that_ends_the_program(tmp_path: Path) -> None:
    (tmp_path / "quits.py").write_text("raise SystemExit(7)")
    assert_fails(run("quits:app", cwd=tmp_path), 2, "quits:app", "it exited with 7")


def test_a_host_of_another_machine() -> None:
    assert_fails(run("--port", "0", "--host", "192.0.2.1"), 1, "192.0.2.1")


def test_more_reactors_than_descriptors() -> None:
    command = [sys.executable, *LIMITED, "-m", "mreactor", "--port", "0", "--threads", "64"]
    env = environment(TEST_DESCRIPTORS="40")
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert re.search(r"^mreactor: cannot start 64 reactors: Too many open files; .*\n\Z", ended.stderr, re.MULTILINE)
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(("host", "said"), [("a..b", "a..b: not a valid host name"), ("", "an empty host: ")])
def test_an_invalid_host(host: str, said: str) -> None:
    """An empty host is an unset variable of the shell. It must not mean every interface."""
    assert_fails(run("--port", "0", "--host", host), 1, f"cannot listen on {said}")


def test_help_lists_every_setting() -> None:
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
def test_a_target_that_is_no_application(shop: Path, target: str) -> None:
    assert_fails(run(target, cwd=shop), 2, target)


def test_a_static_folder(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "page.html").write_text("<p>page")
    with start(tmp_path, "--static", str(tmp_path / "site")) as server:
        assert ask(server, get("/page.html"))[2] == "<p>page"
        assert ask(server, get("/hello.html"))[0] == 404


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
def test_the_log_level_of_choice(variable: str, arguments: tuple[str, ...], shows: bool, tmp_path: Path) -> None:
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
def test_the_access_log_of_choice(variable: str, arguments: tuple[str, ...], line: str, tmp_path: Path) -> None:
    with start(tmp_path, *arguments, HTTP_SERVER_LOGS=variable) as server:
        with server.connect() as client:
            client.ask(get("/hello/a", "User-Agent: tester"))
        assert server.stop() == 0
        if line:
            assert len(re.findall(line, server.stdout, re.MULTILINE)) == 1, server.stdout
        else:
            assert "/hello/a" not in server.stdout


@pytest.mark.parametrize("variable", ["WORKER_BACKEND", "HTTP_SERVER_LOG"])
def test_an_invalid_variable(variable: str) -> None:
    assert_fails(run(**{variable: "nonsense"}), 2, variable, "nonsense")


# A terminal.


@pytest.mark.parametrize(
    ("arguments", "shows"), [((), True), (("--access-log", "off"), False), (("--access-log", "common"), False)]
)
def test_at_a_terminal_request_lines_are_shown_unless_others_are_chosen(
    arguments: tuple[str, ...], shows: bool, tmp_path: Path
) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "mreactor", "--port", "0", "--threads", "1", *arguments]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(NO_COLOR="1"), stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        seen = read_until(ours, rb"listening on http://127.0.0.1:([0-9]+)")
        found = re.search(rb"listening on http://127.0.0.1:([0-9]+)", seen)
        assert found is not None
        with SocketClient(("127.0.0.1", int(found[1]))) as client:
            client.ask(get("/hello/x"))
        process.terminate()
        seen += read_until(ours, rb"stopped")
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    line = re.search(rb"\d\d:\d\d:\d\d 127\.0\.0\.1 200 GET /hello/x 9 B\r\n", seen)
    assert (line is not None) == shows, seen


def read_until(fd: int, pattern: bytes) -> bytes:
    seen = b""
    while not re.search(pattern, seen):
        ready, _, _ = select.select([fd], [], [], PATIENCE_SECONDS)
        assert ready, seen
        seen += os.read(fd, 65536)
    return seen
