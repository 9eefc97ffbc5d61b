"""The demo application: what runs when no other is named. A short tour of the API."""

from functools import partial

from .app import App, StaticFiles, check_root
from .config import Config
from .http import BINARY, Request, Response


def make_demo(config: Config) -> App:
    """The demo, with the configured static directory.

    Raises:
        ConfigError: the directory does not exist.
    """
    app = App()
    root = check_root(config.static)

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

    app.mount(
        "/", partial(StaticFiles, root, sendfile_bytes_min=config.limits.sendfile_bytes_min), constant=True
    )
    return app
