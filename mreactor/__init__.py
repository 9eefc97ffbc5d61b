"""mreactor: an HTTP/1.1 server in pure Python for interpreters without the GIL."""

import sys

__version__ = "0.1.0"

if sys.version_info < (3, 13):  # noqa: UP036
    # This module is read by any Python 3; the others need the syntax of 3.12. `python -m` shows no traceback.
    raise (SystemExit if sys.argv[:1] == ["-m"] else ImportError)(
        "mreactor needs Python 3.13 or later, best a free-threaded build such as python3.13t; this is Python "
        + ".".join(map(str, sys.version_info[:3]))
    )

# This import comes first: it interns the package's attribute names. See docs/decisions/006.
from . import runtime as runtime
from .app import App, RouteError, StaticFiles, send_file
from .config import Config, ConfigError, Limits
from .http import (
    HTML,
    Files,
    Headers,
    HTTPError,
    Parameters,
    Pause,
    Request,
    Response,
    ResponseHeaders,
    UploadedFile,
    redirect,
    use_json,
)
from .server import Server, StartError

__all__ = [
    "HTML",
    "App",
    "Config",
    "ConfigError",
    "Files",
    "HTTPError",
    "Headers",
    "Limits",
    "Parameters",
    "Pause",
    "Request",
    "Response",
    "ResponseHeaders",
    "RouteError",
    "Server",
    "StartError",
    "StaticFiles",
    "UploadedFile",
    "__version__",
    "redirect",
    "send_file",
    "use_json",
]
