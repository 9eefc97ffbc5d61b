"""The servers of a race: how each is started, what it cannot answer, and what proves that it is what it says.

Knows command lines and configuration files. Starts nothing by itself except to look for an option.
"""

import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import venv
from bench.apps import DIRECTORY_VARIABLE
from bench.cases import EPOLL, IO_URING
from bench.docroot import LARGE_NAME, PAGE_NAME, ROOT, WELCOME, Docroot
from bench.load import last_line
from bench.machine import python
from bench.process import HOST, Launch, Missing, Process, free_port, program
from bench.traffic import TRAFFIC

# What would steer mreactor; and what keeps Python from storing compiled modules, without which their constants are
# objects that threads count references to, see `mreactor.runtime.unshared`.
LEFT_OUT = ("WORKER_BACKEND", "HTTP_SERVER_LOG", "HTTP_SERVER_LOGS", "PYTHONDONTWRITEBYTECODE")
# On the path of each mreactor. The package `bench` of another checkout may lack the application.
SERVED = ROOT / "bench" / "served"
RING_LINK = "anon_inode:[io_uring]"
HELP_SECONDS = 20.0
NGINX_CONNECTIONS = 12_000  # one worker may get nearly all of 10,000 clients

NGINX = """
daemon off;
{user}
pid {directory}/nginx.pid;
error_log {directory}/error.log;
worker_processes {threads};
events {{ worker_connections {connections}; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  sendfile on;
  tcp_nopush on;
  types {{ text/html html; }}
  default_type text/plain;
  {cache}
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
    listen {host}:{port} backlog=4096;
    root {docroot};
    location = / {{ return 200 "{welcome}"; }}
    location = /{page} {{ }}
    location /hello/ {{ return 200 "Hello, world!"; }}
    location = /search {{ return 200 "Results for 0123456789abcdef, page 1234567890"; }}
    location = /session {{ return 200 "Session 0123456789abcdef"; }}
    location = /{large} {{ }}
  }}
}}
"""
NGINX_CACHE = "open_file_cache max=1000; open_file_cache_valid 1s;"


@dataclass(frozen=True, slots=True)
class Site:
    """What a server is given: a port, files to serve, a directory of its own, and its number of threads.

    `traffic` asks for the application of the traffic cases in place of the demo routes.
    """

    port: int
    docroot: Docroot
    directory: Path
    threads: int
    traffic: bool = False


@dataclass(frozen=True, slots=True)
class Server:
    """A way to start a server. `unable` names the cases that it cannot answer, with the reason.

    A server that is `canned` does not repeat in its response what the request said.
    """

    name: str
    launch: Callable[[Site], Launch]
    version: Callable[[], str]
    unable: dict[str, str] = field(default_factory=dict)
    rings: bool | None = None
    canned: bool = False

    def check(self, process: Process) -> None:
        """Missing where another backend runs than was asked for: no figure may bear a wrong name."""
        if self.rings is not None and self.rings != (RING_LINK in process.descriptors()):
            raise Missing("runs on epoll" if self.rings else "holds an io_uring, though asked for epoll")


