"""Applications: routes, handlers and static files."""

from ..http import Handler
from .application import App
from .directories import mount_directories
from .document_root import check_root
from .router import Endpoint, Match, Route, RouteError, Router
from .static_files import StaticFiles
from .static_options import StaticOptions

__all__ = [
    "App", "Endpoint", "Handler", "Match", "Route", "RouteError", "Router", "StaticFiles", "StaticOptions",
    "check_root", "mount_directories",
]  # fmt: skip
