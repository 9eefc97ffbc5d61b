"""The command line. Its options, help texts and defaults come from the fields of `Config` and `Limits`."""

import argparse
import dataclasses
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, NoReturn, TextIO

from . import __version__
from .app import App, mount_directories
from .config import TEXTS, Config, ConfigError, Limits, option, size
from .config_file import read_config
from .demo import make_demo
from .loading import load
from .logs import configure, flush, format_error, resolve_file, summarize_error
from .net import open_listeners
from .option_hints import explain
from .reload import must_watch, supervise
from .runtime import watch_gil
from .server import (
    Server,
    StartError,
    become,
    end_at_once,
    end_process,
    open_standard_descriptors,
    scheme,
    take_startup,
    url,
)

log = logging.getLogger("mreactor")

START_ERROR = 1
USAGE_ERROR = 2

EXAMPLES = """\
examples:
  mreactor                           serve the demo on http://127.0.0.1:8080
  mreactor --static . --listing      serve the files of this directory
  mreactor shop.py                   serve the application in shop.py
  mreactor --threads 16 shop:app     serve the App named app in the module shop
  mreactor --host 0.0.0.0 --port 80 --access-log combined:access.log shop:app
  mreactor --port 8443 --tls-cert chain.pem --tls-key key.pem shop:app

environment variables (options override them):
  WORKER_BACKEND=BACKEND             same as --backend
  HTTP_SERVER_LOG=LEVEL              same as --log-level
  HTTP_SERVER_LOGS=1                 same as --access-log combined
"""


class _Parser(argparse.ArgumentParser):
    """Reports a usage error as a one-line `ConfigError`, without the usage text."""

    def error(self, message: str) -> Any:
        raise ConfigError(message.removeprefix("argument "))

    @property
    def names(self) -> list[str]:
        """All options, such as `--port`."""
        return [name for action in self._actions for name in action.option_strings]


class Outcome(NamedTuple):
    """The exit code, and the time until which the application's own threads may finish, in monotonic seconds."""

    code: int
    deadline: float = 0.0


