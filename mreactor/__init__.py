"""mreactor: an HTTP/1.1 server in pure Python for interpreters without the GIL."""

__version__ = "0.1.0"

from . import names as names  # before all others, which bring their own names: see there
from .app import App
from .config import Config, ConfigError, Limits
from .http1.request import Request
from .http1.response import Response
from .http1.status import HTTPError
from .router import RouteError
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
    "__version__",
]
