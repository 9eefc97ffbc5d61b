"""mreactor: an HTTP/1.1 server in pure Python for interpreters without the GIL."""

__version__ = "0.1.0"

# This import comes first: it interns the package's attribute names. See docs/decisions/006.
from . import runtime as runtime
from .app import App, RouteError, StaticFiles, send_file
from .config import Config, ConfigError, Limits
from .http import HTTPError, Request, Response, redirect, use_json
from .server import Server, StartError

__all__ = [
    "App",
    "Config",
    "ConfigError",
    "HTTPError",
    "Limits",
    "Request",
    "Response",
    "RouteError",
    "Server",
    "StartError",
    "StaticFiles",
    "__version__",
    "redirect",
    "send_file",
    "use_json",
]
