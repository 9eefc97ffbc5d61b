"""The command line: options, environment, precedence, and finding the application."""

import contextlib
import dataclasses
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import pytest

from mreactor import __version__
from mreactor.app.application import App
from mreactor.cli import main, make_app, parse
from mreactor.config import Config, ConfigError, Limits, option
from mreactor.loading import load
from mreactor.server import StartError

SETTINGS = [spec for kind in (Config, Limits) for spec in dataclasses.fields(kind) if spec.name != "limits"]


def value_of(config: Config, name: str) -> Any:
    return getattr(config if hasattr(config, name) else config.limits, name)


def complaint(*arguments: str, **environment: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(arguments, environment)
    return str(caught.value)


TEXTS = {
    "host": "::1", "static": "docs", "fallback": "a", "access_log": "json:/x.log",
    "access_log_fields": "route,duration", "request_id_header": "X-Request-Id", "admin": "127.0.0.1:9000",
    "tls_password_file": "/x.txt", "tls_client_ca": "/x.pem", "tls_ciphers": "ECDHE+AESGCM",
    "user": "nobody", "group": "nogroup", "pid_file": "/run/x.pid",
}  # fmt: skip

# Options that may be repeated, with two values each.
LISTED = {
    "tls_cert": ("/a.pem", "/b.pem"), "tls_key": ("/a.key", "/b.key"),
    "bind": ("127.0.0.1:1", "unix:/run/a.sock"), "trusted_proxies": ("10.0.0.0/8", "unix"),
    "mount": ("/a=b", "/c=d"),
    "error_page": ("404=a", "500=b"), "cache_control": ("*=a=1", "*=b"), "content_type": (".a=b/c", ".d=e/f"),
}  # fmt: skip
LISTS = [spec for spec in SETTINGS if spec.type == tuple[str, ...]]
# Options that need others.
NEEDED = {
    "tls_password_file": ["--tls-cert=/x.pem"], "tls_client_ca": ["--tls-cert=/x.pem"],
    "proxy_protocol": ["--trusted-proxies=unix"],
    "tls_redirect": ["--tls-cert=/x.pem", "--bind=plain:127.0.0.1:80"],
}  # fmt: skip


def other_value(spec: dataclasses.Field[Any]) -> Any:
    """A valid value other than the default."""
    if spec.metadata.get("choices"):
        return next(choice for choice in spec.metadata["choices"] if choice != spec.default)
    default: Any = spec.default
    return TEXTS[spec.name] if spec.type is str else default + 1


# --- Options. ---


def test_no_arguments_mean_the_defaults_and_the_demo() -> None:
    assert parse([], {}) == (Config(), "")


def test_the_application_is_a_positional_argument() -> None:
    assert parse(["shop:app"], {}) == (Config(), "shop:app")
    assert parse(["--port", "1", "shop:app", "--threads", "2"], {}) == (Config(port=1, threads=2), "shop:app")


@pytest.mark.parametrize("spec", [spec for spec in SETTINGS if spec not in LISTS], ids=lambda spec: spec.name)
def test_each_setting_has_an_option(spec: dataclasses.Field[Any]) -> None:
    if spec.type is bool:
        config, _ = parse([option(spec.name), *NEEDED.get(spec.name, ())], {})
        assert value_of(config, spec.name) is True
        return
    wanted = other_value(spec)
    for arguments in ([option(spec.name), str(wanted)], [f"{option(spec.name)}={wanted}"]):
        config, _ = parse([*arguments, *NEEDED.get(spec.name, [])], {})
        assert value_of(config, spec.name) == wanted
        assert type(value_of(config, spec.name)) is spec.type


@pytest.mark.parametrize("spec", LISTS, ids=lambda spec: spec.name)
def test_an_option_that_may_be_repeated(spec: dataclasses.Field[Any]) -> None:
    one, two = LISTED[spec.name]
    # One for each certificate.
    needed = ["--tls-cert=/x.pem"] if spec.name == "tls_key" else []
    assert value_of(parse([option(spec.name), one, *needed], {})[0], spec.name) == (one,)
    twice = [option(spec.name), one, f"{option(spec.name)}={two}", *needed, *needed]
    assert value_of(parse(twice, {})[0], spec.name) == (one, two)


def test_of_another_option_the_last_counts() -> None:
    assert parse(["--host", "127.0.0.1", "--host", "::1"], {})[0].host == "::1"


def test_the_help_explains_each_option(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.setenv("PYTHON_COLORS", "0")
    with pytest.raises(SystemExit) as caught:
        parse(["--help"], {})
    assert caught.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for spec in SETTINGS:
        assert re.search(rf" {option(spec.name)} (?:\S+ )?{re.escape(spec.metadata['help'])}", shown), spec.name


def test_the_help_fits_80_columns_and_shows_defaults_as_a_user_types_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("PYTHON_COLORS", "0")
    with pytest.raises(SystemExit):
        parse(["--help"], {})
    shown = capsys.readouterr().out
    assert shown.startswith("usage: mreactor [OPTIONS] [APP]\n\n")
    assert max(map(len, shown.splitlines())) <= 80
    words = " ".join(shown.split())
    for default in ("8080", "16777216, 16 MiB", "32768, 32 KiB", "16384", "75", "127.0.0.1"):
        assert f"(default: {default})" in words


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["--version"], {})
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"mreactor {__version__}\n"


@pytest.mark.parametrize(
    ("text", "count"),
    [("1000", 1000), ("16M", 16 << 20), ("16m", 16 << 20), ("64KiB", 64 << 10), ("2G", 2 << 30), ("0k", 0)],
)
def test_sizes_may_have_a_unit(text: str, count: int) -> None:
    assert parse(["--body-bytes-max", text], {})[0].limits.body_bytes_max == count


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--nonsense"], "there is no option --nonsense"),
        (["--prot", "80", "app:app"], "there is no option --prot; did you mean --port?"),
        (["--prot=80", "app:app"], "there is no option --prot; did you mean --port?"),
        (["--workers", "4", "app:app"], "there is no option --workers; did you mean --threads?"),
        (["-w", "4", "app:app"], "there is no option -w; did you mean --threads?"),
        (["-w4", "app:app"], "there is no option -w4; did you mean --threads?"),
        (["-b", "0.0.0.0:80", "app:app"], "there is no option -b; did you mean --bind?"),
        (["--factory", "app:make"], "did you mean module:factory()?"),
        (["run", "app:app"], "there are two applications, 'run' and 'app:app'; name one"),
        (["--por", "1"], "--por"),  # no abbreviations: a later option could change their meaning
        (["--port"], "--port: expected one argument"),
        (["--tls-key", "a.key"], "--tls-key: there must be one for each --tls-cert, in the same order, or none"),
        (["--tls-cert", "a", "--tls-cert", "b", "--tls-key", "c"], "--tls-key: there must be one for each --tls-cert"),
        (["--tls-client-ca", "a.pem"], "--tls-client-ca: it needs --tls-cert"),
        (["--tls-password-file", "a.txt"], "--tls-password-file: it needs --tls-cert"),
        (["--tls-min", "1.1"], "--tls-min: '1.1' is not one of 1.2, 1.3"),
        (["--port", "x"], "--port: 'x' is not a whole number"),
        (["--port", "1.5"], "--port: '1.5' is not a whole number"),
        (["--port", ""], "--port: '' is not a whole number"),
        (["--port", "8_080"], "--port: '8_080' is not a whole number"),
        (
            ["--body-bytes-max", "16MB"],
            "--body-bytes-max: '16MB' is not a whole number, nor one with K, M or G behind it",
        ),
        (["--body-bytes-max", "1.5M"], "--body-bytes-max: '1.5M' is not a whole number"),
        (["--body-bytes-max", "M"], "--body-bytes-max: 'M' is not a whole number"),
        (["--body-rate-min", "1K"], "--body-rate-min: '1K' is not a whole number"),
        (["--body-bytes-max", "9" * 5000], "is not a whole number"),
        (["--port", "-1"], "--port: -1 is less than 0"),
        (["--port", "65536"], "--port: 65536 is more than 65535"),
        (["--threads", "-1"], "--threads: -1 is less than 0"),
        (["--threads", "1025"], "--threads: 1025 is more than 1024"),
        (["--backend", "kqueue"], "--backend: 'kqueue' is not one of epoll, io_uring, auto"),
        (["--log-level", "loud"], "--log-level: 'loud' is not one of"),
        (["--head-seconds", "0"], "--head-seconds: 0.0 is not a positive number of seconds"),
        (["--head-seconds", "nan"], "--head-seconds: nan is not"),
        (["--head-seconds", "inf"], "--head-seconds: inf is not"),
        (["--head-seconds", "soon"], "--head-seconds: 'soon' is not a number"),
        (["--head-bytes-max", "1"], "--head-bytes-max: 1 is less than 256"),
        (["--admin-public=x"], "--admin-public"),
        (["one:app", "two:app"], "two:app"),
    ],
)
def test_a_usage_error_is_one_line(arguments: list[str], said: str) -> None:
    line = complaint(*arguments)
    assert said in line
    assert "\n" not in line


