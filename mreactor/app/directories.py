"""The directories that the configuration names, as mounts of an application. Used once, before the server starts."""

import os

from ..config import Config, ConfigError, option
from .application import App
from .handler_checks import RouteError
from .static_files import StaticFiles
from .static_options import StaticOptions, parse_pairs


def mount_directories(app: App, config: Config) -> None:
    """Mount the directory of `--static` at `/`, and those of `--mount` below their paths.

    Raises:
        ConfigError: a directory cannot be read, an option is invalid, or a path is taken.
    """
    if config.static:
        _mount(app, config, "/", config.static, _make_options(config, fallback=config.fallback, pages=_pages(config)))
    elif config.fallback or config.error_page:
        raise ConfigError("--fallback and --error-page name files in the directory of --static, which is not given")
    for prefix, directory in parse_pairs(option("mount"), config.mount):
        _mount(app, config, prefix, directory, _make_options(config))


def _mount(app: App, config: Config, prefix: str, directory: str, options: StaticOptions) -> None:
    if not prefix.startswith("/") or "{" in prefix:
        raise ConfigError(f"--mount: {prefix!r} is not a path such as /assets")
    files = StaticFiles(directory, sendfile_bytes_min=config.limits.sendfile_bytes_min, options=options)
    try:
        app.mount(prefix, files, constant=True)
    except RouteError as error:
        raise ConfigError(f"{directory!r} cannot be served at {prefix}: {error}") from None


def _make_options(config: Config, *, fallback: str = "", pages: dict[int, str] | None = None) -> StaticOptions:
    try:
        return StaticOptions(
            listing=config.listing,
            fallback=fallback,
            cache_control=tuple(parse_pairs(option("cache_control"), config.cache_control)),
            content_types={
                suffix.lower(): kind for suffix, kind in parse_pairs(option("content_type"), config.content_type)
            },
            error_pages=pages or {},
        )
    except ConfigError as error:
        raise ConfigError(f"static files: {error}") from None


def _pages(config: Config) -> dict[int, str]:
    """Return the error pages by status. They must exist, and so must the fallback: a typing error shows at the start.

    Raises:
        ConfigError: a status is no number, or a file is missing.
    """
    pages = {}
    for status, name in parse_pairs(option("error_page"), config.error_page):
        if not (status.isascii() and status.isdecimal()):
            raise ConfigError(f"--error-page: {status!r} is not a status such as 404")
        pages[int(status)] = name
    for name in filter(None, (config.fallback, *pages.values())):
        if not os.path.isfile(os.path.join(config.static, name)):
            raise ConfigError(f"there is no file {name!r} in {config.static!r}")
    return pages