@contextmanager
def running(
    server: Server, docroot: Docroot, threads: int, cores: frozenset[int], *, traffic: bool = False
) -> Iterator[Process]:
    """A started, answering server, ended on the way out; Missing where it cannot be had."""
    with TemporaryDirectory(prefix="mreactor-bench-server-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        site = Site(free_port(), docroot, directory, threads, traffic)
        process = Process(server.launch(site), site.port, directory)
        process.start(cores)
        try:
            process.wait_ready()
            server.check(process)
            yield process
        finally:
            process.stop()


def environment(**more: str) -> dict[str, str]:
    """This process's environment with the repository on Python's path, and without what would falsify figures."""
    kept = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    return kept | {"PYTHONPATH": os.fspath(ROOT)} | more


def mreactor(backend: str, root: Path = ROOT) -> Callable[[Site], Launch]:
    """mreactor on one of its backends, as delivered: limits, deadlines and metrics on, access log off.

    Args:
        root: the checkout that it runs from.
    """

    def launch(site: Site) -> Launch:
        command = [sys.executable, "-m", "mreactor", "--host", HOST, "--port", str(site.port)]
        command += ["--threads", str(site.threads), "--static", os.fspath(site.docroot.directory)]
        manual = root / "docs" / "configuration.md"
        if manual.exists() and "`--demo`" in manual.read_text():
            # A checkout without the option serves the demo's routes in any case.
            command.append("--demo")
        if "--backend" in options():
            command += ["--backend", backend]
        if site.traffic:
            command.append("traffic.own:app")
        path = os.pathsep.join(map(os.fspath, (root, SERVED)))
        return Launch(tuple(command), environment(WORKER_BACKEND=backend, PYTHONPATH=path))

    return launch


def before(root: Path) -> tuple[Server, ...]:
    """mreactor from another checkout, on both backends: what the code was before a change."""
    return (
        Server("before-epoll", mreactor("epoll", root), python, rings=False),
        Server("before-io_uring", mreactor("io_uring", root), python, rings=True),
    )


@functools.cache
def options() -> str:
    """What `python -m mreactor --help` prints; Missing with its last words where it does not."""
    return told([sys.executable, "-m", "mreactor", "--help"], "start")


def told(command: list[str], purpose: str) -> str:
    """What a short command prints; Missing with its last words where it fails, or does not end."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=HELP_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise Missing(f"{command[-1]} does not end within {HELP_SECONDS:.0f} s") from error
    if done.returncode:
        raise Missing(f"does not {purpose}: {last_line(done.stderr)}")
    return done.stdout


def nginx(cache: str) -> Callable[[Site], Launch]:
    """nginx with as many workers as there are threads, no access log and endless keep-alive."""

    def launch(site: Site) -> Launch:
        configuration = site.directory / "nginx.conf"
        configuration.write_text(nginx_configuration(site, cache))
        command = (program("nginx"), "-p", os.fspath(site.directory), "-c", os.fspath(configuration))
        return Launch((*command, "-e", os.fspath(site.directory / "error.log")), environment())

    return launch


def nginx_configuration(site: Site, cache: str) -> str:
    """The whole configuration.

    As root its workers stay root, or they could not read a private temporary directory.
    """
    return NGINX.format(
        user="user root;" if os.geteuid() == 0 else "",
        directory=site.directory,
        threads=site.threads,
        connections=NGINX_CONNECTIONS,
        cache=cache,
        host=HOST,
        port=site.port,
        docroot=site.docroot.directory,
        welcome=WELCOME.decode(),
        page=PAGE_NAME,
        large=LARGE_NAME,
    )


def nginx_version() -> str:
    """Such as `1.22.1`; nginx prints it on its error stream."""
    spoken = subprocess.run([program("nginx"), "-v"], capture_output=True, text=True, timeout=HELP_SECONDS).stderr
    return spoken.strip().rpartition("/")[2]


def python_server(*arguments: str) -> Callable[[Site], Launch]:
    """A competitor from the virtual environment; `{port}`, `{threads}` and `{wsgi}` in its arguments are filled in."""

    def launch(site: Site) -> Launch:
        wsgi = "bench.served.traffic.wsgi:application" if site.traffic else "bench.apps:wsgi"
        filled = [argument.format(port=site.port, threads=site.threads, wsgi=wsgi) for argument in arguments]
        variables = {DIRECTORY_VARIABLE: os.fspath(site.docroot.directory)}
        return Launch((venv.python(), "-m", *filled), environment(**variables))

    return launch


def floor(site: Site) -> Launch:
    """The floor on our own interpreter."""
    return Launch((sys.executable, "-m", "bench.floor", "--port", str(site.port)), environment())


def ceiling(looks: int) -> Callable[[Site], Launch]:
    """The ceiling, compiled on the spot, with its looks for events before it sleeps.

    Launching it raises Missing where there is no compiler, or it says no.
    """

    def launch(site: Site) -> Launch:
        binary = os.fspath(site.directory / "ceiling")
        told([program("cc"), "-O2", "-o", binary, os.fspath(ROOT / "bench" / "ceiling.c")], "compile")
        return Launch((binary, str(site.port), str(looks)), environment())

    return launch


def compiler_version() -> str:
    """Such as `cc 12`."""
    return f"cc {told([program('cc'), '-dumpversion'], 'tell its version').strip()}"


def competitor_version(name: str) -> Callable[[], str]:
    return lambda: venv.versions().get(name, "")


GRANIAN = python_server(
    *("granian", "--interface", "wsgi", "--host", HOST, "--port", "{port}", "--workers", "{threads}"),
    *("--backlog", "4096", "--no-access-log", "--log-level", "error", "{wsgi}"),
)
UVICORN = python_server(
    *("uvicorn", "--host", HOST, "--port", "{port}", "--workers", "{threads}", "--backlog", "4096"),
    *("--loop", "uvloop", "--http", "httptools", "--lifespan", "off", "--timeout-keep-alive", "75"),
    *("--no-access-log", "--log-level", "error", "bench.apps:asgi"),
)
GUNICORN = python_server(
    *("gunicorn", "--bind", HOST + ":{port}", "--workers", "{threads}", "--backlog", "4096"),
    *("--worker-class", "gthread", "--threads", "4", "--worker-connections", "12000"),
    *("--keep-alive", "75", "--log-level", "error", "{wsgi}"),
)
WAITRESS = python_server(
    *("waitress", "--host", HOST, "--port", "{port}", "--threads", "4", "--connection-limit", "12000"),
    *("--backlog", "4096", "--asyncore-use-poll", "{wsgi}"),
)
NO_ECHO = {"echo": "a stock nginx has no echo"} | dict.fromkeys(
    ("unique-post", "mixed"), "a stock nginx computes nothing"
)
FILES_ONLY = dict.fromkeys(
    ("root64", "root1000", "computed", "pipeline", "close", *TRAFFIC), "the same as nginx where no file is opened"
)
CANNED_ONLY = dict.fromkeys(
    ("hello_html", "computed", "echo", "file1m", *(TRAFFIC.keys() - {"unique-head", "repeated-head"})),
    "has one canned reply only",
)
REPLIES_ONLY = {
    "hello_html": "has no files",
    "file1m": "has no files",
    "close": "keeps its connections",
    "unique-post": "computes nothing",
    "mixed": "computes nothing",
}
NO_ASGI = dict.fromkeys(TRAFFIC, "this application has no ASGI form")
SERVERS = (
    Server(EPOLL, mreactor("epoll"), python, rings=False),
    Server(IO_URING, mreactor("io_uring"), python, rings=True),
    Server("nginx", nginx(""), nginx_version, NO_ECHO, canned=True),
    Server("nginx-cached", nginx(NGINX_CACHE), nginx_version, FILES_ONLY | NO_ECHO),
    Server("granian", GRANIAN, competitor_version("granian")),
    Server("uvicorn", UVICORN, competitor_version("uvicorn"), NO_ASGI),
    Server("gunicorn", GUNICORN, competitor_version("gunicorn")),
    Server("waitress", WAITRESS, competitor_version("waitress")),
    Server("floor", floor, python, CANNED_ONLY),
    Server("ceiling", ceiling(looks=0), compiler_version, REPLIES_ONLY, canned=True),
    Server("ceiling-awake", ceiling(looks=300), compiler_version, REPLIES_ONLY, canned=True),
)
BY_NAME = {server.name: server for server in SERVERS}
