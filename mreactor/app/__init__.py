"""Applications: routes, handlers and static files."""

from ..http import Handler
from .application import App
from .document_root import check_root
from .recognition import adapt, find
from .router import Match, Route, RouteError, Router, UnknownMethod
from .static_files import StaticFiles

__all__ = [
    "App",
    "Handler",
    "Match",
    "Route",
    "RouteError",
    "Router",
    "StaticFiles",
    "UnknownMethod",
    "adapt",
    "check_root",
    "find",
]
