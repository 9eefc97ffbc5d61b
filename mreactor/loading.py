"""Finding the application that a command line names, and saying what is wrong with a name. Main thread only."""

import difflib
import importlib
import inspect
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from .app import App, RouteError, adapt
from .config import ConfigError
from .logs import application_frames

# The names that are tried in a module if none is given.
USUAL_NAMES = ("app", "application")

# The last frames that are named where an import has failed.
FRAMES_MAX = 3

FORM = "write module:attribute, such as shop:app"


def load(target: str, interface: str = "auto", *, inline: bool = False) -> App:
    """Import an application. The current directory is searched first.

    Args:
        target: `module:attribute`; `module:factory()`, which is called; a module alone, or its file `shop.py`, whose
            `app`, `application` or only App is meant.
        interface, inline: as `Config.interface` and `Config.wsgi_inline`.

    Raises:
        ConfigError: there is no such module or App, or the module exits. The text says what is there instead. What else
            the application raises is not caught, so that its traceback is shown.
    """
    name, colon, attribute = target.partition(":")
    file = None
    if name.endswith(".py") or "/" in name:
        file, name = name, _module_of_file(name)
    if not name or name.startswith(".") or (colon and not attribute):
        raise ConfigError(f"{target!r} names no application; {FORM}")
    try:
        module = _import(name, target)
        _check_origin(module, file)
        found = _find(module, attribute, target) if attribute else _find_only(module, target)
    except RouteError as error:
        raise ConfigError(f"cannot serve {target!r}: {error}, at {_place(error)}") from None
    app = _recognize(found, target, interface, inline=inline)
    app.name = app.name or module.__name__
    return app


def _module_of_file(name: str) -> str:
    """Return the name of the module in a file, whose directory is searched first from now on."""
    path = Path(name)
    if not path.is_file():
        raise ConfigError(f"there is no file {name!r}{_suggest(path.name, [p.name for p in path.parent.glob('*.py')])}")
    directory = str(path.resolve().parent)
    if sys.path[:1] != [directory]:
        sys.path.insert(0, directory)
    return path.stem


def _import(name: str, target: str) -> ModuleType:
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(missing + "."):
            near = _suggest(name, [path.stem for path in Path().glob("*.py")])
            raise ConfigError(f"cannot import {target!r}: {error}{near}") from None
        raise ConfigError(f"cannot import {target!r}: {error}, at {_place(error)}") from None
    except ImportError as error:
        if error.__traceback__ is None or not application_frames(error.__traceback__):
            raise ConfigError(f"cannot import {target!r}: {error}") from None
        raise ConfigError(f"cannot import {target!r}: {error}, at {_place(error)}") from None
    except SystemExit as error:
        raise ConfigError(f"cannot import {target!r}: it exited with {error.code}, at {_place(error)}") from None


def _check_origin(module: ModuleType, file: str | None) -> None:
    """Check that Python has not taken another module of the same name, such as one of the standard library.

    Args:
        file: the file that was named; None if a module was.
    """
    name = module.__name__
    if file is None and name.partition(".")[0] in sys.stdlib_module_names:
        file = f"{name}.py"
    origin = module.__file__
    if file is None or not Path(file).is_file() or (origin is not None and os.path.samefile(file, origin)):
        return
    raise ConfigError(f"cannot import {file!r}: Python has another module {name!r} ({origin}); rename the file")


def _find(module: ModuleType, attribute: str, target: str) -> Any:
    """Return what an attribute names; what it returns if it ends with `()`."""
    found: Any = module
    path = module.__name__
    for name in attribute.removesuffix("()").split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise ConfigError(f"cannot serve {target!r}: {path} has no {name!r}{_name_apps(found, name)}") from None
        path += f".{name}"
    if not attribute.endswith("()"):
        return found
    if not callable(found):
        raise ConfigError(f"cannot serve {target!r}: {path} is {_describe(found)} and cannot be called")
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise ConfigError(f"cannot serve {target!r}: {path} is called without arguments: {error}") from None
    except ValueError:
        # It has no signature, as some functions of C.
        pass
    return found()


def _find_only(module: ModuleType, target: str) -> Any:
    """Return the one application that a module is likely to mean."""
    apps = _apps(module)
    for name in (*USUAL_NAMES, *(apps if len(apps) == 1 else ())):
        if name in apps:
            return apps[name]
    if apps:
        choices = " or ".join(f"{target}:{name}" for name in apps)
        raise ConfigError(f"{target!r} has several Apps; write {choices}")
    for name in USUAL_NAMES[::-1]:
        if callable(getattr(module, name, None)):
            return getattr(module, name)
    factories = [name for name, value in vars(module).items() if _is_factory(value, module)]
    hint = f"; write {target}:{factories[0]}() to serve what it returns" if factories else f"; {FORM}"
    raise ConfigError(f"{target!r} has no App{hint}")


def _recognize(found: Any, target: str, interface: str, *, inline: bool) -> App:
    """Return the App that serves an object, or say what the object is instead."""
    if isinstance(found, type) and issubclass(found, App):
        raise ConfigError(f"{target!r} is a class; write {target}() to serve an instance, or name one")
    try:
        return adapt(found, interface, inline=inline)
    except LookupError as error:
        if interface != "native" and _is_factory(found, None):
            raise ConfigError(
                f"{target!r} is a function, not an App; write {target}() to serve what it returns, or pass "
                "--interface wsgi"
            ) from None
        raise ConfigError(f"cannot serve {target!r}: {error}") from None


def _is_factory(value: Any, module: ModuleType | None) -> bool:
    """Whether a function of the module can be called without arguments and is annotated, or named, to make an App."""
    if not inspect.isfunction(value) or (module is not None and value.__module__ != module.__name__):
        return False
    parameters = inspect.signature(value).parameters.values()
    takes_nothing = all(one.default is not one.empty or one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
                        for one in parameters)  # fmt: skip
    makes_app = value.__annotations__.get("return") in (App, "App") or "app" in value.__name__
    return takes_nothing and (module is None or makes_app)


def _apps(owner: Any) -> dict[str, App]:
    return {name: value for name, value in vars(owner).items() if isinstance(value, App)}


def _name_apps(owner: Any, wrong: str) -> str:
    """Return what may have been meant by a name that an object does not have."""
    try:
        names = list(vars(owner))
    except TypeError:
        return ""
    if apps := _apps(owner):
        return f"; its Apps: {', '.join(apps)}"
    return _suggest(wrong, names)


def _suggest(wrong: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(wrong, [name for name in names if not name.startswith("_")], n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _describe(found: Any) -> str:
    name = type(found).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _place(error: BaseException) -> str:
    """Return the file and line of the application at which an import has failed, and those that have led there."""
    frames = application_frames(error.__traceback__) if error.__traceback__ else []
    places = [f"{frame.filename}, line {frame.lineno}" for frame in reversed(frames[-FRAMES_MAX:])]
    return ", from ".join(places) or "no file"