def command() -> NoReturn:
    """Run the command line and end the process, whatever threads and exit handlers the application has."""
    open_standard_descriptors()
    end_at_once()
    # Before the application is imported, which may start other programs.
    take_startup()
    try:
        outcome = _serve(sys.argv[1:])
    except SystemExit as error:
        # --help, --version, or the application's factory.
        outcome = Outcome(error.code if isinstance(error.code, int) else int(error.code is not None))
    except BaseException as error:
        take_startup().reply(failure=f"{type(error).__name__}: {error}")
        # The application has failed while it was imported. Its author needs its frames, and not those of the server.
        _print(f"{format_error(error)}\nmreactor: the server did not start: {summarize_error(error)}", sys.stderr)
        outcome = Outcome(START_ERROR)
    end_process(*outcome)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        the exit code: 0 stopped, 1 could not start, 2 wrong usage, 128 plus the number of a second signal.
    """
    return _serve(sys.argv[1:] if arguments is None else arguments).code


def _serve(arguments: Sequence[str]) -> Outcome:
    try:
        config, target = parse(arguments, os.environ)
        config = _choose_access_log(config)
        if config.logs_requests and ":" not in config.access_log and sys.stdout is None:
            raise ConfigError("--access-log: standard output is closed")
    except ConfigError as error:
        return _report(f"{error} (see mreactor --help)", USAGE_ERROR)
    try:
        configure(config.log_level, config.log_format)
        if config.reload and must_watch():
            return Outcome(supervise(take_startup().command, target))
        if config.debug:
            log.warning("--debug: clients are shown the tracebacks of handlers")
        watch_gil()
        if config.user or config.group:
            # Before the application is imported.
            take_startup().listeners = open_listeners(config, take_startup().sockets)
            become(config.user, config.group)
        app = make_app(config, target)
    except ConfigError as error:
        return _report(str(error), USAGE_ERROR)
    except StartError as error:
        return _report(str(error), START_ERROR)
    server = Server(config, app)
    try:
        code = server.run(partial(announce, scheme=scheme(config)) if config.picks_port else None)
    except ConfigError as error:
        # This error is about the machine, so the help does not explain it.
        return _report(str(error), USAGE_ERROR)
    except StartError as error:
        return _report(str(error), START_ERROR)
    # A second signal leaves no time.
    return Outcome(code, 0.0 if code else server.drain_deadline)


def _choose_access_log(config: Config) -> Config:
    """Return the settings with the access log that is meant: at a terminal a short one, unless it is chosen or off."""
    if config.access_log or not (_is_terminal(sys.stdout) and _is_terminal(sys.stderr)):
        return config
    return dataclasses.replace(config, access_log="short")


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        # It is closed.
        return False


def make_app(config: Config, target: str) -> App:
    """Return the application that is named, or else the demo, with the directories of the configuration.

    Raises:
        ConfigError: it cannot be imported, or a directory cannot be served.
    """
    if not target and (config.demo or not (config.static or config.mount)):
        return make_demo(config)
    app = load(target, config.interface, inline=config.wsgi_inline) if target else App()
    mount_directories(app, config)
    return app


def announce(host: str, port: int, scheme: str = "http") -> None:
    """Print the address on standard output, at any log level, because the kernel chose the port."""
    _print(f"listening on {url(host, port, scheme)}", sys.stdout)


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[Config, str]:
    """Return the settings and the name of the application.

    Options override environment variables, and those override the configuration file.

    Raises:
        ConfigError: an option or a variable is invalid.
    """
    parser = make_parser()
    namespace, rest = parser.parse_known_args(arguments)
    options = vars(namespace)
    if rest:
        raise ConfigError(explain(rest, parser.names, options.get("app") or ""))
    file = options.pop("config")
    given = {name: value for name, value in options.items() if value is not None}
    # Options that may be repeated.
    given |= {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
    from_file = read_config(file) if file else {}
    given = _from_environment(environment) | given
    settings = from_file | given
    target = settings.pop("app", "")
    limit_names = {spec.name for spec in dataclasses.fields(Limits)}
    limits = Limits(**{name: settings.pop(name) for name in limit_names & settings.keys()})
    if "access_log" in settings:
        # Before the application is imported, which may change the directory.
        settings["access_log"] = resolve_file(settings["access_log"])
    if settings.get("pid_file"):
        settings["pid_file"] = os.path.abspath(settings["pid_file"])
    try:
        return Config(**settings, limits=limits), target
    except ConfigError as error:
        found = re.match("--([a-z-]+): ", str(error))
        name = found[1].replace("-", "_") if found else ""
        if name in from_file.keys() - given.keys():
            raise ConfigError(f"--config: {file}: {str(error).removeprefix('--')}") from None
        raise


def _report(error: str, code: int) -> Outcome:
    """Print an error; return the outcome."""
    flush()
    take_startup().reply(failure=error)
    _print(f"mreactor: {error}", sys.stderr)
    return Outcome(code)


def _print(line: str, stream: TextIO) -> None:
    """Print a line. If the stream is gone, replace it by /dev/null: the line must not fail again when Python exits."""
    try:
        print(line, file=stream, flush=True)
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for spec in dataclasses.fields(Config):
        variable = spec.metadata.get("env")
        value = environment.get(variable, "") if variable else ""
        if not value:
            continue
        if value not in spec.metadata["choices"]:
            raise ConfigError(f"{variable}={value!r} is not one of {', '.join(spec.metadata['choices'])}")
        settings[spec.name] = value
    if environment.get("HTTP_SERVER_LOGS") == "1":
        settings["access_log"] = "combined"
    return settings


def make_parser() -> _Parser:
    """Create the parser, with one option for each setting."""
    parser = _Parser(
        prog="mreactor",
        # The names of all options would fill the first screen.
        usage="%(prog)s [OPTIONS] [APP]",
        description="HTTP/1.1 server in pure Python for interpreters without the GIL.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "app",
        nargs="?",
        metavar="APP",
        help="application to serve: module:attribute, module:factory(), or a file (default: the demo)",
    )
    parser.add_argument(
        "--config", metavar="FILE", help="read settings from a TOML file; its keys are the options' names"
    )
    parser.add_argument(
        "--version", action="version", version=f"mreactor {__version__}", help="show the version and exit"
    )
    _add_options(parser.add_argument_group("server"), Config)
    _add_options(parser.add_argument_group("limits (bytes, seconds, bytes per second)"), Limits)
    return parser


def _add_options(group: Any, settings: type[Any]) -> None:
    for spec in dataclasses.fields(settings):
        if not spec.metadata:
            continue
        text = spec.metadata["help"].replace("%", "%%")
        if spec.type is bool:
            group.add_argument(option(spec.name), action="store_true", default=None, help=text)
        elif spec.type == TEXTS:
            group.add_argument(option(spec.name), action="append", metavar=_metavar(spec), help=text)
        else:
            text += _format_default(spec)
            group.add_argument(option(spec.name), type=_parser_for(spec), metavar=_metavar(spec), help=text)


def _format_default(spec: dataclasses.Field[Any]) -> str:
    """Format the default as a user would type it; bytes also in a larger unit."""
    default: Any = spec.default
    if default in ("", ()):
        return ""
    typed = f"{default:g}" if spec.type is float else str(default)
    return f" (default: {typed}, {size(default)})" if "bytes_" in spec.name else f" (default: {typed})"


def _metavar(spec: dataclasses.Field[Any]) -> str:
    choices = spec.metadata.get("choices")
    return spec.metadata.get("metavar") or ("|".join(choices) if choices else "N")


def _parser_for(spec: dataclasses.Field[Any]) -> Callable[[str], Any]:
    return _parse_size if "bytes_" in spec.name else PARSERS[spec.type]


def _parse_size(text: str) -> int:
    """Read a number of bytes, also in a larger unit: 16M and 16MiB are 16 * 1024 * 1024."""
    found = re.fullmatch("([0-9]{1,9})([KMG])(iB)?", text, re.ASCII | re.IGNORECASE)
    try:
        return int(found[1]) * _UNITS[found[2].upper()] if found else _parse_int(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, nor one with K, M or G behind it") from None


def _parse_int(text: str) -> int:
    if not re.fullmatch("-?[0-9]{1,18}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _parse_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
PARSERS: dict[Any, Callable[[str], Any]] = {int: _parse_int, float: _parse_float, str: str}