# --- Environment. ---


@pytest.mark.parametrize(
    ("environment", "config"),
    [
        ({"WORKER_BACKEND": "io_uring"}, Config(backend="io_uring")),
        ({"WORKER_BACKEND": "epoll"}, Config()),
        ({"WORKER_BACKEND": ""}, Config()),
        ({"HTTP_SERVER_LOG": "debug"}, Config(log_level="debug")),
        ({"HTTP_SERVER_LOGS": "1"}, Config(access_log="combined")),
        ({"HTTP_SERVER_LOGS": "0"}, Config()),
        ({"HTTP_SERVER_LOGS": ""}, Config()),
        ({"PORT": "1", "HOST": "x", "THREADS": "3"}, Config()),
        (
            {"WORKER_BACKEND": "auto", "HTTP_SERVER_LOG": "off", "HTTP_SERVER_LOGS": "1"},
            Config(backend="auto", log_level="off", access_log="combined"),
        ),
    ],
)
def test_environment(environment: dict[str, str], config: Config) -> None:
    assert parse([], environment) == (config, "")


def test_options_override_the_environment() -> None:
    environment = {"WORKER_BACKEND": "io_uring", "HTTP_SERVER_LOG": "debug", "HTTP_SERVER_LOGS": "1"}
    arguments = ["--backend", "auto", "--log-level", "error", "--access-log", "json:/x.log"]
    expected = Config(backend="auto", log_level="error", access_log="json:/x.log")
    assert parse(arguments, environment) == (expected, "")


