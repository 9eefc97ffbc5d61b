"""The demo application, a short tour of the API. It is served if the command line names no other."""

import dataclasses
from functools import partial
from pathlib import Path

from .app import App, StaticFiles, check_root
from .config import Config
from .http import BINARY, Request, Response

# What is served where there is no directory of the default name: an installed package has none.
OWN_FILES = Path(__file__).parent / "demo_files"


def make_demo(config: Config) -> App:
    """Create the demo application with the configured static directory.

    Raises:
        ConfigError: the directory cannot be read.
    """
    root = check_root(_choose_root(config))
    app = App()

    @app.get("/", constant=True)
    def welcome(request: Request) -> str:
        return "Welcome to mreactor"

    @app.get("/hello/{name}")
    def hello(request: Request, name: str) -> str:
        return f"Hello, {name}!"

    @app.get("/json")
    def json(request: Request) -> dict[str, object]:
        return {"message": "Hello from mreactor", "path": request.path, "query": dict(request.query)}

    @app.post("/echo")
    def echo(request: Request) -> Response:
        return Response(request.body, content_type=request.headers.get("content-type", BINARY))

    make_files = partial(StaticFiles, root, sendfile_bytes_min=config.limits.sendfile_bytes_min)
    app.mount("/", make_files, constant=True)
    return app


def _choose_root(config: Config) -> str:
    default = next(spec.default for spec in dataclasses.fields(Config) if spec.name == "static")
    return str(OWN_FILES) if config.static == default and not Path(default).exists() else config.static
