"""Applications: routes, handlers and static files."""

from ..http import Handler
from .application import App
from .directories import mount_directories
from .document_root import check_root
from .recognition import adapt, find
from .router import Endpoint, Match, Route, RouteError, Router, UnknownMethod
from .static_files import StaticFiles
from .static_options import StaticOptions

__all__ = [
    "App", "Endpoint", "Handler", "Match", "Route", "RouteError", "Router", "StaticFiles", "StaticOptions",
    "UnknownMethod", "adapt", "check_root", "find", "mount_directories",
]  # fmt: skip