def test_options_override_the_environment_with_a_default_or_nothing() -> None:
    environment = {"WORKER_BACKEND": "io_uring", "HTTP_SERVER_LOGS": "1"}
    assert parse(["--backend", "epoll", "--access-log", ""], environment) == (Config(), "")


@pytest.mark.parametrize("variable", ["WORKER_BACKEND", "HTTP_SERVER_LOG"])
@pytest.mark.parametrize("value", ["x", "EPOLL", " epoll", "DEBUG"])
def test_an_invalid_variable_is_named(variable: str, value: str) -> None:
    assert complaint(**{variable: value}).startswith(f"{variable}={value!r} is not one of ")


# --- Applications. ---


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current directory. Modules imported from it are removed afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


WSGI_MODULES = {
    "shop_a": "def application(environ, start_response): ...\napp = None\n",
    "shop_b": "def app(environ, start_response): ...\n",
    "shop_c": "class Site:\n    def __call__(self, environ, start_response): ...\ndef make(): return Site()\n",
    "shop_d": "class Site:\n    def page(self, environ, start_response): ...\nsite = Site()\n",
    "shop_e": "import functools\ndef page(x, environ, start_response): ...\nthe_app = functools.partial(page, 1)\n",
    "shop_f": "import mreactor\ndef make(): return mreactor.App()\napp = make()\n",
    "shop_g": "def odd(*arguments): ...\n",
}


@pytest.mark.parametrize(
    "target",
    [
        "shop_a",
        "shop_a:application",
        "shop_b",
        "shop_c:make()",
        "shop_c:Site()",
        "shop_d:site.page",
        "shop_e:the_app",
        "shop_f:make()",
        "shop_f",
        "shop_g:odd",
    ],
)
def test_applications_of_each_interface_are_recognised(here: Path, target: str) -> None:
    for name, source in WSGI_MODULES.items():
        (here / f"{name}.py").write_text(source)
    app = load(target)
    assert [(route.method, route.pattern) for route in app.routes] == (
        [] if target.startswith("shop_f") else [("*", "/")]
    )


@pytest.mark.parametrize(
    ("target", "interface", "said"),
    [
        ("shop_a", "native", "it is not an App"),
        ("shop_c:make", "auto", "write shop_c:make() to serve what it returns, or pass --interface wsgi"),
        ("shop_c:make", "wsgi", ""),
        ("shop_f:app", "native", ""),
        ("shop_f:app", "wsgi", "neither an App nor a WSGI application"),
    ],
)
def test_the_interface_can_be_named(here: Path, target: str, interface: str, said: str) -> None:
    for name, source in WSGI_MODULES.items():
        (here / f"{name}.py").write_text(source)
    if not said:
        assert isinstance(load(target, interface), App)
        return
    with pytest.raises(ConfigError, match=re.escape(said)):
        load(target, interface)


def test_the_exception_of_an_application_is_not_caught(here: Path) -> None:
    """The traceback helps its author."""
    (here / "shop_six.py").write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        load("shop_six:app")


