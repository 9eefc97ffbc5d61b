"""The configuration file: TOML, with the names of the command line's options as keys."""

import dataclasses
import difflib
import tomllib
from typing import Any

from .config import TEXTS, Config, ConfigError, Limits


def read_config(path: str) -> dict[str, Any]:
    """Return the settings in a file by the names of their fields, and `app` if the file names an application.

    Raises:
        ConfigError: the file cannot be read, is no TOML, or has an unknown key or a value of another type.
    """
    try:
        with open(path, "rb") as file:
            found = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"--config: cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config: {path} is not valid TOML: {error}") from None
    settings: dict[str, Any] = {}
    for key, value in found.items():
        name = key.replace("-", "_")
        if name in settings:
            raise ConfigError(f"--config: {path}: {key!r} is there twice")
        settings[name] = _check(path, key, name, value)
    return settings


def _check(path: str, key: str, name: str, value: Any) -> Any:
    """Return a value as its field holds it. `Config` and `Limits` check it further."""
    kinds = _kinds()
    if name not in kinds:
        near = difflib.get_close_matches(name, kinds, n=1)
        hint = f"; did you mean {near[0].replace('_', '-')!r}?" if near else ""
        raise ConfigError(f"--config: {path}: unknown key {key!r}{hint}")
    if kinds[name] == TEXTS:
        if isinstance(value, str):
            return (value,)
        if isinstance(value, list):
            return tuple(value)
    elif name == "app" and not isinstance(value, str):
        raise ConfigError(f"--config: {path}: {key}: {value!r} is not text")
    return value


def _kinds() -> dict[str, Any]:
    """Return the type of each setting that has an option, by name."""
    fields = (*dataclasses.fields(Config), *dataclasses.fields(Limits))
    return {"app": str, **{spec.name: spec.type for spec in fields if spec.metadata}}
