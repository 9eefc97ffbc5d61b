"""The command line. Its options, their help and their defaults are read from the fields of `Config` and `Limits`."""

import argparse
import dataclasses
import importlib
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import __version__
from .app import App
from .config import Config, ConfigError, Limits, option, size
from .demo import make_demo
from .logs import configure
from .server import Server, StartError, url

START_ERROR = 1
USAGE_ERROR = 2

EXAMPLES = """\
examples:
  mreactor                           the demo, on http://127.0.0.1:8080
  mreactor --threads 16 shop:app     the App called app in shop.py, 16 threads
  mreactor --host 0.0.0.0 --port 80 --access-log combined:access.log shop:app

environment (the command line wins):
  WORKER_BACKEND=epoll|io_uring|auto   as --backend
  HTTP_SERVER_LOG=LEVEL                as --log-level
  HTTP_SERVER_LOGS=1                   as --access-log combined
"""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; the usage is for who asks for it."""

    def error(self, message: str) -> Any:
        raise ConfigError(message.removeprefix("argument "))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        the exit code: 0 stopped, 1 could not start, 2 wrong usage, 128 and its number after a second signal.
    """
    try:
        config, target = parse(sys.argv[1:] if arguments is None else arguments, os.environ)
        configure(config.log_level, config.log_format)
        app = load(target) if target else make_demo(config)
    except ConfigError as error:
        return _complain(f"{error} (--help tells more)", USAGE_ERROR)
    try:
        return Server(config, app).run(announce if config.port == 0 else None)
    except ConfigError as error:
        return _complain(str(error), USAGE_ERROR)  # about this machine, of which the help knows nothing
    except StartError as error:
        return _complain(str(error), START_ERROR)


def announce(host: str, port: int) -> None:
    """Print the address on standard output, for who has let the kernel choose the port; whatever the log level."""
    print(f"listening on {url(host, port)}", flush=True)


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[Config, str]:
    """Settings and the application's name, from command line, environment and defaults, in this order of precedence.

    Raises:
        ConfigError: an option or variable that cannot be used.
    """
    options = vars(_parser().parse_args(arguments))
    target = options.pop("app") or ""
    given = {name: value for name, value in options.items() if value is not None}
    settings = _from_environment(environment) | given
    limit_names = {spec.name for spec in dataclasses.fields(Limits)}
    limits = Limits(**{name: settings.pop(name) for name in limit_names & settings.keys()})
    return Config(**settings, limits=limits), target


def load(target: str) -> App:
    """Import an application named `module:attribute`; the current directory is searched first.

    Raises:
        ConfigError: there is no such module or attribute, it is no App, or it ends the program. What else it raises is
            its own and comes with its traceback.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or module_name.startswith(".") or not attribute:
        raise ConfigError(f"{target!r} is not module:attribute, such as myapp:app")
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigError(f"cannot import {target!r}: {error}") from None
    except SystemExit as error:
        raise ConfigError(f"cannot import {target!r}: it ended the program ({error.code})") from None
    for name in attribute.split("."):
        found = getattr(found, name, None)  # type: ignore[assignment]
    if not isinstance(found, App):
        raise ConfigError(f"{target!r} is not an App")
    return found


def _complain(what: str, code: int) -> int:
    print(f"mreactor: {what}", file=sys.stderr)
    return code


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


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="mreactor",
        usage="%(prog)s [OPTIONS] [APP]",  # all thirty options by name would fill the first screen
        description="An HTTP/1.1 server in pure Python: one acceptor, N reactor threads, no GIL.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "app", nargs="?", metavar="APP", help="the application, module:attribute; without it, a demo"
    )
    parser.add_argument("--version", action="version", version=f"mreactor {__version__}")
    _add_options(parser.add_argument_group("server"), Config)
    _add_options(parser.add_argument_group("limits (bytes, seconds)"), Limits)
    return parser


def _add_options(group: Any, settings: type[Any]) -> None:
    for spec in dataclasses.fields(settings):
        if not spec.metadata:
            continue
        why = spec.metadata["why"].replace("%", "%%")
        if spec.type in (bool, "bool"):
            group.add_argument(option(spec.name), action="store_true", default=None, help=why)
            continue
        group.add_argument(
            option(spec.name), type=_reader(spec.type), metavar=_metavar(spec), help=why + _default(spec)
        )


def _default(spec: dataclasses.Field[Any]) -> str:
    """The default as it would be typed; beside it, bytes in a larger unit."""
    default: Any = spec.default
    if default == "":
        return ""
    typed = f"{default:g}" if spec.type is float else str(default)
    return f" (default: {typed}, {size(default)})" if "bytes_" in spec.name else f" (default: {typed})"


def _metavar(spec: dataclasses.Field[Any]) -> str:
    choices = spec.metadata.get("choices")
    return spec.metadata.get("metavar") or ("|".join(choices) if choices else "N")


def _reader(kind: Any) -> Callable[[str], Any]:
    """What turns an argument into a field's type, and says plainly why it cannot."""
    return {int: _whole, float: _number}.get(kind, str)


def _whole(text: str) -> int:
    if not re.fullmatch("-?[0-9]{1,18}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
