"""The demo application, a short tour of the API. It is served if the command line names no other."""

import dataclasses
from pathlib import Path

from .app import App, mount_directories
from .config import Config
from .http import BINARY, Request, Response

# Served where the configuration names no directory; that of the package where this one is missing.
DIRECTORY = "static"
OWN_FILES = Path(__file__).parent / "demo_files"


def make_demo(config: Config) -> App:
    """Create the demo application with the configured directories.

    Raises:
        ConfigError: see `mount_directories`.
    """
    app = App("demo")

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

    mount_directories(app, dataclasses.replace(config, static=config.static or _default_directory()))
    return app


def _default_directory() -> str:
    return DIRECTORY if Path(DIRECTORY).exists() else str(OWN_FILES)
