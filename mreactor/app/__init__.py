"""Applications: routes, handlers and static files."""

from .application import App
from .document_root import check_root
from .router import Handler, Match, Route, RouteError, Router
from .static_files import StaticFiles

__all__ = ["App", "Handler", "Match", "Route", "RouteError", "Router", "StaticFiles", "check_root"]