@pytest.mark.parametrize(
    "arguments",
    [["--port", "x"], ["nothing"], ["no_such_module:app"], ["--static", "/no/such/directory"]],
    ids=" ".join,
)
def test_wrong_usage_gives_one_line_and_exit_code_2(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setattr("mreactor.cli.configure", lambda *_: None)
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("mreactor: ")
    assert printed.err.count("\n") == 1
    # The help says nothing about applications and directories.
    assert ("(see mreactor --help)" in printed.err) == (arguments[0] == "--port")


def test_which_application_is_served(here: Path) -> None:
    (here / "shop_eight.py").write_text("import mreactor\napp = mreactor.App()\n")
    (here / "static").mkdir()

    def patterns(*arguments: str) -> list[str]:
        return [route.pattern for route in make_app(*parse(arguments, {})).routes]

    demo = ["/", "/hello/{name}", "/json", "/echo", "/"]
    assert patterns() == demo
    assert patterns("--static", ".") == ["/"]
    assert patterns("--mount", "/a=.") == ["/a"]
    assert patterns("--static", ".", "--demo") == demo
    assert patterns("--static", ".", "--mount", "/a=.", "shop_eight:app") == ["/", "/a"]


def test_the_access_log_is_named_from_the_present_directory(here: Path) -> None:
    config, _ = parse(["--access-log", "json:logs/x.log"], {})
    assert config.access_log == f"json:{here}/logs/x.log"


class Started:
    """Replaces the server. Records its arguments and returns or raises the outcome."""

    drain_deadline = 0.0

    def __init__(self, outcome: int | Exception) -> None:
        self.outcome = outcome
        self.config = Config()
        self.app = App()

    def __call__(self, config: Config, app: App) -> "Started":
        self.config, self.app = config, app
        return self

    def run(self, announce: Callable[[str, int], None] | None = None) -> int:
        if announce is not None:
            announce("::1" if ":" in self.config.host else "127.0.0.1", 50_000)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


type Start = Callable[..., tuple[int, Started]]


@pytest.fixture
def start(here: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Run a command line up to the point where the server would start, in a directory with an application."""
    (here / "shop_seven.py").write_text("import mreactor\napp = mreactor.App()\n")
    monkeypatch.setattr("mreactor.cli.configure", lambda *_: None)

    def run(*arguments: str, outcome: int | Exception = 0) -> tuple[int, Started]:
        started = Started(outcome)
        monkeypatch.setattr("mreactor.cli.Server", started)
        return main([*arguments, "shop_seven:app"]), started

    return run


@pytest.mark.parametrize("code", [0, 143])
def test_the_exit_code_is_the_servers(start: Start, code: int) -> None:
    ended, started = start("--threads", "3", outcome=code)
    assert ended == code
    assert started.config == Config(threads=3)
    assert started.app is sys.modules["shop_seven"].app


@pytest.mark.parametrize(
    ("outcome", "code", "said"),
    [
        (StartError("cannot listen on x port 80: taken"), 1, "mreactor: cannot listen on x port 80: taken\n"),
        (ConfigError("--admin: x"), 2, "mreactor: --admin: x\n"),  # about the machine, so without a hint at --help
    ],
)
def test_a_server_that_cannot_start_says_why_in_one_line(
    start: Start, capsys: pytest.CaptureFixture[str], outcome: Exception, code: int, said: str
) -> None:
    ended, _ = start(outcome=outcome)
    assert ended == code
    assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["--port", "0"], "listening on http://127.0.0.1:50000\n"),
        (["--port", "0", "--host", "::1"], "listening on http://[::1]:50000\n"),
        (["--port", "8081"], ""),
    ],
)
def test_a_port_that_the_kernel_chose_is_printed(
    start: Start, capsys: pytest.CaptureFixture[str], arguments: list[str], printed: str
) -> None:
    start(*arguments)
    assert capsys.readouterr() == (printed, "")


@contextlib.contextmanager
def full_stream() -> Iterator[TextIO]:
    """A stream that takes no line."""
    with contextlib.suppress(OSError), open("/dev/full", "w") as stream:
        yield stream


def test_an_address_that_cannot_be_printed_does_not_end_the_server(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in the log as well."""
    with full_stream() as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert start("--port", "0")[0] == 0


def test_a_usage_error_that_cannot_be_printed_keeps_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    with full_stream() as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        assert main(["--port", "x"]) == 2


def test_reloading_starts_the_whole_command_line_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the options of the interpreter, as a restart does."""
    commands: list[Sequence[str]] = []

    def supervise(command: Sequence[str], target: str) -> int:
        commands.append(command)
        return 0

    monkeypatch.setattr("mreactor.cli.supervise", supervise)
    # The logger belongs to all tests of this process.
    monkeypatch.setattr("mreactor.cli.configure", lambda level, log_format: None)
    monkeypatch.delenv("MREACTOR_RELOADED", raising=False)
    assert main(["--reload", "shop.py"]) == 0
    assert commands == [[sys.executable, *sys.orig_argv[1:]]]
