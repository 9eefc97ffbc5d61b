"""mreactor: an HTTP/1.1 server in pure Python for interpreters without the GIL."""

__version__ = "0.1.0"

# This import comes first: it interns the package's attribute names. See docs/decisions/006.
from . import runtime as runtime
from .app import App, RouteError
from .config import Config, ConfigError, Limits
from .http import HTTPError, Pause, Request, Response
from .server import Server, StartError

__all__ = [
    "App",
    "Config",
    "ConfigError",
    "HTTPError",
    "Limits",
    "Pause",
    "Request",
    "Response",
    "RouteError",
    "Server",
    "StartError",
    "__version__",
]
